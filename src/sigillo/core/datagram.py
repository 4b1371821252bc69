"""Signed datagram of a device (BRAID): spec/datagram.md. The device's own CBOR, read without re-encoding it.

The signature is over the received bytes, so this reader walks the map, notes where each pair lies, and cuts the signed
bytes out of the input. Only the values that Sigillo uses are decoded; the rest is the device's and stays bytes.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import cbor2

from sigillo.core import cbor
from sigillo.core.cose import SIGNATURE_SIZE
from sigillo.core.errors import DecodeError
from sigillo.core.field import byte_string, integer

PROTOCOL: Final = 1
POST: Final = 4
REQUEST: Final = 0
BEACON_SIZE: Final = 32
BROKER_KEYS: Final = ("INGESTION_TIME", "VERIFICATION_TOKEN")
MILLISECONDS_FROM: Final = 10**11
"""A `TS` from here on is in milliseconds, below in seconds."""

_BREAK: Final = b"\xff"
_INDEFINITE_MAP: Final = b"\xbf"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceMap:
    """What every device message says. `ver`: packet sequence number; `ts`: the device's time as it wrote it.

    `beacon`: 32 bytes or None; `body_bytes`: CBOR of `BODY` as received, or None where the message has none.
    """

    ver: int
    ts: int | float
    beacon: bytes | None
    body_bytes: bytes | None

    @property
    def ts_ns(self) -> int:
        """The device's own time, ns of Unix time: `ts` is in seconds below 10¹¹, else in milliseconds."""
        return int(Fraction(self.ts) * self.ts_resolution_ns)

    @property
    def ts_resolution_ns(self) -> int:
        """The unit that `ts` is in, ns."""
        return 10**9 if self.ts < MILLISECONDS_FROM else 10**6


@dataclass(frozen=True, slots=True, kw_only=True)
class Datagram(DeviceMap):
    """A decoded signed datagram, not verified. `signature` has 64 bytes; `signed_bytes` are what it is over."""

    signed_bytes: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Pair:
    """Where a pair of the top-level map lies: key from `start`, value `value_start`…`end`."""

    key: str
    start: int
    value_start: int
    end: int


def decode_datagram(payload: bytes) -> Datagram:
    """Decode a datagram whose last key is `SIGN`. Raises DecodeError for all that spec/datagram.md refuses."""
    pairs, head_end, definite = pairs_of(payload)
    sign = pairs[-1] if pairs else None
    if sign is None or sign.key != "SIGN":
        raise DecodeError("datagram", "SIGN is not its last key")
    signature = _bytes_value(payload, sign, SIGNATURE_SIZE)
    if definite:
        signed_bytes = cbor.encode_head(5, len(pairs) - 1) + payload[head_end : sign.start]
    else:
        signed_bytes = payload[: sign.start] + _BREAK
    found = _device_map(payload, pairs[:-1])
    return Datagram(
        ver=found.ver,
        ts=found.ts,
        beacon=found.beacon,
        body_bytes=found.body_bytes,
        signed_bytes=signed_bytes,
        signature=signature,
    )


def decode_device_map(payload: bytes) -> DeviceMap:
    """Decode the map of a COSE device message: as a datagram, but without `SIGN`. Raises DecodeError."""
    pairs, _, _ = pairs_of(payload)
    return _device_map(payload, pairs)


def encode_datagram(
    *,
    ts: int | float,
    ver: int,
    body: Mapping[str, object],
    sign: Callable[[bytes], bytes],
    beacon: bytes | None = None,
    indefinite: bool = False,
) -> bytes:
    """Make a signed datagram: keys in the order of the spec's table, in a definite map or an indefinite one.

    `sign` gets the bytes to sign and returns 64 bytes (r ‖ s, or Ed25519). `body` may hold whatever CBOR can (floats
    too), nested at most 15 deep. Raises DecodeError where the result would not be a signed datagram.
    """
    unsigned = encode_device_map(ts=ts, ver=ver, body=body, beacon=beacon, indefinite=indefinite)
    signature = byte_string(sign(unsigned), "SIGN", SIGNATURE_SIZE)
    last = cbor2.dumps("SIGN") + cbor2.dumps(signature)
    if indefinite:
        payload = unsigned.removesuffix(_BREAK) + last + _BREAK
    else:
        pairs, head_end, _ = pairs_of(unsigned)
        payload = cbor.encode_head(5, len(pairs) + 1) + unsigned[head_end:] + last
    decode_datagram(payload)
    return payload


def encode_device_map(
    *,
    ts: int | float,
    ver: int,
    body: Mapping[str, object],
    beacon: bytes | None = None,
    indefinite: bool = False,
) -> bytes:
    """The map of a device message without `SIGN`. Raises DecodeError where a value is outside the format."""
    values: dict[str, object] = {
        "TS": ts,
        "VER": integer(ver, "VER"),
        "PROT": PROTOCOL,
        "ACTION": POST,
        "STATUS": REQUEST,
        "BODY": dict(body),
    }
    if beacon is not None:
        values["BEACON"] = beacon
    try:
        encoded = cbor2.dumps(values)
        if indefinite:
            encoded = _INDEFINITE_MAP + encoded[len(cbor.encode_head(5, len(values))) :] + _BREAK
    except (cbor2.CBOREncodeError, UnicodeEncodeError) as error:
        raise DecodeError("BODY", f"cannot be written as CBOR: {error}") from None
    decode_device_map(encoded)
    return encoded


def pairs_of(payload: bytes) -> tuple[list[Pair], int, bool]:
    """Pairs of the top-level map, the offset after its head, and whether it is definite. Nothing may follow it.

    Raises DecodeError for another item, a key that is not text in shortest form, or a key twice.
    """
    major, info, count, position = cbor.read_head(payload, 0, "datagram")
    definite = info != 31
    if major != 5 or (definite and not cbor.is_shortest(info, count)):
        raise DecodeError("datagram", "is not one map with a shortest or an indefinite head")
    head_end = position
    pairs: list[Pair] = []
    keys: set[str] = set()
    while len(pairs) < count if definite else payload[position : position + 1] != _BREAK:
        pair = _pair(payload, position)
        if pair.key in keys:
            raise DecodeError("datagram", f"the key {pair.key!r} occurs twice")
        keys.add(pair.key)
        pairs.append(pair)
        position = pair.end
    end = position if definite else position + 1
    if end != len(payload):
        raise DecodeError("datagram", f"{len(payload) - end} bytes after its end")
    return pairs, head_end, definite


def _pair(payload: bytes, start: int) -> Pair:
    major, info, length, key_start = cbor.read_head(payload, start, "datagram")
    value_start = key_start + length
    if major != 3 or not cbor.is_shortest(info, length) or value_start > len(payload):
        raise DecodeError("datagram", f"a key that is not definite text in shortest form, at byte {start}")
    try:
        key = payload[key_start:value_start].decode("utf-8")
    except UnicodeDecodeError:
        raise DecodeError("datagram", f"a key that is not UTF-8, at byte {start}") from None
    return Pair(key, start, value_start, cbor.item_end(payload, value_start, 1, f"datagram key {key!r}"))


def _device_map(payload: bytes, pairs: list[Pair]) -> DeviceMap:
    """The values that Sigillo uses; `pairs` are those before `SIGN`."""
    by_key = {pair.key: pair for pair in pairs}
    for key in ("SIGN", *BROKER_KEYS):
        if key in by_key:
            raise DecodeError("datagram", f"the key {key} has no place here")
    for key in ("TS", "VER"):
        if key not in by_key:
            raise DecodeError("datagram", f"the key {key} is missing")
    beacon, body = by_key.get("BEACON"), by_key.get("BODY")
    if beacon and beacon is not pairs[-1]:
        raise DecodeError("BEACON", "is not the last of the signed keys")
    return DeviceMap(
        ver=_ver(payload, by_key["VER"]),
        ts=_ts(payload, by_key["TS"]),
        beacon=_bytes_value(payload, beacon, BEACON_SIZE) if beacon else None,
        body_bytes=payload[body.value_start : body.end] if body else None,
    )


def _ver(payload: bytes, pair: Pair) -> int:
    major, info, argument, _ = cbor.read_head(payload, pair.value_start, "VER")
    if major != 0 or not cbor.is_shortest(info, argument):
        raise DecodeError("VER", "is not an unsigned integer in shortest form")
    return argument


def _ts(payload: bytes, pair: Pair) -> int | float:
    """An unsigned integer, or a finite, non-negative float of 16, 32 or 64 bits."""
    major, info, argument, _ = cbor.read_head(payload, pair.value_start, "TS")
    if major == 0:
        return argument
    if major == 7 and 25 <= info <= 27:
        value = cbor2.loads(payload[pair.value_start : pair.end])
        if isinstance(value, float) and math.isfinite(value) and value >= 0:
            return value
    raise DecodeError("TS", "is not a finite, non-negative number")


def _bytes_value(payload: bytes, pair: Pair, size: int) -> bytes:
    """A definite byte string of exactly this size; its head may have any length."""
    major, info, length, start = cbor.read_head(payload, pair.value_start, pair.key)
    if major != 2 or info == 31 or length != size:
        raise DecodeError(pair.key, f"is not a byte string of {size} bytes")
    return payload[start : pair.end]
