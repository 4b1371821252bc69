"""TCG event logs, crypto-agile form: spec/event-log.md (TCG PC Client Platform Firmware Profile 1.06, section 10).

A log proves nothing until its replay equals PCR values that a TPM has quoted. The *type* of an event is in no digest:
what an event's data says counts only where the type makes the digest the hash of the data, and the two agree.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from sigillo.core.errors import AttestationError, DecodeError
from sigillo.core.field import byte_string
from sigillo.core.tpm import PCRS, SHA256

MAX_LOG: Final = 16 * 1024 * 1024
MAX_EVENTS: Final = 65_536
ZERO: Final = bytes(32)
_DIGEST_SIZES: Final = {0x0004: 20, 0x000B: 32, 0x000C: 48, 0x000D: 64, 0x0012: 32, 0x0027: 32, 0x0028: 48, 0x0029: 64}
"""Of the algorithms in the TCG registry that banks use: SHA-1, SHA-2, SM3, SHA-3."""
_SIGNATURE: Final = b"Spec ID Event03\0"
_LOCALITY: Final = b"StartupLocality\0"
_SEPARATORS: Final = (b"\0\0\0\0", b"\xff\xff\xff\xff")
_HEADER: Final = struct.Struct("<II20sI")
_SPEC_ID: Final = struct.Struct("<16sIBBBBI")
_CLIENT, _UINTN_64 = 0, 2


class EventType(IntEnum):
    """The types that this reader does something with; others are events too."""

    NO_ACTION = 0x03
    SEPARATOR = 0x04
    ACTION = 0x05
    EVENT_TAG = 0x06
    S_CRTM_VERSION = 0x08
    EFI_VARIABLE_DRIVER_CONFIG = 0x8000_0001
    EFI_GPT_EVENT = 0x8000_0006
    EFI_ACTION = 0x8000_0007
    EFI_VARIABLE_BOOT2 = 0x8000_000C
    EFI_VARIABLE_AUTHORITY = 0x8000_00E0


DATA_IS_HASHED: Final = frozenset(EventType) - {EventType.NO_ACTION, EventType.EVENT_TAG}
"""Types whose digest is the hash of the event's data. EV_EVENT_TAG is not: Linux logs a label there, and hashes what it
has loaded."""


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """One event: *digest* is that of the SHA-256 bank, 32 bytes. *event_type* is what the log says it is."""

    pcr: int
    event_type: int
    digest: bytes
    data: bytes

    @property
    def trusted_data(self) -> bytes | None:
        """The data, where the digest fixes it; None where only the digest says anything."""
        return self.data if self.event_type in DATA_IS_HASHED else None


@dataclass(frozen=True, slots=True)
class EventLog:
    """A decoded log: the *algorithms* of its banks, its events without the header."""

    algorithms: tuple[int, ...]
    events: tuple[LoggedEvent, ...]


def decode_event_log(data: bytes) -> EventLog:
    """Decode a log. Raises DecodeError where it is malformed or has no SHA-256 bank, AttestationError where the data of
    an event is not what its digest is of."""
    if len(data) > MAX_LOG:
        raise DecodeError("event log", f"is longer than {MAX_LOG} bytes")
    sizes, at = _decode_header(data)
    if SHA256 not in sizes:
        raise DecodeError("event log", "has no SHA-256 bank")
    events: list[LoggedEvent] = []
    while at < len(data):
        if len(events) == MAX_EVENTS:
            raise DecodeError("event log", f"has more than {MAX_EVENTS} events")
        event, at = _decode_event(data, at, sizes)
        _check_data(event, len(events) + 1)
        events.append(event)
    return EventLog(tuple(sizes), tuple(events))


def encode_event_log(events: Iterable[LoggedEvent]) -> bytes:
    """A log of the SHA-256 bank alone, with its header."""
    return encode_log_header() + b"".join(encode_event(event) for event in events)


def encode_log_header() -> bytes:
    """The first event: EV_NO_ACTION with the specification that the others follow, and the one bank."""
    spec = _SPEC_ID.pack(_SIGNATURE, _CLIENT, 0, 2, 0, _UINTN_64, 1) + struct.pack("<HHB", SHA256, 32, 0)
    return _HEADER.pack(0, EventType.NO_ACTION, bytes(20), len(spec)) + spec


def encode_event(event: LoggedEvent) -> bytes:
    """One event as a log of the SHA-256 bank alone holds it. Raises DecodeError for a digest of another size."""
    digest = byte_string(event.digest, "event digest")
    head = struct.pack("<IIIH", event.pcr, event.event_type, 1, SHA256)
    return head + digest + struct.pack("<I", len(event.data)) + event.data


def extend(value: bytes, digest: bytes) -> bytes:
    """PCR value after one extension: SHA-256(value ‖ digest), 32 bytes."""
    return hashlib.sha256(value + digest).digest()


def replay(events: Iterable[LoggedEvent]) -> tuple[bytes, ...]:
    """What the 24 PCRs of the SHA-256 bank hold after these events, from a TPM reset on; 32 bytes each."""
    values = [ZERO] * PCRS
    for event in events:
        if event.event_type != EventType.NO_ACTION:
            values[event.pcr] = extend(values[event.pcr], event.digest)
        elif event.pcr == 0 and event.data[:-1] == _LOCALITY:
            values[0] = ZERO[:-1] + event.data[-1:]
    return tuple(values)


def check_replay(events: Sequence[LoggedEvent], quoted: Sequence[bytes], indices: Iterable[int]) -> None:
    """Raise AttestationError unless the replay gives the *quoted* values of these PCRs."""
    values = replay(events)
    for index in indices:
        if values[index] != quoted[index]:
            raise AttestationError(f"the event log does not lead to the quoted value of PCR {index}")


def _decode_header(data: bytes) -> tuple[dict[int, int], int]:
    """Digest size by algorithm, in the order of the log, and where the first event starts."""
    if len(data) < _HEADER.size:
        raise DecodeError("event log", "is cut off in its header")
    pcr, event_type, digest, size = _HEADER.unpack_from(data)
    if (pcr, event_type, digest) != (0, EventType.NO_ACTION, bytes(20)):
        raise DecodeError("event log", "does not begin with the event that says which specification it follows")
    spec = data[_HEADER.size : _HEADER.size + size]
    if len(spec) != size or size < _SPEC_ID.size:
        raise DecodeError("event log", "is cut off in its header")
    signature, _, _, major, _, _, count = _SPEC_ID.unpack_from(spec)
    if signature != _SIGNATURE or major != 2:
        raise DecodeError("event log", "is not in the crypto-agile form")
    at = _SPEC_ID.size
    if not 1 <= count <= len(_DIGEST_SIZES) or size <= at + 4 * count:
        raise DecodeError("event log", f"has a header of {size} bytes for {count} banks")
    sizes = dict(struct.iter_unpack("<HH", spec[at : at + 4 * count]))
    if len(sizes) != count or any(_DIGEST_SIZES.get(algorithm) != length for algorithm, length in sizes.items()):
        raise DecodeError("event log", "has a bank twice, or one of an unknown algorithm or another size")
    if size != at + 4 * count + 1 + spec[at + 4 * count]:
        raise DecodeError("event log", "has a header of another length than it says")
    return sizes, _HEADER.size + size


def _decode_event(data: bytes, at: int, sizes: dict[int, int]) -> tuple[LoggedEvent, int]:
    """The event at *at*, with exactly one digest of each bank, in any order; and where the next one starts."""

    def take(size: int) -> bytes:
        nonlocal at
        if size > len(data) - at:
            raise DecodeError("event log", f"is cut off at byte {len(data)}")
        at += size
        return data[at - size : at]

    def number(size: int) -> int:
        return int.from_bytes(take(size), "little")

    pcr, event_type, count = number(4), number(4), number(4)
    if pcr >= PCRS:
        raise DecodeError("event log", f"has an event of PCR {pcr}")
    if count != len(sizes):
        raise DecodeError("event log", f"has an event with {count} digests for {len(sizes)} banks")
    digests: dict[int, bytes] = {}
    for _ in range(count):
        algorithm = number(2)
        if algorithm not in sizes or algorithm in digests:
            raise DecodeError(
                "event log", f"has an event with a digest twice, or of a bank it does not have ({algorithm:#x})"
            )
        digests[algorithm] = take(sizes[algorithm])
    return LoggedEvent(pcr, event_type, digests[SHA256], take(number(4))), at


def _check_data(event: LoggedEvent, number: int) -> None:
    if event.event_type not in DATA_IS_HASHED:
        return
    if event.digest != hashlib.sha256(event.data).digest():
        raise AttestationError(f"event {number} has data of which its digest is not the hash: changed, or re-labelled")
    if event.event_type == EventType.SEPARATOR and event.data not in _SEPARATORS:
        raise AttestationError(f"event {number} is a separator that reports an error, or another event re-labelled")
