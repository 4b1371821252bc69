"""Which messages an evidence file shows, and of which epochs it knows; and what became of them, counted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from sigillo.archive.repeat import Unheld
from sigillo.archive.store import Message, Store
from sigillo.core.epoch import SignedStatement, decode_statement
from sigillo.core.errors import DecodeError, SignatureError
from sigillo.core.mark import SignedMark, decode_mark, is_committed
from sigillo.core.signature import verify_by_epoch_key

_FOREVER = 2**63 - 1


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
    to_ns: int = _FOREVER

    @property
    def is_open(self) -> bool:
        """Whether everything from the first message on is asked for: then what comes after the last one counts too."""
        return self.to_ns >= _FOREVER


@dataclass(slots=True)
class Tally:
    """What was exported and what was left out. `twice`: further marks with one sequence, signed by the epoch's key;
    `repeats`: of the messages, those the broker marked again but did not deliver again; `not_held`: of the messages,
    marks without a payload; `too_large`: for a line; `pending`: not in the log yet; `unlogged`: not in the log, which
    went on without them."""

    certificates: int = 0
    epochs: int = 0
    messages: int = 0
    repeats: int = 0
    not_held: int = 0
    not_genuine: int = 0
    twice: int = 0
    too_large: int = 0
    pending: int = 0
    unlogged: int = 0


Spooled = Callable[[int], Iterable[bytes]]
"""Epoch number → all marks that its spool still holds, tagged, in order; not verified."""

_Starts = dict[str, tuple[int, int]]
"""By device: epoch number and sequence of the first message that counts."""


def genuine(marked: Message | Unheld, epoch: KnownEpoch) -> SignedMark | None:
    """The mark, where the key of this epoch signed it and, of a message, it is the mark of its topic and payload."""
    try:
        signed = decode_mark(marked.mark)
        verify_by_epoch_key(signed, epoch.signed.statement, epoch.signed.epoch_id)
    except (DecodeError, SignatureError):
        return None
    if isinstance(marked, Unheld):
        return signed
    mark = signed.mark
    known = (marked.topic, marked.principal, marked.sequence) == (mark.topic, mark.principal, mark.sequence)
    return signed if known and is_committed(signed, marked.payload) else None


def selected(store: Store, epoch: KnownEpoch, selection: Selection, starts: _Starts | None) -> Iterator[Message]:
    """The messages of an epoch that are asked for, in the order of their sequence; *starts*: of `first_of_each`."""
    for message in store.messages(epoch.signed.epoch_id, selection.devices):
        if not selection.from_ns <= message.time_ns <= selection.to_ns:
            continue
        if starts is not None and (epoch.number, message.sequence) < starts.get(message.principal, (2**64, 0)):
            continue
        yield message


def first_of_each(store: Store, epochs: Sequence[KnownEpoch], selection: Selection) -> _Starts | None:
    """With which message the last n of each device begin; None where all are asked for."""
    if selection.last is None:
        return None
    starts: _Starts = {}
    for device in selection.devices:
        left = selection.last
        for epoch in reversed(epochs):
            for message in store.messages(epoch.signed.epoch_id, [device], newest_first=True):
                if left and starts.get(device) != (epoch.number, message.sequence) and genuine(message, epoch):
                    starts[device] = (epoch.number, message.sequence)
                    left -= 1
                if not left:
                    break
            if not left:
                break
    return starts


def newest(store: Store, epochs: Sequence[KnownEpoch], selection: Selection) -> tuple[int, int] | None:
    """Epoch number and sequence of the newest genuine message that is asked for, or None. Raises ArchiveError."""
    for epoch in reversed(epochs):
        for message in store.messages(epoch.signed.epoch_id, selection.devices, newest_first=True):
            if selection.from_ns <= message.time_ns <= selection.to_ns and genuine(message, epoch):
                return epoch.number, message.sequence
    return None
