"""Merkle tree: against a tree made as RFC 9162 writes it down; and no changed proof is accepted."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigillo.core.bytes import EMPTY_ROOT
from sigillo.core.errors import MerkleError
from sigillo.core.merkle import (
    CompactRange,
    consistency_proof,
    decompose,
    inclusion_proof,
    leaf_hash,
    node_hash,
    subtree_reader,
    subtree_root,
    tree_root,
    verify_consistency,
    verify_inclusion,
)

MAX = 257
LEAVES = [leaf_hash(bytes([index % 256, index // 256])) for index in range(MAX)]
READ = subtree_reader(LEAVES)
U64_MAX = 2**64 - 1


def mth(leaves: list[bytes]) -> bytes:
    """RFC 9162 section 2.1.1, over leaf hashes."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while 2 * split < len(leaves):
        split *= 2
    return hashlib.sha256(b"\x01" + mth(leaves[:split]) + mth(leaves[split:])).digest()


ROOTS = [mth(LEAVES[:size]) for size in range(MAX + 1)]

sizes = st.integers(1, MAX)


@st.composite
def places(draw: st.DrawFn) -> tuple[int, int]:
    """A leaf and the size of a tree that has it."""
    size = draw(sizes)
    return draw(st.integers(0, size - 1)), size


@st.composite
def growths(draw: st.DrawFn) -> tuple[int, int]:
    """Two sizes, the first 1 or more and smaller."""
    new_size = draw(st.integers(2, MAX))
    return draw(st.integers(1, new_size - 1)), new_size


@st.composite
def ranges(draw: st.DrawFn, high: int = MAX) -> tuple[int, int]:
    begin = draw(st.integers(0, high))
    return begin, draw(st.integers(begin, high))


def flip(data: bytes, bit: int) -> bytes:
    return bytes(byte ^ (1 << bit % 8 if place == bit // 8 else 0) for place, byte in enumerate(data))


def test_hashes_by_hand() -> None:
    assert leaf_hash(b"x") == hashlib.sha256(b"\x00x").digest()
    left, right = leaf_hash(b"l"), leaf_hash(b"r")
    assert node_hash(left, right) == hashlib.sha256(b"\x01" + left + right).digest()


def test_every_root_is_the_one_of_rfc_9162() -> None:
    grown = CompactRange()
    assert grown.root() == tree_root(0, READ) == ROOTS[0] == EMPTY_ROOT
    for size in range(1, MAX + 1):
        grown.append(LEAVES[size - 1])
        assert grown.root() == tree_root(size, READ) == ROOTS[size]


@given(ranges(2**64 - 1))
def test_decomposition_covers_and_cannot_be_coarser(bounds: tuple[int, int]) -> None:
    begin, end = bounds
    found = decompose(begin, end)
    assert len(found) <= 2 * (end - begin).bit_length()
    position = begin
    for level, index in found:
        assert index << level == position
        position += 1 << level
        parent = index >> 1 << (level + 1)
        assert parent < begin or parent + (2 << level) > end, "its parent would have fitted"
    assert position == end


@pytest.mark.parametrize(("begin", "end"), [(1, 0), (-1, 0), (-2, -1), (0, 2**64), (2**64, 2**64)])
def test_what_is_no_range(begin: int, end: int) -> None:
    with pytest.raises(MerkleError):
        decompose(begin, end)


@given(ranges())
def test_a_compact_range_holds_its_decomposition(bounds: tuple[int, int]) -> None:
    begin, end = bounds
    grown = CompactRange(begin)
    for leaf in LEAVES[begin:end]:
        grown.append(leaf)
    assert (grown.begin, grown.end) == bounds
    assert list(grown.hashes) == [READ(*subtree) for subtree in decompose(begin, end)]
    if begin == 0:
        assert grown.root() == ROOTS[end]
    else:
        with pytest.raises(MerkleError, match="has no root"):
            grown.root()


@given(ranges(), st.data())
def test_ranges_merge_wherever_they_are_cut(bounds: tuple[int, int], data: st.DataObject) -> None:
    begin, end = bounds
    cuts = sorted(data.draw(st.lists(st.integers(begin, end), max_size=4)))
    merged = CompactRange(begin)
    for first, last in zip([begin, *cuts], [*cuts, end], strict=True):
        kept = [READ(*subtree) for subtree in decompose(first, last)]
        merged.merge(CompactRange(first, last, kept))
    assert list(merged.hashes) == [READ(*subtree) for subtree in decompose(begin, end)]
    with pytest.raises(MerkleError, match="does not follow"):
        merged.merge(CompactRange(end + 1))


@given(st.integers(0, MAX), st.integers(-1, 65))
def test_a_subtree_is_appended_only_where_one_begins(position: int, level: int) -> None:
    grown = CompactRange(0, position, [READ(*subtree) for subtree in decompose(0, position)])
    if level in range(64) and position % 2**level == 0:
        grown.append_subtree(level, LEAVES[0])
        assert grown.end == position + 2**level
        assert len(grown.hashes) == len(decompose(0, grown.end))
        return
    before = grown.hashes
    with pytest.raises(MerkleError):
        grown.append_subtree(level, LEAVES[0])
    assert (grown.end, grown.hashes) == (position, before)


def test_a_tree_stays_below_2_to_the_64() -> None:
    full = CompactRange(0, U64_MAX, [bytes(32)] * 64)
    with pytest.raises(MerkleError):
        full.append(LEAVES[0])
    half = CompactRange(2**63)
    with pytest.raises(MerkleError):
        half.append_subtree(63, LEAVES[0])


@pytest.mark.parametrize("count", [0, 1, 3])
def test_kept_hashes_are_as_many_as_the_range_has(count: int) -> None:
    with pytest.raises(MerkleError, match="are not those"):
        CompactRange(0, 3, LEAVES[:count])


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_hash_has_32_bytes_wherever_it_comes_from(length: int) -> None:
    odd = bytes(length)
    with pytest.raises(MerkleError, match="bytes long"):
        CompactRange(0, 1, [odd])
    with pytest.raises(MerkleError, match="bytes long"):
        CompactRange().append(odd)
    with pytest.raises(MerkleError, match="bytes long"):
        verify_inclusion(odd, 0, 2, [LEAVES[1]], ROOTS[2])
    with pytest.raises(MerkleError, match="bytes long"):
        verify_inclusion(LEAVES[0], 0, 2, [odd], ROOTS[2])
    with pytest.raises(MerkleError, match="bytes long"):
        verify_consistency(1, LEAVES[0], 2, ROOTS[2], [odd])


def test_bytes_do_not_move_between_two_hashes() -> None:
    left, right = LEAVES[0], LEAVES[1]
    with pytest.raises(MerkleError):
        verify_inclusion(left + right[:1], 0, 2, [right[1:]], ROOTS[2])


@given(st.integers(0, 5), st.integers(0, 40))
def test_subtree_root(level: int, other: int) -> None:
    assert subtree_root(LEAVES[: 2**level]) == ROOTS[2**level] == READ(level, 0)
    if other not in (1, 2, 4, 8, 16, 32):
        with pytest.raises(MerkleError, match="no complete subtree"):
            subtree_root(LEAVES[:other])


@given(places())
def test_inclusion(place: tuple[int, int]) -> None:
    index, size = place
    verify_inclusion(LEAVES[index], index, size, inclusion_proof(index, size, READ), ROOTS[size])


@given(places(), st.data())
def test_a_changed_inclusion_is_refused(place: tuple[int, int], data: st.DataObject) -> None:
    index, size = place
    path, root, leaf = inclusion_proof(index, size, READ), ROOTS[size], LEAVES[index]
    extra = data.draw(st.sampled_from([*path, LEAVES[0], root]))
    bit = data.draw(st.integers(0, 255))
    changed = [
        (flip(leaf, bit), index, size, path, root),
        (leaf, index, size, path, flip(root, bit)),
        (leaf, index, size, [*path, extra], root),
        (leaf, index, size, [extra, *path], root),
        *((leaf, other, size, path, root) for other in range(-1, size + 1) if other != index),
    ]
    for place_in_path in range(len(path)):
        before, after = path[:place_in_path], path[place_in_path + 1 :]
        changed.append((leaf, index, size, [*before, *after], root))
        changed.append((leaf, index, size, [*before, flip(path[place_in_path], bit), *after], root))
        changed.append((leaf, index, size, [*before, path[place_in_path], *path[place_in_path:]], root))
    for case in changed:
        with pytest.raises(MerkleError):
            verify_inclusion(*case)


@given(places(), sizes)
def test_another_size_with_its_own_root_is_refused(place: tuple[int, int], other: int) -> None:
    """A path does not bind the size, a checkpoint does: what counts is the pair of size and root."""
    index, size = place
    path = inclusion_proof(index, size, READ)
    if other != size:
        with pytest.raises(MerkleError):
            verify_inclusion(LEAVES[index], index, other, path, ROOTS[other])


@given(growths())
def test_consistency(growth: tuple[int, int]) -> None:
    old_size, new_size = growth
    proof = consistency_proof(old_size, new_size, READ)
    verify_consistency(old_size, ROOTS[old_size], new_size, ROOTS[new_size], proof)


@given(growths(), st.data())
def test_a_changed_consistency_is_refused(growth: tuple[int, int], data: st.DataObject) -> None:
    old_size, new_size = growth
    proof, old, new = consistency_proof(old_size, new_size, READ), ROOTS[old_size], ROOTS[new_size]
    extra = data.draw(st.sampled_from([*proof, LEAVES[0], old, new]))
    bit = data.draw(st.integers(0, 255))
    changed = [
        (old_size, flip(old, bit), new_size, new, proof),
        (old_size, old, new_size, flip(new, bit), proof),
        (new_size, old, old_size, new, proof),
        (old_size, old, new_size, new, [*proof, extra]),
        (old_size, old, new_size, new, [extra, *proof]),
        (-1, old, new_size, new, proof),
    ]
    for place in range(len(proof)):
        before, after = proof[:place], proof[place + 1 :]
        changed.append((old_size, old, new_size, new, [*before, *after]))
        changed.append((old_size, old, new_size, new, [*before, flip(proof[place], bit), *after]))
        changed.append((old_size, old, new_size, new, [*before, proof[place], *proof[place:]]))
    for case in changed:
        with pytest.raises(MerkleError):
            verify_consistency(*case)


@given(growths(), st.integers(0, MAX), st.integers(0, MAX))
def test_a_consistency_accepted_for_other_sizes_is_true(growth: tuple[int, int], old_size: int, new_size: int) -> None:
    """With the roots of those sizes only the proof of these two sizes is accepted, so none that says anything false."""
    proof = consistency_proof(*growth, READ)
    own = [] if old_size > new_size else consistency_proof(old_size, new_size, READ)
    if old_size <= new_size and proof == own:
        verify_consistency(old_size, ROOTS[old_size], new_size, ROOTS[new_size], proof)
    else:
        with pytest.raises(MerkleError):
            verify_consistency(old_size, ROOTS[old_size], new_size, ROOTS[new_size], proof)


def test_a_rewritten_history_is_refused() -> None:
    rewritten = [*LEAVES[:3], LEAVES[200], *LEAVES[4:]]
    read = subtree_reader(rewritten)
    for old_size in range(1, 9):
        for new_size in range(old_size + 1, 20):
            proof = consistency_proof(old_size, new_size, read)
            new_root = mth(rewritten[:new_size])
            if old_size <= 3:
                verify_consistency(old_size, ROOTS[old_size], new_size, new_root, proof)
            else:
                with pytest.raises(MerkleError):
                    verify_consistency(old_size, ROOTS[old_size], new_size, new_root, proof)


@pytest.mark.parametrize("size", [0, 1, 2, 7, 256])
def test_edges_of_consistency(size: int) -> None:
    root = ROOTS[size]
    assert consistency_proof(0, size, READ) == consistency_proof(size, size, READ) == []
    verify_consistency(size, root, size, root, [])
    verify_consistency(0, EMPTY_ROOT, size, root, [])
    refused = [
        (size, root, size, root, [LEAVES[0]]),
        (0, EMPTY_ROOT, size, root, [LEAVES[0]]),
        (0, LEAVES[0], size, root, []),
        (size, root, size, ROOTS[3], []),
        (size + 1, ROOTS[size + 1], size, root, []),
        (size, root, size + 1, ROOTS[size + 1], [] if size else [LEAVES[0]]),
    ]
    for case in refused:
        with pytest.raises(MerkleError):
            verify_consistency(*case)
    with pytest.raises(MerkleError):
        consistency_proof(size + 1, size, READ)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (1, 1), (-1, 3), (3, 3), (2**64, 2**64)])
def test_leaves_that_are_not_in_the_tree(index: int, size: int) -> None:
    with pytest.raises(MerkleError, match="is not in a tree"):
        inclusion_proof(index, size, READ)
    with pytest.raises(MerkleError, match="is not in a tree"):
        verify_inclusion(LEAVES[0], index, size, [], ROOTS[1])


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=70), st.integers(0, U64_MAX), st.integers(0, U64_MAX))
def test_garbage_proofs_end_in_a_refusal(garbage: list[bytes], index: int, size: int) -> None:
    with pytest.raises(MerkleError):
        verify_inclusion(LEAVES[0], index, size, garbage, ROOTS[7])
    if 0 < index < size:
        with pytest.raises(MerkleError):
            verify_consistency(index, ROOTS[3], size, ROOTS[7], garbage)
