"""One look at the marks of an export before anything is written: which of them count, and which checkpoints they name.

The archive is untrusted, so each mark is verified under its epoch's key: one that was forged (in a last will, which the
plugin does not see), or a good one on another message, must not spoil a file with good ones. That is done here, once;
of a mark that counts 32 bytes are kept, and each message is read again when it is written.
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sigillo.archive.beacon import Beacons
from sigillo.archive.log_view import LogView
from sigillo.archive.repeat import Holes, Unheld
from sigillo.archive.selection import KnownEpoch, Selection, Spooled, Tally, first_of_each, genuine, selected
from sigillo.archive.store import Message, Store
from sigillo.core.entry import Kind
from sigillo.core.evidence_codec import fits
from sigillo.core.evidence_line import AttestationLine, MessageLine
from sigillo.core.heads import HeadProof, PresenceProof
from sigillo.core.mark import Checkpoint, Mark, SignedMark, decode_mark

_NO_INDEX = 2**64 - 1
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Counted:
    """A mark that counts: its message, or that nobody holds one; *index*: its entry, None in a file without a log."""

    marked: Message | Unheld
    count: int
    index: int | None


class _Verdicts:
    """Which items of a source count, by their place in it; places ascend."""

    def __init__(self) -> None:
        self._places, self._counts, self._indexes = array("Q"), array("Q"), array("Q")

    def add(self, place: int, count: int, index: int | None) -> None:
        """The mark at this place counts."""
        self._places.append(place)
        self._counts.append(count)
        self._indexes.append(_NO_INDEX if index is None else index)

    def __len__(self) -> int:
        return len(self._places)

    def span(self) -> tuple[int, ...]:
        """Index of the first and of the last; none where none counts."""
        return (min(self._indexes), max(self._indexes)) if self._indexes else ()

    def pick(self, source: Iterable[Item]) -> Iterator[tuple[Item, int, int | None]]:
        """Those that count, with count and index, of the same source again."""
        items = enumerate(source)
        for wanted, count, index in zip(self._places, self._counts, self._indexes, strict=True):
            item = next(item for place, item in items if place == wanted)
            yield item, count, None if index == _NO_INDEX else index


class Survey:
    """What an export has to know first. *tally* gets what is left out."""

    def __init__(
        self,
        store: Store,
        epochs: Sequence[KnownEpoch],
        selection: Selection,
        *,
        spooled: Spooled,
        tally: Tally,
        log: LogView | None,
    ) -> None:
        """Look at all marks; *store* must show the same until the last one is written. Raises ArchiveError, and what
        *spooled* and *log* raise."""
        self._store, self._epochs, self._selection, self._spooled = store, epochs, selection, spooled
        self._tally, self._log = tally, log
        self._starts = first_of_each(store, epochs, selection)
        self._shown: set[str] = set()
        self._sizes: set[int] = set()
        self._indexes = array("Q")
        self._beacons = Beacons(log.origin, log.read) if log else None
        self._verdicts = [self._look(epoch) for epoch in epochs]

    def first(self) -> int:
        """Position of the first epoch with a mark that counts; behind them all where none has."""
        found = (at for at, verdicts in enumerate(self._verdicts) if any(verdicts))
        return next(found, len(self._epochs))

    def named(self) -> list[int]:
        """The sizes of the checkpoints that marks and statements name, ascending."""
        return sorted(self._sizes)

    def notes(self) -> dict[int, str]:
        """By size, the texts of the checkpoints that devices have echoed."""
        return self._beacons.notes() if self._beacons else {}

    def indexes(self) -> list[int]:
        """Of the entries of all marks that count, ascending."""
        return sorted(self._indexes)

    def marks(self, position: int) -> Iterator[Counted]:
        """The marks of an epoch that count, in order; *position*: of the epoch in the list."""
        epoch, (held, unheld) = self._epochs[position], self._verdicts[position]
        both = heapq.merge(
            (Counted(*found) for found in held.pick(self._selected(epoch))),
            (
                Counted(Unheld(data, decode_mark(data)), count, index)
                for data, count, index in unheld.pick(self._spooled(epoch.number))
            ),
            key=lambda counted: counted.marked.sequence,
        )
        newest = 0
        for counted in both:
            if counted.marked.sequence == newest:
                self._tally.twice += 1
            else:
                newest = counted.marked.sequence
                yield counted

    def quotes(self) -> list[AttestationLine]:
        """Of each epoch with marks that count, the quotes nearest to them; in the order of the log."""
        found: list[AttestationLine] = []
        for epoch, both in zip(self._epochs, self._verdicts, strict=True):
            indexes = [index for verdicts in both for index in verdicts.span()]
            if self._log and indexes and epoch.signed.statement.attester:
                found += self._log.quotes(epoch.number, min(indexes), max(indexes))
        return found

    def _look(self, epoch: KnownEpoch) -> tuple[_Verdicts, _Verdicts]:
        held, unheld = _Verdicts(), _Verdicts()
        holes = Holes(self._look_at_held(epoch, held), self._shown, self._count(epoch))
        if holes:
            for place, found in holes.marks(self._spooled(epoch.number)):
                if (signed := genuine(found, epoch)) is None:
                    self._tally.not_genuine += 1
                else:
                    self._keep(unheld, place, epoch, signed)
        if self._shown:
            self._name(epoch.signed.statement.log_checkpoint)
        return held, unheld

    def _look_at_held(self, epoch: KnownEpoch, held: _Verdicts) -> Iterator[Mark]:
        """The genuine marks of the archive; those that count go to *held*."""
        for place, message in enumerate(self._selected(epoch)):
            if (signed := genuine(message, epoch)) is None:
                self._tally.not_genuine += 1
                continue
            yield signed.mark
            if not fits(MessageLine(message.topic, message.payload, message.mark)):
                self._tally.too_large += 1
            elif self._keep(held, place, epoch, signed) and self._beacons:
                self._beacons.echo(message.topic, message.payload, self._indexes[-1])

    def _keep(self, verdicts: _Verdicts, place: int, epoch: KnownEpoch, signed: SignedMark) -> bool:
        """Note that the mark counts, unless the log does not show it."""
        mark = signed.mark
        index = self._log.index(Kind.MARK, epoch.number, mark.sequence) if self._log else None
        if self._log and index is None:
            went_on = self._log.last > (epoch.number, mark.sequence)
            self._tally.unlogged += went_on
            self._tally.pending += not went_on
            return False
        verdicts.add(place, mark.count, index)
        self._shown.add(mark.principal)
        self._name(mark.checkpoint)
        if index is not None:
            self._indexes.append(index)
        return True

    def _name(self, checkpoint: Checkpoint) -> None:
        if checkpoint.size not in self._sizes:
            self._sizes.add(checkpoint.size)
            if self._beacons:
                self._beacons.name(checkpoint)

    def _selected(self, epoch: KnownEpoch) -> Iterator[Message]:
        return selected(self._store, epoch, self._selection, self._starts)

    def _count(self, epoch: KnownEpoch) -> Callable[[str], int]:
        """How many marks a principal had in this epoch by its newest heads; 0 where what comes last does not count."""
        heads = self._log.heads(epoch.number) if self._log and self._selection.is_open else None
        return (lambda principal: head_count(heads.prove(principal))) if heads else lambda _: 0


def head_count(proof: HeadProof) -> int:
    """How many marks of the principal the heads count."""
    return proof.head.count if isinstance(proof, PresenceProof) else 0
