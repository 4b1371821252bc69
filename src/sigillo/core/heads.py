"""Heads of one epoch: each principal's count and last mark as a sorted Merkle tree, and its proofs (spec/heads.md).

A principal's leaf is found by a hash of its name, so the two leaves next to where one would be prove that there is
none; they show no count and no mark of those two.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, TypeAlias

from sigillo.core import cbor
from sigillo.core.bytes import EMPTY_ROOT, domain, object_hash
from sigillo.core.errors import DecodeError, MerkleError
from sigillo.core.field import array, byte_string, integer, numbered_map, text
from sigillo.core.mark import SignedMark
from sigillo.core.merkle import inclusion_proof, leaf_hash, subtree_reader, tree_root, verify_inclusion

VERSION: Final = 1
MAX_PATH: Final = 64
_PRESENT: Final = (1, 2, 3, 4)
_ABSENT: Final = (1, 5, 6)


@dataclass(frozen=True, slots=True)
class Heads:
    """The object of a log entry of kind 5: the marks of an epoch up to `last_sequence`, by principal.

    *leaves*: number of principals; *root*: 32 bytes, over their leaves in order of key.
    """

    epoch_id: bytes
    last_sequence: int
    leaves: int
    root: bytes

    @property
    def object_hash(self) -> bytes:
        """Object hash, 32 bytes, of the log entry."""
        return object_hash("heads", encode_heads(self))


@dataclass(frozen=True, slots=True)
class Head:
    """Where a principal's marks stand: how many, object hash and sequence of the last one, and its blind."""

    count: int
    last_mark: bytes
    last_sequence: int
    blind: bytes


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another principal's leaf: its place, its key and the hash of its value, which stays hidden."""

    index: int
    key: bytes
    value_hash: bytes
    path: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class PresenceProof:
    """The principal's head is leaf *index*."""

    index: int
    head: Head
    path: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class AbsenceProof:
    """The principal has no leaf: these two stand next to each other around its key. None: no leaf on that side."""

    before: Neighbour | None
    after: Neighbour | None


HeadProof: TypeAlias = PresenceProof | AbsenceProof


class HeadTable:
    """All heads of an epoch at one moment, from which the log makes the object and any head proof."""

    def __init__(self, epoch_id: bytes, last_sequence: int, heads: Mapping[str, Head]) -> None:
        """*heads*: by principal. Raises DecodeError for heads that cannot be those of the marks 1…last_sequence."""
        if sum(head.count for head in heads.values()) != last_sequence:
            raise DecodeError("heads", f"have counts that do not add up to the last sequence, {last_sequence}")
        if max((head.last_sequence for head in heads.values()), default=0) != last_sequence:
            raise DecodeError("heads", f"have no mark with the last sequence, {last_sequence}, or one after it")
        keyed = sorted((head_key(epoch_id, principal), head) for principal, head in heads.items())
        self._keys = [key for key, _ in keyed]
        self._heads = [head for _, head in keyed]
        self._value_hashes = [_value_hash(head) for head in self._heads]
        leaves = [leaf_hash(key + value) for key, value in zip(self._keys, self._value_hashes, strict=True)]
        self._read = subtree_reader(leaves)
        self.heads: Final = Heads(epoch_id, last_sequence, len(leaves), tree_root(len(leaves), self._read))
        encode_heads(self.heads)

    def prove(self, principal: str) -> HeadProof:
        """Proof of the principal's head, or that it has none."""
        key = head_key(self.heads.epoch_id, principal)
        index = bisect_left(self._keys, key)
        if index < len(self._keys) and self._keys[index] == key:
            return PresenceProof(index, self._heads[index], self._path(index))
        return AbsenceProof(self._neighbour(index - 1), self._neighbour(index))

    def _neighbour(self, index: int) -> Neighbour | None:
        if not 0 <= index < len(self._keys):
            return None
        return Neighbour(index, self._keys[index], self._value_hashes[index], self._path(index))

    def _path(self, index: int) -> tuple[bytes, ...]:
        return tuple(inclusion_proof(index, len(self._keys), self._read))


def head_key(epoch_id: bytes, principal: str) -> bytes:
    """Key of a principal's leaf: SHA-256(domain("heads-leaf") ‖ u64 ‖ epoch id ‖ u64 ‖ principal), 32 bytes."""
    parts = (byte_string(epoch_id, "epoch id"), text(principal, "principal").encode("utf-8"))
    prefixed = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
    return hashlib.sha256(domain("heads-leaf") + prefixed).digest()


def head_of(last: SignedMark) -> Head:
    """Head of a principal whose last mark this is.

    The blind is a hash of the mark's payload map, which nobody can compute from the log's entries: so the hash of a
    value that is not shown cannot be tried out.
    """
    blind = object_hash("heads-blind", last.sign1.payload)
    return Head(last.mark.count, last.object_hash, last.mark.sequence, blind)


def encode_heads(heads: Heads) -> bytes:
    """The CBOR object. Raises DecodeError for fields that could not be decoded again."""
    value: dict[int, object] = {
        1: VERSION,
        2: heads.epoch_id,
        3: heads.last_sequence,
        4: heads.leaves,
        5: heads.root,
    }
    _heads(value)
    return cbor.encode(value, "heads")


def decode_heads(data: bytes) -> Heads:
    """Decode a heads object. Raises DecodeError for anything that spec/heads.md does not allow."""
    return _heads(cbor.decode(data, "heads"))


def encode_head_proof(proof: HeadProof) -> bytes:
    """The CBOR of a head proof. Raises DecodeError for fields that could not be decoded again."""
    value: dict[int, object] = {1: VERSION}
    if isinstance(proof, PresenceProof):
        value |= {2: proof.index, 3: _head_value(proof.head), 4: list(proof.path)}
    else:
        value |= {5: _neighbour_value(proof.before), 6: _neighbour_value(proof.after)}
    _proof(value)
    return cbor.encode(value, "head proof")


def decode_head_proof(data: bytes) -> HeadProof:
    """Decode a head proof. Raises DecodeError for anything that spec/heads.md does not allow."""
    return _proof(cbor.decode(data, "head proof"))


def verify_head_proof(proof: HeadProof, heads: Heads, principal: str) -> Head | None:
    """The principal's head under *heads*, or None where it is proven to have no mark.

    What it proves is what the log says in this object, no more. Raises MerkleError.
    """
    key = head_key(heads.epoch_id, principal)
    if isinstance(proof, AbsenceProof):
        _verify_absence(proof, heads, key)
        return None
    if proof.head.last_sequence > heads.last_sequence:
        raise MerkleError("the head is of a mark after the last one that the heads cover")
    _verify_leaf(proof.index, key, _value_hash(proof.head), proof.path, heads)
    return proof.head


def _verify_absence(proof: AbsenceProof, heads: Heads, key: bytes) -> None:
    before, after = proof.before, proof.after
    index = 0 if before is None else before.index + 1
    if index != (heads.leaves if after is None else after.index):
        raise MerkleError("the two leaves do not stand next to each other")
    keys = [*([before.key] if before else []), key, *([after.key] if after else [])]
    if any(left >= right for left, right in pairwise(keys)):
        raise MerkleError("the principal's key does not lie between the two leaves")
    for leaf in (before, after):
        if leaf is not None:
            _verify_leaf(leaf.index, leaf.key, leaf.value_hash, leaf.path, heads)


def _verify_leaf(index: int, key: bytes, value_hash: bytes, path: tuple[bytes, ...], heads: Heads) -> None:
    verify_inclusion(leaf_hash(key + value_hash), index, heads.leaves, path, heads.root)


def _value_hash(head: Head) -> bytes:
    value = _head_value(head)
    _head(value)
    return object_hash("heads-value", cbor.encode(value, "head"))


def _head_value(head: Head) -> list[object]:
    return [head.count, head.last_mark, head.last_sequence, head.blind]


def _neighbour_value(leaf: Neighbour | None) -> list[object] | None:
    return None if leaf is None else [leaf.index, leaf.key, leaf.value_hash, list(leaf.path)]


def _heads(value: object) -> Heads:
    items = numbered_map(value, "heads", range(1, 6))
    integer(items[1], "version", VERSION, VERSION)
    last_sequence = integer(items[3], "last sequence")
    heads = Heads(
        byte_string(items[2], "epoch id"),
        last_sequence,
        integer(items[4], "leaves", min(last_sequence, 1), last_sequence),
        byte_string(items[5], "root"),
    )
    if heads.leaves == 0 and heads.root != EMPTY_ROOT:
        raise DecodeError("heads", "has no leaves and a root that is not SHA-256('')")
    return heads


def _proof(value: object) -> HeadProof:
    present = isinstance(value, dict) and 2 in value
    items = numbered_map(value, "head proof", _PRESENT if present else _ABSENT)
    integer(items[1], "version", VERSION, VERSION)
    if present:
        return PresenceProof(integer(items[2], "index"), _head(items[3]), _path(items[4]))
    return AbsenceProof(_neighbour(items[5], "leaf before"), _neighbour(items[6], "leaf after"))


def _head(value: object) -> Head:
    count, last_mark, last_sequence, blind = array(value, "head", 4)
    sequence = integer(last_sequence, "last sequence", 1)
    return Head(
        integer(count, "count", 1, sequence),
        byte_string(last_mark, "last mark"),
        sequence,
        byte_string(blind, "blind"),
    )


def _neighbour(value: object, field: str) -> Neighbour | None:
    if value is None:
        return None
    index, key, value_hash, path = array(value, field, 4)
    return Neighbour(integer(index, field), byte_string(key, field), byte_string(value_hash, field), _path(path))


def _path(value: object) -> tuple[bytes, ...]:
    items = array(value, "path")
    if len(items) > MAX_PATH:
        raise DecodeError("path", f"has more than {MAX_PATH} hashes")
    return tuple(byte_string(item, "path") for item in items)
