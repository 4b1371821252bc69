"""Merkle tree: hashing, compact ranges, inclusion and consistency proofs (RFC 9162 section 2.1, spec/log.md).

A *complete subtree* (level, index) covers the 2^level leaves from index · 2^level on. Everything here needs the hashes
of complete subtrees only, so a tree is read through one function, `Read`, whatever it is stored in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeAlias

from sigillo.core.bytes import EMPTY_ROOT
from sigillo.core.errors import MerkleError
from sigillo.core.field import HASH_SIZE, UINT64_MAX

Read: TypeAlias = Callable[[int, int], bytes]
"""Hash (32 bytes) of the complete subtree (level, index)."""

MAX_LEVEL: Final = 63


def leaf_hash(data: bytes) -> bytes:
    """SHA-256(0x00 ‖ data), 32 bytes."""
    return hashlib.sha256(b"\0" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 ‖ left ‖ right), 32 bytes; both are hashes of 32 bytes."""
    return hashlib.sha256(b"\1" + left + right).digest()


def decompose(begin: int, end: int) -> list[tuple[int, int]]:
    """The largest complete subtrees (level, index) that cover the leaves begin … end - 1, left to right.

    There is one such list, of at most 2 · log2(end - begin) + 1 items. Raises MerkleError unless
    0 <= begin <= end < 2^64.
    """
    if not 0 <= begin <= end <= UINT64_MAX:
        raise MerkleError(f"{begin}…{end} is no range of leaves")
    found = []
    while begin < end:
        level = (end - begin).bit_length() - 1
        if begin:
            level = min(level, (begin & -begin).bit_length() - 1)
        found.append((level, begin >> level))
        begin += 1 << level
    return found


class CompactRange:
    """What has to be kept of the leaves begin … end - 1 to go on: the hashes of `decompose(begin, end)`.

    It grows at its end, by leaves or by whole subtrees, in memory of O(log n). One that begins at 0 has a root.
    """

    __slots__ = ("_begin", "_end", "_hashes")

    def __init__(self, begin: int = 0, end: int | None = None, hashes: Iterable[bytes] = ()) -> None:
        """An empty range at *begin*, or one that was kept. Raises MerkleError where the hashes are not as many."""
        end = begin if end is None else end
        self._hashes = [_checked(item) for item in hashes]
        if len(self._hashes) != len(decompose(begin, end)):
            raise MerkleError(f"{len(self._hashes)} hashes are not those of the leaves {begin}…{end}")
        self._begin, self._end = begin, end

    @property
    def begin(self) -> int:
        """Position of the first leaf."""
        return self._begin

    @property
    def end(self) -> int:
        """Position after the last leaf; the size of the tree where the range begins at 0."""
        return self._end

    @property
    def hashes(self) -> tuple[bytes, ...]:
        """Hashes of `decompose(begin, end)`, left to right."""
        return tuple(self._hashes)

    def append(self, leaf: bytes) -> None:
        """Append the leaf whose leaf hash is *leaf*. Raises MerkleError."""
        self.append_subtree(0, leaf)

    def append_subtree(self, level: int, subtree_hash: bytes) -> None:
        """Append the complete subtree of 2^level leaves that begins at `end`.

        Raises MerkleError where no such subtree begins there.
        """
        if not 0 <= level <= MAX_LEVEL or self._end & ((1 << level) - 1) or self._end + (1 << level) > UINT64_MAX:
            raise MerkleError(f"no subtree of level {level} begins at leaf {self._end}")
        combined = _checked(subtree_hash)
        index = self._end >> level
        self._end += 1 << level
        # the last hash is that of the left sibling, if the range holds all of it
        while index & 1 and (index - 1) << level >= self._begin:
            combined = node_hash(self._hashes.pop(), combined)
            index >>= 1
            level += 1
        self._hashes.append(combined)

    def merge(self, other: CompactRange) -> None:
        """Append the range that begins where this one ends. Raises MerkleError where it begins elsewhere."""
        if other.begin != self._end:
            raise MerkleError(f"a range that begins at {other.begin} does not follow one that ends at {self._end}")
        for (level, _), subtree_hash in zip(decompose(other.begin, other.end), other.hashes, strict=True):
            self.append_subtree(level, subtree_hash)

    def root(self) -> bytes:
        """Root of the tree, 32 bytes. Raises MerkleError where the range does not begin at 0."""
        if self._begin:
            raise MerkleError(f"a range that begins at {self._begin} has no root")
        return _fold(self._hashes)


def subtree_root(hashes: Sequence[bytes]) -> bytes:
    """Hash of the complete subtree over 2^n hashes of one level. Raises MerkleError for another number of them."""
    if not hashes or len(hashes) & (len(hashes) - 1):
        raise MerkleError(f"{len(hashes)} hashes are no complete subtree")
    while len(hashes) > 1:
        hashes = _parents(hashes)
    return hashes[0]


def subtree_reader(leaves: Sequence[bytes]) -> Read:
    """Every complete subtree over these leaf hashes, in memory (64 bytes a leaf). Reading others is an IndexError."""
    levels = [list(leaves)]
    while len(levels[-1]) > 1:
        levels.append(_parents(levels[-1]))
    return lambda level, index: levels[level][index]


def tree_root(size: int, read: Read) -> bytes:
    """Root of the tree of the first *size* leaves."""
    return _range_hash(0, size, read)


def inclusion_proof(index: int, size: int, read: Read) -> list[bytes]:
    """Path of leaf *index* in the tree of *size* leaves, from its sibling up (RFC 9162 section 2.1.3.1).

    Raises MerkleError where the leaf is not in the tree.
    """
    if not 0 <= index < size:
        raise MerkleError(f"leaf {index} is not in a tree of {size}")
    path = []
    begin, end = 0, size
    while end - begin > 1:
        middle = _middle(begin, end)
        if index < middle:
            path.append(_range_hash(middle, end, read))
            end = middle
        else:
            path.append(_range_hash(begin, middle, read))
            begin = middle
    return path[::-1]


def consistency_proof(old_size: int, new_size: int, read: Read) -> list[bytes]:
    """Proof that the tree of *old_size* is a prefix of that of *new_size* (RFC 9162 section 2.1.4.1).

    Empty where the old tree is empty or both have one size. Raises MerkleError where the old tree is the larger.
    """
    if not 0 <= old_size <= new_size:
        raise MerkleError(f"a tree of {old_size} is no prefix of one of {new_size}")
    proof: list[bytes] = []
    if old_size == 0:
        return proof
    begin, end = 0, new_size
    while old_size < end:
        middle = _middle(begin, end)
        if old_size <= middle:
            proof.append(_range_hash(middle, end, read))
            end = middle
        else:
            proof.append(_range_hash(begin, middle, read))
            begin = middle
    if begin > 0:  # else the verifier knows this hash: it is the old root
        proof.append(_range_hash(begin, end, read))
    return proof[::-1]


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Verify that leaf hash *leaf* is number *index* of the tree of *size* and *root* (RFC 9162 section 2.1.3.2).

    *size* and *root* must come from one checkpoint: a path alone does not bind the size. Raises MerkleError.
    """
    if not 0 <= index < size:
        raise MerkleError(f"leaf {index} is not in a tree of {size}")
    node, last = index, size - 1
    computed = _checked(leaf)
    for sibling in path:
        if last == 0:
            raise MerkleError("the inclusion path is too long")
        if node & 1 or node == last:
            computed = node_hash(_checked(sibling), computed)
            node, last = _skip_right_edge(node, last)
        else:
            computed = node_hash(computed, _checked(sibling))
        node, last = node >> 1, last >> 1
    if last:
        raise MerkleError("the inclusion path is too short")
    if computed != root:
        raise MerkleError("the inclusion path does not lead to the root")


def verify_consistency(old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Verify that the tree of *old_size* and *old_root* is a prefix of the new one (RFC 9162 section 2.1.4.2).

    Size 0 goes with the empty root only. Raises MerkleError.
    """
    if not 0 <= old_size <= new_size:
        raise MerkleError(f"a tree of {old_size} is no prefix of one of {new_size}")
    for size, root in ((old_size, old_root), (new_size, new_root)):
        if size == 0 and root != EMPTY_ROOT:
            raise MerkleError("a tree of size 0 with a root that is not SHA-256('')")
    if old_size in (0, new_size):
        if proof:
            raise MerkleError("the consistency proof is too long")
        if old_size == new_size and old_root != new_root:
            raise MerkleError("two roots of one size")
        return
    _verify_prefix(old_size, old_root, new_size, new_root, proof)


def _verify_prefix(old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Steps 2 to 7 of RFC 9162 section 2.1.4.2, for 0 < old_size < new_size."""
    rest = [_checked(item) for item in proof]
    if old_size & (old_size - 1) == 0:
        rest.insert(0, _checked(old_root))
    if not rest:
        raise MerkleError("the consistency proof is too short")
    node, last = old_size - 1, new_size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old = new = rest[0]
    for sibling in rest[1:]:
        if last == 0:
            raise MerkleError("the consistency proof is too long")
        if node & 1 or node == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            node, last = _skip_right_edge(node, last)
        else:
            new = node_hash(new, sibling)
        node, last = node >> 1, last >> 1
    if last:
        raise MerkleError("the consistency proof is too short")
    if (old, new) != (old_root, new_root):
        raise MerkleError("the consistency proof does not lead to both roots")


def _skip_right_edge(node: int, last: int) -> tuple[int, int]:
    """Climb the levels on which the node has no sibling: it is the last of an odd number."""
    while node and not node & 1:
        node, last = node >> 1, last >> 1
    return node, last


def _range_hash(begin: int, end: int, read: Read) -> bytes:
    """Merkle tree hash of the leaves begin … end - 1, where a node of the tree covers just these."""
    return _fold([read(*subtree) for subtree in decompose(begin, end)])


def _fold(hashes: Sequence[bytes]) -> bytes:
    """Root over subtrees that shrink from left to right."""
    if not hashes:
        return EMPTY_ROOT
    combined = hashes[-1]
    for left in hashes[-2::-1]:
        combined = node_hash(left, combined)
    return combined


def _parents(hashes: Sequence[bytes]) -> list[bytes]:
    return [node_hash(hashes[place], hashes[place + 1]) for place in range(0, len(hashes) - 1, 2)]


def _middle(begin: int, end: int) -> int:
    """Where RFC 9162 splits a tree: after the largest power of two smaller than its size."""
    return begin + (1 << ((end - begin - 1).bit_length() - 1))


def _checked(value: bytes) -> bytes:
    """A hash of another length could move bytes from one side of a node to the other."""
    if len(value) != HASH_SIZE:
        raise MerkleError(f"a hash is {len(value)} bytes long, not {HASH_SIZE}")
    return value
