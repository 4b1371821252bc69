"""The tree of the log's vectors and tests: the entry of leaf i is kind 1, epoch 1, sequence i + 1, SHA-256(u64 i)."""

import hashlib
from functools import cache

from sigillo.core.entry import Kind, LogEntry, encode_entry
from sigillo.core.merkle import Read, leaf_hash, subtree_reader, tree_root
from sigillo.core.streamed_proof import StreamedProof, skip_hashes

SIZE = 70_000
Step = tuple[str, int, tuple[bytes, ...]]
"""A step of a streamed proof: leaf, skip or stop; position or size; hashes."""


def entry(index: int) -> bytes:
    """The 45 bytes of a leaf."""
    return encode_entry(LogEntry(Kind.MARK, 1, index + 1, hashlib.sha256(index.to_bytes(8, "big")).digest()))


@cache
def leaves() -> tuple[bytes, ...]:
    """Leaf hashes of a tree of 70,000."""
    return tuple(leaf_hash(entry(index)) for index in range(SIZE))


@cache
def read() -> Read:
    """Its complete subtrees, and so those of every smaller tree."""
    return subtree_reader(leaves())


def root(size: int) -> bytes:
    """Root of the first leaves."""
    return tree_root(size, read())


def streamed(shown: set[int], stops: set[int]) -> list[Step]:
    """The streamed proof that shows these leaves and stops at these sizes; the largest size ends it."""
    steps: list[Step] = []
    position = 0
    for place in sorted(shown | stops):
        if place > position:
            steps.append(("skip", place, tuple(skip_hashes(position, place, read()))))
            position = place
        if place in stops:
            steps.append(("stop", place, (root(place),)))
        if place in shown:
            steps.append(("leaf", place, (leaves()[place],)))
            position += 1
    return steps


def run(steps: list[Step]) -> StreamedProof:
    """Read a whole streamed proof. Raises MerkleError."""
    proof = StreamedProof()
    for kind, number, hashes in steps:
        if kind == "skip":
            proof.skip(number, hashes)
        elif kind == "leaf":
            proof.leaf(number, *hashes)
        else:
            assert kind == "stop"
            proof.stop(number, *hashes)
    proof.finish()
    return proof


def step_text(step: Step) -> str:
    """A step as vector files write it."""
    kind, number, hashes = step
    return " ".join([kind, str(number), *(item.hex() for item in hashes)])


def parse_step(text: str) -> Step:
    """A step of a vector file."""
    kind, number, *hashes = text.split(" ")
    return kind, int(number), tuple(bytes.fromhex(item) for item in hashes)
