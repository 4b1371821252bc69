"""The operator's log as the archive's export asks for it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from sigillo.archive.log_view import LoggedHeads, LogView
from sigillo.core.checkpoint import encode_checkpoint
from sigillo.core.entry import Kind
from sigillo.core.heads import encode_heads
from sigillo.log.public import CHECKPOINT
from sigillo.log.reader import LogReader, read_vkey

_BLOCK = 256


class OperatorLog:
    """`DIR/log` up to the checkpoint that is the newest now.

    *missed_before*: the first entry whose object is kept, where an object before it was asked for.
    """

    def __init__(self, folder: Path) -> None:
        """*folder*: `DIR/log`. Raises LogError."""
        self._reader = LogReader(folder, read_vkey(folder))
        self._public = self._reader.public
        self._size = self._reader.checkpoint.head.size
        self.missed_before: int | None = None

    @classmethod
    def find(cls, folder: Path) -> OperatorLog | None:
        """The log in this folder; None where none was begun. Raises LogError."""
        return cls(folder) if (folder / "public" / CHECKPOINT).exists() else None

    def view(self) -> LogView:
        """What the export reads."""
        note = encode_checkpoint(self._reader.checkpoint).decode("utf-8")
        heads = lru_cache(maxsize=2)(self._heads)
        return LogView(note, self._size, self._public.read, self._public.find, heads)

    def marks(self, epoch: int) -> Iterator[bytes]:
        """All marks of an epoch that the mark store still has, tagged, in order. Raises LogError."""
        begin = self._public.find(Kind.EPOCH_STATEMENT, epoch, 0)
        if begin is not None:
            for record in self._reader.records(self._kept(begin), max(self._end(epoch), self._reader.first_kept)):
                if record.entry[0] == Kind.MARK:
                    yield record.object_bytes

    def _kept(self, begin: int) -> int:
        first = self._reader.first_kept
        if begin < first:
            self.missed_before = first
        return max(begin, first)

    def _end(self, epoch: int) -> int:
        """The first entry after this epoch."""
        return bisect_right(range(self._size), epoch, key=lambda index: self._public.entry(index).epoch)

    def _heads(self, epoch: int) -> LoggedHeads | None:
        end = self._end(epoch)
        while end > 0:
            begin = max(end - _BLOCK, 0)
            entries = list(self._public.entries(begin, end))
            for index in range(end - 1, begin - 1, -1):
                entry = entries[index - begin]
                if entry.epoch != epoch:
                    return None
                if entry.kind is Kind.HEADS:
                    begin_of_epoch = self._public.find(Kind.EPOCH_STATEMENT, epoch, 0)
                    if begin_of_epoch is None or self._kept(begin_of_epoch) > begin_of_epoch:
                        return None
                    table = self._reader.head_table(index)
                    return LoggedHeads(index, encode_heads(table.heads), table.prove)
            end = begin
        return None
