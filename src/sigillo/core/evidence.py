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
from sigillo.core.errors import DecodeError
from sigillo.core.line import MAX_LINE

FORMAT = "sigillo-evidence"
VERSION = 1
_MAX_DIGITS = 18
_HALF_PAIR = "holds half of a surrogate pair, which is no character"


@dataclass(frozen=True, slots=True)
class Header:
    """The first line."""

    kind: Literal["header"] = "header"


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
    """The last line: how many epoch and message lines the file has."""

    epochs: int
    messages: int
    kind: Literal["trailer"] = "trailer"


Line = Header | EpochLine | MessageLine | Trailer


@dataclass(frozen=True, slots=True)
class NumberedLine:
    """A line and its number in the file, from 1."""

    number: int
    line: Line


def decode_lines(lines: Iterable[bytes]) -> Iterator[NumberedLine]:
    """Decode the lines of an evidence file (without LF), in order, one at a time.

    Checks what one can see without looking into the COSE objects: canonical JSON, members and types, the header
    first, an epoch before the first message, at least one message, the trailer last with the right counts.

    Raises:
        DecodeError: naming line and member.
    """
    epochs = messages = 0
    trailer_at = number = 0
    for number, data in enumerate(lines, start=1):
        if trailer_at:
            raise DecodeError(f"line {number}", "stands after the trailer")
        line = decode_line(data, number)
        if (number == 1) != isinstance(line, Header):
            raise DecodeError(f"line {number}", "the header must be the first line, and only there")
        if isinstance(line, EpochLine):
            epochs += 1
        elif isinstance(line, MessageLine):
            messages += 1
            if not epochs:
                raise DecodeError(f"line {number}", "a message stands before the first epoch")
        elif isinstance(line, Trailer):
            trailer_at = number
            _check_counts(line, epochs, messages, number)
        yield NumberedLine(number, line)
    if not trailer_at:
        raise DecodeError(f"line {number + 1}", "the trailer is missing: the file is cut off")


def _check_counts(trailer: Trailer, epochs: int, messages: int, number: int) -> None:
    if trailer.epochs != epochs:
        raise DecodeError(f"line {number}, epochs", f"says {trailer.epochs}, the file has {epochs}")
    if trailer.messages != messages:
        raise DecodeError(f"line {number}, messages", f"says {trailer.messages}, the file has {messages}")
    if not messages:
        raise DecodeError(f"line {number}, messages", "the file has no message")


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
    elif kind == "epoch":
        fields.exactly({"type", "statement"} | ({"end"} & value.keys()))
        line = EpochLine(fields.binary("statement"), fields.binary("end") if "end" in value else None)
    elif kind == "message":
        fields.exactly({"type", "topic", "payload", "mark"})
        line = MessageLine(fields.text("topic"), fields.binary("payload"), fields.binary("mark"))
    elif kind == "trailer":
        fields.exactly({"type", "epochs", "messages"})
        line = Trailer(fields.integer("epochs"), fields.integer("messages"))
    else:
        fields.refuse("type", "must be header, epoch, message or trailer")
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
        try:
            return base64url_decode(self.text(member))
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
    elif isinstance(line, EpochLine):
        value |= {"statement": base64url_encode(line.statement)}
        value |= {} if line.end is None else {"end": base64url_encode(line.end)}
    elif isinstance(line, MessageLine):
        payload, mark = base64url_encode(line.payload), base64url_encode(line.mark)
        value |= {"topic": line.topic, "payload": payload, "mark": mark}
    else:
        value |= {"epochs": line.epochs, "messages": line.messages}
    try:
        data = _canonical(value) + b"\n"
    except UnicodeEncodeError as error:
        raise DecodeError("line", _HALF_PAIR) from error
    if len(data) > MAX_LINE:
        raise DecodeError("line", f"has {len(data)} bytes, more than {MAX_LINE}")
    return data
