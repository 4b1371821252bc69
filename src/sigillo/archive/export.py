"""From archive to evidence: which messages, in which order, with which epochs (spec/evidence.md).

The archive is untrusted, so each mark is verified under its epoch's key here: one that was forged (in a last will,
which the plugin does not see), or a good one on another message, must not spoil a file with good ones. The reader of
the file verifies everything again.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from sigillo.archive.log_view import LoggedHeads, LogView
from sigillo.archive.repeat import Holes, Recent, Unheld
from sigillo.archive.store import Message, Store
from sigillo.core.entry import Kind
from sigillo.core.epoch import SignedStatement, decode_epoch_end, decode_statement
from sigillo.core.errors import DecodeError, SignatureError
from sigillo.core.evidence import (
    CertificateLine,
    EndLine,
    EntryLine,
    EpochLine,
    Header,
    HeadLine,
    HeadsLine,
    Line,
    ManifestLine,
    MessageLine,
    RebuildLine,
    StopLine,
    Trailer,
    fits,
)
from sigillo.core.heads import HeadProof, PresenceProof, encode_head_proof
from sigillo.core.inclusion import end_proof, prove
from sigillo.core.mark import decode_mark, is_committed
from sigillo.core.signature import verify_by_epoch_key

_FOREVER = 2**63 - 1
BuildLine = ManifestLine | RebuildLine


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
    marks without a payload; `too_large`: for a line; `pending`: not in the log yet."""

    certificates: int = 0
    epochs: int = 0
    messages: int = 0
    repeats: int = 0
    not_held: int = 0
    not_genuine: int = 0
    twice: int = 0
    too_large: int = 0
    pending: int = 0


def export(
    store: Store,
    epochs: Sequence[KnownEpoch],
    selection: Selection,
    *,
    spooled: Spooled,
    certificates: Iterable[CertificateLine] = (),
    builds: Callable[[Sequence[KnownEpoch]], Iterable[BuildLine]] = lambda _: (),
    tally: Tally,
    progress: Callable[[], None],
    log: LogView | None = None,
) -> Generator[Line, None, None]:
    """The lines of an evidence file; *epochs* in ascending order. *progress* is called for each message.

    *certificates*: of the devices' signing keys, in any order, none twice; whoever reads the file judges them.

    *builds*: the lines of manifests and rebuild statements for the epochs from the first shown on, in their order.

    *spooled* is asked only where the archive has holes. With *log* the file has a log proof: what is not below its
    checkpoint is left out, and the messages are gone through twice, since a checkpoint is shown above the marks that
    name it. The trailer comes last, whatever was found: the caller looks at *tally*. Raises ArchiveError, and what
    *spooled* and *log* raise.
    """
    yield Header(log is not None)
    for certificate in sorted(certificates, key=lambda line: line.order):
        tally.certificates += 1
        yield certificate
    yield from builds(epochs[_first(store, epochs, selection) :])
    body = _Body(store, epochs, selection, spooled=spooled, tally=tally, progress=progress, log=log)
    if log is None:
        yield from body.lines()
        yield Trailer(tally.epochs, tally.messages, tally.certificates)
        return
    ahead = _Body(store, epochs, selection, spooled=spooled, tally=Tally(), progress=lambda: None, log=log)
    position = 0
    for line in prove(body.lines(), _named(ahead.lines()), log.read):
        if isinstance(line, EntryLine) and line.index is not None:
            position = line.index + 1
        elif isinstance(line, StopLine):
            position = line.size
        yield line
    trailer = Trailer(tally.epochs, tally.messages, tally.certificates, log.checkpoint)
    yield end_proof(trailer, position, log.size, log.read)


def _named(lines: Iterable[EntryLine | HeadLine]) -> Iterator[int]:
    """The sizes of the checkpoints that the lines name."""
    for line in lines:
        if isinstance(line, EpochLine):
            yield decode_statement(line.statement).statement.log_checkpoint.size
        elif isinstance(line, MessageLine):
            yield decode_mark(line.mark).mark.checkpoint.size


def _first(store: Store, epochs: Sequence[KnownEpoch], selection: Selection) -> int:
    """Position of the first epoch that has a message which counts; behind them all where none has."""
    starts = _starts(store, epochs, selection)
    found = (at for at, epoch in enumerate(epochs) if next(_selected(store, epoch, selection, starts), None))
    return next(found, len(epochs))


class _Body:
    """The epochs of a file with what they hold: messages, end and heads, in the order of the log."""

    def __init__(
        self,
        store: Store,
        epochs: Sequence[KnownEpoch],
        selection: Selection,
        *,
        spooled: Spooled,
        tally: Tally,
        progress: Callable[[], None],
        log: LogView | None,
    ) -> None:
        self._store, self._epochs, self._selection, self._spooled = store, epochs, selection, spooled
        self._tally, self._progress, self._log = tally, progress, log
        self._recent = Recent.none()
        self._shown: dict[str, tuple[int, int]] = {}  # by principal: epoch and count of its last mark in the file
        self._written = -1  # position of the newest epoch in the file
        self._heads: LoggedHeads | None = None  # of that epoch, not yet in the file

    def lines(self) -> Iterator[EntryLine | HeadLine]:
        """All of them; messages that do not fit a line, or are not in the log yet, are left out."""
        starts = _starts(self._store, self._epochs, self._selection)
        for position, epoch in enumerate(self._epochs):
            for message, payload in self._messages(epoch, starts):
                line = MessageLine(
                    message.topic, payload, message.mark, self._index(Kind.MARK, epoch, message.sequence)
                )
                if not fits(line):
                    self._tally.too_large += 1
                elif self._log and line.index is None:
                    self._tally.pending += 1
                else:
                    yield from self._open(position)
                    yield from self._heads_before(line.index)
                    yield self._message(line, epoch)
        if self._log and self._selection.is_open and self._shown:
            yield from self._open(len(self._epochs) - 1)
        yield from self._close()

    def _message(self, line: MessageLine, epoch: KnownEpoch) -> MessageLine:
        mark = decode_mark(line.mark).mark
        self._shown[mark.principal] = epoch.number, mark.count
        self._tally.messages += 1
        self._tally.not_held += line.payload is None
        self._progress()
        return line

    def _messages(self, epoch: KnownEpoch, starts: _Starts | None) -> Iterator[tuple[Message | Unheld, bytes | None]]:
        """The genuine marks of the epoch that count, each with its payload, that which it repeats, or none."""
        selected = partial(_selected, self._store, epoch, self._selection, starts)
        holes = Holes((held for held in selected() if is_genuine(held, epoch)), self._shown, self._count(epoch))
        unheld = holes.marks(self._spooled(epoch.number)) if holes else iter(())
        marks: Iterator[Message | Unheld] = heapq.merge(selected(), unheld, key=_sequence)
        for marked in _genuine(marks, epoch, self._tally):
            if isinstance(marked, Message):
                self._recent.remember(marked)
                yield marked, marked.payload
            elif original := self._recent.original(marked):
                self._tally.repeats += 1
                yield original, original.payload
            else:
                yield marked, None

    def _count(self, epoch: KnownEpoch) -> Callable[[str], int]:
        """How many marks a principal had in this epoch by its newest heads; 0 where what comes last does not count."""
        heads = self._log.heads(epoch.number) if self._log and self._selection.is_open else None
        return (lambda principal: _head_count(heads.prove(principal))) if heads else lambda _: 0

    def _index(self, kind: Kind, epoch: KnownEpoch, sequence: int) -> int | None:
        return self._log.index(kind, epoch.number, sequence) if self._log else None

    def _open(self, position: int) -> Iterator[EntryLine | HeadLine]:
        """The epochs up to this one that are not in the file, and what the one before has left."""
        first = position if self._written < 0 else self._written + 1
        for at in range(first, position + 1):
            epoch = self._epochs[at]
            index = self._index(Kind.EPOCH_STATEMENT, epoch, 0)
            if self._log and index is None:
                return  # it was stated and is not in the log yet; so is nothing of it
            yield from self._close()
            yield EpochLine(epoch.statement_bytes, index)
            self._written = at
            self._tally.epochs += 1
            self._heads = self._log.heads(epoch.number) if self._log else None

    def _close(self) -> Iterator[EntryLine | HeadLine]:
        """What comes after the messages of the newest epoch in the file: its end and heads."""
        if self._written < 0:
            return
        epoch = self._epochs[self._written]
        if epoch.end_bytes is not None:
            sequence = decode_epoch_end(epoch.end_bytes).end.last_sequence
            index = self._index(Kind.EPOCH_END, epoch, sequence)
            if self._log is None or index is not None:
                yield from self._heads_before(index)
                yield EndLine(epoch.end_bytes, index)
        yield from self._heads_before(2**64)

    def _heads_before(self, index: int | None) -> Iterator[EntryLine | HeadLine]:
        """The heads of the epoch, where they come before this entry and are not in the file."""
        heads = self._heads
        if heads is None or index is None or heads.index > index:
            return
        self._heads = None
        yield HeadsLine(heads.object_bytes, heads.index)
        number = self._epochs[self._written].number
        for principal in sorted(self._shown, key=str.encode):
            proof = heads.prove(principal)
            epoch, count = self._shown[principal]
            if self._selection.is_open or _head_count(proof) == (count if epoch == number else 0):
                yield HeadLine(principal, encode_head_proof(proof))


def _head_count(proof: HeadProof) -> int:
    return proof.head.count if isinstance(proof, PresenceProof) else 0


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
