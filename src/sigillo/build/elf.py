"""Sections of an ELF file (System V ABI, 64-bit little-endian), to name what differs between two. Pure."""

from __future__ import annotations

import struct

from sigillo.core.errors import DecodeError

_MAX = 4096
_NOBITS = 8


def is_elf(data: bytes) -> bool:
    """Whether *data* claims to be a 64-bit little-endian ELF file."""
    return data[:6] == b"\x7fELF\x02\x01"


def sections(data: bytes) -> dict[str, bytes]:
    """Name → content of each section. Raises DecodeError."""
    try:
        (table,) = struct.unpack_from("<Q", data, 0x28)
        size, count, names = struct.unpack_from("<HHH", data, 0x3A)
        if size != 64 or count > _MAX or names >= count:
            raise DecodeError("ELF", "its section table is not of this form")
        if table + count * size > len(data):
            raise DecodeError("ELF", "its section table leads out of the file")
        headers = [struct.unpack_from("<IIQQQQ", data, table + number * size) for number in range(count)]
    except struct.error:
        raise DecodeError("ELF", "is cut short") from None
    text = _content(data, headers[names])
    found: dict[str, bytes] = {}
    for header in headers:
        start = header[0]
        end = text.find(b"\0", start)
        if end < 0:
            raise DecodeError("ELF", "a section's name leads out of the table")
        name = text[start:end].decode("ascii", "replace")
        found[name] = found.get(name, b"") + _content(data, header)
    return found


def _content(data: bytes, header: tuple[int, ...]) -> bytes:
    """Of section header words name, type, flags, address, offset, size."""
    kind, offset, size = header[1], header[4], header[5]
    if kind in {0, _NOBITS}:
        return b""
    if offset + size > len(data):
        raise DecodeError("ELF", "a section leads out of the file")
    return data[offset : offset + size]
