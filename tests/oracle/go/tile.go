package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

const height = 8

// c2spPath is Go's path of a tile as C2SP tlog-tiles spells it: without the height, and "entries" for "data".
func c2spPath(tile tlog.Tile) string {
	path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
	return strings.Replace(path, "tile/data/", "tile/entries/", 1)
}

// files reads the tiles below a folder.
type files string

func (folder files) Height() int { return height }

func (folder files) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range tiles {
		data, err := os.ReadFile(filepath.Join(string(folder), c2spPath(tile)))
		if err != nil {
			return nil, err
		}
		found = append(found, data)
	}
	return found, nil
}

func (folder files) SaveTiles([]tlog.Tile, [][]byte) {}

// checkPath compares a tile's path with Go's.
func checkPath(job Job) error {
	if path := c2spPath(tlog.Tile{H: height, L: job.Level, N: job.Index, W: job.Width}); path != job.Path {
		return fmt.Errorf("the path is %s", path)
	}
	return nil
}

// reader gives the hashes of the job's tree out of its tiles, each checked against the root before it is returned.
func reader(job Job) (tlog.HashReader, error) {
	root, err := job.Root.hash()
	if err != nil {
		return nil, err
	}
	return tlog.TileHashReader(tlog.Tree{N: job.Size, Hash: root}, files(job.Folder)), nil
}

// proveRecord makes the inclusion proof out of the tiles, which must be the job's; the entry in its bundle has the leaf hash.
func proveRecord(job Job) error {
	hashReader, err := reader(job)
	if err != nil {
		return err
	}
	proof, err := tlog.ProveRecord(job.Size, job.Index, hashReader)
	if err != nil {
		return err
	}
	leaf, err := hashReader.ReadHashes([]int64{tlog.StoredHashIndex(0, job.Index)})
	if err != nil {
		return err
	}
	entry, err := readEntry(job)
	if err != nil {
		return err
	}
	if tlog.RecordHash(entry) != leaf[0] {
		return errors.New("the entry in the bundle does not have the leaf's hash")
	}
	return compare(proof, job.Proof)
}

// proveTree makes the consistency proof out of the tiles, which must be the job's.
func proveTree(job Job) error {
	hashReader, err := reader(job)
	if err != nil {
		return err
	}
	proof, err := tlog.ProveTree(job.Size, job.OldSize, hashReader)
	if err != nil {
		return err
	}
	return compare(proof, job.Proof)
}

func compare(made []tlog.Hash, given []Hex) error {
	expected, err := hashes(given)
	if err != nil {
		return err
	}
	if len(made) != len(expected) {
		return fmt.Errorf("a proof of %d hashes, not %d", len(made), len(expected))
	}
	for place := range made {
		if made[place] != expected[place] {
			return fmt.Errorf("another hash at place %d", place)
		}
	}
	return nil
}

// readEntry reads the entry of number Index out of its bundle: a sequence of big-endian uint16 lengths and entries.
func readEntry(job Job) ([]byte, error) {
	number := job.Index >> height
	width := job.Size - number<<height
	if width > 1<<height {
		width = 1 << height
	}
	bundle := tlog.Tile{H: height, L: -1, N: number, W: int(width)}
	data, err := os.ReadFile(filepath.Join(job.Folder, c2spPath(bundle)))
	if err != nil {
		return nil, err
	}
	for place := int64(0); ; place++ {
		if len(data) < 2 || len(data) < 2+int(binary.BigEndian.Uint16(data)) {
			return nil, errors.New("the bundle is cut off")
		}
		end := 2 + int(binary.BigEndian.Uint16(data))
		if place == job.Index&(1<<height-1) {
			return data[2:end], nil
		}
		data = data[end:]
	}
}
