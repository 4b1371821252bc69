"""What `sigillo up` and its children report: a name and fields, as one line of JSON through a pipe (docs/events.md)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

Value = str | int | bool | None | list[str]
_MAX_TEXT = 512


class EventName(StrEnum):
    """Everything that is reported; the fields of each are in docs/events.md."""

    WRITTEN = "written"
    """Files of the operator folder were made."""
    OTHER_PLUGIN = "other-plugin"
    """The plugin that was found is another than the copy in the folder, which runs on."""
    CERTIFICATE_ENDS = "certificate-ends"
    """The server's certificate ends soon."""
    ACCOUNTS = "accounts"
    """Who runs the broker, and whose the log key is."""
    LOG_OPENED = "log-opened"
    """The log's process has its folder; what a crash left is taken in."""
    LOG_BEHIND = "log-behind"
    """The launcher waits until the log covers what there is."""
    LOGGED = "logged"
    """The log has a larger checkpoint on disk."""
    LOG_FINDING = "log-finding"
    """Something that the log could not take."""
    ANCHORED = "anchored"
    """A time-stamp token over a checkpoint is logged."""
    ANCHOR_DELAYED = "anchor-delayed"
    """A token that has come could not be kept or submitted yet."""
    TSA_DOWN = "tsa-down"
    """A time-stamp authority gives no token."""
    TSA_BACK = "tsa-back"
    """It does again."""
    CRL_MISSING = "crl-missing"
    """A revocation list of a time-stamp authority cannot be read."""
    QUOTED = "quoted"
    """A quote of the TPM over the epoch and the newest checkpoint is handed to the log."""
    TPM_DOWN = "tpm-down"
    """The TPM gives no quote, or one that attests nothing."""
    TPM_BACK = "tpm-back"
    """It gives good ones again."""
    UNANSWERED = "challenge-unanswered"
    """A challenge got no answer, for another reason than the TPM."""
    BOOT_UNRECORDED = "boot-unrecorded"
    """The machine's boot log or measurement list is not there, cannot be read, or cannot be kept."""
    SERVING = "serving"
    """The log is served over HTTP."""
    WITNESS = "witness"
    """What a witness does, or does not: when it begins, and when it changes."""
    COSIGNED = "cosigned"
    """Another checkpoint with cosignatures is on disk."""
    READY = "ready"
    """The launcher has log key and past epochs; the broker may start."""
    BROKER_STARTED = "broker-started"
    """The broker's process runs."""
    BROKER_LOG = "broker-log"
    """One line of the broker's log."""
    STARTED = "started"
    """The epoch statement is countersigned and on disk; the broker listens from now on."""
    ARCHIVE_LINKED = "archive-linked"
    """The archive's subscription stands."""
    ARCHIVE_UNLINKED = "archive-unlinked"
    """The archive lost its connection."""
    ARCHIVED = "archived"
    """What the archive has taken since its start."""
    COUNTERS = "counters"
    """What the plugin has marked and refused in this epoch."""
    ODD_PACKET = "odd-packet"
    """The plugin sent something that the launcher does not expect."""
    ENDED = "ended"
    """The epoch is over."""
    RELOAD_REFUSED = "reload-refused"
    """What a new epoch would read cannot be used; the present one goes on."""
    RESTARTING = "restarting"
    """A new epoch follows at once."""
    CHILD_DIED = "child-died"
    """A process failed, or ended without being asked to."""
    KILLED = "killed"
    """A process did not stop when asked."""
    STOPPING = "stopping"
    """Everything that is left is being stopped."""
    STOPPED = "stopped"
    """Nothing of it runs any more."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. Fields are ready for JSON."""

    name: EventName
    fields: Mapping[str, Value] = field(default_factory=lambda: MappingProxyType({}))

    def encode(self) -> str:
        """One line of JSON, without its line feed."""
        return json.dumps({"event": self.name, **self.fields}, ensure_ascii=False)


Report = Callable[[Event], None]


def decode_event(line: str) -> Event:
    """The event of a line that `encode` made."""
    fields = json.loads(line)
    return Event(EventName(fields.pop("event")), MappingProxyType(fields))


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
