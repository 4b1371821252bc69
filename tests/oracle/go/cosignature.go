package main

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

const cosigner = 4 // signature type of an Ed25519 cosignature

// A witness is the note.Verifier of C2SP tlog-cosignature, type 4: time (u64, big-endian) and signature.
type witness struct {
	name string
	key  ed25519.PublicKey
}

func (w witness) Name() string { return w.name }

func (w witness) KeyHash() uint32 {
	hash := sha256.Sum256(append([]byte(w.name+"\n\x04"), w.key...))
	return binary.BigEndian.Uint32(hash[:])
}

func (w witness) Verify(text, signature []byte) bool {
	if len(signature) != 8+ed25519.SignatureSize {
		return false
	}
	message := fmt.Sprintf("cosignature/v1\ntime %d\n%s", binary.BigEndian.Uint64(signature), text)
	return ed25519.Verify(w.key, []byte(message), signature[8:])
}

// newWitness reads the vkey of a witness: name+key id+base64 of type and key.
func newWitness(vkey string) (w witness, err error) {
	parts := strings.SplitN(vkey, "+", 3)
	if len(parts) != 3 {
		return w, errors.New("not a vkey")
	}
	key, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil || len(key) != 1+ed25519.PublicKeySize || key[0] != cosigner {
		return w, errors.New("not an Ed25519 cosigner's key")
	}
	w = witness{parts[0], key[1:]}
	if fmt.Sprintf("%08x", w.KeyHash()) != parts[1] {
		return w, errors.New("another key id")
	}
	return w, nil
}

// checkCosignature opens a note with the key of a witness; the text must be the job's.
func checkCosignature(job Job) error {
	verifier, err := newWitness(job.Vkey)
	if err != nil {
		return err
	}
	opened, err := note.Open(job.Note, note.VerifierList(verifier))
	if err != nil {
		return err
	}
	if opened.Text != string(job.Text) {
		return errors.New("another text")
	}
	return nil
}
