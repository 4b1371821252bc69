"""The record beside a TPM's counter: spec/sealing.md, "Counter". What a log of the past cannot have.

The decision is here, the TPM and the file are elsewhere: `judge` says what a log that is about to sign may do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from sigillo.core import cbor, cose
from sigillo.core.errors import AttestationError, DecodeError, SignatureError
from sigillo.core.field import HASH_SIZE, UINT64_MAX, byte_string, integer, numbered_map
from sigillo.core.mark import Checkpoint
from sigillo.core.note import LogKey

VERSION: Final = 1
UNKNOWN: Final = 0
"""Value in a record that is made before the counter is: a TPM's counter never has it."""
_FIELD: Final = "counter record"


@dataclass(frozen=True, slots=True)
class CounterRecord:
    """A log had *checkpoint* when it was about to raise its counter to *value* (0: when it was about to make it)."""

    value: int
    checkpoint: Checkpoint


class CounterError(AttestationError):
    """The counter and the record do not belong together. *replaced*: that may be another TPM, else an older folder."""

    def __init__(self, reason: str, *, replaced: bool) -> None:
        super().__init__(reason)
        self.replaced = replaced


class Step(Enum):
    """What is to be done before the log signs anything."""

    MAKE = "make"
    """There is no counter yet: record that, then make it, then raise it once."""
    RAISE = "raise"
    """It is there, but the step that was recorded may not have been done: raise it."""
    NOTHING = "nothing"
    """The counter is where the record says."""


def encode_counter_record(record: CounterRecord, key: LogKey, sign: Callable[[bytes], bytes]) -> bytes:
    """Make a record; *sign*: Ed25519 signature of the log key, 64 bytes. Raises DecodeError."""
    value: dict[int, object] = {1: VERSION, 2: record.value, 3: record.checkpoint.size, 4: record.checkpoint.root}
    return cose.encode_sign1(cose.COUNTER, cbor.encode(value, _FIELD), sign, kid=key.key_id32)


def verify_counter_record(data: bytes, key: LogKey) -> CounterRecord:
    """The record that this log key has signed. Raises DecodeError, SignatureError."""
    sign1 = cose.decode_sign1(data, cose.COUNTER)
    if sign1.kid != key.key_id32:
        raise SignatureError("the counter record is of another log")
    cose.verify_ed25519(key.public_key, sign1.signature, sign1.signed_bytes())
    value = numbered_map(cbor.decode(sign1.payload, _FIELD), _FIELD, frozenset(range(1, 5)))
    integer(value[1], f"{_FIELD}, version", VERSION, VERSION)
    size = integer(value[3], f"{_FIELD}, size", 0, UINT64_MAX)
    checkpoint = Checkpoint(size, byte_string(value[4], f"{_FIELD}, root", HASH_SIZE))
    if size == 0 and checkpoint != Checkpoint():
        raise DecodeError(f"{_FIELD}, root", "is not that of a log without entries")
    return CounterRecord(integer(value[2], f"{_FIELD}, value", 0, UINT64_MAX), checkpoint)


def judge(record: CounterRecord | None, found: int | None) -> Step:
    """What a log with this record may do where the TPM says *found* (None: no counter of this log; 0: never raised).

    Raises CounterError that names both where this is not the newest state of the log, or not its TPM.
    """
    if record is None:
        if found is None:
            return Step.MAKE
        raise CounterError(
            f"the TPM's counter of this log is at {found}, and this folder knows of no counter: it is an old copy",
            replaced=False,
        )
    if record.value == UNKNOWN:
        return Step.MAKE if found is None else Step.RAISE if found == 0 else Step.NOTHING
    known = (
        f"the newest count that this folder knows is {record.value}, when the log had {record.checkpoint.size} entries"
    )
    if not found:
        raise CounterError(f"{known}; the TPM has no counter of this log", replaced=True)
    if found > record.value:
        raise CounterError(f"the TPM's counter is at {found}, {known}: it is an old copy", replaced=False)
    if found < record.value - 1:
        raise CounterError(f"{known}; the TPM's counter is at {found} only", replaced=True)
    return Step.NOTHING if found == record.value else Step.RAISE
