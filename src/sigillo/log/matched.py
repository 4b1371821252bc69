"""Records of the store that are the entries of the tiles."""

from __future__ import annotations

from collections.abc import Iterator

from sigillo.log.error import RESTORED, LogError
from sigillo.log.public import PublicLog
from sigillo.log.record import Record
from sigillo.log.store import StoreReader


def matched(store: StoreReader, public: PublicLog, begin: int, end: int) -> Iterator[Record]:
    """Entries and objects begin … end - 1; each entry is the one of its bundle. Raises LogError."""
    entries = public.entry_bytes(begin, end)
    for record, entry in zip(store.iterate(begin, end), entries, strict=True):
        if record.entry != entry:
            path = store.objects_path(store.segment_of(record.index))
            raise LogError(f"{path}: entry {record.index} is not that of the tiles; {RESTORED}")
        yield record
