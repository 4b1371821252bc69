"""Log entry, 45 bytes: spec/log-entry.md."""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from sigillo.core.errors import DecodeError
from sigillo.core.field import UINT32_MAX, UINT64_MAX, byte_string, choice, integer
from sigillo.core.merkle import leaf_hash

SIZE: Final = 45
_LAYOUT: Final = struct.Struct(">BIQ32s")


class Kind(IntEnum):
    """Kind of the object that an entry stands for; also of a spool record (1…4)."""

    MARK = 1
    EPOCH_STATEMENT = 2
    EPOCH_END = 3
    SEAL = 4
    HEADS = 5
    TOKEN = 6
    ATTESTATION_EVIDENCE = 7
    KEY_CHANGE = 8


@dataclass(frozen=True, slots=True)
class LogEntry:
    """An entry: epoch number 1…2³²-1, sequence as the table of the spec says, object hash of 32 bytes."""

    kind: Kind
    epoch: int
    sequence: int
    object_hash: bytes

    @property
    def leaf_hash(self) -> bytes:
        """Leaf of the Merkle tree, SHA-256(0x00 ‖ entry) (RFC 9162 section 2.1.1), 32 bytes."""
        return leaf_hash(encode_entry(self))


def encode_entry(entry: LogEntry) -> bytes:
    """The 45 bytes. Raises DecodeError for fields out of range."""
    _check(entry)
    return _LAYOUT.pack(entry.kind, entry.epoch, entry.sequence, entry.object_hash)


def decode_entry(data: bytes) -> LogEntry:
    """Decode 45 bytes. Raises DecodeError for another length, kind, or a number out of range."""
    if len(data) != SIZE:
        raise DecodeError("log entry", f"is {len(data)} bytes long, not {SIZE}")
    kind, epoch, sequence, object_hash = _LAYOUT.unpack(data)
    entry = LogEntry(choice(kind, "kind", Kind), epoch, sequence, object_hash)
    _check(entry)
    return entry


def check_sequence(kind: Kind, sequence: int) -> None:
    """Refuse (DecodeError) a sequence that this kind cannot have: marks and seals cover at least sequence 1, the
    statement is always 0."""
    low = 1 if kind in (Kind.MARK, Kind.SEAL) else 0
    integer(sequence, "sequence", low, 0 if kind is Kind.EPOCH_STATEMENT else UINT64_MAX)


def _check(entry: LogEntry) -> None:
    choice(int(entry.kind), "kind", Kind)
    integer(entry.epoch, "epoch", 1, UINT32_MAX)
    check_sequence(entry.kind, entry.sequence)
    byte_string(entry.object_hash, "object hash")
