"""The evidence file: newline-delimited canonical JSON, plain or gzip (spec/evidence.md).

Reading is a stream of bounded parts: chunks of bytes (any size, from whoever does the I/O) → lines of at most
2 MiB (:mod:`sigillo.core.line`) → typed lines. Nothing here is trusted yet; :mod:`sigillo.core.verify` does that.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

from sigillo.core.bytes import base64url_decode, base64url_encode
from sigillo.core.certificate import MAX_CERTIFICATE, MAX_CHAIN
from sigillo.core.errors import DecodeError
from sigillo.core.line import MAX_LINE

FORMAT = "sigillo-evidence"
VERSION = 1
MAX_CERTIFICATES = 16
"""Certificate lines of one device."""
_MAX_DIGITS = 18
_HALF_PAIR = "holds half of a surrogate pair, which is no character"


@dataclass(frozen=True, slots=True)
class Header:
    """The first line."""

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
class EpochLine:
    """An epoch: its countersigned statement and, where it is known, its end (tagged COSE_Sign1 each)."""

    statement: bytes
    end: bytes | None = None
    kind: Literal["epoch"] = "epoch"


@dataclass(frozen=True, slots=True)
class MessageLine:
    """A message: topic and payload as delivered, and its tagged time mark with the salt."""

    topic: str
    payload: bytes
    mark: bytes
    kind: Literal["message"] = "message"


@dataclass(frozen=True, slots=True)
class Trailer:
    """The last line: how many epoch, message and certificate lines the file has."""

    epochs: int
    messages: int
    certificates: int = 0
    kind: Literal["trailer"] = "trailer"


Line = Header | CertificateLine | EpochLine | MessageLine | Trailer


@dataclass(frozen=True, slots=True)
class NumberedLine:
    """A line and its number in the file, from 1."""

    number: int
    line: Line


def decode_lines(lines: Iterable[bytes]) -> Iterator[NumberedLine]:
    """Decode the lines of an evidence file (without LF), in order, one at a time.

    Checks what one can see without looking into the COSE objects: canonical JSON, members and types, the header
    first, then certificates in their order, an epoch before the first message, at least one message, the trailer last
    with the right counts.

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
    of_device: int = 0  # certificate lines in a row that are of the same device

    def add(self, line: Line, number: int) -> None:
        where = f"line {number}"
        if (self.last is None) != isinstance(line, Header):
            raise DecodeError(where, "the header must be the first line, and only there")
        if isinstance(line, CertificateLine):
            self._certificate(line, where)
        elif isinstance(line, EpochLine):
            self.epochs += 1
        elif isinstance(line, MessageLine):
            self.messages += 1
            if not self.epochs:
                raise DecodeError(where, "a message stands before the first epoch")
        elif isinstance(line, Trailer):
            self._trailer(line, where)
        self.last, self.lines = line, number

    def _certificate(self, line: CertificateLine, where: str) -> None:
        before = self.last if isinstance(self.last, CertificateLine) else None
        if self.epochs or (before and before.order >= line.order):
            raise DecodeError(where, "certificates stand after the header, each once, in order of device and bytes")
        self.of_device = self.of_device + 1 if before and before.device == line.device else 1
        if self.of_device > MAX_CERTIFICATES:
            raise DecodeError(where, f"is one more than {MAX_CERTIFICATES} certificates of one device")
        self.certificates += 1

    def _trailer(self, line: Trailer, where: str) -> None:
        for name in ("certificates", "epochs", "messages"):
            says, has = getattr(line, name), getattr(self, name)
            if says != has:
                raise DecodeError(f"{where}, {name}", f"says {says}, the file has {has}")
        if not self.messages:
            raise DecodeError(f"{where}, messages", "the file has no message")


def decode_line(data: bytes, number: int) -> Line:
    """Decode one line (without its LF); *number* is for errors. Raises DecodeError naming line and member."""
    where = f"line {number}"
    value = _canonical_object(data, where)
    kind = value.get("type")
    fields = _Members(value, where)
    line: Line
    if kind == "header":
        fields.exactly({"type", "format", "version"})
        if fields.text("format") != FORMAT or fields.integer("version") != VERSION:
            fields.refuse("format", f'this program reads format "{FORMAT}" version {VERSION}')
        line = Header()
    elif kind == "certificate":
        fields.exactly({"type", "device", "chain"})
        line = CertificateLine(fields.device("device"), fields.chain("chain"))
    elif kind == "epoch":
        fields.exactly({"type", "statement"} | ({"end"} & value.keys()))
        line = EpochLine(fields.binary("statement"), fields.binary("end") if "end" in value else None)
    elif kind == "message":
        fields.exactly({"type", "topic", "payload", "mark"})
        line = MessageLine(fields.text("topic"), fields.binary("payload"), fields.binary("mark"))
    elif kind == "trailer":
        fields.exactly({"type", "certificates", "epochs", "messages"})
        line = Trailer(fields.integer("epochs"), fields.integer("messages"), fields.integer("certificates"))
    else:
        fields.refuse("type", "must be header, certificate, epoch, message or trailer")
    return line


class _Members:
    """Typed access to the members of one line."""

    def __init__(self, value: dict[str, Any], where: str) -> None:
        self._value = value
        self._where = where

    def refuse(self, member: str, reason: str) -> NoReturn:
        raise DecodeError(f"{self._where}, {member}", reason)

    def exactly(self, names: set[str]) -> None:
        for name in sorted(names - self._value.keys()):
            self.refuse(name, "is missing")
        for name in sorted(self._value.keys() - names):
            self.refuse(_shown(name), "is not a member of this line")

    def text(self, member: str) -> str:
        value = self._value[member]
        if not isinstance(value, str):
            self.refuse(member, "must be text")
        return value

    def integer(self, member: str) -> int:
        value = self._value[member]
        if type(value) is not int or value < 0:  # an exact comparison: true is an int to isinstance
            self.refuse(member, "must be a whole number, 0 or more")
        return value

    def binary(self, member: str) -> bytes:
        return self._decoded(self.text(member), member)

    def device(self, member: str) -> str:
        name = self.text(member)
        if not 1 <= len(name.encode()) <= 255:
            self.refuse(member, "must have 1 to 255 bytes")
        return name

    def chain(self, member: str) -> tuple[bytes, ...]:
        values = self._value[member]
        if not (isinstance(values, list) and 1 <= len(values) <= MAX_CHAIN):
            self.refuse(member, f"must be a list of 1 to {MAX_CHAIN} certificates")
        if not all(isinstance(value, str) for value in values):
            self.refuse(member, "must be a list of texts")
        chain = tuple(self._decoded(value, member) for value in values)
        if any(len(certificate) > MAX_CERTIFICATE for certificate in chain):
            self.refuse(member, f"has a certificate of more than {MAX_CERTIFICATE} bytes")
        return chain

    def _decoded(self, text: str, member: str) -> bytes:
        try:
            return base64url_decode(text)
        except DecodeError as error:
            self.refuse(member, error.reason)


def _shown(name: str) -> str:
    return name if len(name) <= 32 else f"{name[:32]}…"


def _canonical_object(data: bytes, where: str) -> dict[str, Any]:
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_no_key_twice,
            parse_int=_small_integer,
            parse_float=_refuse_number,
            parse_constant=_refuse_number,
        )
        if not isinstance(value, dict):
            raise DecodeError(where, "must be a JSON object")
        again = _canonical(value)
    except UnicodeDecodeError as error:
        raise DecodeError(where, f"is not UTF-8 (byte {error.start} of the line); is this evidence?") from error
    except UnicodeEncodeError as error:
        raise DecodeError(where, _HALF_PAIR) from error
    except json.JSONDecodeError as error:
        raise DecodeError(where, f"is not JSON (column {error.colno}: {error.msg}); is this evidence?") from error
    except RecursionError as error:
        raise DecodeError(where, "is nested too deeply") from error
    except _RefusedJsonError as error:
        raise DecodeError(where, str(error)) from error
    if again != data:
        raise DecodeError(where, "is not in canonical form: keys in order, no spaces, no needless escapes")
    return value


class _RefusedJsonError(ValueError):
    """JSON that the standard library would accept and this format does not."""


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise _RefusedJsonError("has a key twice")
    return value


def _small_integer(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise _RefusedJsonError("has a number that is out of range")
    return int(digits)


def _refuse_number(_text: str) -> NoReturn:
    raise _RefusedJsonError("has a number that is not a whole number")


def _canonical(value: dict[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode("utf-8")


def fits(line: MessageLine) -> bool:
    """Whether a message can be written as a line: 2 MiB hold about 1.5 MiB of payload."""
    at_most = 2 * (len(line.payload) + len(line.mark)) + 6 * len(line.topic) + 100
    if at_most <= MAX_LINE:
        return True
    try:
        encode_line(line)
    except DecodeError:
        return False
    return True


def encode_line(line: Line) -> bytes:
    """The canonical bytes of a line, with its LF. Raises DecodeError for one that would not be read: over 2 MiB, or
    with text that is not UTF-8.
    """
    value: dict[str, Any] = {"type": line.kind}
    if isinstance(line, Header):
        value |= {"format": FORMAT, "version": VERSION}
    elif isinstance(line, CertificateLine):
        value |= {"device": line.device, "chain": [base64url_encode(certificate) for certificate in line.chain]}
    elif isinstance(line, EpochLine):
        value |= {"statement": base64url_encode(line.statement)}
        value |= {} if line.end is None else {"end": base64url_encode(line.end)}
    elif isinstance(line, MessageLine):
        payload, mark = base64url_encode(line.payload), base64url_encode(line.mark)
        value |= {"topic": line.topic, "payload": payload, "mark": mark}
    else:
        value |= {"certificates": line.certificates, "epochs": line.epochs, "messages": line.messages}
    try:
        data = _canonical(value) + b"\n"
    except UnicodeEncodeError as error:
        raise DecodeError("line", _HALF_PAIR) from error
    if len(data) > MAX_LINE:
        raise DecodeError("line", f"has {len(data)} bytes, more than {MAX_LINE}")
    return data
