"""What a launch log says by its own account, whoever wrote it (spec/launch.md). Nothing here is verified."""

from __future__ import annotations

from dataclasses import dataclass

from sigillo.core.decoded import DecodedLaunchLog
from sigillo.core.errors import AttestationError, DecodeError
from sigillo.core.event_log import LoggedEvent, encode_event
from sigillo.core.launch import EpochEvent, LaunchEvent, LaunchLogEvent, decode_launch_event


@dataclass(frozen=True, slots=True)
class LoggedEpoch:
    """An epoch in a launch log. *number*: of the launch above it, 0 where there is none; *size*: bytes of the log up to
    and with the epoch's event, which is the log that its quotes are about.
    """

    number: int
    epoch_id: bytes
    size: int


@dataclass(frozen=True, slots=True)
class LoggedLaunches:
    """A launch log: how many launches and events of others it has, and its epochs in order."""

    launches: int
    others: int
    epochs: tuple[LoggedEpoch, ...]


def logged_launches(decoded: DecodedLaunchLog) -> LoggedLaunches:
    """Read a launch log as far as it can be read: an event that is not the launcher's is only counted."""
    events, launches, others = decoded.log.events, 0, 0
    epochs: list[LoggedEpoch] = []
    sizes = [len(encode_event(event)) for event in events]
    number, size = 0, len(decoded.line.log) - sum(sizes)
    for logged, event_size in zip(events, sizes, strict=True):
        size += event_size
        event = _read(logged)
        if isinstance(event, LaunchEvent):
            launches, number = launches + 1, event.epoch_number
        elif isinstance(event, EpochEvent):
            epochs.append(LoggedEpoch(number, event.epoch_id, size))
            number = 0
        else:
            others += 1
    return LoggedLaunches(launches, others, tuple(epochs))


def _read(logged: LoggedEvent) -> LaunchLogEvent | None:
    try:
        return decode_launch_event(logged)
    except (AttestationError, DecodeError):
        return None
