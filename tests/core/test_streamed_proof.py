"""Streamed proof: whatever is shown verifies; leaving out, adding, moving or changing anything does not."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sigillo.core.errors import MerkleError
from sigillo.core.merkle import decompose
from sigillo.core.streamed_proof import StreamedProof, skip_hashes
from tests.vector import tree
from tests.vector.tree import Step, run, streamed

MAX = 300


@st.composite
def proofs(draw: st.DrawFn) -> list[Step]:
    """A proof over a tree of up to 300, with random leaves shown and stops."""
    size = draw(st.integers(1, MAX))
    shown = draw(st.sets(st.integers(0, size - 1), max_size=12))
    return streamed(shown, draw(st.sets(st.integers(0, size), max_size=6)) | {size})


@given(proofs())
def test_one_pass_proves_all(steps: list[Step]) -> None:
    found = run(steps)
    assert found.proven == found.position == steps[-1][1]


@given(proofs(), st.data())
def test_every_change_of_a_hash_is_refused(steps: list[Step], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(steps) - 1))
    kind, number, hashes = steps[place]
    which, bit = data.draw(st.integers(0, len(hashes) - 1)), data.draw(st.integers(0, 255))
    changed = bytearray(hashes[which])
    changed[bit // 8] ^= 1 << bit % 8
    steps[place] = (kind, number, (*hashes[:which], bytes(changed), *hashes[which + 1 :]))
    with pytest.raises(MerkleError):
        run(steps)


@given(proofs(), st.data())
def test_every_change_of_a_number_is_refused(steps: list[Step], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(steps) - 1))
    kind, number, hashes = steps[place]
    other = data.draw(st.integers(-1, MAX + 1).filter(lambda value: value != number))
    steps[place] = (kind, other, hashes)
    with pytest.raises(MerkleError):
        run(steps)


@given(proofs(), st.data())
def test_no_step_can_be_taken_out_but_a_stop_between(steps: list[Step], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(steps) - 1))
    kind = steps.pop(place)[0]
    around = [steps[at][0] for at in (place - 1, place) if 0 <= at < len(steps)]
    if kind == "stop" and 0 < place < len(steps) and around != ["skip", "skip"]:
        assert run(steps).proven == steps[-1][1]  # fewer checkpoints are shown to be consistent, nothing false
    elif kind == "stop" and place == 0 and steps:
        assert run(steps).proven == steps[-1][1]
    elif not steps:
        assert run(steps).proven == 0
    else:
        with pytest.raises(MerkleError):
            run(steps)


@given(proofs(), st.data())
def test_no_two_steps_can_change_places(steps: list[Step], data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(steps) - 1))
    second = data.draw(st.integers(0, len(steps) - 1))
    swapped = list(steps)
    swapped[first], swapped[second] = steps[second], steps[first]
    if swapped != steps:
        with pytest.raises(MerkleError):
            run(swapped)


@given(proofs(), st.data())
def test_nothing_can_be_put_in(steps: list[Step], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(steps)))
    position = 0
    for kind, number, _ in steps[:place]:
        position = number + (kind == "leaf")
    leaf: Step = ("leaf", position, (bytes(32),))
    skip: Step = ("skip", position + 1, (bytes(32),))
    for added in (leaf, skip):
        with pytest.raises(MerkleError):
            run([*steps[:place], added, *steps[place:]])


@given(st.integers(1, MAX), st.integers(0, MAX - 1), st.integers(0, MAX))
def test_another_history_does_not_pass_an_earlier_checkpoint(size: int, changed: int, stop: int) -> None:
    """The stop's checkpoint is of the true log; the leaf shown is rewritten, and the log is signed again."""
    changed, stop = changed % size, min(stop, size)
    forged = StreamedProof()
    if changed:
        forged.skip(changed, skip_hashes(0, changed, tree.read()))
    if stop <= changed and stop == forged.position:
        forged.stop(stop, tree.root(stop))
    forged.leaf(changed, bytes(32))
    rest = changed + 1
    end = max(stop, rest)
    if end > rest:
        forged.skip(end, skip_hashes(rest, end, tree.read()))
    with pytest.raises(MerkleError, match="do not lead to the root"):
        forged.stop(end, tree.root(end))
    with pytest.raises(MerkleError, match="nothing proves"):
        forged.finish()


def test_nothing_is_proven_before_a_stop() -> None:
    proof = StreamedProof()
    proof.finish()
    proof.leaf(0, tree.leaves()[0])
    assert (proof.position, proof.proven) == (1, 0)
    with pytest.raises(MerkleError, match="nothing proves"):
        proof.finish()
    proof.stop(1, tree.root(1))
    proof.finish()
    assert proof.proven == 1


def test_a_refused_skip_leaves_no_trace() -> None:
    proof = StreamedProof()
    for bad in ([], [bytes(32)] * 3):
        with pytest.raises(MerkleError):
            proof.skip(3, bad)
    proof.skip(3, skip_hashes(0, 3, tree.read()))
    proof.stop(3, tree.root(3))


@settings(max_examples=20)
@given(st.sets(st.integers(0, tree.SIZE - 1), max_size=300))
def test_a_skip_takes_the_cover_and_no_more(shown: set[int]) -> None:
    steps = streamed(shown, {tree.SIZE})
    sent = sum(len(hashes) for kind, _, hashes in steps if kind == "skip")
    edges = [-1, *sorted(shown), tree.SIZE]
    assert sent == sum(len(decompose(first + 1, last)) for first, last in pairwise(edges))
    assert run(steps).proven == tree.SIZE


def test_memory_does_not_grow_with_the_log() -> None:
    leaves, root = tree.leaves(), tree.root(tree.SIZE)
    proof = StreamedProof()
    tracemalloc.start()
    try:
        for index, leaf in enumerate(leaves):
            proof.leaf(index, leaf)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    proof.stop(tree.SIZE, root)
    assert peak < 20_000
