"""Packets between launcher and plugin on fd 0: spec/handshake.md. One packet: a type byte, then the body."""

from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Final

from sigillo.core import cbor
from sigillo.core.epoch import SignedStatement, decode_statement
from sigillo.core.errors import DecodeError
from sigillo.core.field import array, boolean, byte_string, integer, numbered_map, text
from sigillo.core.mark import Checkpoint, decode_checkpoint
from sigillo.core.statement import Carrier, StatementFields, decode_statement_fields, encode_statement_fields

MAX_PACKET: Final = 65_536
MAX_RATE: Final = 1_000_000
MAX_PAYLOAD: Final = 268_435_455
MAX_PATH: Final = 4_096
MAX_BEACON: Final = 8_192
"""Bytes of the signed note that a CHECKPOINT can carry."""


class PacketType(IntEnum):
    """First byte of a packet."""

    STATE = 1
    STATEMENT = 2
    GO = 3
    CHECKPOINT = 4
    COUNTERS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTime:
    """What the plugin needs and the statement does not say. `segment_size` in bytes, a multiple of 4,096.

    `raw_tokens`: the carrier `datagram` puts raw tokens, by a key of their own. `max_rate`: messages of one principal a
    second; `max_payload`: bytes; 0: no limit. `access_list`: the broker has one.
    """

    spool_folder: str
    segment_size: int
    max_principals: int
    clock_bound_meaningful: bool
    raw_tokens: bool = False
    max_rate: int = 0
    max_payload: int = 0
    access_list: bool = False


@dataclass(frozen=True, slots=True)
class State:
    """STATE, launcher → plugin: the launcher's half of the statement, and the run time settings."""

    fields: StatementFields
    run_time: RunTime


@dataclass(frozen=True, slots=True)
class Statement:
    """STATEMENT, plugin → launcher: the tagged epoch statement, not countersigned, as received."""

    statement_bytes: bytes

    def decode(self) -> SignedStatement:
        """The statement. Raises DecodeError where it is none, or has a countersignature already."""
        signed = decode_statement(self.statement_bytes)
        if signed.countersignature is not None:
            raise DecodeError("STATEMENT", "has a countersignature already")
        return signed


@dataclass(frozen=True, slots=True)
class Go:
    """GO, launcher → plugin: the epoch id, 32 bytes; the statement is countersigned and stored."""

    epoch_id: bytes


@dataclass(frozen=True, slots=True)
class NewCheckpoint:
    """CHECKPOINT, launcher → plugin: the log's newest checkpoint. `note`: what to publish, empty for nothing."""

    checkpoint: Checkpoint
    note: bytes = b""


@dataclass(frozen=True, slots=True)
class Counters:
    """COUNTERS, plugin → launcher: the last sequence, and what was refused, stripped, dropped since the start.

    `repeats`: marks that name the first mark of the same message. `plain`: payloads on a filter of the carrier
    `datagram` that are no signed datagram.
    """

    last_sequence: int = 0
    refused_clock: int = 0
    refused_spool: int = 0
    refused_principals: int = 0
    refused_topics: int = 0
    refused_names: int = 0
    refused_datagrams: int = 0
    refused_rate: int = 0
    refused_size: int = 0
    stripped_properties: int = 0
    repeats: int = 0
    plain: int = 0
    dropped_wills: int = 0


Packet = State | Statement | Go | NewCheckpoint | Counters


def encode_packet(packet: Packet) -> bytes:
    """Type byte and body. Raises DecodeError where a field is outside the format or the packet would be too long."""
    match packet:
        case State():
            _check_raw_tokens(packet)
            body = cbor.encode([encode_statement_fields(packet.fields), _run_time_values(packet.run_time)], "STATE")
            encoded = bytes([PacketType.STATE]) + body
        case Statement():
            packet.decode()
            encoded = bytes([PacketType.STATEMENT]) + packet.statement_bytes
        case Go():
            encoded = bytes([PacketType.GO]) + byte_string(packet.epoch_id, "GO")
        case NewCheckpoint():
            size, root = packet.checkpoint.size, packet.checkpoint.root
            decode_checkpoint([size, root], "CHECKPOINT")
            encoded = bytes([PacketType.CHECKPOINT]) + size.to_bytes(8, "big") + root + _note(packet.note)
        case Counters():
            counts = [integer(getattr(packet, field.name), field.name) for field in fields(Counters)]
            encoded = bytes([PacketType.COUNTERS]) + cbor.encode(counts, "COUNTERS")
    if len(encoded) > MAX_PACKET:
        raise DecodeError("packet", f"is {len(encoded)} bytes long, more than {MAX_PACKET}")
    return encoded


def decode_packet(data: bytes) -> Packet:
    """Decode one packet of either direction. Raises DecodeError; the receiver judges whether its type comes now."""
    if not 0 < len(data) <= MAX_PACKET:
        raise DecodeError("packet", f"is {len(data)} bytes long, not 1…{MAX_PACKET}")
    body = data[1:]
    match data[0]:
        case PacketType.STATE:
            return _decode_state(body)
        case PacketType.STATEMENT:
            statement = Statement(body)
            statement.decode()
            return statement
        case PacketType.GO:
            return Go(byte_string(body, "GO"))
        case PacketType.CHECKPOINT:
            byte_string(body, "CHECKPOINT", 40, 40 + MAX_BEACON)
            size, root, note = int.from_bytes(body[:8], "big"), body[8:40], body[40:]
            return NewCheckpoint(decode_checkpoint([size, root], "CHECKPOINT"), note)
        case PacketType.COUNTERS:
            names = [field.name for field in fields(Counters)]
            counts = array(cbor.decode(body, "COUNTERS"), "COUNTERS", len(names))
            return Counters(*(integer(count, name) for count, name in zip(counts, names, strict=True)))
        case other:
            raise DecodeError("packet", f"type {other} is none of 1…5")


def _note(note: bytes) -> bytes:
    return byte_string(note, "CHECKPOINT note", 0, MAX_BEACON)


def _decode_state(body: bytes) -> State:
    fields_value, run_time_value = array(cbor.decode(body, "STATE"), "STATE", 2)
    state = State(decode_statement_fields(fields_value), _run_time(run_time_value))
    _check_raw_tokens(state)
    return state


def _check_raw_tokens(state: State) -> None:
    inside = any(rule.carrier is Carrier.DATAGRAM for rule in state.fields.filters)
    if state.run_time.raw_tokens and not inside:
        raise DecodeError("raw tokens", 'no filter has the carrier "datagram"')


def _run_time_values(run_time: RunTime) -> dict[int, object]:
    values: dict[int, object] = {
        1: run_time.spool_folder,
        2: run_time.segment_size,
        3: run_time.max_principals,
        4: run_time.clock_bound_meaningful,
        5: run_time.raw_tokens,
        6: run_time.max_rate,
        7: run_time.max_payload,
        8: run_time.access_list,
    }
    _run_time(values)
    return values


def _run_time(value: object) -> RunTime:
    values = numbered_map(value, "run time", range(1, 9))
    folder = text(values[1], "spool folder", 1, MAX_PATH, allow_nul=False)
    if not folder.startswith("/"):
        raise DecodeError("spool folder", "is not an absolute path")
    segment_size = integer(values[2], "segment size", 65_536, 2**30)
    if segment_size % 4096:
        raise DecodeError("segment size", "is not a multiple of 4,096")
    return RunTime(
        spool_folder=folder,
        segment_size=segment_size,
        max_principals=integer(values[3], "largest number of principals", 1, 2**20),
        clock_bound_meaningful=boolean(values[4], "clock bound meaningful"),
        raw_tokens=boolean(values[5], "raw tokens"),
        max_rate=integer(values[6], "messages a second", 0, MAX_RATE),
        max_payload=integer(values[7], "largest payload", 0, MAX_PAYLOAD),
        access_list=boolean(values[8], "access list"),
    )
