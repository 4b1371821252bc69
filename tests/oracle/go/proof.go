package main

import "golang.org/x/mod/sumdb/tlog"

// checkInclusion verifies that the leaf is number Index of the tree of Size and Root.
func checkInclusion(job Job) error {
	proof, err := hashes(job.Proof)
	if err != nil {
		return err
	}
	root, err := job.Root.hash()
	if err != nil {
		return err
	}
	leaf, err := job.Leaf.hash()
	if err != nil {
		return err
	}
	return tlog.CheckRecord(proof, job.Size, root, job.Index, leaf)
}

// checkConsistency verifies that the tree of OldSize and OldRoot is a prefix of that of Size and Root.
func checkConsistency(job Job) error {
	proof, err := hashes(job.Proof)
	if err != nil {
		return err
	}
	root, err := job.Root.hash()
	if err != nil {
		return err
	}
	oldRoot, err := job.OldRoot.hash()
	if err != nil {
		return err
	}
	return tlog.CheckTree(proof, job.Size, root, job.OldSize, oldRoot)
}
