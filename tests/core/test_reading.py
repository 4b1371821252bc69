"""Device COSE message: it counts on its own topic only."""

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigillo.core.cose import ED25519, ESP256
from sigillo.core.errors import DecodeError, SignatureError
from sigillo.core.reading import decode_reading, encode_reading
from tests.core.test_datagram import BODIES, TS
from tests.vector.key import TRACKER_ED25519, TRACKER_P256, Ed25519Key, P256Key
from tests.vector.sample import TOPIC


@given(TS, st.integers(0, 2**64 - 1), BODIES, st.none() | st.binary(min_size=32, max_size=32), st.text(min_size=1))
def test_round_trip(ts: int | float, ver: int, body: dict[str, object], beacon: bytes | None, device_id: str) -> None:
    payload = encode_reading(
        topic=TOPIC,
        device_id=device_id,
        algorithm=ED25519,
        ts=ts,
        ver=ver,
        body=body,
        sign=TRACKER_ED25519.sign,
        beacon=beacon,
    )
    found = decode_reading(payload, TOPIC)
    assert (found.ts, found.ver, found.beacon, found.device_id) == (ts, ver, beacon, device_id)
    assert found.body_bytes == cbor2.dumps(body)
    TRACKER_ED25519.device_key.verify(found.signature, found.signed_bytes)
    elsewhere = decode_reading(payload, TOPIC + "live")
    with pytest.raises(SignatureError):
        TRACKER_ED25519.device_key.verify(elsewhere.signature, elsewhere.signed_bytes)


@pytest.mark.parametrize(("key", "algorithm"), [(TRACKER_ED25519, ED25519), (TRACKER_P256, ESP256)])
def test_algorithms(key: Ed25519Key | P256Key, algorithm: int) -> None:
    payload = make(key, algorithm)
    found = decode_reading(payload, TOPIC)
    assert found.algorithm == algorithm == key.device_key.algorithm
    key.device_key.verify(found.signature, found.signed_bytes)
    protected = cbor2.dumps({1: algorithm, 4: b"crate-1", 16: "application/vnd.sigillo.reading+cose"})
    body = cbor2.dumps({"TS": 1, "VER": 2, "PROT": 1, "ACTION": 4, "STATUS": 0, "BODY": {}})
    assert found.signed_bytes == cbor2.dumps(["Signature1", protected, TOPIC.encode(), body])


def make(key: Ed25519Key | P256Key, algorithm: int, device_id: str = "crate-1", topic: str = TOPIC) -> bytes:
    return encode_reading(topic=topic, device_id=device_id, algorithm=algorithm, ts=1, ver=2, body={}, sign=key.sign)


@pytest.mark.parametrize("algorithm", [-8, -7, 0, 5])
def test_other_algorithms_are_not_written(algorithm: int) -> None:
    with pytest.raises(DecodeError, match="algorithm"):
        make(TRACKER_ED25519, algorithm)


@pytest.mark.parametrize(("device_id", "topic"), [("", TOPIC), ("d" * 65_536, TOPIC), ("d", ""), ("d", "a\0")])
def test_names_have_their_size(device_id: str, topic: str) -> None:
    with pytest.raises(DecodeError):
        make(TRACKER_ED25519, ED25519, device_id, topic)
