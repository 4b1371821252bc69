"""The measured launch: what a launcher writes into PCR 13 and its event log, and how it is read (spec/launch.md).

It is what the launcher *says* that it started. Nothing here shows that it started that.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from typing import Final, TypeAlias

from sigillo.core import cbor
from sigillo.core.bytes import object_hash
from sigillo.core.epoch import configuration_hash
from sigillo.core.errors import AttestationError, DecodeError
from sigillo.core.event_log import EventLog, EventType, LoggedEvent, decode_event_log, encode_log_header, extend, replay
from sigillo.core.field import UINT32_MAX, array, byte_string, choice, integer, numbered_map, text
from sigillo.core.process_state import ProcessState, decode_process_state, encode_process_state
from sigillo.core.quote import LAUNCH_PCR
from sigillo.core.statement import StatementFields
from sigillo.core.tpm import SHA256

VERSION: Final = 1
MAX_MEMBERS: Final = 4096
MAX_CLOSURE: Final = 1024 * 1024
MAX_PATH: Final = 4096
MAX_WORDS: Final = 256
_LAUNCH_TAG: Final = 0x5347_4C01
_EPOCH_TAG: Final = 0x5347_4C02
_TAGGED: Final = struct.Struct("<II")


class Role(IntEnum):
    """What a file is to the broker."""

    EXECUTABLE = 1
    LOADER = 2
    LIBRARY = 3
    PLUGIN = 4
    CONFIGURATION = 5
    CODE = 6


@dataclass(frozen=True, slots=True, order=True)
class Member:
    """A file of the closure: *name* as spec/launch.md says, *digest*: SHA-256 of its content (a key: public half)."""

    role: Role
    name: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class Closure:
    """Every file that a launch is made of, in ascending order of role and name."""

    members: tuple[Member, ...]

    @classmethod
    def of(cls, members: Iterable[Member]) -> Closure:
        """The closure of these files, whatever their order."""
        return cls(tuple(sorted(members, key=_order)))

    @property
    def object_hash(self) -> bytes:
        """Object hash, 32 bytes: what the launch event holds."""
        return object_hash("closure", encode_closure(self))

    def digest_of(self, role: Role) -> bytes:
        """SHA-256 of the one file of this role."""
        (digest,) = (member.digest for member in self.members if member.role is role)
        return digest


@dataclass(frozen=True, slots=True)
class LaunchEvent:
    """A broker is about to be started: the closure's object hash, its command and its whole environment."""

    epoch_number: int
    closure_hash: bytes
    command: tuple[str, ...]
    environment: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EpochEvent:
    """The broker that was launched last has stated this epoch, from this process; its listeners open after this."""

    epoch_id: bytes
    process: ProcessState


LaunchLogEvent: TypeAlias = LaunchEvent | EpochEvent


@dataclass(frozen=True, slots=True)
class Launched:
    """A launch, and the epoch and process that it became. *launch_pcr*: PCR 13 behind them, 32 bytes.

    *launches*: how many there were since the reset.
    """

    event: LaunchEvent
    epoch_id: bytes
    process: ProcessState
    launches: int
    launch_pcr: bytes


def encode_closure(closure: Closure) -> bytes:
    """The CBOR object. Raises DecodeError for a closure that could not be decoded again."""
    value = [VERSION, [[int(member.role), member.name, member.digest] for member in closure.members]]
    _closure(value)
    return cbor.encode(value, "closure")


def decode_closure(data: bytes) -> Closure:
    """Decode the CBOR object. Raises DecodeError."""
    if len(data) > MAX_CLOSURE:
        raise DecodeError("closure", f"is longer than {MAX_CLOSURE} bytes")
    return _closure(cbor.decode(data, "closure"))


def check_statement(closure: Closure, statement: StatementFields) -> None:
    """Raise AttestationError unless a statement names the executable, plugin and configuration of the closure."""
    check_hashes(closure, statement.executable_hash, statement.plugin_hash, statement.configuration_hash)


def check_hashes(closure: Closure, executable: bytes, plugin: bytes, configuration: bytes) -> None:
    """The same of the three hashes, 32 bytes each."""
    digests = {m.name: m.digest for m in closure.members if m.role is Role.CONFIGURATION}
    pairs = {
        "executable": (closure.digest_of(Role.EXECUTABLE), executable),
        "plugin": (closure.digest_of(Role.PLUGIN), plugin),
        "configuration": (configuration_hash(digests), configuration),
    }
    for part, (measured, stated) in pairs.items():
        if measured != stated:
            raise AttestationError(f"the launch measured another {part} than the epoch statement names")


def encode_launch_event(event: LaunchLogEvent) -> LoggedEvent:
    """The event as the log holds it; its digest is what PCR 13 is extended with. Raises DecodeError."""
    if isinstance(event, LaunchEvent):
        tag = _LAUNCH_TAG
        value: dict[int, object] = {
            1: VERSION,
            2: event.epoch_number,
            3: event.closure_hash,
            4: list(event.command),
            5: list(event.environment),
        }
    else:
        tag = _EPOCH_TAG
        value = {1: VERSION, 2: event.epoch_id, 3: encode_process_state(event.process)}
    _event(tag, value)
    payload = cbor.encode(value, "launch event")
    data = _TAGGED.pack(tag, len(payload)) + payload
    return LoggedEvent(LAUNCH_PCR, EventType.EVENT_TAG, hashlib.sha256(data).digest(), data)


def decode_launch_event(event: LoggedEvent) -> LaunchLogEvent | None:
    """What an event says, None where it is not the launcher's.

    Raises DecodeError where it is malformed, AttestationError where its digest is not the hash of its data.
    """
    data = event.data
    if event.event_type != EventType.EVENT_TAG or len(data) < _TAGGED.size:
        return None
    tag, size = _TAGGED.unpack_from(data)
    if tag not in (_LAUNCH_TAG, _EPOCH_TAG):
        return None
    if event.digest != hashlib.sha256(data).digest():
        raise AttestationError("an event of the launcher has data of which its digest is not the hash")
    payload = data[_TAGGED.size :]
    if size != len(payload):
        raise DecodeError("launch event", "has another length than it says")
    return _event(tag, cbor.decode(payload, "launch event"))


def decode_launch_log(data: bytes) -> EventLog:
    """Decode a launch log. Raises DecodeError, AttestationError, also where it has another bank or PCR than its own."""
    log = decode_event_log(data)
    if log.algorithms != (SHA256,):
        raise DecodeError("launch log", "has another bank than SHA-256")
    if not data.startswith(encode_log_header()):
        raise DecodeError("launch log", "has another header than a launcher writes")
    for event in log.events:
        if event.pcr != LAUNCH_PCR or event.event_type == EventType.NO_ACTION:
            raise DecodeError("launch log", f"has an event that is not of PCR {LAUNCH_PCR}")
    return log


def begins_with_boot(log: EventLog) -> bool:
    """Whether a launch log begins with what no launcher wrote: what the boot has of its PCR, or what fails."""
    try:
        return bool(log.events) and decode_launch_event(log.events[0]) is None
    except (AttestationError, DecodeError):
        return False


def read_launches(log: EventLog, before: Sequence[LoggedEvent] = ()) -> Iterator[Launched]:
    """Every launch that came to state an epoch, in order, of a launch log. A launch that failed is only counted.

    *before*: what the boot log has of PCR 13; the log begins with exactly that. Raises AttestationError where it does
    not, has an event of somebody else, or an epoch without a launch of its own; DecodeError.
    """
    if log.events[: len(before)] != tuple(before):
        raise AttestationError("the launch log does not begin with what the boot log has of its PCR")
    launch: LaunchEvent | None = None
    launches = 0
    value = replay(before)[LAUNCH_PCR]
    for logged in log.events[len(before) :]:
        value = extend(value, logged.digest)
        event = decode_launch_event(logged)
        if event is None:
            raise AttestationError("somebody else extended the PCR of the launches")
        if isinstance(event, LaunchEvent):
            launch, launches = event, launches + 1
        elif launch is None:
            raise AttestationError("the launch log has an epoch without a launch of its own")
        else:
            yield Launched(launch, event.epoch_id, event.process, launches, value)
            launch = None


def verify_launch_log(data: bytes, launch_pcr: bytes, before: Sequence[LoggedEvent] = ()) -> Launched:
    """The last launch, of a log that leads to this value of PCR 13 (32 bytes, quoted).

    Raises AttestationError where the log leads elsewhere, or does not end with a launch and its epoch, and what
    :func:`read_launches` raises.
    """
    log = decode_launch_log(data)
    if replay(log.events)[LAUNCH_PCR] != launch_pcr:
        raise AttestationError(f"the launch log does not lead to the quoted value of PCR {LAUNCH_PCR}")
    launches = tuple(read_launches(log, before))
    if not launches or launches[-1].launch_pcr != launch_pcr:
        raise AttestationError("the launch log does not end with a launch and its epoch")
    return launches[-1]


def _event(tag: int, value: object) -> LaunchLogEvent:
    values = numbered_map(value, "launch event", (1, 2, 3, 4, 5) if tag == _LAUNCH_TAG else (1, 2, 3))
    integer(values[1], "version", VERSION, VERSION)
    if tag == _EPOCH_TAG:
        return EpochEvent(byte_string(values[2], "epoch id"), decode_process_state(values[3]))
    command = _words(values[4], "command")
    if not command:
        raise DecodeError("command", "is empty")
    return LaunchEvent(
        integer(values[2], "epoch number", 1, UINT32_MAX),
        byte_string(values[3], "closure hash"),
        command,
        _words(values[5], "environment"),
    )


def _words(value: object, field: str) -> tuple[str, ...]:
    items = array(value, field)
    if len(items) > MAX_WORDS:
        raise DecodeError(field, f"has more than {MAX_WORDS} words")
    return tuple(text(item, field, 1, MAX_PATH, allow_nul=False) for item in items)


def _closure(value: object) -> Closure:
    version, items = array(value, "closure", 2)
    integer(version, "version", VERSION, VERSION)
    members = tuple(_member(item) for item in array(items, "closure"))
    if len(members) > MAX_MEMBERS:
        raise DecodeError("closure", f"has more than {MAX_MEMBERS} files")
    if any(_order(first) >= _order(second) for first, second in pairwise(members)):
        raise DecodeError("closure", "is not in ascending order of role and name without repeats")
    for role in (Role.EXECUTABLE, Role.PLUGIN):
        if sum(member.role is role for member in members) != 1:
            raise DecodeError("closure", f"does not have exactly one {role.name.lower()}")
    return Closure(members)


def _member(value: object) -> Member:
    role, name, digest = array(value, "file of the closure", 3)
    return Member(
        choice(role, "role", Role), text(name, "name", 1, MAX_PATH, allow_nul=False), byte_string(digest, "digest")
    )


def _order(member: Member) -> tuple[int, bytes]:
    return int(member.role), member.name.encode("utf-8")
