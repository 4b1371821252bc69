"""Streamed proof: leaves in order, gaps filled by subtree hashes, roots checked on the way (spec/log.md)."""

from __future__ import annotations

from collections.abc import Sequence

from sigillo.core.errors import MerkleError
from sigillo.core.merkle import CompactRange, Read, decompose


def skip_hashes(begin: int, end: int, read: Read) -> list[bytes]:
    """What a writer puts where it leaves out the leaves begin … end - 1. Raises MerkleError for a bad range."""
    return [read(*subtree) for subtree in decompose(begin, end)]


class StreamedProof:
    """Reader of a streamed proof, from leaf 0 on, in memory of O(log n).

    Nothing is proven before a stop: `proven` is the size of the last one that held, and every leaf given below it is
    in the tree of each checkpoint at which the proof has stopped since; those checkpoints are consistent.
    """

    __slots__ = ("_proven", "_range", "_skipped")

    def __init__(self) -> None:
        self._range = CompactRange()
        self._proven = 0
        self._skipped = False

    @property
    def position(self) -> int:
        """Leaves passed so far, shown or skipped."""
        return self._range.end

    @property
    def proven(self) -> int:
        """Size at the last stop; 0 before the first."""
        return self._proven

    def leaf(self, index: int, leaf_hash: bytes) -> None:
        """The leaf at `position`, shown. Raises MerkleError where *index* is another."""
        if index != self.position:
            raise MerkleError(f"leaf {index} does not come at position {self.position}")
        self._range.append(leaf_hash)
        self._skipped = False

    def skip(self, end: int, hashes: Sequence[bytes]) -> None:
        """The leaves from `position` to before *end*, not shown: the hashes of `decompose(position, end)`.

        Raises MerkleError for an empty skip, a second one in a row, or another number of hashes.
        """
        if self._skipped or end <= self.position:
            raise MerkleError(f"a skip to {end} at position {self.position}, where one cannot be")
        subtrees = decompose(self.position, end)
        if len(hashes) != len(subtrees):
            raise MerkleError(f"a skip to {end} takes {len(subtrees)} hashes, not {len(hashes)}")
        for (level, _), subtree_hash in zip(subtrees, hashes, strict=True):
            self._range.append_subtree(level, subtree_hash)
        self._skipped = True

    def stop(self, size: int, root: bytes) -> None:
        """A checkpoint of *size* and *root*, both from the same verified one. Raises MerkleError where it differs."""
        if size != self.position:
            raise MerkleError(f"a checkpoint of size {size} does not come at position {self.position}")
        if self._range.root() != root:
            raise MerkleError(f"the leaves do not lead to the root of the checkpoint of size {size}")
        self._proven = size
        self._skipped = False

    def finish(self) -> None:
        """The end of the proof. Raises MerkleError where something comes after the last stop: nothing proves that."""
        if self._proven != self.position:
            raise MerkleError(f"nothing proves what comes after the last checkpoint, of size {self._proven}")
