"""Record of the mark store, and header of its segments: spec/log-storage.md, "Store". Bytes only, no files."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Final

from sigillo.core.entry import SIZE as ENTRY_SIZE
from sigillo.core.errors import DecodeError

MAGIC: Final = b"sigillo-store-1\n"
HEADER_SIZE: Final = 64
"""Bytes of a segment's header; also those of a record before its object."""

SEGMENT_ENTRIES: Final = 65_536
MAX_OBJECT: Final = 2**27

_HEADER: Final = struct.Struct(">16sQ8s32s")
_RECORD: Final = struct.Struct(f">IIQ{ENTRY_SIZE}s3s")
_ZEROS: Final = bytes(8)


@dataclass(frozen=True, slots=True)
class Record:
    """A record whose CRC holds. *entry*: 45 bytes, not decoded; *offset* in its file; *end*: of the next one."""

    index: int
    entry: bytes
    object_bytes: bytes
    offset: int
    end: int


def encode_header(segment: int, key_id: bytes) -> bytes:
    """Header of a segment; *key_id*: SHA-256 of the log key, 32 bytes."""
    return _HEADER.pack(MAGIC, segment * SEGMENT_ENTRIES, _ZEROS, key_id)


def check_header(data: bytes, segment: int, key_id: bytes) -> None:
    """Refuse (DecodeError) a file that does not begin as this segment of this log."""
    if data[:HEADER_SIZE] != encode_header(segment, key_id):
        raise DecodeError("store segment", "does not begin with the header of this segment of this log")


def encode_record(index: int, entry: bytes, object_bytes: bytes) -> bytes:
    """A whole record with its padding. Raises DecodeError where the object is empty or too long."""
    length = len(object_bytes)
    if not 0 < length <= MAX_OBJECT:
        raise DecodeError("store record", f"an object of {length} bytes is not stored")
    head = _RECORD.pack(length, 0, index, entry, _ZEROS[:3])
    crc = zlib.crc32(object_bytes, zlib.crc32(head[8:]))
    return b"".join((head[:4], crc.to_bytes(4, "big"), head[8:], object_bytes, _ZEROS[: -length % 8]))


def record_size(head: bytes) -> int:
    """Size with padding of the record whose first four bytes these are; whether it holds is not looked at."""
    length = int.from_bytes(head[:4], "big")
    return HEADER_SIZE + length + -length % 8


def decode_record(data: bytes | memoryview, offset: int, index: int, place: int = 0) -> Record:
    """The record of entry *index* at *offset* of *data*, which begins at byte *place* of its file.

    Raises DecodeError where it does not hold; the entry and its hash are not looked at.
    """
    if len(data) - offset < HEADER_SIZE:
        raise DecodeError("store record", "the file ends inside it")
    length, crc, found, entry, zeros = _RECORD.unpack_from(data, offset)
    end = offset + HEADER_SIZE + length
    if not 0 < length <= MAX_OBJECT or end + -length % 8 > len(data):
        raise DecodeError("store record", f"its length {length} is not one, or runs past the file")
    if zlib.crc32(data[offset + 8 : end]) != crc:
        raise DecodeError("store record", "its CRC differs")
    if found != index:
        raise DecodeError("store record", f"is that of entry {found}, not {index}")
    if any(zeros) or any(data[end : end + -length % 8]):
        raise DecodeError("store record", "bytes that must be zero are not")
    return Record(index, entry, bytes(data[offset + HEADER_SIZE : end]), place + offset, place + end + -length % 8)
