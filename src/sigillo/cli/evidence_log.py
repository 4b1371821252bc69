"""The operator's log as the archive's export asks for it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import islice
from pathlib import Path

from sigillo.archive.log_view import LoggedHeads, LoggedToken, LogView
from sigillo.core.attestation import AttestationEvidence, decode_attestation
from sigillo.core.checkpoint import encode_checkpoint
from sigillo.core.cosignature import WitnessKey, verify_cosignature
from sigillo.core.entry import Kind
from sigillo.core.errors import SignatureError
from sigillo.core.evidence_line import AttestationLine, TokenLine
from sigillo.core.heads import encode_heads
from sigillo.log.anchor import AnchorReader
from sigillo.log.public import CHECKPOINT
from sigillo.log.reader import LogReader, read_vkey

_BLOCK = 256


class OperatorLog:
    """`DIR/log` up to one checkpoint: the newest when it was made, or the newest that witnesses have cosigned.

    *missed_before*: the first entry whose object is kept, where an object before it was asked for.
    """

    def __init__(self, reader: LogReader) -> None:
        """Use `find` or `find_cosigned`."""
        self._reader, self._public = reader, reader.public
        self._anchors = AnchorReader(reader.folder)
        self.size = reader.checkpoint.head.size
        self.missed_before: int | None = None

    @classmethod
    def find(cls, folder: Path) -> OperatorLog | None:
        """The log in *folder*, `DIR/log`; None where none was begun. Raises LogError."""
        begun = (folder / "public" / CHECKPOINT).exists()
        return cls(LogReader(folder, read_vkey(folder))) if begun else None

    @classmethod
    def find_cosigned(cls, folder: Path) -> OperatorLog | None:
        """The log in *folder* as far as witnesses have cosigned it; None where they have not. Raises LogError."""
        reader = LogReader(folder, read_vkey(folder))
        return cls(reader) if reader.go_to_cosigned() else None

    def place(self, mark: tuple[int, int]) -> int:
        """Index of the mark of this epoch and sequence, or of what took its place if it was never logged; the size
        where the log has not come there. Raises LogError."""
        return bisect_left(range(self.size), mark, key=self._number)

    def has_token_over(self, index: int, tsa: str) -> bool:
        """Whether it shows a token of this TSA over its entry number *index*. Raises LogError."""
        return any(token.size > index and token.tsa == tsa for token in self._tokens_from(index))

    def has_heads_over(self, index: int) -> bool:
        """Whether heads come after its entry number *index*. Raises LogError."""
        return any(entry[0] == Kind.HEADS for entry in self._public.entry_bytes(index + 1, self.size))

    def awaits_quote_over(self, index: int) -> bool:
        """Whether the epoch of its entry number *index* still runs, and no quote is over it. Raises LogError."""
        epoch = self._public.entry(index).epoch
        entries = [entry[0] for entry in self._public.entry_bytes(index, self.size)]
        if Kind.EPOCH_END in entries or Kind.EPOCH_STATEMENT in entries[1:]:
            return False
        quotes = self._quotes_in(max(index, self._reader.first_kept), self._end(epoch))
        return not any(decode_attestation(quote.evidence).subject.checkpoint.size > index for quote in quotes)

    def first_quotes(self, epochs: Iterable[int]) -> list[AttestationEvidence]:
        """The first quote that is kept of each of these epochs. Raises LogError."""
        found = []
        for epoch in epochs:
            begin = self._public.find(Kind.EPOCH_STATEMENT, epoch, 0)
            if begin is not None:
                end = self._end(epoch)
                quotes = self._quotes_in(min(max(begin, self._reader.first_kept), end), end)
                found += [decode_attestation(quote.evidence) for quote in islice(quotes, 1)]
        return found

    def cosigners(self, witnesses: Iterable[WitnessKey]) -> int:
        """How many of these have cosigned its checkpoint."""
        return sum(map(self._is_cosigned, witnesses))

    def view(self) -> LogView:
        """What the export reads."""
        checkpoint = self._reader.checkpoint
        return LogView(
            origin=checkpoint.head.origin,
            checkpoint=encode_checkpoint(checkpoint).decode("utf-8"),
            size=self.size,
            last=self._number(self.size - 1) if self.size else (0, 0),
            read=self._public.read,
            index=self._public.find,
            heads=lru_cache(maxsize=2)(self._heads),
            tokens=self._tokens,
            token=self._token,
            quotes=self._quotes,
        )

    def marks(self, epoch: int) -> Iterator[bytes]:
        """All marks of an epoch that the mark store still has, tagged, in order. Raises LogError."""
        begin = self._public.find(Kind.EPOCH_STATEMENT, epoch, 0)
        if begin is not None:
            for record in self._reader.records(self._kept(begin), max(self._end(epoch), self._reader.first_kept)):
                if record.entry[0] == Kind.MARK:
                    yield record.object_bytes

    def _number(self, index: int) -> tuple[int, int]:
        """Epoch and sequence of an entry: in the order of the log they never fall."""
        entry = self._public.entry(index)
        return entry.epoch, entry.sequence

    def _is_cosigned(self, witness: WitnessKey) -> bool:
        try:
            verify_cosignature(self._reader.checkpoint.note, witness)
        except SignatureError:
            return False
        return True

    def _kept(self, begin: int) -> int:
        first = self._reader.first_kept
        if begin < first:
            self.missed_before = first
        return max(begin, first)

    def _end(self, epoch: int) -> int:
        """The first entry after this epoch."""
        return bisect_right(range(self.size), epoch, key=lambda index: self._public.entry(index).epoch)

    def _tokens(self, size: int) -> Iterator[LoggedToken]:
        return self._tokens_from(self._anchors.reach(size))

    def _tokens_from(self, begin: int) -> Iterator[LoggedToken]:
        for anchor in self._anchors.anchors(begin):
            if anchor.index >= self.size:
                return
            yield LoggedToken(anchor.index, anchor.size, anchor.tsa)

    def _token(self, index: int) -> TokenLine:
        anchor = next(self._anchors.anchors(index))
        note = anchor.note_bytes.decode("utf-8")
        return TokenLine(anchor.token, note, anchor.chain, *self._number(index), index, crls=anchor.crls)

    def _quotes(self, epoch: int, first: int, last: int) -> list[AttestationLine]:
        begin, opening = self._public.find(Kind.EPOCH_STATEMENT, epoch, 0), None
        if begin is None:
            return []
        for quote in self._quotes_in(max(begin, self._reader.first_kept), self._end(epoch)):
            if quote.index is not None and quote.index < first:
                opening = quote
            elif decode_attestation(quote.evidence).subject.checkpoint.size > last:
                return [opening, quote] if opening else [quote]
        return [opening] if opening else []

    def _quotes_in(self, begin: int, end: int) -> Iterator[AttestationLine]:
        for index, entry in enumerate(self._public.entry_bytes(begin, end), start=begin):
            if entry[0] == Kind.ATTESTATION_EVIDENCE:
                (record,) = self._reader.records(index, index + 1)
                yield AttestationLine(record.object_bytes, *self._number(index), index)

    def _heads(self, epoch: int) -> LoggedHeads | None:
        end = self._end(epoch)
        while end > 0:
            begin = max(end - _BLOCK, 0)
            entries = list(self._public.entries(begin, end))
            for index in range(end - 1, begin - 1, -1):
                entry = entries[index - begin]
                if entry.epoch != epoch:
                    return None
                if entry.kind is Kind.HEADS:
                    begin_of_epoch = self._public.find(Kind.EPOCH_STATEMENT, epoch, 0)
                    if begin_of_epoch is None or self._kept(begin_of_epoch) > begin_of_epoch:
                        return None
                    table = self._reader.head_table(index)
                    return LoggedHeads(index, encode_heads(table.heads), table.prove)
            end = begin
        return None
