"""The log proof of an evidence file as it is read: entries in order, checkpoints between them (spec/evidence.md)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from sigillo.core.bracket import Anchor, Bound
from sigillo.core.entry import LogEntry
from sigillo.core.errors import DecodeError, MerkleError
from sigillo.core.evidence_line import CheckpointLine, EntryLine, HeadLine, Line, Skip, StopLine, Trailer
from sigillo.core.merkle import Read, tree_root
from sigillo.core.streamed_proof import StreamedProof, skip_hashes

MAX_STOPS = 16_384
NO_NOTES: Mapping[int, str] = {}


@dataclass(frozen=True, slots=True)
class Logged:
    """An entry that the file shows, and its place in the log."""

    index: int
    entry: LogEntry


@dataclass(frozen=True, slots=True)
class Stop:
    """A size of the log at which the proof has stopped, with its root.

    Of the tokens below it: *lower* bounds what names it, *latest* is the one that says the latest of all.
    """

    root: bytes
    lower: Bound | None = None
    latest: Anchor | None = None


class Stops:
    """The newest ``MAX_STOPS`` stops of the log proof. *named*: the largest size that a mark or statement named."""

    def __init__(self) -> None:
        self._by_size: dict[int, Stop] = {}  # ascending
        self.named = 0

    def add(self, size: int, stop: Stop) -> None:
        """The proof stops at this size, larger than those before it."""
        if len(self._by_size) >= MAX_STOPS:
            del self._by_size[next(iter(self._by_size))]
        self._by_size[size] = stop

    def at(self, size: int) -> Stop | None:
        """The stop of this size, or None where the proof did not stop there."""
        return self._by_size.get(size)


class Inclusion:
    """A streamed proof over the lines of a file. After the first stop that does not hold nothing more is looked at."""

    def __init__(self) -> None:
        self.stops = Stops()
        self.entries = 0
        self._proof = StreamedProof()
        self._last: Logged | None = None
        self._broken = False

    def show(self, logged: Logged, skip: Skip) -> Logged | None:
        """The next entry shown, after those that *skip* covers. Returns the one shown before it."""
        self._skip(logged.index, skip)
        if not self._broken:
            self._proof.leaf(logged.index, logged.entry.leaf_hash)
        self.entries += 1
        before, self._last = self._last, logged
        return before

    def stop(self, size: int, root: bytes, skip: Skip) -> None:
        """A checkpoint, after what *skip* covers. Raises MerkleError where the entries do not lead to its root."""
        self._skip(size, skip)
        if self._broken:
            return
        try:
            self._proof.stop(size, root)
        except MerkleError:
            self._broken = True
            raise

    def _skip(self, to: int, skip: Skip) -> None:
        if skip and not self._broken:
            self._proof.skip(to, skip)


def prove(
    lines: Iterable[EntryLine | HeadLine], named: Iterable[int], read: Read, notes: Mapping[int, str] = NO_NOTES
) -> Iterator[Line]:
    """The lines with their skips, and with a stop at each size in *named*.

    *lines* have their indexes, in ascending order; *named*: the sizes that lines name, that tokens are about and that
    *notes* has, in ascending order; it runs ahead of the lines. *notes*: by size, the text of the note whose hash a
    beacon is. Raises DecodeError where the lines are not in order.
    """
    position = stopped = 0
    sizes = iter(named)
    size = next(sizes, None)
    for line in lines:
        if isinstance(line, HeadLine):
            yield line
            continue
        if line.index is None or line.index < position:
            raise DecodeError("index", f"of a line is {line.index}, after entry {position - 1}")
        while size is not None and size <= line.index:
            if size > stopped and size >= position:
                yield StopLine(size, tree_root(size, read), tuple(skip_hashes(position, size, read)))
                position = stopped = size
                if size in notes:
                    yield CheckpointLine(notes[size])
            size = next(sizes, None)
        yield replace(line, skip=tuple(skip_hashes(position, line.index, read)))
        position = line.index + 1


def end_proof(trailer: Trailer, position: int, size: int, read: Read) -> Trailer:
    """The trailer with its skip, from after the last line's entry to the size of its checkpoint."""
    return replace(trailer, skip=tuple(skip_hashes(position, size, read)))
