"""From archive to evidence: which lines, in which order (spec/evidence.md). Whoever reads them verifies everything."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

from sigillo.archive.anchor import nearest
from sigillo.archive.log_view import LoggedHeads, LogView
from sigillo.archive.repeat import Recent
from sigillo.archive.selection import KnownEpoch, Selection, Spooled, Tally
from sigillo.archive.store import Message, Store
from sigillo.archive.survey import Counted, Survey, head_count
from sigillo.core.attestation import decode_attestation
from sigillo.core.entry import Kind
from sigillo.core.epoch import decode_epoch_end
from sigillo.core.evidence_codec import fits
from sigillo.core.evidence_line import (
    CertificateLine,
    EndLine,
    EntryLine,
    EpochLine,
    Header,
    HeadLine,
    HeadsLine,
    Line,
    MessageLine,
    SharedLine,
    StopLine,
    Trailer,
    shared_order,
)
from sigillo.core.heads import encode_head_proof
from sigillo.core.inclusion import end_proof, prove


def export(
    store: Store,
    epochs: Sequence[KnownEpoch],
    selection: Selection,
    *,
    spooled: Spooled,
    certificates: Iterable[CertificateLine] = (),
    shared: Callable[[Sequence[KnownEpoch]], Iterable[SharedLine]] = lambda _: (),
    tally: Tally,
    progress: Callable[[], None],
    log: LogView | None = None,
) -> Generator[Line, None, None]:
    """The lines of an evidence file; *epochs* in ascending order. *progress* is called for each message.

    *certificates*: of the devices' signing keys, in any order, none twice; whoever reads the file judges them.

    *shared*: what the epochs from the first shown on share, below the certificates, in the order of an evidence file.

    *spooled* is asked only where the archive has holes. With *log* the file has a log proof, and what is not below its
    checkpoint is left out. The trailer comes last, whatever was found: the caller looks at *tally*. Raises
    ArchiveError, and what *spooled* and *log* raise.
    """
    yield Header(log is not None)
    for certificate in sorted(certificates, key=shared_order):
        tally.certificates += 1
        yield certificate
    with store.snapshot():
        survey = Survey(store, epochs, selection, spooled=spooled, tally=tally, log=log)
        yield from shared(epochs[survey.first() :])
        lines = _Body(survey, epochs, selection, tally=tally, progress=progress, log=log).lines()
        if log is None:
            yield from lines
            yield Trailer(tally.epochs, tally.messages, tally.certificates)
            return
        notes = survey.notes()
        named = sorted({*survey.named(), *notes})
        tokens = nearest(log.tokens(min(named, default=0)), named, survey.indexes())
        quotes = survey.quotes()
        quoted = (decode_attestation(quote.evidence).subject.checkpoint.size for quote in quotes)
        sizes = sorted({*named, *(token.size for token in tokens), *quoted} - {0})
        position = 0
        beside: list[EntryLine] = [*(log.token(token.index) for token in tokens), *quotes]
        for line in prove(_with(lines, iter(sorted(beside, key=_index))), sizes, log.read, notes):
            if isinstance(line, EntryLine) and line.index is not None:
                position = line.index + 1
            elif isinstance(line, StopLine):
                position = line.size
            yield line
    trailer = Trailer(tally.epochs, tally.messages, tally.certificates, log.checkpoint)
    yield end_proof(trailer, position, log.size, log.read)


def _index(line: EntryLine) -> int:
    return -1 if line.index is None else line.index


def _with(lines: Iterable[EntryLine | HeadLine], beside: Iterator[EntryLine]) -> Iterator[EntryLine | HeadLine]:
    """The lines, with those *beside* them (tokens, quotes) where the log has them."""
    following = next(beside, None)
    for line in lines:
        while following and isinstance(line, EntryLine) and _index(following) < _index(line):
            yield following
            following = next(beside, None)
        yield line
    if following:
        yield following
    yield from beside


class _Body:
    """The epochs of a file with what they hold: messages, end and heads, in the order of the log."""

    def __init__(
        self,
        survey: Survey,
        epochs: Sequence[KnownEpoch],
        selection: Selection,
        *,
        tally: Tally,
        progress: Callable[[], None],
        log: LogView | None,
    ) -> None:
        self._survey, self._epochs, self._selection = survey, epochs, selection
        self._tally, self._progress, self._log = tally, progress, log
        self._recent = Recent.none()
        self._shown: dict[str, tuple[int, int]] = {}  # by principal: epoch and count of its last mark in the file
        self._written = -1  # position of the newest epoch in the file
        self._heads: LoggedHeads | None = None  # of that epoch, not yet in the file

    def lines(self) -> Iterator[EntryLine | HeadLine]:
        """All of them; messages that do not fit a line, or are not in the log yet, are left out."""
        for position, epoch in enumerate(self._epochs):
            for counted in self._survey.marks(position):
                line, repeats = self._message(counted)
                if not fits(line):
                    self._tally.too_large += 1
                    continue
                yield from self._open(position)
                yield from self._heads_before(line.index)
                yield line
                self._shown[counted.marked.principal] = epoch.number, counted.count
                self._tally.messages += 1
                self._tally.repeats += repeats
                self._tally.not_held += line.payload is None
                self._progress()
        if self._log and self._selection.is_open and self._shown:
            yield from self._open(len(self._epochs) - 1)
        yield from self._close()

    def _message(self, counted: Counted) -> tuple[MessageLine, bool]:
        """The line of a mark, with its payload, that which it repeats, or none; and whether it repeats one."""
        marked, repeats = counted.marked, False
        if isinstance(marked, Message):
            self._recent.remember(marked)
        elif original := self._recent.original(marked):
            marked, repeats = original, True
        payload = marked.payload if isinstance(marked, Message) else None
        return MessageLine(marked.topic, payload, marked.mark, counted.index), repeats

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
            if self._selection.is_open or head_count(proof) == (count if epoch == number else 0):
                yield HeadLine(principal, encode_head_proof(proof))
