"""From archive to evidence: which messages, in which order, with which epochs (spec/evidence.md).

The archive is untrusted, so each mark is verified under its epoch's key here: one that was forged (in a last will,
which the plugin does not see), or a good one on another message, must not spoil a file with good ones. The reader of
the file verifies everything again.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass

from sigillo.archive.repeat import Holes, Recent, Unheld
from sigillo.archive.store import Message, Store
from sigillo.core.epoch import SignedStatement, decode_statement
from sigillo.core.errors import DecodeError, SignatureError
from sigillo.core.evidence import CertificateLine, EpochLine, Header, Line, MessageLine, Trailer, fits
from sigillo.core.mark import decode_mark, is_committed
from sigillo.core.signature import verify_by_epoch_key


@dataclass(frozen=True, slots=True)
class KnownEpoch:
    """An epoch as stored by the operator: countersigned statement, and its end where known."""

    statement_bytes: bytes
    end_bytes: bytes | None
    signed: SignedStatement

    @classmethod
    def decode(cls, statement_bytes: bytes, end_bytes: bytes | None) -> KnownEpoch:
        """Raises DecodeError."""
        return cls(statement_bytes, end_bytes, decode_statement(statement_bytes))

    @property
    def number(self) -> int:
        """Its number."""
        return self.signed.statement.number


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which messages: of *devices*; the *last* n of each, or those marked in *from_ns*…*to_ns* (Unix time, both in)."""

    devices: tuple[str, ...]
    last: int | None = None
    from_ns: int = 0
    to_ns: int = 2**63 - 1


@dataclass(slots=True)
class Tally:
    """What was exported and what was left out. `twice`: further marks with one sequence, signed by the epoch's key;
    `repeats`: of the messages, those the broker marked again but did not deliver again; `too_large`: for a line."""

    certificates: int = 0
    epochs: int = 0
    messages: int = 0
    repeats: int = 0
    not_genuine: int = 0
    twice: int = 0
    too_large: int = 0


def export(
    store: Store,
    epochs: Sequence[KnownEpoch],
    selection: Selection,
    *,
    spooled: Spooled,
    certificates: Iterable[CertificateLine] = (),
    tally: Tally,
    progress: Callable[[], None],
) -> Generator[Line, None, None]:
    """The lines of an evidence file; *epochs* in ascending order. *progress* is called for each message.

    *certificates*: of the devices' signing keys, in any order, none twice; whoever reads the file judges them.

    *spooled* is asked only where the archive has holes. The trailer comes last, whatever was found: the caller looks
    at *tally*. Raises ArchiveError, and what *spooled* raises.
    """
    yield Header()
    for certificate in sorted(certificates, key=lambda line: line.order):
        tally.certificates += 1
        yield certificate
    starts = _starts(store, epochs, selection)
    recent = Recent.none()
    written = -1  # position of the newest epoch in the file
    for position, epoch in enumerate(epochs):
        holes = Holes(held for held in _selected(store, epoch, selection, starts) if is_genuine(held, epoch))
        held = _selected(store, epoch, selection, starts)
        unheld = holes.marks(spooled(epoch.number)) if holes else iter(())
        marks: Iterator[Message | Unheld] = heapq.merge(held, unheld, key=_sequence)
        for message in _with_payload(_genuine(marks, epoch, tally), recent, tally):
            line = MessageLine(message.topic, message.payload, message.mark)
            if not fits(line):
                tally.too_large += 1
                continue
            if written < position:
                for missing in epochs[written + 1 if written >= 0 else position : position + 1]:
                    tally.epochs += 1
                    yield EpochLine(missing.statement_bytes, missing.end_bytes)
                written = position
            tally.messages += 1
            progress()
            yield line
    yield Trailer(tally.epochs, tally.messages, tally.certificates)


def is_genuine(marked: Message | Unheld, epoch: KnownEpoch) -> bool:
    """Whether the mark is signed by the key of this epoch and, of a message, is the mark of its topic and payload."""
    try:
        signed = decode_mark(marked.mark)
        verify_by_epoch_key(signed, epoch.signed.statement, epoch.signed.epoch_id)
    except (DecodeError, SignatureError):
        return False
    if isinstance(marked, Unheld):
        return True
    return marked.topic == signed.mark.topic and is_committed(signed, marked.payload)


Spooled = Callable[[int], Iterable[bytes]]
"""Epoch number → all marks that its spool still holds, tagged, in order; not verified."""

_Starts = dict[str, tuple[int, int]]
"""By device: epoch number and sequence of the first message that counts."""


def _selected(store: Store, epoch: KnownEpoch, selection: Selection, starts: _Starts | None) -> Iterator[Message]:
    for message in store.messages(epoch.signed.epoch_id, selection.devices):
        if not selection.from_ns <= message.time_ns <= selection.to_ns:
            continue
        if starts is not None and (epoch.number, message.sequence) < starts.get(message.principal, (2**64, 0)):
            continue
        yield message


def _sequence(marked: Message | Unheld) -> int:
    return marked.sequence


def _genuine(marks: Iterable[Message | Unheld], epoch: KnownEpoch, tally: Tally) -> Iterator[Message | Unheld]:
    newest = 0
    for marked in marks:
        if not is_genuine(marked, epoch):
            tally.not_genuine += 1
        elif marked.sequence == newest:
            tally.twice += 1
        else:
            newest = marked.sequence
            yield marked


def _with_payload(marks: Iterable[Message | Unheld], recent: Recent, tally: Tally) -> Iterator[Message]:
    """The messages; a mark without one is shown with the payload that it repeats, or else left out."""
    for marked in marks:
        if isinstance(marked, Message):
            recent.remember(marked)
            yield marked
        elif original := recent.original(marked):
            tally.repeats += 1
            yield original


def _starts(store: Store, epochs: Sequence[KnownEpoch], selection: Selection) -> _Starts | None:
    if selection.last is None:
        return None
    starts: _Starts = {}
    for device in selection.devices:
        left = selection.last
        for epoch in reversed(epochs):
            for message in store.messages(epoch.signed.epoch_id, [device], newest_first=True):
                if left and is_genuine(message, epoch) and starts.get(device) != (epoch.number, message.sequence):
                    starts[device] = (epoch.number, message.sequence)
                    left -= 1
                if not left:
                    break
            if not left:
                break
    return starts
