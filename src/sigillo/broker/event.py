"""What `sigillo up` and its children report: a name and fields, as one line of JSON through a pipe."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

Value = str | int | bool | None | list[str]
_MAX_TEXT = 512


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. `name` is one of `sigillo.cli.up`'s; fields are ready for JSON."""

    name: str
    fields: Mapping[str, Value] = field(default_factory=lambda: MappingProxyType({}))

    def encode(self) -> str:
        """One line of JSON, without its line feed."""
        return json.dumps({"event": self.name, **self.fields}, ensure_ascii=False)


Report = Callable[[Event], None]


def decode_event(line: str) -> Event:
    """The event of a line that `encode` made."""
    fields = json.loads(line)
    return Event(fields.pop("event"), MappingProxyType(fields))


def reporter(descriptor: int) -> Report:
    """Reports into a pipe. A reader that is gone is no error: a child finishes its work without one."""

    def report(event: Event) -> None:
        try:
            os.write(descriptor, event.encode().encode() + b"\n")
        except BrokenPipeError:
            return

    return report


def cut(text: str) -> str:
    """Text short enough for an event: a pipe takes one write of 4 KiB whole."""
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}…"


class LineReader:
    """Lines from a pipe. `descriptor` is the reader's to close."""

    def __init__(self, descriptor: int, on_line: Callable[[str], None]) -> None:
        self.descriptor = descriptor
        self._on_line = on_line
        self._rest = b""

    def read(self) -> bool:
        """Take what is there; False at the end of the pipe."""
        data = os.read(self.descriptor, 65_536)
        *lines, self._rest = (self._rest + data).split(b"\n")
        if not data and self._rest:
            lines, self._rest = [self._rest], b""
        for line in lines:
            self._on_line(line.decode(errors="replace"))
        return bool(data)
