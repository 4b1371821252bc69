"""What the log has of an epoch that is over: its last mark and its end, from tiles and mark store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sigillo.core.entry import Kind
from sigillo.log.public import PublicLog
from sigillo.log.store import StoreReader


@dataclass(frozen=True, slots=True)
class Logged:
    """The newest epoch in the log: number, last sequence, objects of its last mark and of its end if there are any."""

    epoch: int
    last_sequence: int
    mark: bytes | None
    end: bytes | None


def read_logged(log: Path, key_id: bytes) -> Logged | None:
    """The newest epoch of the log in *log*, None where it has none. The last entry names it, whatever its kind.

    *key_id*: SHA-256 of the log key. Raises LogError.
    """
    public = PublicLog(log / "public")
    if not public.size:
        return None
    last = public.entry(public.size - 1)
    store = StoreReader(log / "store", key_id)

    def kept(kind: Kind) -> bytes | None:
        index = public.find(kind, last.epoch, last.sequence)
        return None if index is None else store.read(index).object_bytes

    return Logged(last.epoch, last.sequence, kept(Kind.MARK), kept(Kind.EPOCH_END))


def covers_statement(log: Path, epoch: int, size: int) -> bool:
    """Whether a checkpoint of this size covers the statement of this epoch. Raises LogError."""
    index = PublicLog(log / "public").find(Kind.EPOCH_STATEMENT, epoch, 0)
    return index is not None and index < size
