"""Looks for objects of two files that contradict each other (spec/accusation.md), in flat memory; verifies nothing."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import product

from sigillo.core.accusation import Accusation
from sigillo.core.checkpoint import SignedCheckpoint, encode_checkpoint
from sigillo.core.decoded import (
    Decoded,
    DecodedEnd,
    DecodedEpoch,
    DecodedMessage,
    DecodedTrailer,
    decode_objects,
    subtrees,
)
from sigillo.core.errors import MerkleError
from sigillo.core.evidence import NumberedLine, StopLine
from sigillo.core.mark import Checkpoint
from sigillo.core.merkle import CompactRange

Lines = Callable[[], Iterable[bytes]]
"""The lines of an evidence file without LF, from the first one at each call."""


@dataclass(frozen=True, slots=True)
class Source:
    """An evidence file, or a checkpoint alone."""

    lines: Lines | None = None
    checkpoint: SignedCheckpoint | None = None

    def decoded(self) -> Iterator[Decoded]:
        """The lines of the file, decoded; none of a checkpoint. Raises DecodeError."""
        return decode_objects(self.lines()) if self.lines else iter(())


def find(first: Source, second: Source) -> Iterator[Accusation]:
    """What in these two may be proof of misbehaviour; `prove` says what is. Raises DecodeError."""
    yield from _objects(first, second)
    for one, other in product((first, second), repeat=2):
        yield from _histories(one, other)


@dataclass(frozen=True, slots=True)
class _Signed:
    """A statement (rank 0), mark (1) or end (2) of an epoch, in the order of a file. *last*: what an end names."""

    number: int
    rank: int
    sequence: int
    epoch_id: bytes
    object_hash: bytes
    data: bytes
    statement: bytes
    checkpoint: Checkpoint | None = None
    last: bytes = b""

    @property
    def order(self) -> tuple[int, int, int]:
        return self.number, self.rank, self.sequence


def _signed(source: Source) -> Iterator[_Signed]:
    number, statement = 0, b""
    for decoded in source.decoded():
        if isinstance(decoded, DecodedEpoch):
            signed, statement = decoded.statement, decoded.line.statement
            number = signed.statement.number
            named = signed.statement.log_checkpoint
            yield _Signed(number, 0, 0, signed.epoch_id, signed.epoch_id, statement, statement, named)
        elif isinstance(decoded, DecodedMessage):
            mark, data = decoded.mark, decoded.line.mark
            sequence, named = mark.mark.sequence, mark.mark.checkpoint
            yield _Signed(number, 1, sequence, mark.epoch_id, mark.object_hash, data, statement, named)
        elif isinstance(decoded, DecodedEnd):
            end, data = decoded.end, decoded.line.end
            sequence = end.end.last_sequence
            yield _Signed(number, 2, sequence, end.epoch_id, end.object_hash, data, statement, None, end.end.last)


def _objects(first: Source, second: Source) -> Iterator[Accusation]:
    """Two statements of one number, two marks of one sequence, an end and a mark after it."""
    before: _Signed | None = None
    newest: _Signed | None = None  # mark
    for signed in heapq.merge(_signed(first), _signed(second), key=lambda signed: signed.order):
        if before and before.order == signed.order and before.object_hash != signed.object_hash:
            pair = {"first": before.data, "second": signed.data}
            if signed.rank == 0:
                yield Accusation("statements", pair)
            elif signed.rank == 1 and before.epoch_id == signed.epoch_id:
                yield Accusation("marks", {"statement": signed.statement, **pair})
        if signed.rank == 1:
            newest = signed
        elif signed.rank == 2 and newest and newest.epoch_id == signed.epoch_id and _denies(signed, newest):
            objects = {"statement": signed.statement, "end": signed.data, "mark": newest.data}
            yield Accusation("end", objects)
        before = signed


def _denies(end: _Signed, mark: _Signed) -> bool:
    return mark.sequence > end.sequence or (mark.sequence == end.sequence and mark.object_hash != end.last)


def _histories(one: Source, other: Source) -> Iterator[Accusation]:
    """Checkpoints that *one* has or names, and the history of *other*."""
    checkpoint = _checkpoint(other)
    if checkpoint is None:
        return
    note = encode_checkpoint(checkpoint)
    own = _checkpoint(one)
    if own and own.head.checkpoint != checkpoint.head.checkpoint and own.head.size <= checkpoint.head.size:
        objects = {"first": encode_checkpoint(own), "second": note}
        yield from _with_hashes("checkpoints", objects, own.head.checkpoint, other, checkpoint)
    for signed in _denied(one, other):
        kind, objects = "statement-checkpoint", {"statement": signed.statement, "checkpoint": note}
        if signed.rank == 1:
            kind, objects = "mark-checkpoint", {**objects, "mark": signed.data}
        assert signed.checkpoint
        yield from _with_hashes(kind, objects, signed.checkpoint, other, checkpoint)


def _checkpoint(source: Source) -> SignedCheckpoint | None:
    if source.checkpoint:
        return source.checkpoint
    for decoded in source.decoded():
        if isinstance(decoded, DecodedTrailer):
            return decoded.checkpoint
    return None


def _denied(one: Source, other: Source) -> Iterator[_Signed]:
    """Those that name a checkpoint with another root than *other* has where it stops at that size, or ends."""
    stops = _stops(other)
    size, root = next(stops, (2**64, b""))
    for signed in _signed(one):
        named = signed.checkpoint
        if named is None or named.size == 0:
            continue
        while size < named.size:
            size, root = next(stops, (2**64, b""))
        if size == named.size and root != named.root:
            yield signed


def _stops(source: Source) -> Iterator[tuple[int, bytes]]:
    for decoded in source.decoded():
        if isinstance(decoded, DecodedTrailer):
            if decoded.checkpoint:
                yield decoded.checkpoint.head.size, decoded.checkpoint.head.root
        elif isinstance(decoded, NumberedLine) and isinstance(decoded.line, StopLine):
            yield decoded.line.size, decoded.line.root
    if source.checkpoint:
        yield source.checkpoint.head.size, source.checkpoint.head.root


def _with_hashes(
    kind: str, objects: dict[str, bytes], smaller: Checkpoint, other: Source, checkpoint: SignedCheckpoint
) -> Iterator[Accusation]:
    """The accusation with the hashes of *other*'s history, where its file has them at that size."""
    end = checkpoint.head.size
    if smaller.size == end:
        yield Accusation(kind, objects)
        return
    prefix, rest = CompactRange(), CompactRange(smaller.size)
    try:
        for level, subtree_hash in subtrees(other.decoded()):
            (prefix if prefix.end < smaller.size else rest).append_subtree(level, subtree_hash)
    except MerkleError:
        return
    if prefix.end == smaller.size and rest.end == end:
        yield Accusation(kind, objects, prefix.hashes, rest.hashes)
