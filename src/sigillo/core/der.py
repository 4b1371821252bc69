"""Strict DER (X.690), as much of it as a time-stamp token needs (spec/timestamp.md, "DER").

A reader goes over the elements of one level; what is inside of one is read by a reader of its own, so nothing recurses.
"""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from sigillo.core.errors import DecodeError

BOOLEAN: Final = 0x01
INTEGER: Final = 0x02
OCTET_STRING: Final = 0x04
NULL: Final = 0x05
OBJECT_IDENTIFIER: Final = 0x06
GENERALIZED_TIME: Final = 0x18
SEQUENCE: Final = 0x30
SET: Final = 0x31
PRIMITIVE: Final = 0x80
"""Context tag 0 of a primitive; + n for tag n."""
CONSTRUCTED: Final = 0xA0
"""Context tag 0 of a constructed; + n for tag n."""

_TIME: Final = re.compile(r"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(?:\.(\d{0,8}[1-9]))?Z")
_MAX_OID: Final = 64
_SECOND: Final = datetime.timedelta(seconds=1)
_UNIX: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


@dataclass(frozen=True, slots=True)
class Element:
    """One element: its tag, its content, and the whole of it as encoded."""

    tag: int
    content: bytes
    whole: bytes


class Reader:
    """The elements of *data*, one after the other. All methods raise DecodeError, naming *field*."""

    def __init__(self, data: bytes, field: str) -> None:
        self._data, self._field, self._at = data, field, 0

    def __bool__(self) -> bool:
        """Whether there is more."""
        return self._at < len(self._data)

    def next(self, tag: int | None = None) -> Element:
        """The next element, which must have this tag."""
        begin = self._at
        head = self._data[begin : begin + 5]
        if len(head) < 2:
            raise self._error("ends where more is expected")
        if head[0] & 0x1F == 0x1F:
            raise self._error("has a tag of more than one byte")
        if tag is not None and head[0] != tag:
            raise self._error(f"has tag {head[0]:02x} where {tag:02x} is expected")
        size, length = _length(head)
        if size == 0:
            raise self._error("has a length that DER does not allow, or one of more than three bytes")
        content = self._data[begin + size : begin + size + length]
        if len(content) != length:
            raise self._error("is shorter than its length says")
        self._at = begin + size + length
        return Element(head[0], content, self._data[begin : self._at])

    def optional(self, tag: int) -> Element | None:
        """The next element if it has this tag."""
        return self.next(tag) if self.has(tag) else None

    def has(self, tag: int) -> bool:
        """Whether the next element has this tag."""
        return self._data[self._at : self._at + 1] == bytes([tag])

    def end(self) -> None:
        """Refuse what is left."""
        if self:
            raise self._error("has something behind its end")

    def within(self, tag: int, field: str | None = None) -> Reader:
        """A reader of the content of the next element."""
        return Reader(self.next(tag).content, field or self._field)

    def integer(self, tag: int = INTEGER, *, max_size: int = 20) -> int:
        """An integer that is not negative, of at most *max_size* bytes (and one of sign)."""
        content = self.next(tag).content
        if not content or (len(content) > 1 and content[0] == 0 and content[1] < 0x80):
            raise self._error("has an integer that is not of its shortest form")
        if content[0] >= 0x80 or len(content.lstrip(b"\0")) > max_size:
            raise self._error(f"has an integer that is negative or of more than {max_size} bytes")
        return int.from_bytes(content, "big")

    def oid(self) -> str:
        """An object identifier, as numbers and dots."""
        return _dotted(self.next(OBJECT_IDENTIFIER).content, self._field)

    def true(self) -> bool:
        """A BOOLEAN of default FALSE: False where it is not there; DER writes TRUE in one way, and no FALSE."""
        found = self.optional(BOOLEAN)
        if found and found.content != b"\xff":
            raise self._error("has a boolean that is not TRUE")
        return found is not None

    def time_ns(self) -> int:
        """A GeneralizedTime with up to nine digits of a fraction, as ns of Unix time."""
        content = self.next(GENERALIZED_TIME).content
        match = _TIME.fullmatch(content.decode("ascii", "replace"))
        try:
            numbers = [int(digits) for digits in match.groups()[:6]] if match else [0, 0, 0]
            moment = datetime.datetime(*numbers).replace(tzinfo=datetime.UTC)  # type: ignore[arg-type]
        except ValueError:
            moment = None
        if match is None or moment is None or moment < _UNIX:
            raise self._error("has a time that is not YYYYMMDDhhmmss[.fraction]Z of a moment since 1970")
        return (moment - _UNIX) // _SECOND * 10**9 + int((match[7] or "").ljust(9, "0"))

    def set_of(self, tag: int, max_count: int) -> list[Element]:
        """The elements of a SET OF, which must be in ascending order of their bytes, without a repeat."""
        reader = self.within(tag)
        found: list[Element] = []
        while reader:
            if len(found) == max_count:
                raise self._error(f"has a set of more than {max_count}")
            found.append(reader.next())
        if any(first.whole >= second.whole for first, second in pairwise(found)):
            raise self._error("has a set that is not in the order of DER, or one thing twice")
        return found

    def _error(self, reason: str) -> DecodeError:
        return DecodeError(self._field, reason)


def encode(tag: int, *contents: bytes) -> bytes:
    """One element."""
    content = b"".join(contents)
    if len(content) < 0x80:
        return bytes([tag, len(content)]) + content
    length = len(content).to_bytes((len(content).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def encode_set_of(tag: int, *elements: bytes) -> bytes:
    """A SET OF, in the order of DER."""
    return encode(tag, *sorted(elements))


def _length(head: bytes) -> tuple[int, int]:
    """Size of tag and length, and the length, of at most three bytes in its shortest form; (0, 0) where it is none."""
    first = head[1]
    if first < 0x80:
        return 2, first
    count = first & 0x7F
    digits = head[2 : 2 + count]
    length = int.from_bytes(digits, "big")
    if not 1 <= count <= 3 or len(digits) != count or digits[0] == 0 or length < 0x80:
        return 0, 0
    return 2 + count, length


def _dotted(content: bytes, field: str) -> str:
    """Numbers and dots of the content of an object identifier. Raises DecodeError."""
    if not content or len(content) > _MAX_OID or content[-1] >= 0x80:
        raise DecodeError(field, f"has an object identifier that is cut off, or of more than {_MAX_OID} bytes")
    numbers: list[int] = []
    number, begins = 0, True
    for byte in content:
        if begins and byte == 0x80:
            raise DecodeError(field, "has an object identifier that is not of its shortest form")
        number, begins = number << 7 | byte & 0x7F, byte < 0x80
        if begins:
            numbers.append(number)
            number = 0
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, (first, numbers[0] - 40 * first, *numbers[1:])))
