"""The public part of a log, as anyone can read it: checkpoint, tiles, bundles. Nothing here is verified."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path

from sigillo.core.checkpoint import SignedCheckpoint, decode_checkpoint
from sigillo.core.entry import Kind, LogEntry, decode_entry
from sigillo.core.errors import DecodeError
from sigillo.core.tile import ENTRIES, WIDTH, tile_in_tree
from sigillo.log.error import LogError, naming
from sigillo.log.tile_file import TileFiles

CHECKPOINT = "checkpoint"
_REMEDY = "name the folder log/public of an operator, or get its files again"


class PublicLog:
    """A log as far as a checkpoint reaches: the newest when it was read last (at first, and by each call of
    `checkpoint`), or the one that `at` was given.

    Whoever believes a checkpoint has to verify it (`sigillo.core.checkpoint.verify_checkpoint`).
    """

    def __init__(self, folder: Path) -> None:
        """*folder*: `log/public` of an operator. Raises LogError."""
        self._folder = folder
        self._files = TileFiles(folder)
        self.checkpoint()

    def checkpoint(self) -> SignedCheckpoint:
        """The newest checkpoint, not verified. Raises LogError."""
        path = self._folder / CHECKPOINT
        with naming(path, _REMEDY):
            data = path.read_bytes()
        try:
            signed = decode_checkpoint(data)
        except DecodeError as error:
            raise LogError(f"{path}: {error}; {_REMEDY}") from None
        self.at(signed)
        return signed

    def at(self, signed: SignedCheckpoint) -> None:
        """Reach as far as this checkpoint of the log, not larger than the newest one."""
        self.size = signed.head.size
        self._reader = self._files.reader(self.size)

    def read(self, level: int, index: int) -> bytes:
        """Hash of the complete subtree (level, index), for `sigillo.core.merkle`. Raises LogError, MerkleError."""
        return self._reader(level, index)

    def entry(self, index: int) -> LogEntry:
        """Entry number *index*. Raises LogError where the log does not reach it."""
        return next(self.entries(index, index + 1))

    def entries(self, begin: int, end: int) -> Iterator[LogEntry]:
        """Entries begin … end - 1. Raises LogError where the log does not reach them, DecodeError."""
        for data in self.entry_bytes(begin, end):
            yield decode_entry(data)

    def entry_bytes(self, begin: int, end: int) -> Iterator[bytes]:
        """Entries begin … end - 1, 45 bytes each, not decoded. Raises LogError."""
        if not 0 <= begin <= end <= self.size:
            raise LogError(f"{self._folder}: the log has the entries 0…{self.size - 1}, not {begin}…{end - 1}")
        while begin < end:
            bundle = self._files.bundle(tile_in_tree(ENTRIES, begin // WIDTH, self.size))
            part = bundle[begin % WIDTH : begin % WIDTH + end - begin]
            yield from part
            begin += len(part)

    def find(self, kind: Kind, epoch: int, sequence: int) -> int | None:
        """Index of the first entry of this kind, epoch and sequence, or None.

        A binary search: in the order of the log (epoch, sequence) never falls. Raises LogError.
        """
        number = epoch.to_bytes(4, "big") + sequence.to_bytes(8, "big")
        first = bisect_left(range(self.size), number, key=lambda index: next(self.entry_bytes(index, index + 1))[1:13])
        for index, data in enumerate(self.entry_bytes(first, self.size), first):
            if data[1:13] != number:
                return None
            if data[0] == kind:
                return index
        return None
