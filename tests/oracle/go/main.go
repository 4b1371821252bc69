// Second opinion on the log: golang.org/x/mod/sumdb, the Go project's own note and tlog, which share no code with Sigillo.
//
//	oracle < JOBS > REASONS
//
// JOBS is a JSON list of objects with a "kind" (the functions in checks) and what that kind needs; binary values are hex.
// REASONS is a JSON list, one text per job: why it is refused, or empty where it is accepted.
package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"

	"golang.org/x/mod/sumdb/tlog"
)

// Hex is a binary value of a job.
type Hex []byte

// UnmarshalJSON reads lower-case hex.
func (h *Hex) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return err
	}
	raw, err := hex.DecodeString(text)
	*h = raw
	return err
}

// hash is the value as a tree hash; one of another length is refused.
func (h Hex) hash() (found tlog.Hash, err error) {
	if len(h) != tlog.HashSize {
		return found, fmt.Errorf("a hash of %d bytes", len(h))
	}
	copy(found[:], h)
	return found, nil
}

func hashes(values []Hex) ([]tlog.Hash, error) {
	var found []tlog.Hash
	for _, value := range values {
		hash, err := value.hash()
		if err != nil {
			return nil, err
		}
		found = append(found, hash)
	}
	return found, nil
}

// A Job has the fields of its kind; the others are empty.
type Job struct {
	Kind    string
	Vkey    string
	Note    Hex
	Text    Hex
	Index   int64
	Size    int64
	Root    Hex
	Leaf    Hex
	OldSize int64 `json:"old_size"`
	OldRoot Hex   `json:"old_root"`
	Proof   []Hex
	Folder  string
	Level   int
	Width   int
	Path    string
}

var checks = map[string]func(Job) error{
	"note":         checkNote,
	"cosignature":  checkCosignature,
	"inclusion":    checkInclusion,
	"consistency":  checkConsistency,
	"path":         checkPath,
	"prove-record": proveRecord,
	"prove-tree":   proveTree,
}

func main() {
	var jobs []Job
	if err := json.NewDecoder(os.Stdin).Decode(&jobs); err != nil {
		fmt.Fprintln(os.Stderr, "oracle:", err)
		os.Exit(2)
	}
	reasons := make([]string, len(jobs))
	for place, job := range jobs {
		check := checks[job.Kind]
		if check == nil {
			fmt.Fprintf(os.Stderr, "oracle: no such kind: %q\n", job.Kind)
			os.Exit(2)
		}
		if err := check(job); err != nil {
			reasons[place] = err.Error()
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(reasons); err != nil {
		os.Exit(2)
	}
}
