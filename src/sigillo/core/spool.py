"""Spool segment: spec/spool.md. Only the reader is here; the plugin writes.

A torn tail is a result, not an error: what is before it stands, and only the caller knows whether the broker lives.
"""

import struct
import zlib
from dataclasses import dataclass
from enum import Enum
from typing import Final

from sigillo.core.entry import Kind
from sigillo.core.errors import DecodeError
from sigillo.core.field import UINT32_MAX, integer

MAGIC: Final = b"sigillo-spool-1\n"
HEADER_SIZE: Final = 64
RECORD_HEADER_SIZE: Final = 24
ALIGNMENT: Final = 8
CONTINUES: Final = UINT32_MAX
"""Length field that says: go on in the next segment."""

_HEADER: Final = struct.Struct(">16sII32sQ")
_RECORD: Final = struct.Struct(">IIB7sQ")
_KINDS: Final = (Kind.MARK, Kind.EPOCH_STATEMENT, Kind.EPOCH_END, Kind.SEAL)


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """Header of a segment. `size` is that of the whole file in bytes, before a clean end cuts it."""

    epoch: int
    segment: int
    epoch_id: bytes
    size: int


@dataclass(frozen=True, slots=True)
class Record:
    """A record whose CRC holds: the object with its unprotected header, and where in the file it begins."""

    kind: Kind
    sequence: int
    object_bytes: bytes
    offset: int

    @property
    def end(self) -> int:
        """Where the next record begins."""
        return self.offset + _aligned(RECORD_HEADER_SIZE + len(self.object_bytes))


class Ending(Enum):
    """How the records of a segment end."""

    OPEN = "open"  # nothing more yet
    CONTINUES = "continues"  # go on in the next segment
    FULL = "full"  # end of the file: continues where the next segment exists, else open
    TORN = "torn"  # a record that does not hold


@dataclass(frozen=True, slots=True)
class SegmentEnd:
    """The ending, the offset where it was read, and for a torn one the reason.

    `valid_behind`: records that hold follow a torn one, so this is a fault of the disk or writer, not a torn tail.
    """

    ending: Ending
    offset: int
    reason: str = ""
    valid_behind: bool = False


@dataclass(frozen=True, slots=True)
class Segment:
    """What one segment holds. `last_sequence` goes into the decoding of the next one; None before any statement."""

    header: SegmentHeader
    records: tuple[Record, ...]
    end: SegmentEnd
    last_sequence: int | None


def decode_segment(data: bytes, last_sequence: int | None = None) -> Segment:
    """Read a whole segment file.

    `last_sequence` is the one of the segment before (its `Segment.last_sequence`); without it the first mark of a
    later segment may have any sequence, and only from there on they must run without hole.
    Raises DecodeError where the header is not one; a record that does not hold ends the reading as TORN.
    """
    header = decode_header(data)
    records: list[Record] = []
    offset = HEADER_SIZE
    while True:
        found = decode_record(data, offset)
        if isinstance(found, Record):
            reason = _refusal(found, header, records, last_sequence)
            if not reason:
                records.append(found)
                last_sequence = found.sequence
                offset = found.end
                continue
            found = SegmentEnd(Ending.TORN, offset, reason)
        if found.ending is Ending.FULL and len(data) < header.size and not _is_over(records):
            found = SegmentEnd(Ending.TORN, offset, f"the file ends here, not at its size of {header.size} bytes")
        if found.ending is Ending.TORN and _valid_behind(data, offset):
            found = SegmentEnd(Ending.TORN, offset, found.reason, valid_behind=True)
        return Segment(header, tuple(records), found, last_sequence)


def decode_header(data: bytes) -> SegmentHeader:
    """Header of the segment that *data* is, or begins. Raises DecodeError."""
    if len(data) < HEADER_SIZE:
        raise DecodeError("spool segment", f"is {len(data)} bytes long, shorter than its header")
    magic, epoch, segment, epoch_id, size = _HEADER.unpack_from(data)
    if magic != MAGIC:
        raise DecodeError("spool segment", "does not begin with sigillo-spool-1")
    integer(epoch, "spool segment epoch", 1, UINT32_MAX)
    integer(size, "spool segment size", HEADER_SIZE + RECORD_HEADER_SIZE)
    if len(data) > size:
        raise DecodeError("spool segment", f"is {len(data)} bytes long, more than the {size} in its header")
    return SegmentHeader(epoch, segment, epoch_id, size)


def decode_record(data: bytes, offset: int) -> Record | SegmentEnd:
    """The record at `offset` (a multiple of 8), judged by itself, or why there is none. Never raises."""
    if len(data) - offset < RECORD_HEADER_SIZE:
        return SegmentEnd(Ending.FULL, min(offset, len(data)))
    length, crc, kind, zeros, sequence = _RECORD.unpack_from(data, offset)
    if length == 0:
        return SegmentEnd(Ending.OPEN, offset)
    if length == CONTINUES:
        return SegmentEnd(Ending.CONTINUES, offset)
    end = offset + RECORD_HEADER_SIZE + length
    if end > len(data):
        return SegmentEnd(Ending.TORN, offset, f"length {length} runs past the segment")
    if zlib.crc32(memoryview(data)[offset + 8 : end]) != crc:
        return SegmentEnd(Ending.TORN, offset, "CRC differs")
    if kind not in {int(known) for known in _KINDS}:
        return SegmentEnd(Ending.TORN, offset, f"kind {kind} does not belong in a spool")
    padding = data[end : offset + _aligned(RECORD_HEADER_SIZE + length)]
    if any(zeros) or any(padding):
        return SegmentEnd(Ending.TORN, offset, "bytes that must be zero are not")
    return Record(Kind(kind), sequence, data[offset + RECORD_HEADER_SIZE : end], offset)


def encode_header(header: SegmentHeader) -> bytes:
    """The 64 bytes of a segment header."""
    return _HEADER.pack(MAGIC, header.epoch, header.segment, header.epoch_id, header.size)


def encode_record(kind: Kind, sequence: int, object_bytes: bytes) -> bytes:
    """A whole record with its padding, as the plugin writes it."""
    rest = _RECORD.pack(0, 0, kind, bytes(7), sequence)[8:] + object_bytes
    record = struct.pack(">II", len(object_bytes), zlib.crc32(rest)) + rest
    return record.ljust(_aligned(len(record)), b"\0")


def _refusal(record: Record, header: SegmentHeader, before: list[Record], last_sequence: int | None) -> str:
    """Why the record may not come here, or empty text."""
    if _is_over(before):
        return "a record after the epoch end"
    first = header.segment == 0 and not before
    if first != (record.kind is Kind.EPOCH_STATEMENT):
        return "the epoch statement is the first record of its epoch, and only that"
    if first:
        expected = 0
    elif record.kind is Kind.MARK:
        expected = max(record.sequence, 1) if last_sequence is None else last_sequence + 1
    else:
        expected = record.sequence if last_sequence is None else last_sequence
    return "" if record.sequence == expected else f"sequence {record.sequence}, not the next one, {expected}"


def _is_over(records: list[Record]) -> bool:
    return bool(records) and records[-1].kind is Kind.EPOCH_END


def _valid_behind(data: bytes, offset: int) -> bool:
    places = range(offset + ALIGNMENT, len(data) - RECORD_HEADER_SIZE, ALIGNMENT)
    return any(isinstance(decode_record(data, place), Record) for place in places)


def _aligned(length: int) -> int:
    return -(-length // ALIGNMENT) * ALIGNMENT
