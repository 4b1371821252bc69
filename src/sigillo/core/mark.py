"""Time mark and batch mark: spec/mark.md. Decoding gives no trust; verification is `sigillo.core.verify`'s."""

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from sigillo.core import cbor, cose
from sigillo.core.bytes import EMPTY_ROOT, domain
from sigillo.core.errors import DecodeError
from sigillo.core.field import array, boolean, byte_string, integer, numbered_map, text

VERSION: Final = 1
SALT_SIZE: Final = 16
ClockState = Literal["unsynchronised", "bound-unknown", "bounded"]
_CLOCK_STATES: Final[tuple[ClockState, ...]] = ("unsynchronised", "bound-unknown", "bounded")


@dataclass(frozen=True, slots=True)
class Clock:
    """Clock state as the kernel claims it; `bound_ns` (error bound, ns) exactly where the state is "bounded"."""

    state: ClockState
    bound_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Size and root (32 bytes) of a log checkpoint; size 0 and the empty root where none was seen."""

    size: int = 0
    root: bytes = EMPTY_ROOT


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Payload of a mark; fields as in the table of spec/mark.md. Hashes are 32 bytes, `time_ns` Unix time, UTC."""

    sequence: int
    time_ns: int
    clock: Clock
    topic: str
    client_id: str
    principal: str
    qos: int
    retain: bool
    commitment: bytes
    count: int
    previous: bytes
    checkpoint: Checkpoint
    repeat_of: int | None = None
    before: bytes | None = None


@dataclass(frozen=True, slots=True)
class SignedMark(cose.EpochObject):
    """A decoded mark, not verified. `salt` is None once the payload is redacted. A batch mark has no signature."""

    mark: Mark
    salt: bytes | None


def decode_mark(data: bytes) -> SignedMark:
    """Decode a tagged time mark. Raises DecodeError for anything that spec/mark.md does not allow."""
    return _decode(data, cose.MARK)


def decode_batch_mark(data: bytes) -> SignedMark:
    """Decode a batch mark (untagged, unsigned). Raises DecodeError for anything that spec/mark.md does not allow."""
    return _decode(data, cose.BATCH_MARK)


def encode_mark(mark: Mark, epoch_id: bytes, salt: bytes | None, sign: Callable[[bytes], bytes]) -> bytes:
    """Make a tagged time mark; `sign` gets the Sig_structure and returns 64 bytes. Raises DecodeError."""
    return _encode(mark, cose.MARK, epoch_id, salt, sign)


def encode_batch_mark(mark: Mark, epoch_id: bytes, salt: bytes | None) -> bytes:
    """Make a batch mark. Raises DecodeError where the fields are outside the format."""
    return _encode(mark, cose.BATCH_MARK, epoch_id, salt, None)


def encode_mark_payload(mark: Mark) -> bytes:
    """Deterministic CBOR map of spec/mark.md. Raises DecodeError for fields that could not be decoded again."""
    payload: dict[int, object] = {
        1: VERSION,
        2: mark.sequence,
        3: mark.time_ns,
        4: clock_value(mark.clock),
        5: mark.topic,
        6: mark.client_id,
        7: mark.principal,
        8: mark.qos,
        9: mark.retain,
        10: mark.commitment,
        11: mark.count,
        12: mark.previous,
        13: [mark.checkpoint.size, mark.checkpoint.root],
    }
    if mark.repeat_of is not None:
        payload[14] = mark.repeat_of
    if mark.before is not None:
        payload[15] = mark.before
    _mark(payload)
    return cbor.encode(payload, "mark payload")


def decode_mark_payload(data: bytes) -> Mark:
    """Decode the payload map of a mark or batch mark. Raises DecodeError."""
    return _mark(cbor.decode(data, "mark payload"))


def payload_commitment(salt: bytes, payload: bytes) -> bytes:
    """SHA-256(domain("payload") ‖ salt ‖ payload as received), 32 bytes; the salt has 16."""
    return hashlib.sha256(committed_bytes(salt, payload)).digest()


def committed_bytes(salt: bytes, payload: bytes) -> bytes:
    """What the payload commitment is the SHA-256 of."""
    return domain("payload") + byte_string(salt, "salt", SALT_SIZE) + payload


def is_committed(signed: SignedMark, payload: bytes) -> bool:
    """Whether the mark commits to exactly this payload, as received; never without its salt."""
    return signed.salt is not None and payload_commitment(signed.salt, payload) == signed.mark.commitment


def mark_salt(salt_key: bytes, sequence: int) -> bytes:
    """Salt of a mark, 16 bytes, from the epoch's 32-byte salt key K."""
    return hmac.digest(salt_key, sequence.to_bytes(8, "big"), "sha256")[:SALT_SIZE]


def clock_value(clock: Clock) -> list[object]:
    """The CBOR array of a clock state; also in the epoch end."""
    if clock.state not in _CLOCK_STATES:
        raise DecodeError("clock", f"{clock.state!r} is no clock state")
    if (clock.bound_ns is not None) != (clock.state == "bounded"):
        raise DecodeError("clock", "has a bound exactly where its state is bounded")
    number = _CLOCK_STATES.index(clock.state)
    return [number] if clock.bound_ns is None else [number, clock.bound_ns]


def decode_clock(value: object, field: str = "clock") -> Clock:
    """Clock state of its CBOR array. Raises DecodeError."""
    items = array(value, field, 1, 2)
    state = _CLOCK_STATES[integer(items[0], field, 0, len(_CLOCK_STATES) - 1)]
    if (state == "bounded") != (len(items) == 2):
        raise DecodeError(field, "has a bound exactly where its state is 2")
    return Clock(state, integer(items[1], field) if len(items) == 2 else None)


def decode_checkpoint(value: object, field: str = "checkpoint") -> Checkpoint:
    """A checkpoint of its array `[size, root]`. Raises DecodeError; size 0 goes with the empty root only."""
    size, root = array(value, field, 2)
    checkpoint = Checkpoint(integer(size, f"{field} size"), byte_string(root, f"{field} root"))
    if checkpoint.size == 0 and checkpoint.root != EMPTY_ROOT:
        raise DecodeError(field, "has size 0 and a root that is not SHA-256('')")
    return checkpoint


def _decode(data: bytes, form: cose.Form) -> SignedMark:
    sign1 = cose.decode_sign1(data, form)
    salt = sign1.unprotected.get(cose.SALT)
    checked = byte_string(salt, "salt", SALT_SIZE) if cose.SALT in sign1.unprotected else None
    return SignedMark(sign1, decode_mark_payload(sign1.payload), checked)


def _encode(
    mark: Mark, form: cose.Form, epoch_id: bytes, salt: bytes | None, sign: Callable[[bytes], bytes] | None
) -> bytes:
    unprotected = {} if salt is None else {cose.SALT: byte_string(salt, "salt", SALT_SIZE)}
    return cose.encode_sign1(form, encode_mark_payload(mark), sign, kid=epoch_id, unprotected=unprotected)


def _mark(value: object) -> Mark:
    payload = numbered_map(value, "mark", range(1, 14), (14, 15))
    integer(payload[1], "version", VERSION, VERSION)
    sequence = integer(payload[2], "sequence", 1)
    return Mark(
        sequence=sequence,
        time_ns=integer(payload[3], "time"),
        clock=decode_clock(payload[4]),
        topic=text(payload[5], "topic", 1, allow_nul=False),
        client_id=text(payload[6], "client id"),
        principal=text(payload[7], "principal"),
        qos=integer(payload[8], "qos", 0, 2),
        retain=boolean(payload[9], "retain"),
        commitment=byte_string(payload[10], "commitment"),
        count=integer(payload[11], "count", 1, sequence),
        previous=byte_string(payload[12], "previous"),
        checkpoint=decode_checkpoint(payload[13]),
        repeat_of=integer(payload[14], "repeat of", 1, sequence - 1) if 14 in payload else None,
        before=byte_string(payload[15], "before") if 15 in payload else None,
    )
