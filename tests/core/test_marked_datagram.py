"""Marked datagram: what the broker appends comes off again to the byte, and nothing else is taken for it."""

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sigillo.core.datagram import BROKER_KEYS
from sigillo.core.errors import DecodeError, SignatureError
from sigillo.core.marked_datagram import (
    decode_marked_datagram,
    encode_marked_datagram,
    has_broker_keys,
    is_signed_datagram,
    marked_datagram,
    payload_as_received,
    token_bytes,
)
from sigillo.core.statement import Carrier
from tests.core.test_cbor import FOREIGN
from tests.vector.accept import I64_MAX, marked_map, pairs_of, plain_map
from tests.vector.key import TOKEN
from tests.vector.reject_marked import SIGN

KEYS = st.text(max_size=8).filter(lambda key: key not in {"SIGN", *BROKER_KEYS})
VALUES = st.dictionaries(KEYS, FOREIGN, max_size=8)
TIMES = st.integers(0, I64_MAX)
TOKENS = st.binary(max_size=600)


@given(VALUES, TIMES, TOKENS, st.booleans())
def test_what_was_appended_comes_off(values: dict[str, object], time_ns: int, token: bytes, indefinite: bool) -> None:
    pairs = [*pairs_of(values), SIGN]
    received = plain_map(pairs, indefinite=indefinite)
    assert is_signed_datagram(received)
    assert not has_broker_keys(received)
    marked = encode_marked_datagram(received, time_ns, token)
    assert marked == marked_map(pairs, time_ns // 10**6, token, indefinite=indefinite)
    assert cbor2.loads(marked)["VERIFICATION_TOKEN"] == token
    found = decode_marked_datagram(marked)
    assert (found.received, found.ingestion_time, found.token) == (received, time_ns // 10**6, token)
    assert found.token_bytes == token_bytes(received, time_ns)
    assert found.token_bytes == marked_map(pairs, time_ns // 10**6, None, indefinite=indefinite)
    assert has_broker_keys(marked)
    assert not is_signed_datagram(marked)


@pytest.mark.parametrize("indefinite", [False, True])
@pytest.mark.parametrize("time_ns", [0, I64_MAX])
@pytest.mark.parametrize("pairs", [1, 21, 22, 23, 24, 62, 63, 64, 65])
def test_number_of_pairs(pairs: int, time_ns: int, indefinite: bool) -> None:
    received = plain_map([*pairs_of({f"K{n}": n for n in range(pairs - 1)}), SIGN], indefinite=indefinite)
    assert is_signed_datagram(received) == (pairs <= 64)
    if pairs > 64:
        with pytest.raises(DecodeError, match="64 pairs"):
            encode_marked_datagram(received, time_ns, b"token")
        return
    marked = encode_marked_datagram(received, time_ns, b"token")
    assert decode_marked_datagram(marked).received == received
    assert len(cbor2.loads(marked)) == pairs + 2


def sample(indefinite: bool) -> tuple[bytes, bytes]:
    received = plain_map([*pairs_of({"TS": 1, "BODY": {"T": 1.5}}), SIGN], indefinite=indefinite)
    return received, encode_marked_datagram(received, 1_764_000_000_123_456_789, b"token")


@pytest.mark.parametrize("indefinite", [False, True])
def test_every_truncation_is_refused(indefinite: bool) -> None:
    received, marked = sample(indefinite)
    for length in range(len(marked)):
        assert marked_datagram(marked[:length]) is None
    for length in range(len(received)):
        assert not is_signed_datagram(received[:length])


@pytest.mark.parametrize("indefinite", [False, True])
@pytest.mark.parametrize("raw", [False, True])
def test_no_altered_one_is_taken(indefinite: bool, raw: bool) -> None:
    """Each bit of each byte: not what the broker wrote for this mark, or not what the mark commits to."""
    received, _ = sample(indefinite)
    time_ns, token_key = 1_764_000_000_123_456_789, TOKEN.public if raw else None
    token = TOKEN.sign(token_bytes(received, time_ns)) if raw else b"the mark"
    marked = encode_marked_datagram(received, time_ns, token)
    for position in range(len(marked)):
        for bit in range(8):
            altered = bytearray(marked)
            altered[position] ^= 1 << bit
            try:
                found = payload_as_received(bytes(altered), token, time_ns, Carrier.DATAGRAM, token_key)
            except (DecodeError, SignatureError):
                continue
            assert found != received  # so the commitment does not hold


@pytest.mark.parametrize("raw", [False, True])
def test_another_time_or_token_is_refused(raw: bool) -> None:
    received, _ = sample(False)
    time_ns, token_key = 5_000_000, TOKEN.public if raw else None
    token = TOKEN.sign(token_bytes(received, time_ns)) if raw else b"the mark"

    def read(marked: bytes, at_ns: int = time_ns) -> bytes:
        return payload_as_received(marked, token, at_ns, Carrier.DATAGRAM, token_key)

    good = encode_marked_datagram(received, time_ns, token)
    assert read(good) == read(good, time_ns + 999_999) == received
    assert read(received) == received  # evidence may hold it as the device sent it
    for at_ns in (time_ns - 1, time_ns + 1_000_000):
        with pytest.raises(DecodeError, match="INGESTION_TIME"):
            read(good, at_ns)
    for other in (b"", token[:-1], token + b"\0", token[:-1] + b"\0", bytes(64)):
        with pytest.raises((DecodeError, SignatureError), match=r"VERIFICATION_TOKEN|signature"):
            read(encode_marked_datagram(received, time_ns, other))


@pytest.mark.parametrize("carrier", [Carrier.PROPERTY, Carrier.TOPIC])
def test_other_carriers_leave_a_payload_alone(carrier: Carrier) -> None:
    _, marked = sample(False)
    assert payload_as_received(marked, b"the mark", 0, carrier, None) == marked


@given(st.binary(max_size=80), st.sampled_from([b"", b"\xa1", b"\xbf", b"\xa2\x61X", b"\xd9\xd9\xf7\xbf\x7f"]))
@settings(max_examples=300)
def test_garbage_is_no_datagram(data: bytes, prefix: bytes) -> None:
    payload = prefix + data
    assert marked_datagram(payload) is None
    assert not is_signed_datagram(payload)
    assert has_broker_keys(payload) in (False, True)  # raises nothing
    with pytest.raises(DecodeError):
        encode_marked_datagram(payload, 0, b"")


@given(VALUES, st.sampled_from(BROKER_KEYS), st.data())
def test_the_key_is_found_wherever_it_stands(values: dict[str, object], key: str, data: st.DataObject) -> None:
    encoded = data.draw(forms_of(key), "key")
    pairs = pairs_of(values)
    pairs.insert(data.draw(st.integers(0, len(pairs)), "place"), (encoded, b"\x01"))
    payload = plain_map([*pairs, SIGN], indefinite=data.draw(st.booleans(), "indefinite"))
    tags = b"".join(data.draw(st.lists(st.sampled_from([b"\xc1", b"\xd9\xd9\xf7", b"\xdb" + bytes(8)])), "tags"))
    end = payload.index(encoded) + len(encoded)
    cut = data.draw(st.sampled_from([len(payload), end, end + 1]), "cut off at")
    assert has_broker_keys(tags + payload[:cut])
    assert not is_signed_datagram(payload[:cut])


@st.composite
def forms_of(draw: st.DrawFn, key: str) -> bytes:
    """A text in any form that CBOR allows."""

    def with_head(part: str) -> bytes:
        info = draw(st.sampled_from([24, 25, 26, 27]))
        return bytes([0x60 | info]) + len(part).to_bytes(1 << (info - 24), "big") + part.encode()

    if draw(st.booleans()):
        return with_head(key)
    cuts = sorted(draw(st.lists(st.integers(0, len(key)), max_size=6)))
    parts = [key[start:end] for start, end in zip([0, *cuts], [*cuts, len(key)], strict=True)]
    return b"\x7f" + b"".join(draw(st.sampled_from([cbor2.dumps, with_head]))(part) for part in parts) + b"\xff"
