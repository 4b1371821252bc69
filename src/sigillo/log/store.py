"""The mark store: segments of 65,536 records, in the order of the log (spec/log-storage.md, "Store").

Durability: an entry has its index, for ever, once `append` or `flush` has returned (storage contract, 1). A flush that
failed is never tried again (6): whoever gets its error stops, and the next start writes the tail anew (`rewrite`).
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeAlias

from sigillo import disk
from sigillo.core.errors import DecodeError
from sigillo.log.error import RESTORED, STOPPED, LogError, NotKept, naming
from sigillo.log.record import (
    HEADER_SIZE,
    SEGMENT_ENTRIES,
    Record,
    check_header,
    decode_record,
    encode_header,
    encode_record,
    record_size,
)

Item: TypeAlias = tuple[bytes, bytes]
"""Entry (45 bytes) and object of one record."""

_NAME: Final = re.compile(r"(\d{10})\.objects")
_OFFSET: Final = 8


class StoreReader:
    """Records by their index. Reads beside the writer, as far as a checkpoint reaches."""

    def __init__(self, folder: Path, key_id: bytes) -> None:
        """*folder*: `log/store`; *key_id*: SHA-256 of the log key. Raises LogError where a segment is of another."""
        self.folder = folder
        self._key_id = key_id
        self.segments = self._list()

    @property
    def segment_entries(self) -> int:
        """Entries of a full segment."""
        return SEGMENT_ENTRIES

    @property
    def first_kept(self) -> int:
        """The first entry that is here."""
        return self.segments.start * SEGMENT_ENTRIES

    def segment_of(self, index: int) -> int:
        """The segment that an entry is in."""
        return index // SEGMENT_ENTRIES

    def read(self, index: int) -> Record:
        """The record of one entry. Raises LogError."""
        return next(self.iterate(index, index + 1))

    def iterate(self, begin: int, end: int) -> Iterator[Record]:
        """The records of the entries begin … end - 1, in order. Raises LogError at the first that does not hold."""
        while begin < end:
            segment = begin // SEGMENT_ENTRIES
            stop = min(end, (segment + 1) * SEGMENT_ENTRIES)
            yield from self._iterate_segment(segment, begin, stop)
            begin = stop

    def objects_path(self, segment: int) -> Path:
        """The file of a segment."""
        return self.folder / f"{segment:010}.objects"

    def index_path(self, segment: int) -> Path:
        """The file with the offsets of a segment's records: a cache."""
        return self.folder / f"{segment:010}.index"

    def scan(self, segment: int, limit: int = SEGMENT_ENTRIES) -> Iterator[Record]:
        """The records of a segment from its first on, up to the first that does not hold, at most *limit*."""
        with _mapped(self.objects_path(segment)) as data, memoryview(data) as view:
            offset, first = HEADER_SIZE, segment * SEGMENT_ENTRIES
            for index in range(first, first + limit):
                try:
                    record = decode_record(view, offset, index)
                except DecodeError:
                    return
                yield record
                offset = record.end

    def _iterate_segment(self, segment: int, begin: int, end: int) -> Iterator[Record]:
        path = self.objects_path(segment)
        try:
            with path.open("rb") as file:
                file.seek(self._offset(segment, begin))
                for index in range(begin, end):
                    place = file.tell()
                    head = file.read(HEADER_SIZE)
                    data = head + file.read(max(record_size(head) - HEADER_SIZE, 0))
                    yield decode_record(data, 0, index, place)
        except FileNotFoundError:
            if segment < self._list().start:
                raise NotKept(
                    f"{path}: entry {begin} is no longer kept; nothing can be shown of it but its entry"
                ) from None
            raise LogError(f"{path}: is missing, so entry {begin} cannot be shown") from None
        except DecodeError as error:
            raise LogError(f"{path}: entry {index}, at byte {place}: {error.reason}; {RESTORED}") from None

    def _offset(self, segment: int, index: int) -> int:
        """Where the record of an entry begins: as the index file says, if that is right, else counted."""
        number = index % SEGMENT_ENTRIES
        if number == 0:
            return HEADER_SIZE
        path = self.objects_path(segment)
        with path.open("rb") as file:
            offset = self._cached(segment, number)
            if offset:
                file.seek(offset + 8)
                if file.read(8) == index.to_bytes(8, "big"):
                    return offset
            offset = HEADER_SIZE
            for _ in range(number):
                file.seek(offset)
                offset += record_size(file.read(4))
            return offset

    def _cached(self, segment: int, number: int) -> int:
        try:
            with self.index_path(segment).open("rb") as file:
                file.seek(number * _OFFSET)
                return int.from_bytes(file.read(_OFFSET), "big")
        except FileNotFoundError:
            return 0

    def _list(self) -> range:
        """Numbers of the segments; there is no hole between them, and each begins with its header."""
        numbers = sorted(int(match[1]) for path in self.folder.iterdir() if (match := _NAME.fullmatch(path.name)))
        if not numbers:
            return range(0)
        for number in range(numbers[0], numbers[-1] + 1):
            path = self.objects_path(number)
            try:
                with path.open("rb") as file:
                    check_header(file.read(HEADER_SIZE), number, self._key_id)
            except FileNotFoundError:
                raise LogError(f"{path}: is missing; {RESTORED}") from None
            except DecodeError as error:
                raise LogError(f"{path}: {error.reason}; {RESTORED}") from None
        return range(numbers[0], numbers[-1] + 1)


class Store(StoreReader):
    """The store for its one writer, who holds the lock of the log. First `recover`, then `rewrite`, then the rest."""

    def __init__(self, folder: Path, key_id: bytes) -> None:
        """As StoreReader; strays of a crash are removed."""
        disk.sweep(folder, "")
        super().__init__(folder, key_id)
        for path in folder.glob("*.index"):
            if path.stem.isdigit() and int(path.stem) < self.segments.start:  # a crash in D3 left it
                path.unlink()
        self.size = 0
        self._open: dict[int, int] = {}  # segment → descriptor: of the last one, in a round also before
        self._end = 0  # of the last record in the last segment

    def close(self) -> None:
        """Close the files."""
        while self._open:
            os.close(self._open.popitem()[1])

    def recover(self, size: int) -> list[Record]:
        """R2: the records behind the checkpoint's *size* that hold, up to the first that does not.

        Their entries and objects are not looked at. Raises LogError where the store does not reach *size*.
        """
        segment = size // SEGMENT_ENTRIES
        if size % SEGMENT_ENTRIES == 0 and size:
            segment -= 1  # the record before the tail must be there
        tail: list[Record] = []
        index, offset = segment * SEGMENT_ENTRIES, HEADER_SIZE
        for number in range(segment, self.segments.stop if segment in self.segments else 0):
            offsets = []
            index, offset = number * SEGMENT_ENTRIES, HEADER_SIZE
            for record in self.scan(number):
                offsets.append(record.offset)
                index, offset = index + 1, record.end
                if record.index >= size:
                    tail.append(record)
            self._write_index(number, 0, offsets)
            if len(offsets) < SEGMENT_ENTRIES:
                break
        if index < size:
            path = self.objects_path(index // SEGMENT_ENTRIES)
            raise LogError(
                f"{path}: entry {index}, at byte {offset}: is missing or does not hold, but the checkpoint has size "
                f"{size}; {RESTORED}"
            )
        return tail

    def rewrite(self, size: int, tail: Sequence[Record]) -> None:
        """R3: write the *tail* behind *size* over itself, and cut off what is behind it. Raises OSError, LogError.

        So its pages are dirty again, whatever an earlier flush did. Nothing is flushed: that is I3, `flush`.
        """
        self.size = size + len(tail)
        self._end = HEADER_SIZE
        last = self.size // SEGMENT_ENTRIES
        if tail:
            last = tail[-1].index // SEGMENT_ENTRIES
            self._end = tail[-1].end
        elif size:
            last = (size - 1) // SEGMENT_ENTRIES
            self._end = self.read(size - 1).end
        for record in tail:
            descriptor = self._descriptor(record.index // SEGMENT_ENTRIES)
            _pwrite(descriptor, encode_record(record.index, record.entry, record.object_bytes), record.offset)
        self._cut(last)

    def append(self, items: Sequence[Item]) -> None:
        """Write the records of the next entries, flush them. Raises LogError, and then the store is of no more use."""
        written = []
        while items:
            room = SEGMENT_ENTRIES - self.size % SEGMENT_ENTRIES
            written.append((self.size, self._append(items[:room])))
            items = items[room:]
        self.flush()
        for first, offsets in written:
            self._write_index(first // SEGMENT_ENTRIES, first % SEGMENT_ENTRIES, offsets)

    def flush(self) -> None:
        """I3: make what was written since the last flush durable. Raises LogError."""
        for segment, descriptor in sorted(self._open.items()):
            with naming(self.objects_path(segment), STOPPED):
                os.fdatasync(descriptor)  # I3
            if segment != self._last:
                os.close(self._open.pop(segment))

    def drop_lowest(self) -> None:
        """D3: delete the lowest segment, so that a power cut leaves no hole and no segment without index.

        Raises OSError.
        """
        segment = self.segments.start
        self.objects_path(segment).unlink()
        disk.sync_folder(self.folder)
        self.index_path(segment).unlink(missing_ok=True)
        self.segments = range(segment + 1, self.segments.stop)

    @property
    def _last(self) -> int:
        return max(self.size - 1, 0) // SEGMENT_ENTRIES

    def _append(self, items: Sequence[Item]) -> list[int]:
        """Write records into one segment; where they begin."""
        segment, first = divmod(self.size, SEGMENT_ENTRIES)
        if first == 0:
            path = self.objects_path(segment)
            disk.replace(path, encode_header(segment, self._key_id), disk.PRIVATE)  # S1 S2
            self.segments = range(self.segments.start, segment + 1)
            self._end = HEADER_SIZE
        records, offsets, offset = [], [], self._end
        for index, (entry, object_bytes) in enumerate(items, self.size):
            records.append(encode_record(index, entry, object_bytes))
            offsets.append(offset)
            offset += len(records[-1])
        with naming(self.objects_path(segment), STOPPED):
            _pwrite(self._descriptor(segment), b"".join(records), self._end)  # I2
        self._end = offset
        self.size += len(items)
        return offsets

    def _descriptor(self, segment: int) -> int:
        if segment not in self._open:
            self._open[segment] = os.open(self.objects_path(segment), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        return self._open[segment]

    def _write_index(self, segment: int, first: int, offsets: Sequence[int]) -> None:
        """Note where records begin: a cache, flushed once its segment is full, and checked by whoever uses it."""
        descriptor = os.open(self.index_path(segment), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, disk.PRIVATE)
        try:
            _pwrite(descriptor, b"".join(offset.to_bytes(_OFFSET, "big") for offset in offsets), first * _OFFSET)
            os.ftruncate(descriptor, (first + len(offsets)) * _OFFSET)
            if first + len(offsets) == SEGMENT_ENTRIES:
                os.fdatasync(descriptor)
        finally:
            os.close(descriptor)

    def _cut(self, last: int) -> None:
        """Cut segment *last* to the end of its last record; remove it where it has none, and those behind it."""
        for segment in reversed(self.segments):
            if segment > last or (segment == last and self._end == HEADER_SIZE):
                self.index_path(segment).unlink(missing_ok=True)
                self.objects_path(segment).unlink()
        if self._end > HEADER_SIZE:
            os.ftruncate(self._descriptor(last), self._end)
            self.segments = range(self.segments.start, last + 1)
        else:
            self.segments = range(self.segments.start, last)
        disk.sync_folder(self.folder)


@contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap]:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data:
        yield data


def _pwrite(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written
