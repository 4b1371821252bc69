"""A place in the spool of one epoch, from which records are read as they come (spec/spool.md)."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Final

from sigillo import disk
from sigillo.core.errors import DecodeError
from sigillo.core.spool import (
    HEADER_SIZE,
    RECORD_HEADER_SIZE,
    Ending,
    Record,
    SegmentEnd,
    decode_header,
    decode_record,
)
from sigillo.log.error import Refusal

_NAME: Final = re.compile(r"(\d{6})\.spool")


class SpoolCursor:
    """Reads the segments of an epoch's folder in ascending order, each once; sequences are not looked at but to find
    the segment in which the next record is."""

    def __init__(self, folder: Path, epoch: int, epoch_id: bytes, wanted: Callable[[], int]) -> None:
        """*wanted*: the sequence that comes next; a segment that begins with a greater one is not gone to."""
        self.folder = folder
        self._epoch, self._epoch_id, self._wanted = epoch, epoch_id, wanted
        self.segment = -1
        self._offset = self._size = 0

    @property
    def place(self) -> str:
        """File and offset of the next record, for people."""
        return f"{self._path(self.segment)}, byte {self._offset}" if self.segment >= 0 else str(self.folder)

    def records(self) -> Iterator[Record]:
        """The records that are there now. Raises Refusal where one does not hold, DecodeError, OSError."""
        failed: tuple[int, int] | None = None
        while True:
            end: SegmentEnd | None = None
            if self.segment >= 0:
                end = yield from self._segment_records()
            place = self.segment, self._offset
            try:
                if not self._advance(end):
                    return
            except (Refusal, DecodeError):
                if failed == place:
                    raise
                failed = place  # the plugin may have gone on since the segment was read: look once more

    def alive(self) -> bool:
        """Whether the broker of this epoch lives: its plugin holds the lock of the folder. Raises OSError."""
        try:
            descriptor = disk.open_folder(self.folder)
        except FileNotFoundError:
            return False
        try:
            disk.lock(descriptor, 0)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def drop_passed(self) -> None:
        """D1: delete the segments before the one in which the last record was. Raises OSError."""
        for number in self._numbers():
            if number < self.segment:
                self._path(number).unlink(missing_ok=True)

    def _segment_records(self) -> Generator[Record, None, SegmentEnd]:
        """Records from the offset on, read again until nothing more has come meanwhile; and how they end."""
        torn = False
        with self._path(self.segment).open("rb") as file:
            while True:
                file.seek(self._offset)
                base, data = self._offset, file.read()
                while isinstance(found := decode_record(data, self._offset - base), Record):
                    self._offset = base + found.end
                    torn = False
                    yield found
                if found.ending is Ending.FULL and base + len(data) < self._size:
                    found = SegmentEnd(Ending.TORN, self._offset, "the file ends here, before its size")
                if self._offset == base and (torn or found.ending is not Ending.TORN):
                    return found
                torn = found.ending is Ending.TORN  # the plugin may have been writing it: look once more

    def _advance(self, end: SegmentEnd | None) -> bool:
        """Go to the next segment that begins with a record that is wanted, or one that precedes it.

        So a segment that came back after a power cut, with other content, is passed over. *end*: of the present one.
        Raises Refusal, DecodeError where no such segment is there, and one is wrong, or records are missing.
        """
        problem: Refusal | DecodeError | None = None
        numbers = self._numbers()
        if end and end.ending is Ending.TORN:
            problem = Refusal(end.reason)
        elif end and end.ending is Ending.CONTINUES and numbers[-1:] == [self.segment]:
            problem = Refusal("it goes on in a segment that is not there")
        for number in numbers:
            if number > self.segment:
                try:
                    size = self._begins_in_time(self._path(number))
                except (Refusal, DecodeError) as error:
                    problem = problem or error
                    continue
                if size:
                    self.segment, self._offset, self._size = number, HEADER_SIZE, size
                    return True
        if problem:
            raise problem
        return False

    def _begins_in_time(self, path: Path) -> int:
        """The size of a segment whose first record is not behind the wanted one; 0 where it has none.

        A prepared segment without a record has none, and none either where the plugin removes it before it is opened.
        """
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return 0
        with file:
            data = file.read(HEADER_SIZE + RECORD_HEADER_SIZE)
            header = decode_header(data)
            if (header.epoch, header.epoch_id) != (self._epoch, self._epoch_id):
                raise Refusal(f"{path} is a segment of another epoch")
            first = decode_record(data, HEADER_SIZE)
            if not isinstance(first, Record) and first.ending is Ending.TORN:  # there is more of it
                first = decode_record(data + file.read(), HEADER_SIZE)
        if not isinstance(first, Record):
            return 0
        if first.sequence > self._wanted():
            raise Refusal(f"{path} begins with {first.sequence}, so that {self._wanted()} is missing")
        return header.size

    def _numbers(self) -> list[int]:
        """Numbers of the segments that are there, ascending."""
        if not self.folder.is_dir():
            return []
        return sorted(int(match[1]) for path in self.folder.iterdir() if (match := _NAME.fullmatch(path.name)))

    def _path(self, segment: int) -> Path:
        return self.folder / f"{segment:06}.spool"
