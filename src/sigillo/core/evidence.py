"""The evidence file: newline-delimited canonical JSON, plain or gzip (spec/evidence.md).

Reading is a stream of bounded parts: chunks of bytes (any size, from whoever does the I/O) → lines of at most
2 MiB (:mod:`sigillo.core.line`) → typed lines. Nothing here is trusted yet; :mod:`sigillo.core.verify` does that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

from sigillo.core.bytes import base64url_decode, base64url_encode
from sigillo.core.canonical import canonical_object, encode_object
from sigillo.core.certificate import MAX_CERTIFICATE, MAX_CHAIN
from sigillo.core.checkpoint import SignedCheckpoint, TreeHead, decode_checkpoint, decode_tree_head
from sigillo.core.errors import DecodeError, MerkleError
from sigillo.core.field import HASH_SIZE, UINT32_MAX
from sigillo.core.line import MAX_LINE
from sigillo.core.merkle import decompose
from sigillo.core.revocation import MAX_CRL, MAX_CRLS

FORMAT = "sigillo-evidence"
VERSION = 1
MAX_CERTIFICATES = 16
"""Certificate lines of one device."""
MAX_TOKEN_CHAIN = 8
"""Certificates beside a time-stamp token."""
MAX_MANIFESTS = 16
MAX_REBUILDS = 64
MAX_PROOF = 8192
"""Bytes that index and skip add to a line at most: 127 hashes."""


Skip = tuple[bytes, ...]
"""Hashes of the cover of the log's entries between two lines, which the file does not show (spec/log.md)."""


@dataclass(frozen=True, slots=True)
class Header:
    """The first line. *log*: the lines are a streamed proof of one log, and stand in its order."""

    log: bool = False
    kind: Literal["header"] = "header"


@dataclass(frozen=True, slots=True)
class CertificateLine:
    """A certificate of a device's signing key: a chain of DER certificates, its own first, without its maker's CA."""

    device: str
    chain: tuple[bytes, ...]
    kind: Literal["certificate"] = "certificate"

    @property
    def order(self) -> tuple[bytes, tuple[bytes, ...]]:
        """What lines of this kind ascend by."""
        return self.device.encode(), self.chain


@dataclass(frozen=True, slots=True)
class ManifestLine:
    """A build manifest (text of its file)."""

    manifest: str
    kind: Literal["manifest"] = "manifest"


@dataclass(frozen=True, slots=True)
class RebuildLine:
    """A rebuild statement (text of its file) about a manifest above it."""

    statement: str
    kind: Literal["rebuild"] = "rebuild"


@dataclass(frozen=True, slots=True)
class EpochLine:
    """An epoch's countersigned statement (tagged COSE_Sign1). *index*: of its entry, where the file has a log proof."""

    statement: bytes
    index: int | None = None
    skip: Skip = ()
    kind: Literal["epoch"] = "epoch"


@dataclass(frozen=True, slots=True)
class MessageLine:
    """A message: topic and payload as delivered, and its tagged time mark with the salt.

    Without a payload it is a mark that is admitted, not held: nobody kept the message.
    """

    topic: str
    payload: bytes | None
    mark: bytes
    index: int | None = None
    skip: Skip = ()
    kind: Literal["message"] = "message"


@dataclass(frozen=True, slots=True)
class EndLine:
    """The end of the epoch above it (tagged COSE_Sign1)."""

    end: bytes
    index: int | None = None
    skip: Skip = ()
    kind: Literal["end"] = "end"


@dataclass(frozen=True, slots=True)
class HeadsLine:
    """A heads object of the epoch above it; only where the file has a log proof."""

    heads: bytes
    index: int | None
    skip: Skip = ()
    kind: Literal["heads"] = "heads"


@dataclass(frozen=True, slots=True)
class HeadLine:
    """A head proof of one principal under the heads above it. It stands for no entry of the log."""

    principal: str
    proof: bytes
    kind: Literal["head"] = "head"


@dataclass(frozen=True, slots=True)
class TokenLine:
    """A time-stamp token (DER) over a signed note of the log (text). *chain*: DER certificates that the token lacks.

    *epoch* and *sequence* are those of its entry: the file may show neither. *crls*: DER revocation lists.
    """

    token: bytes
    note: str
    chain: tuple[bytes, ...]
    epoch: int
    sequence: int
    index: int | None
    skip: Skip = ()
    crls: tuple[bytes, ...] = ()
    kind: Literal["token"] = "token"


@dataclass(frozen=True, slots=True)
class StopLine:
    """The log had this root (32 bytes) when it had this size: a checkpoint that a line below names."""

    size: int
    root: bytes
    skip: Skip = ()
    kind: Literal["stop"] = "stop"


@dataclass(frozen=True, slots=True)
class CheckpointLine:
    """Text of a checkpoint's note, without signatures: what a beacon is the hash of. Below the stop of its size."""

    note: str
    kind: Literal["checkpoint"] = "checkpoint"


@dataclass(frozen=True, slots=True)
class Trailer:
    """The last line: how many epoch, message and certificate lines the file has, and the log's signed checkpoint."""

    epochs: int
    messages: int
    certificates: int = 0
    checkpoint: str | None = None
    skip: Skip = ()
    kind: Literal["trailer"] = "trailer"


EntryLine = EpochLine | MessageLine | EndLine | HeadsLine | TokenLine
"""A line that stands for an entry of the log."""

Line = (
    Header | CertificateLine | ManifestLine | RebuildLine | EntryLine | HeadLine | StopLine | CheckpointLine | Trailer
)


@dataclass(frozen=True, slots=True)
class NumberedLine:
    """A line and its number in the file, from 1."""

    number: int
    line: Line


def decode_lines(lines: Iterable[bytes]) -> Iterator[NumberedLine]:
    """Decode the lines of an evidence file (without LF), in order, one at a time.

    Checks what one can see without looking into the objects: canonical JSON, members and types, the header first, then
    certificates, manifests and rebuild statements in their order, an epoch before the first message, at least one
    message, the trailer last with the right counts; of a log proof that its lines ascend and every skip has as many
    hashes as it takes.

    Raises:
        DecodeError: naming line and member.
    """
    read = _Read()
    for number, data in enumerate(lines, start=1):
        if isinstance(read.last, Trailer):
            raise DecodeError(f"line {number}", "stands after the trailer")
        line = decode_line(data, number)
        read.add(line, number)
        yield NumberedLine(number, line)
    if not isinstance(read.last, Trailer):
        raise DecodeError(f"line {read.lines + 1}", "the trailer is missing: the file is cut off")


@dataclass(slots=True)
class _Read:
    """What was read so far, and that the next line may follow it."""

    last: Line | None = None
    lines: int = 0
    epochs: int = 0
    messages: int = 0
    certificates: int = 0
    manifests: int = 0
    rebuilds: int = 0
    of_device: int = 0  # certificate lines in a row that are of the same device
    ended: bool = False  # the newest epoch has its end
    log: bool = False
    position: int = 0  # entries of the log passed so far
    stopped: int = 0  # size of the newest stop

    def add(self, line: Line, number: int) -> None:
        where = f"line {number}"
        if (self.last is None) != isinstance(line, Header):
            raise DecodeError(where, "the header must be the first line, and only there")
        if isinstance(line, Header):
            self.log = line.log
        elif isinstance(line, CertificateLine):
            self._certificate(line, where)
        elif isinstance(line, ManifestLine):
            self._manifest(line, where)
        elif isinstance(line, RebuildLine):
            self._rebuild(line, where)
        elif isinstance(line, Trailer):
            self._trailer(line, where)
        elif isinstance(line, HeadLine):
            self._head(line, where)
        elif isinstance(line, StopLine):
            self._stop(line, where)
        elif isinstance(line, CheckpointLine):
            self._checkpoint(line, where)
        else:
            self._entry(line, where)
        self.last, self.lines = line, number

    def _certificate(self, line: CertificateLine, where: str) -> None:
        before = self.last if isinstance(self.last, CertificateLine) else None
        if not isinstance(self.last, Header | CertificateLine) or (before and before.order >= line.order):
            raise DecodeError(where, "certificates stand after the header, each once, in order of device and bytes")
        self.of_device = self.of_device + 1 if before and before.device == line.device else 1
        if self.of_device > MAX_CERTIFICATES:
            raise DecodeError(where, f"is one more than {MAX_CERTIFICATES} certificates of one device")
        self.certificates += 1

    def _manifest(self, line: ManifestLine, where: str) -> None:
        before = self.last.manifest.encode() if isinstance(self.last, ManifestLine) else b""
        if not isinstance(self.last, Header | CertificateLine | ManifestLine) or before >= line.manifest.encode():
            raise DecodeError(where, "manifests stand after the certificates, each once, in order of their bytes")
        self.manifests += 1
        if self.manifests > MAX_MANIFESTS:
            raise DecodeError(where, f"is one more than {MAX_MANIFESTS} manifests")

    def _rebuild(self, line: RebuildLine, where: str) -> None:
        before = self.last.statement.encode() if isinstance(self.last, RebuildLine) else b""
        if not isinstance(self.last, ManifestLine | RebuildLine) or before >= line.statement.encode():
            raise DecodeError(where, "rebuild statements stand after the manifests, each once, in order of their bytes")
        self.rebuilds += 1
        if self.rebuilds > MAX_REBUILDS:
            raise DecodeError(where, f"is one more than {MAX_REBUILDS} rebuild statements")

    def _entry(self, line: EntryLine, where: str) -> None:
        if isinstance(line, EpochLine):
            self.epochs, self.ended = self.epochs + 1, False
        elif isinstance(line, TokenLine):
            self._token(line, where)
        elif not self.epochs:
            article = "an" if line.kind == "end" else "a"
            raise DecodeError(where, f"{article} {line.kind} line stands before the first epoch")
        self.messages += isinstance(line, MessageLine)
        if isinstance(line, EndLine):
            if self.ended:
                raise DecodeError(where, "is the second end of its epoch")
            self.ended = True
        if (line.index is None) == self.log:
            must = "must be there, since the header says that there is a log" if self.log else "goes with a log"
            raise DecodeError(f"{where}, index", must)
        if line.index is not None:
            self._skip(line.index, line.skip, where)
            self.position += 1

    def _token(self, line: TokenLine, where: str) -> None:
        field = f"{where}, note"
        signed = decode_note_text(line.note, field)
        if len(signed.note.signatures) != 1:
            raise DecodeError(
                field, f"has {len(signed.note.signatures)} signature lines, and must have the log's alone"
            )
        if line.index is not None and signed.head.size > line.index:
            raise DecodeError(field, f"is of size {signed.head.size}, which was not there yet at entry {line.index}")

    def _checkpoint(self, line: CheckpointLine, where: str) -> None:
        field = f"{where}, note"
        head = decode_head_text(line.note, field)
        stop = self.last
        if not isinstance(stop, StopLine) or (stop.size, stop.root) != (head.size, head.root):
            raise DecodeError(field, "does not stand directly below the stop of its size and root")

    def _head(self, line: HeadLine, where: str) -> None:
        last = self.last
        if not isinstance(last, HeadsLine | HeadLine):
            raise DecodeError(where, "stands neither below heads nor below another head")
        if isinstance(last, HeadLine) and last.principal.encode() >= line.principal.encode():
            raise DecodeError(where, "heads of principals stand in order of their names, each once")

    def _stop(self, line: StopLine, where: str) -> None:
        if not self.log or line.size <= self.stopped:
            raise DecodeError(where, "is not a stop above the one before it, in a file with a log")
        self._skip(line.size, line.skip, where)
        self.stopped = line.size

    def _trailer(self, line: Trailer, where: str) -> None:
        for name in ("certificates", "epochs", "messages"):
            says, has = getattr(line, name), getattr(self, name)
            if says != has:
                raise DecodeError(f"{where}, {name}", f"says {says}, the file has {has}")
        if not self.messages:
            raise DecodeError(f"{where}, messages", "the file has no message")
        if (line.checkpoint is None) == self.log:
            must = "must be there, since the header says that there is a log" if self.log else "goes with a log"
            raise DecodeError(f"{where}, checkpoint", must)
        if line.checkpoint is not None:
            size = decode_note_text(line.checkpoint, f"{where}, checkpoint").head.size
            self._skip(size, line.skip, where)

    def _skip(self, to: int, skip: Skip, where: str) -> None:
        """From the entries passed so far to this one, which is *to* or, of a stop or trailer, ends before it."""
        if to < self.position:
            raise DecodeError(where, f"is at entry {to} of the log, which stands before entry {self.position}")
        try:
            cover = len(decompose(self.position, to))
        except MerkleError as error:
            raise DecodeError(where, error.reason) from error
        if len(skip) != cover:
            raise DecodeError(f"{where}, skip", f"has {len(skip)} hashes; it takes {cover} to entry {to} of the log")
        self.position = to


def decode_note_text(text: str, field: str) -> SignedCheckpoint:
    """The signed checkpoint of a trailer. Raises DecodeError at *field*."""
    try:
        return decode_checkpoint(text.encode("utf-8"))
    except DecodeError as error:
        raise DecodeError(field, str(error)) from error


def decode_head_text(text: str, field: str) -> TreeHead:
    """The tree head of a checkpoint line. Raises DecodeError at *field*."""
    try:
        return decode_tree_head(text)
    except DecodeError as error:
        raise DecodeError(field, str(error)) from error


def decode_line(data: bytes, number: int) -> Line:
    """Decode one line (without its LF); *number* is for errors. Raises DecodeError naming line and member."""
    where = f"line {number}"
    value = canonical_object(data, where, "; is this evidence?")
    kind = value.get("type")
    fields = Members(value, where)
    decode = _DECODE.get(kind) if isinstance(kind, str) else None
    if decode is None:
        fields.refuse("type", f"must be one of {', '.join(_DECODE)}")
    return decode(fields)


def _header(fields: Members) -> Header:
    fields.exactly({"format", "version", "log"})
    if fields.text("format") != FORMAT or fields.integer("version") != VERSION:
        fields.refuse("format", f'this program reads format "{FORMAT}" version {VERSION}')
    return Header(fields.boolean("log"))


def _certificate(fields: Members) -> CertificateLine:
    fields.exactly({"device", "chain"})
    return CertificateLine(fields.device("device"), fields.chain("chain", 1, MAX_CHAIN))


def _manifest(fields: Members) -> ManifestLine:
    fields.exactly({"manifest"})
    return ManifestLine(fields.text("manifest"))


def _rebuild(fields: Members) -> RebuildLine:
    fields.exactly({"statement"})
    return RebuildLine(fields.text("statement"))


def _epoch(fields: Members) -> EpochLine:
    fields.exactly({"statement"}, {"index", "skip"})
    return EpochLine(fields.binary("statement"), fields.index(), fields.skip())


def _message(fields: Members) -> MessageLine:
    fields.exactly({"topic", "payload", "mark"}, {"index", "skip"})
    payload = None if fields.is_null("payload") else fields.binary("payload")
    return MessageLine(fields.text("topic"), payload, fields.binary("mark"), fields.index(), fields.skip())


def _end(fields: Members) -> EndLine:
    fields.exactly({"end"}, {"index", "skip"})
    return EndLine(fields.binary("end"), fields.index(), fields.skip())


def _heads(fields: Members) -> HeadsLine:
    fields.exactly({"heads", "index"}, {"skip"})
    return HeadsLine(fields.binary("heads"), fields.index(), fields.skip())


def _head(fields: Members) -> HeadLine:
    fields.exactly({"principal", "proof"})
    return HeadLine(fields.text("principal"), fields.binary("proof"))


def _token(fields: Members) -> TokenLine:
    fields.exactly({"token", "note", "chain", "epoch", "sequence", "index"}, {"crls", "skip"})
    chain, epoch = fields.chain("chain", 0, MAX_TOKEN_CHAIN), fields.integer("epoch")
    if not 1 <= epoch <= UINT32_MAX:
        fields.refuse("epoch", f"must be 1 to {UINT32_MAX}")
    numbers = epoch, fields.integer("sequence")
    token, note = fields.binary("token"), fields.text("note")
    return TokenLine(token, note, chain, *numbers, fields.index(), fields.skip(), fields.crls())


def _checkpoint(fields: Members) -> CheckpointLine:
    fields.exactly({"note"})
    return CheckpointLine(fields.text("note"))


def _stop(fields: Members) -> StopLine:
    fields.exactly({"size", "root"}, {"skip"})
    return StopLine(fields.integer("size"), fields.hash("root"), fields.skip())


def _trailer(fields: Members) -> Trailer:
    fields.exactly({"certificates", "epochs", "messages"}, {"checkpoint", "skip"})
    counts = fields.integer("epochs"), fields.integer("messages"), fields.integer("certificates")
    return Trailer(*counts, fields.text("checkpoint") if fields.has("checkpoint") else None, fields.skip())


class Members:
    """Typed access to the members of one line."""

    def __init__(self, value: dict[str, Any], where: str) -> None:
        self._value = value
        self._where = where

    def refuse(self, member: str, reason: str) -> NoReturn:
        """Raise DecodeError naming line and member."""
        raise DecodeError(f"{self._where}, {member}", reason)

    def exactly(self, names: set[str], optional: Set[str] = frozenset()) -> None:
        """Refuse a member that is missing, or that is none of these and not `type`."""
        for name in sorted(names - self._value.keys()):
            self.refuse(name, "is missing")
        for name in sorted(self._value.keys() - names - optional - {"type"}):
            self.refuse(_shown(name), "is not a member of this line")

    def has(self, member: str) -> bool:
        """Whether the member is there."""
        return member in self._value

    def is_null(self, member: str) -> bool:
        """Whether the member is null."""
        return self._value[member] is None

    def text(self, member: str) -> str:
        """Text."""
        value = self._value[member]
        if not isinstance(value, str):
            self.refuse(member, "must be text")
        return value

    def integer(self, member: str) -> int:
        """A whole number, 0 or more."""
        value = self._value[member]
        if type(value) is not int or value < 0:  # an exact comparison: true is an int to isinstance
            self.refuse(member, "must be a whole number, 0 or more")
        return value

    def boolean(self, member: str) -> bool:
        """True or false."""
        value = self._value[member]
        if type(value) is not bool:
            self.refuse(member, "must be true or false")
        return value

    def binary(self, member: str) -> bytes:
        """Bytes, of base64url."""
        return self._decoded(self.text(member), member)

    def hash(self, member: str) -> bytes:
        """A hash, of base64url."""
        return self._checked_hash(self.binary(member), member)

    def index(self) -> int | None:
        """The number of the entry, where there is one."""
        return self.integer("index") if self.has("index") else None

    def skip(self) -> Skip:
        """The hashes of the skip; none where there is no skip."""
        if not self.has("skip"):
            return ()
        hashes = self.hashes("skip")
        if not hashes:
            self.refuse("skip", "is empty; without a hash it is not there")
        return hashes

    def hashes(self, member: str) -> tuple[bytes, ...]:
        """A list of hashes, of base64url."""
        values = self._value[member]
        if not (isinstance(values, list) and all(isinstance(value, str) for value in values)):
            self.refuse(member, "must be a list of hashes")
        return tuple(self._checked_hash(self._decoded(value, member), member) for value in values)

    def _checked_hash(self, value: bytes, member: str) -> bytes:
        if len(value) != HASH_SIZE:
            self.refuse(member, f"has a hash of {len(value)} bytes, not {HASH_SIZE}")
        return value

    def device(self, member: str) -> str:
        """The id of a device."""
        name = self.text(member)
        if not 1 <= len(name.encode()) <= 255:
            self.refuse(member, "must have 1 to 255 bytes")
        return name

    def chain(self, member: str, least: int, most: int) -> tuple[bytes, ...]:
        """The certificates of a chain, of base64url."""
        chain = self._binaries(member, least, most, "certificates")
        if any(len(certificate) > MAX_CERTIFICATE for certificate in chain):
            self.refuse(member, f"has a certificate of more than {MAX_CERTIFICATE} bytes")
        return chain

    def crls(self) -> tuple[bytes, ...]:
        """The revocation lists of a token, of base64url; none where the member is not there."""
        if "crls" not in self._value:
            return ()
        crls = self._binaries("crls", 1, MAX_CRLS, "revocation lists")
        if any(len(crl) > MAX_CRL for crl in crls):
            self.refuse("crls", f"has a revocation list of more than {MAX_CRL} bytes")
        return crls

    def _binaries(self, member: str, least: int, most: int, what: str) -> tuple[bytes, ...]:
        values = self._value[member]
        if not (isinstance(values, list) and least <= len(values) <= most):
            self.refuse(member, f"must be a list of {least} to {most} {what}")
        if not all(isinstance(value, str) for value in values):
            self.refuse(member, "must be a list of texts")
        return tuple(self._decoded(value, member) for value in values)

    def _decoded(self, text: str, member: str) -> bytes:
        try:
            return base64url_decode(text)
        except DecodeError as error:
            self.refuse(member, error.reason)


_DECODE: Mapping[str, Callable[[Members], Line]] = {
    "header": _header,
    "certificate": _certificate,
    "manifest": _manifest,
    "rebuild": _rebuild,
    "epoch": _epoch,
    "message": _message,
    "end": _end,
    "heads": _heads,
    "head": _head,
    "token": _token,
    "stop": _stop,
    "checkpoint": _checkpoint,
    "trailer": _trailer,
}


def _shown(name: str) -> str:
    return name if len(name) <= 32 else f"{name[:32]}…"


def fits(line: MessageLine) -> bool:
    """Whether a message can be written as a line, with any skip: 2 MiB hold about 1.5 MiB of payload."""
    at_most = 2 * (len(line.payload or b"") + len(line.mark)) + 6 * len(line.topic) + 100
    if at_most <= MAX_LINE - MAX_PROOF:
        return True
    try:
        return len(encode_line(line)) <= MAX_LINE - MAX_PROOF
    except DecodeError:
        return False


def encode_line(line: Line) -> bytes:
    """The canonical bytes of a line, with its LF. Raises DecodeError for one that would not be read: over 2 MiB, or
    with text that is not UTF-8.
    """
    value: dict[str, Any] = {"type": line.kind, **_own_members(line)}
    if isinstance(line, EntryLine | StopLine | Trailer) and line.skip:
        value["skip"] = _texts(line.skip)
    if isinstance(line, EntryLine) and line.index is not None:
        value["index"] = line.index
    data = encode_object(value, "line") + b"\n"
    if len(data) > MAX_LINE:
        raise DecodeError("line", f"has {len(data)} bytes, more than {MAX_LINE}")
    return data


def _texts(values: Iterable[bytes]) -> list[str]:
    return [base64url_encode(value) for value in values]


def _own_members(line: Line) -> dict[str, Any]:
    """The members of a line, without those that all entries have."""
    if isinstance(line, Header):
        return {"format": FORMAT, "version": VERSION, "log": line.log}
    if isinstance(line, CertificateLine):
        return {"device": line.device, "chain": _texts(line.chain)}
    if isinstance(line, ManifestLine):
        return {"manifest": line.manifest}
    if isinstance(line, RebuildLine):
        return {"statement": line.statement}
    if isinstance(line, EpochLine):
        return {"statement": base64url_encode(line.statement)}
    if isinstance(line, MessageLine):
        payload = None if line.payload is None else base64url_encode(line.payload)
        return {"topic": line.topic, "payload": payload, "mark": base64url_encode(line.mark)}
    if isinstance(line, EndLine):
        return {"end": base64url_encode(line.end)}
    if isinstance(line, HeadsLine):
        return {"heads": base64url_encode(line.heads)}
    if isinstance(line, HeadLine):
        return {"principal": line.principal, "proof": base64url_encode(line.proof)}
    if isinstance(line, TokenLine):
        own = {"token": base64url_encode(line.token), "note": line.note, "chain": _texts(line.chain)}
        own |= {"crls": _texts(line.crls)} if line.crls else {}
        return {**own, "epoch": line.epoch, "sequence": line.sequence}
    if isinstance(line, CheckpointLine):
        return {"note": line.note}
    if isinstance(line, StopLine):
        return {"size": line.size, "root": base64url_encode(line.root)}
    counts = {"certificates": line.certificates, "epochs": line.epochs, "messages": line.messages}
    return counts if line.checkpoint is None else {**counts, "checkpoint": line.checkpoint}
