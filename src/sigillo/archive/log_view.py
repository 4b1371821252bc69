"""What an evidence file needs of the log, as its caller reads it: the archive knows no log (spec/evidence.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sigillo.core.entry import Kind
from sigillo.core.evidence_line import AttestationLine, TokenLine
from sigillo.core.heads import HeadProof
from sigillo.core.merkle import Read


@dataclass(frozen=True, slots=True)
class LoggedHeads:
    """The newest heads of an epoch: the object, its entry's index, and the head proof of any principal under it."""

    index: int
    object_bytes: bytes
    prove: Callable[[str], HeadProof]


@dataclass(frozen=True, slots=True)
class LoggedToken:
    """A time-stamp token in the log: its entry, the size of the checkpoint that it is about, and whose it is."""

    index: int
    size: int
    tsa: str


@dataclass(frozen=True, slots=True)
class LogView:
    """A log up to one signed checkpoint.

    *origin*: its name; *checkpoint*: text of the signed note, *size*: its size; *last*: epoch and sequence of the last
    entry below it; *read*: the complete subtrees. *index* gives the place of the entry of this kind, epoch and
    sequence, *heads* the newest heads of an epoch; None where there is none below the size. *tokens*: those below the
    size, ascending; it may begin with the newest of each TSA below the size it is given. *token*: one of them, as a
    line. *quotes*: of an epoch (its number) the quotes nearest to its entries from one index to another, as lines: the
    newest before the first, and the first that is about a checkpoint with the last in it.
    """

    origin: str
    checkpoint: str
    size: int
    last: tuple[int, int]
    read: Read
    index: Callable[[Kind, int, int], int | None]
    heads: Callable[[int], LoggedHeads | None]
    tokens: Callable[[int], Iterator[LoggedToken]]
    token: Callable[[int], TokenLine]
    quotes: Callable[[int, int, int], list[AttestationLine]]
