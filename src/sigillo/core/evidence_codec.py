"""One line of an evidence file as its canonical bytes, both ways (spec/evidence.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from typing import Any, NoReturn

from sigillo.core.bytes import base64url_decode, base64url_encode
from sigillo.core.canonical import canonical_object, encode_object
from sigillo.core.certificate import MAX_CERTIFICATE, MAX_CHAIN
from sigillo.core.errors import DecodeError
from sigillo.core.evidence_line import (
    AttestationLine,
    BootLine,
    CertificateLine,
    CheckpointLine,
    ClosureLine,
    ConfigurationLine,
    EndLine,
    EntryLine,
    EpochLine,
    Header,
    HeadLine,
    HeadsLine,
    ImaLine,
    LaunchLine,
    Line,
    ManifestLine,
    MessageLine,
    RebuildLine,
    RegistrationLine,
    SharedLine,
    Skip,
    StopLine,
    TokenLine,
    Trailer,
)
from sigillo.core.field import HASH_SIZE, UINT32_MAX
from sigillo.core.line import MAX_LINE
from sigillo.core.revocation import MAX_CRL, MAX_CRLS

FORMAT = "sigillo-evidence"
VERSION = 1
MAX_TOKEN_CHAIN = 8
"""Certificates beside a time-stamp token."""
MAX_PROOF = 8192
"""Bytes that index and skip add to a line at most: 127 hashes."""


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


def _registration(fields: Members) -> RegistrationLine:
    fields.exactly({"registration"})
    return RegistrationLine(fields.binary("registration"))


def _closure(fields: Members) -> ClosureLine:
    fields.exactly({"closure"})
    return ClosureLine(fields.binary("closure"))


def _configuration(fields: Members) -> ConfigurationLine:
    fields.exactly({"name", "text"})
    return ConfigurationLine(fields.text("name"), fields.text("text"))


def _launch(fields: Members) -> LaunchLine:
    fields.exactly({"log"})
    return LaunchLine(fields.binary("log"))


def _boot(fields: Members) -> BootLine:
    fields.exactly({"log"})
    return BootLine(fields.binary("log"))


def _ima(fields: Members) -> ImaLine:
    fields.exactly({"list"})
    return ImaLine(fields.binary("list"))


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
    chain, numbers = fields.chain("chain", 0, MAX_TOKEN_CHAIN), fields.numbers()
    token, note = fields.binary("token"), fields.text("note")
    return TokenLine(token, note, chain, *numbers, fields.index(), fields.skip(), fields.crls())


def _attestation(fields: Members) -> AttestationLine:
    fields.exactly({"evidence", "epoch", "sequence", "index"}, {"skip"})
    return AttestationLine(fields.binary("evidence"), *fields.numbers(), fields.index(), fields.skip())


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

    def numbers(self) -> tuple[int, int]:
        """Epoch and sequence of an entry whose object does not say them."""
        epoch = self.integer("epoch")
        if not 1 <= epoch <= UINT32_MAX:
            self.refuse("epoch", f"must be 1 to {UINT32_MAX}")
        return epoch, self.integer("sequence")

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
    "registration": _registration,
    "closure": _closure,
    "configuration": _configuration,
    "launch": _launch,
    "boot": _boot,
    "ima": _ima,
    "epoch": _epoch,
    "message": _message,
    "end": _end,
    "heads": _heads,
    "head": _head,
    "token": _token,
    "attestation": _attestation,
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
    if isinstance(line, SharedLine):
        return _shared_members(line)
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
    if isinstance(line, TokenLine | AttestationLine):
        return {**_submitted(line), "epoch": line.epoch, "sequence": line.sequence}
    if isinstance(line, CheckpointLine):
        return {"note": line.note}
    if isinstance(line, StopLine):
        return {"size": line.size, "root": base64url_encode(line.root)}
    counts = {"certificates": line.certificates, "epochs": line.epochs, "messages": line.messages}
    return counts if line.checkpoint is None else {**counts, "checkpoint": line.checkpoint}


def _shared_members(line: SharedLine) -> dict[str, Any]:
    if isinstance(line, CertificateLine):
        return {"device": line.device, "chain": _texts(line.chain)}
    if isinstance(line, ManifestLine):
        return {"manifest": line.manifest}
    if isinstance(line, RebuildLine):
        return {"statement": line.statement}
    if isinstance(line, RegistrationLine):
        return {"registration": base64url_encode(line.registration)}
    if isinstance(line, ClosureLine):
        return {"closure": base64url_encode(line.closure)}
    if isinstance(line, ConfigurationLine):
        return {"name": line.name, "text": line.text}
    if isinstance(line, ImaLine):
        return {"list": base64url_encode(line.measurements)}
    return {"log": base64url_encode(line.log)}


def _submitted(line: TokenLine | AttestationLine) -> dict[str, Any]:
    if isinstance(line, AttestationLine):
        return {"evidence": base64url_encode(line.evidence)}
    own = {"token": base64url_encode(line.token), "note": line.note, "chain": _texts(line.chain)}
    return own | ({"crls": _texts(line.crls)} if line.crls else {})
