"""Device datagram: the signature is over the received bytes, however they are encoded."""

from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sigillo.core.datagram import decode_datagram, decode_device_map, encode_datagram, encode_device_map
from sigillo.core.errors import DecodeError, SignatureError
from tests.core.test_cbor import FOREIGN
from tests.vector.accept import map_head, pairs_of, signed_map
from tests.vector.key import TRACKER_ED25519, TRACKER_P256
from tests.vector.sample import BODY

BODIES = st.dictionaries(st.text(max_size=8), FOREIGN, max_size=6)
TS = st.integers(0, 2**64 - 1) | st.floats(0, allow_infinity=False)


@given(TS, st.integers(0, 2**64 - 1), BODIES, st.none() | st.binary(min_size=32, max_size=32), st.booleans())
def test_round_trip(ts: int | float, ver: int, body: dict[str, object], beacon: bytes | None, indefinite: bool) -> None:
    payload = encode_datagram(
        ts=ts, ver=ver, body=body, sign=TRACKER_ED25519.sign, beacon=beacon, indefinite=indefinite
    )
    assert (payload[0] == 0xBF) == indefinite
    found = decode_datagram(payload)
    assert (found.ts, found.ver, found.beacon) == (ts, ver, beacon)
    assert found.body_bytes == cbor2.dumps(body)
    TRACKER_ED25519.device_key.verify(found.signature, found.signed_bytes)
    signed = cbor2.loads(found.signed_bytes)
    assert list(signed) == [key for key in ("TS", "VER", "PROT", "ACTION", "STATUS", "BODY", "BEACON") if key in signed]
    assert found.signed_bytes == encode_device_map(ts=ts, ver=ver, body=body, beacon=beacon, indefinite=indefinite)


@given(st.integers(0, 300), st.booleans())
@settings(max_examples=40, deadline=None)
def test_any_number_of_pairs(extra: int, indefinite: bool) -> None:
    pairs = pairs_of({f"K{number}": number for number in range(extra)} | {"TS": 1, "VER": 2})
    found = decode_datagram(signed_map(pairs, TRACKER_ED25519.sign, indefinite=indefinite))
    TRACKER_ED25519.device_key.verify(found.signature, found.signed_bytes)
    body = b"".join(key + value for key, value in pairs)
    assert found.signed_bytes == (b"\xbf" + body + b"\xff" if indefinite else map_head(extra + 2) + body)


@pytest.mark.parametrize("indefinite", [False, True])
def test_truncations_and_bit_flips(indefinite: bool) -> None:
    pairs = pairs_of({"TS": 1_764_000_000, "VER": 41, "BODY": BODY, "BEACON": bytes(32)})
    payload = signed_map(pairs, TRACKER_ED25519.sign, indefinite=indefinite)
    for length in range(len(payload)):
        with pytest.raises(DecodeError):
            decode_datagram(payload[:length])
    for position in range(len(payload)):
        for bit in range(8):
            flipped = bytearray(payload)
            flipped[position] ^= 1 << bit
            with pytest.raises((DecodeError, SignatureError)):
                found = decode_datagram(bytes(flipped))
                TRACKER_ED25519.device_key.verify(found.signature, found.signed_bytes)


@given(st.binary(max_size=60), st.booleans())
@settings(max_examples=300)
def test_garbage_is_refused_with_a_reason(data: bytes, prefixed: bool) -> None:
    data = b"\xa3bTS\x01cVER\x02" + data if prefixed else data
    with pytest.raises(DecodeError):
        decode_datagram(data)


@pytest.mark.parametrize(
    ("ts", "ns"),
    [
        (0, 0),
        (1_764_000_000, 1_764_000_000_000_000_000),
        (1_764_000_000.25, 1_764_000_000_250_000_000),
        (99_999_999_999, 99_999_999_999_000_000_000),
        (100_000_000_000, 100_000_000_000_000_000),
        (1_764_000_000_123, 1_764_000_000_123_000_000),
    ],
)
def test_seconds_or_milliseconds(ts: int | float, ns: int) -> None:
    assert decode_device_map(encode_device_map(ts=ts, ver=1, body={})).ts_ns == ns


def test_a_message_without_body() -> None:
    found = decode_datagram(signed_map(pairs_of({"VER": 1, "TS": 2}), TRACKER_P256.sign))
    assert found.body_bytes is None
    assert found.beacon is None


def nested(depth: int) -> dict[str, Any]:
    """A body of this many arrays in one another."""
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return {"A": value}


WRONG: list[dict[str, Any]] = [
    {"ts": -1},
    {"ts": float("nan")},
    {"ts": float("inf")},
    {"ts": True},
    {"ts": None},
    {"ts": "1"},
    {"ts": 2**64},
    {"ver": -1},
    {"ver": 2**64},
    {"ver": 1.0},
    {"ver": True},
    {"body": {"A": object()}},
    {"body": {"A": "\ud800"}},
    {"body": nested(15)},
    {"beacon": bytes(31)},
    {"beacon": "x" * 32},
]


@pytest.mark.parametrize("changes", WRONG, ids=lambda changes: next(iter(changes)))
def test_what_cannot_be_decoded_is_not_encoded(changes: dict[str, Any]) -> None:
    values: dict[str, Any] = {"ts": 1, "ver": 2, "body": {}} | changes
    with pytest.raises(DecodeError):
        encode_datagram(**values, sign=TRACKER_P256.sign)


def test_the_deepest_body_and_the_size_of_a_signature() -> None:
    assert encode_datagram(ts=1, ver=2, body=nested(14), sign=TRACKER_P256.sign)
    with pytest.raises(DecodeError, match="SIGN"):
        encode_datagram(ts=1, ver=2, body={}, sign=lambda message: bytes(63))
    cyclic: dict[str, object] = {}
    cyclic["A"] = cyclic
    with pytest.raises(DecodeError, match="BODY"):
        encode_datagram(ts=1, ver=2, body=cyclic, sign=TRACKER_P256.sign)
