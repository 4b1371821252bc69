"""A log in memory over a broker of the story: appends what that signed, proves what a file shows, lies as told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sigillo.core.attestation import AttestationEvidence, decode_attestation, encode_attestation
from sigillo.core.bytes import object_hash
from sigillo.core.checkpoint import TreeHead, decode_checkpoint, encode_checkpoint, sign_checkpoint
from sigillo.core.entry import Kind, LogEntry
from sigillo.core.epoch import decode_epoch_end, decode_statement
from sigillo.core.evidence_codec import encode_line
from sigillo.core.evidence_line import (
    AttestationLine,
    EndLine,
    EntryLine,
    EpochLine,
    Header,
    HeadLine,
    HeadsLine,
    Line,
    MessageLine,
    StopLine,
    TokenLine,
    Trailer,
)
from sigillo.core.heads import Head, HeadTable, encode_head_proof, encode_heads, head_of
from sigillo.core.inclusion import NO_NOTES, end_proof, prove
from sigillo.core.mark import Checkpoint, decode_mark
from sigillo.core.merkle import Read, subtree_reader, tree_root
from sigillo.core.note import LogKey
from sigillo.core.policy import Policy
from sigillo.core.quote import Subject
from sigillo.core.submitted import SUBMITTED
from sigillo.core.verdict import Verdict
from tests.adversary.tpm import LyingTpm

from .broker import NOW_NS, Broker, Signed
from .story import Story, outcome
from .tsa import Tsa


@dataclass
class LoggedHeads:
    """A heads entry: its epoch, its place, and all heads."""

    epoch: int
    index: int
    table: HeadTable


class Log:
    """The log of a broker. *entries* may be changed by a test: what is signed afterwards says so."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.entries: list[LogEntry] = []
        self.heads: list[LoggedHeads] = []
        self.tokens: list[TokenLine | AttestationLine] = []
        self.beacons: dict[int, str] = {}
        self._taken = 0
        self._epoch_id = b""
        self._last: dict[str, Head] = {}

    def append(self) -> None:
        """Take what the broker signed since; heads come after an epoch's end, or before the next statement."""
        for signed in self.broker.signed[self._taken :]:
            self._taken += 1
            if signed.entry.kind is Kind.EPOCH_STATEMENT:
                if self._epoch_id and not self._headed():
                    self.append_heads()
                self._epoch_id, self._last = signed.entry.object_hash, {}
            self.entries.append(signed.entry)
            self._remember(signed)
            if signed.entry.kind is Kind.EPOCH_END:
                self.append_heads()

    def _headed(self) -> bool:
        last = next(entry for entry in reversed(self.entries) if entry.kind not in SUBMITTED)
        return last.kind is Kind.HEADS

    def _remember(self, signed: Signed) -> None:
        if signed.entry.kind is Kind.MARK:
            mark = decode_mark(signed.object_bytes)
            self._last[mark.mark.principal] = head_of(mark)

    def append_heads(self, last: dict[str, Head] | None = None) -> LoggedHeads:
        """Heads of the newest epoch, as they are or as a lie has them."""
        epoch, heads = self.entries[-1].epoch, self._last if last is None else last
        sequence = max((head.last_sequence for head in heads.values()), default=0)
        table = HeadTable(self._epoch_id, sequence, heads)
        made = LoggedHeads(epoch, len(self.entries), table)
        self.entries.append(LogEntry(Kind.HEADS, epoch, sequence, table.heads.object_hash))
        self.heads.append(made)
        return made

    def anchor(self, tsa: Tsa, time_ns: int | None = None, note: str | None = None, **lies: Any) -> TokenLine:
        """A token over the log as it is, or over *note*, at the broker's time or another, as its next entry."""
        self.append()
        about = self.note() if note is None else note
        token = tsa.stamp(about.encode(), **{"time": gen_time(time_ns or self.broker.clock_ns), **lies})
        newest = self.entries[-1]
        line = TokenLine(token, about, (), newest.epoch, newest.sequence, len(self.entries))
        self.entries.append(LogEntry(Kind.TOKEN, newest.epoch, newest.sequence, object_hash("token", token)))
        self.tokens.append(line)
        return line

    def quote(self, tpm: LyingTpm, checkpoint: Checkpoint | None = None, **lies: Any) -> AttestationLine:
        """A quote over the log as it is, or over *checkpoint*, as its next entry. *lies*: fields of the attest."""
        self.append()
        subject = Subject(self._epoch_id, self.head().checkpoint if checkpoint is None else checkpoint)
        return self.enter(tpm.quote(subject, **lies))

    def enter(self, evidence: AttestationEvidence) -> AttestationLine:
        """Any evidence as the next entry."""
        self.append()
        newest = self.entries[-1]
        numbers = newest.epoch, newest.sequence
        line = AttestationLine(encode_attestation(evidence), *numbers, len(self.entries))
        self.entries.append(LogEntry(Kind.ATTESTATION_EVIDENCE, *numbers, evidence.object_hash))
        self.tokens.append(line)
        return line

    def beacon(self) -> bytes:
        """The hash of a checkpoint over all so far, which the file will show."""
        head = self.sign()
        signed = decode_checkpoint(self.note(head).encode())
        self.beacons[head.size] = signed.note.text
        return signed.beacon_hash

    @property
    def last(self) -> dict[str, Head]:
        """By principal, its head in the newest epoch."""
        return dict(self._last)

    def sign(self) -> TreeHead:
        """A checkpoint over all so far, which the broker sees."""
        self.append()
        self.broker.checkpoint = self.head().checkpoint
        return self.head()

    def head(self, size: int | None = None) -> TreeHead:
        """Tree head of the first entries, or of all."""
        size = len(self.entries) if size is None else size
        return TreeHead(self.broker.origin, size, tree_root(size, self.read))

    @property
    def read(self) -> Read:
        """The tree as it is now."""
        return subtree_reader([entry.leaf_hash for entry in self.entries])

    def note(
        self, head: TreeHead | None = None, key: LogKey | None = None, private: Ed25519PrivateKey | None = None
    ) -> str:
        """A signed checkpoint as text."""
        signed = sign_checkpoint(
            head or self.head(), key or self.broker.log_key, (private or self.broker.log_private).sign
        )
        return encode_checkpoint(signed).decode()

    def place(self, line: Line) -> Line:
        """The line with the index of its entry."""
        if isinstance(line, EpochLine):
            return replace(line, index=self._index(decode_statement(line.statement).epoch_id))
        if isinstance(line, MessageLine):
            return replace(line, index=self._index(decode_mark(line.mark).object_hash))
        if isinstance(line, EndLine):
            return replace(line, index=self._index(decode_epoch_end(line.end).object_hash))
        return line

    def _index(self, object_hash: bytes) -> int:
        return next(at for at, entry in enumerate(self.entries) if entry.object_hash == object_hash)

    def lines(self, lines: Iterable[Line] | None = None) -> list[Line]:
        """These lines of the broker, or all, in the order of the log, with the newest heads of each epoch."""
        placed = [self.place(line) for line in (self.broker.lines if lines is None else lines)]
        return self.with_heads(sorted([*placed, *self.tokens], key=_at) if self.tokens else placed)

    def with_heads(self, placed: Sequence[Line]) -> list[Line]:
        """The lines with the newest heads of each epoch that they show."""
        made: list[Line] = list(placed)
        shown = {self.entries[line.index].epoch for line in placed if isinstance(line, EpochLine) and line.index}
        shown |= {1} if any(isinstance(line, EpochLine) and line.index == 0 for line in placed) else set()
        for heads in {heads.epoch: heads for heads in self.heads if heads.epoch in shown}.values():
            at = next((at for at, line in enumerate(made) if _at(line) > heads.index), len(made))
            above = {decode_mark(line.mark).mark.principal for line in made[:at] if isinstance(line, MessageLine)}
            made[at:at] = [HeadsLine(encode_heads(heads.table.heads), heads.index), *self.head_lines(heads, above)]
        return made

    def head_lines(self, heads: LoggedHeads, principals: Iterable[str]) -> list[Line]:
        """Head proofs of these principals."""
        return [
            HeadLine(name, encode_head_proof(heads.table.prove(name))) for name in sorted(principals, key=str.encode)
        ]

    def file(self, lines: Iterable[Line] | None = None, **changes: Any) -> bytes:
        """The evidence file with these placed lines, or all, under a checkpoint over all."""
        parts = {"note": self.note(), "notes": self.beacons, **changes}
        return logged_file(list(self.lines() if lines is None else lines), self.read, **parts)


def gen_time(time_ns: int) -> bytes:
    """A time as RFC 3161 writes it: no trailing zero in the fraction."""
    moment = datetime.fromtimestamp(time_ns // 10**9, UTC)
    fraction = f".{time_ns % 10**9:09d}".rstrip("0").rstrip(".")
    return f"{moment:%Y%m%d%H%M%S}{fraction}Z".encode()


def _at(line: Line) -> int:
    return line.index or 0 if isinstance(line, EntryLine) else 0


def logged_file(
    lines: Sequence[Line],
    read: Read,
    note: str,
    *,
    size: int | None = None,
    named: Iterable[int] | None = None,
    notes: Mapping[int, str] = NO_NOTES,
) -> bytes:
    """Header, these lines with their proof, the trailer. *named*: where to stop; by default where lines name a size."""
    size = int(note.split("\n")[1]) if size is None else size
    body = [line for line in lines if isinstance(line, EntryLine | HeadLine)]
    sizes = sorted({*notes, *map(_named, body)}) if named is None else named
    proved = list(prove(body, sizes, read, notes))
    position = 0
    for line in proved:
        position = line.size if isinstance(line, StopLine) else max(position, _at(line) + 1)
    epochs = sum(isinstance(line, EpochLine) for line in body)
    messages = sum(isinstance(line, MessageLine) for line in body)
    trailer = end_proof(Trailer(epochs, messages, 0, note), position, size, read)
    return b"".join(encode_line(line) for line in (Header(log=True), *proved, trailer))


def _named(line: EntryLine | HeadLine) -> int:
    if isinstance(line, EpochLine):
        return decode_statement(line.statement).statement.log_checkpoint.size
    if isinstance(line, TokenLine):
        return decode_checkpoint(line.note.encode()).head.size
    if isinstance(line, AttestationLine):
        return decode_attestation(line.evidence).subject.checkpoint.size
    return decode_mark(line.mark).mark.checkpoint.size if isinstance(line, MessageLine) else 0


@dataclass
class LoggedStory(Story):
    """The story with a log beside the broker, which signs after each round."""

    def __post_init__(self) -> None:
        self.log = Log(self.broker)

    def publish(self, rounds: int = 1) -> None:
        for _ in range(rounds):
            super().publish()
            self.log.sign()

    def verdict(self, data: bytes | None = None, policy: Policy | None = None) -> Verdict:
        """The verdict on a file, by default the whole one."""
        self.log.append()
        result = outcome(self.log.file() if data is None else data, policy or self.policy, NOW_NS)
        assert isinstance(result, Verdict), result
        return result


def logged() -> LoggedStory:
    """Two epochs, six messages of three trackers in the first, three in the second; both end cleanly, all is logged."""
    story = LoggedStory()
    story.publish(2)
    story.broker.stop()
    story.log.sign()
    story.broker.start()
    story.publish()
    story.broker.stop()
    story.log.sign()
    return story
