"""Which submitted objects the newest entries of the log stand for (spec/log-storage.md, "Incoming")."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sigillo.core.submitted import SUBMITTED

REACH: Final = 65_536
"""Entries within which an object is not logged again: more than a round has."""

_HASH: Final = slice(13, 45)
_KINDS: Final = frozenset(SUBMITTED)


class Recent:
    """Object hashes among the newest ``REACH`` entries, each with its index."""

    def __init__(self) -> None:
        self._index: dict[bytes, int] = {}  # ascending

    def add(self, index: int, entry: bytes) -> None:
        """The next entry of the log, 45 bytes; of other kinds than the submitted it forgets."""
        if entry[0] in _KINDS:
            while self._index and self._index[oldest := next(iter(self._index))] <= index - REACH:
                del self._index[oldest]
            self._index.pop(entry[_HASH], None)
            self._index[entry[_HASH]] = index

    def extend(self, begin: int, entries: Iterable[bytes]) -> None:
        """The entries from *begin* on."""
        for index, entry in enumerate(entries, begin):
            self.add(index, entry)

    def find(self, object_hash: bytes, size: int) -> int | None:
        """The entry with this object, so that it may not be entry *size*; None where there is none within reach."""
        index = self._index.get(object_hash)
        return index if index is not None and index > size - REACH else None
