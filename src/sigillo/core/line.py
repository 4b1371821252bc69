"""The lines of an evidence file, of a stream of bytes that may be gzip (spec/evidence.md). In bounded memory."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

from sigillo.core.errors import DecodeError

MAX_LINE = 2 * 1024 * 1024
GZIP_MAGIC = b"\x1f\x8b"
_STEP = 64 * 1024


def split_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Cut a stream of chunks into lines without their LF, unpacking gzip (told by its first two bytes).

    Holds at most one line, one chunk and 64 KiB of unpacked bytes.

    Raises:
        DecodeError: a line over 2 MiB, no LF at the end, a broken gzip stream or anything after it.
    """
    pending = bytearray()
    number = 1
    for part in _unpacked(chunks):
        start = 0
        while (end := part.find(b"\n", start)) >= 0:
            pending += part[start:end]
            _check_length(pending, number)
            yield bytes(pending)
            pending.clear()
            start, number = end + 1, number + 1
        pending += part[start:]
        _check_length(pending, number)
    if pending:
        raise DecodeError(f"line {number}", "does not end with a line feed: cut off, or not an evidence file")
    if number == 1:
        raise DecodeError("file", "is empty")


def _check_length(line: bytearray, number: int) -> None:
    if len(line) >= MAX_LINE:  # with its LF
        raise DecodeError(f"line {number}", f"is longer than {MAX_LINE} bytes; this is not an evidence file")


def _unpacked(chunks: Iterable[bytes]) -> Iterator[bytes]:
    source = iter(chunks)
    head = b""
    for chunk in source:
        head += chunk
        if len(head) >= len(GZIP_MAGIC):
            break
    if head.startswith(GZIP_MAGIC):
        yield from _gunzip(head, source)
        return
    yield head
    yield from source


def _gunzip(head: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    more = filter(None, rest)
    pending = head
    while True:
        try:
            part = unpacker.decompress(pending, _STEP)
        except zlib.error as error:
            raise DecodeError("file", f"is not a valid gzip stream: {error}") from error
        yield part
        if unpacker.eof:
            break
        pending = unpacker.unconsumed_tail
        if not pending and len(part) < _STEP:  # nothing is left inside the unpacker
            pending = next(more, b"")
            if not pending:
                raise DecodeError("file", "is a gzip stream that is cut off")
    if unpacker.unused_data or next(more, b""):
        raise DecodeError("file", "has bytes after its gzip stream")
