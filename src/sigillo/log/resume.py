"""The resume point: which marks are the last of their principals at a heads entry (spec/log-storage.md).

A pure cache: what it names is believed only where the heads object in the log, which is made from just these marks,
comes out of them again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sigillo import disk
from sigillo.core.entry import Kind, decode_entry
from sigillo.core.errors import SigilloError
from sigillo.log.error import Refusal
from sigillo.log.history import History
from sigillo.log.matched import matched
from sigillo.log.public import PublicLog
from sigillo.log.record import Record
from sigillo.log.store import StoreReader

FILE: Final = "resume"
MAGIC: Final = b"sigillo-resume1\n"
_NUMBER: Final = 8


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """Index of a heads entry, and of the last mark of each principal before it, ascending. Not verified."""

    heads: int
    marks: tuple[int, ...]


def write_point(store: Path, heads: int, marks: Sequence[int]) -> None:
    """Replace the resume point in *store*, `log/store`. Raises OSError."""
    numbers = b"".join(number.to_bytes(_NUMBER, "big") for number in (heads, *marks))
    disk.replace(store / FILE, MAGIC + numbers, disk.PRIVATE)


def read_point(store: Path) -> ResumePoint | None:
    """The resume point in *store*; None where there is none that can be read."""
    try:
        data = (store / FILE).read_bytes()
    except OSError:
        return None
    numbers = data[len(MAGIC) :]
    if not data.startswith(MAGIC) or not numbers or len(numbers) % _NUMBER:
        return None
    heads, *marks = (int.from_bytes(numbers[at : at + _NUMBER], "big") for at in range(0, len(numbers), _NUMBER))
    return ResumePoint(heads, tuple(marks))


def restore(history: History, point: ResumePoint, store: StoreReader, public: PublicLog) -> bool:
    """Bring *history* to just after the heads entry of *point*: whether the point holds.

    Where it does not, *history* has to begin its epoch again, and who then reads all of it finds what is wrong.
    """

    def record(index: int) -> Record:
        return next(matched(store, public, index, index + 1))

    try:
        heads = record(point.heads)
        entry = decode_entry(heads.entry)
        begin = public.find(Kind.EPOCH_STATEMENT, entry.epoch, 0)
        end = public.find(Kind.EPOCH_END, entry.epoch, entry.sequence)
        if entry.kind is not Kind.HEADS or begin is None:
            return False
        history.size = begin
        _admit(history, record(begin))
        history.leap((index, record(index).object_bytes) for index in point.marks)
        if end is not None and end < point.heads:
            _admit(history, record(end))
        history.size = point.heads
        _admit(history, heads)
    except SigilloError:
        return False
    return True


def _admit(history: History, record: Record) -> None:
    if history.admit(decode_entry(record.entry).kind, record.object_bytes, verify=False) != record.entry:
        raise Refusal("its object is not the one of the entry")
