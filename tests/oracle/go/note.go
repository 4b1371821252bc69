package main

import (
	"errors"

	"golang.org/x/mod/sumdb/note"
)

// checkNote opens a signed note with this verifier key; its text must be the job's.
func checkNote(job Job) error {
	verifier, err := note.NewVerifier(job.Vkey)
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
