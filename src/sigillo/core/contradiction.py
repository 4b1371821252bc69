"""Looks for objects of two files that contradict each other (spec/accusation.md), in flat memory; verifies nothing."""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import product

from sigillo.core.accusation import Accusation, denies
from sigillo.core.bytes import EMPTY_ROOT
from sigillo.core.checkpoint import SignedCheckpoint, encode_checkpoint
from sigillo.core.decoded import (
    Decoded,
    DecodedEnd,
    DecodedEpoch,
    DecodedHead,
    DecodedHeads,
    DecodedMessage,
    DecodedTrailer,
    decode_objects,
    subtrees,
)
from sigillo.core.entry import Kind, LogEntry, encode_entry
from sigillo.core.errors import MerkleError
from sigillo.core.evidence_line import NumberedLine, StopLine
from sigillo.core.heads import HeadProof, Heads, PresenceProof, encode_head_proof, encode_heads
from sigillo.core.mark import Checkpoint, decode_mark
from sigillo.core.merkle import CompactRange, Read, inclusion_proof
from sigillo.core.statement import HowEnded, Previous

Lines = Callable[[], Iterable[bytes]]
"""The lines of an evidence file without LF, from the first one at each call."""


@dataclass(frozen=True, slots=True)
class Tiles:
    """The public files of a log: its entries by index, and its complete subtrees."""

    entry: Callable[[int], LogEntry]
    read: Read


@dataclass(frozen=True, slots=True)
class Source:
    """An evidence file, or a checkpoint, with the tiles under it or alone."""

    lines: Lines | None = None
    checkpoint: SignedCheckpoint | None = None
    tiles: Tiles | None = None

    def decoded(self) -> Iterator[Decoded]:
        """The lines of the file, decoded; none of a checkpoint. Raises DecodeError."""
        return decode_objects(self.lines()) if self.lines else iter(())


def find(first: Source, second: Source) -> Iterator[Accusation]:
    """What in these two may be proof of misbehaviour; `prove` says what is. Raises DecodeError."""
    yield from _objects(first, second)
    for one, other in product((first, second), repeat=2):
        yield from _histories(one, other)
        yield from _unlogged(one, other)
        yield from _headless(one, other)


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
    previous: Previous | None = None

    @property
    def order(self) -> tuple[int, int, int]:
        return self.number, self.rank, self.sequence


def _signed(source: Source) -> Iterator[_Signed]:
    number, statement = 0, b""
    for decoded in source.decoded():
        if isinstance(decoded, DecodedEpoch):
            signed, statement = decoded.statement, decoded.line.statement
            number = signed.statement.number
            named, previous = signed.statement.log_checkpoint, signed.statement.previous
            yield _Signed(number, 0, 0, signed.epoch_id, signed.epoch_id, statement, statement, named, b"", previous)
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
        if signed.rank == 0 and newest and _passes_over(signed, newest):
            objects = {"statement": newest.statement, "mark": newest.data, "next": signed.data}
            yield Accusation("mark-next", objects)
        if signed.rank == 1:
            newest = signed
        elif signed.rank == 2 and newest and newest.epoch_id == signed.epoch_id and _denies(signed, newest):
            objects = {"statement": signed.statement, "end": signed.data, "mark": newest.data}
            yield Accusation("end", objects)
        before = signed


def _passes_over(following: _Signed, mark: _Signed) -> bool:
    previous = following.previous
    return (
        previous is not None
        and previous.epoch_id == mark.epoch_id
        and previous.ended is not HowEnded.LOGGED_UP_TO
        and mark.sequence > previous.last_sequence
    )


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
        yield Accusation(kind, objects, {"prefix": (), "rest": ()})
        return
    prefix, rest = CompactRange(), CompactRange(smaller.size)
    try:
        for level, subtree_hash in subtrees(other.decoded()):
            (prefix if prefix.end < smaller.size else rest).append_subtree(level, subtree_hash)
    except MerkleError:
        return
    if prefix.end == smaller.size and rest.end == end:
        yield Accusation(kind, objects, {"prefix": prefix.hashes, "rest": rest.hashes})


def _unlogged(one: Source, other: Source) -> Iterator[Accusation]:
    """Marks of *one* in whose place the tiles of *other* have something else, though the epoch goes on there."""
    tiles, checkpoint = other.tiles, other.checkpoint
    if tiles is None or checkpoint is None:
        return
    size, note = checkpoint.head.size, encode_checkpoint(checkpoint)

    def place(index: int) -> tuple[int, int]:
        entry = tiles.entry(index)
        return entry.epoch, entry.sequence

    def path(index: int) -> tuple[bytes, ...]:
        return tuple(inclusion_proof(index, size, tiles.read))

    for signed in _signed(one):
        wanted = signed.number, signed.sequence
        at = bisect_left(range(size), wanted, key=place)
        if signed.rank != 1 or at in (0, size):
            continue
        found = tiles.entry(at)
        objects = {"statement": signed.statement, "mark": signed.data, "checkpoint": note}
        if found.kind is Kind.MARK and (found.epoch, found.sequence) == wanted:
            if found.object_hash != signed.object_hash:
                objects["entry"] = encode_entry(found)
                yield Accusation("mark-entry", objects, {"path": path(at)}, at)
        elif found.epoch == signed.number:
            objects |= {"entry": encode_entry(tiles.entry(at - 1)), "after": encode_entry(found)}
            yield Accusation("mark-gap", objects, {"path": path(at - 1), "after_path": path(at)}, at - 1)


def _headless(one: Source, other: Source) -> Iterator[Accusation]:
    """Marks of *one* that heads of *other* deny; one of each heads."""
    checkpoint = _checkpoint(other)
    if checkpoint is None:
        return
    all_heads = _heads(other)
    heads = next(all_heads, None)
    for signed in _signed(one):
        while heads and heads.number < signed.number:
            heads = next(all_heads, None)
        if heads is None or heads.number != signed.number or signed.rank != 1:
            continue
        mark = decode_mark(signed.data)
        proof = heads.proofs.get(mark.mark.principal)
        if proof is None or mark.mark.sequence > heads.heads.last_sequence:
            continue
        if denies(proof.head if isinstance(proof, PresenceProof) else None, mark):
            objects = {"statement": signed.statement, "mark": signed.data, "checkpoint": encode_checkpoint(checkpoint)}
            objects |= {"heads": encode_heads(heads.heads), "proof": encode_head_proof(proof)}
            path = _path(other, heads.index, checkpoint.head.size)
            if path is not None:
                yield Accusation("mark-heads", objects, {"path": path}, heads.index)
            heads = next(all_heads, None)


@dataclass(frozen=True, slots=True)
class _Heads:
    """Heads that a file shows, with the head proofs under them by principal."""

    number: int
    index: int
    heads: Heads
    proofs: dict[str, HeadProof]


def _heads(source: Source) -> Iterator[_Heads]:
    number, heads = 0, None
    for decoded in source.decoded():
        if isinstance(decoded, DecodedHead) and heads:
            heads.proofs[decoded.line.principal] = decoded.proof
            continue
        if heads:
            yield heads
            heads = None
        if isinstance(decoded, DecodedEpoch):
            number = decoded.statement.statement.number
        elif isinstance(decoded, DecodedHeads) and decoded.line.index is not None:
            heads = _Heads(number, decoded.line.index, decoded.heads, {})


def _path(source: Source, index: int, size: int) -> tuple[bytes, ...] | None:
    """The inclusion path of an entry that the file shows, out of its log proof; None where that is not whole."""
    wanted: list[tuple[int, int]] = []

    def note(level: int, at: int) -> bytes:
        wanted.append((level, at))
        return EMPTY_ROOT

    inclusion_proof(index, size, note)
    ranges = {(level, at): CompactRange(at << level) for level, at in wanted}
    left_to_right = sorted(wanted, key=lambda node: ranges[node].begin, reverse=True)
    position = 0
    try:
        for level, subtree_hash in subtrees(source.decoded()):
            if position != index and left_to_right:
                filled = ranges[left_to_right[-1]]
                filled.append_subtree(level, subtree_hash)
                if filled.end == filled.begin + (1 << left_to_right[-1][0]):
                    left_to_right.pop()
            position += 1 << level
    except MerkleError:
        return None
    if position != size or left_to_right:
        return None
    return tuple(inclusion_proof(index, size, lambda level, at: ranges[level, at].hashes[0]))
