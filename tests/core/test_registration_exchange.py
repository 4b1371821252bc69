"""spec/endorsement.md, "Exchange": what is read is exactly what would be written; nothing else gets in."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigillo.core import registration_exchange as exchange
from sigillo.core.errors import DecodeError

from ..vector.exchange import CHAIN, CREDENTIAL, GOOD, KEY, PENDING, SECRET

DECODERS = {
    "request": exchange.decode_request,
    "credential": exchange.decode_credential,
    "answer": exchange.decode_answer,
    "pending": exchange.decode_pending,
}


@pytest.mark.parametrize("kind", DECODERS)
@given(st.binary(max_size=300))
def test_bytes_that_are_no_such_file_are_refused(kind: str, data: bytes) -> None:
    with pytest.raises(DecodeError):
        DECODERS[kind](data)


@pytest.mark.parametrize("kind", DECODERS)
@given(data=st.data())
def test_changed_bytes_are_refused_or_read_as_themselves(kind: str, data: st.DataObject) -> None:
    good = GOOD[kind]
    at = data.draw(st.integers(0, len(good) - 1))
    changed = good[:at] + bytes([good[at] ^ 1 << data.draw(st.integers(0, 7))]) + good[at + 1 :]
    try:
        found = DECODERS[kind](changed)
    except DecodeError:
        return
    encode = getattr(exchange, f"encode_{kind}")
    assert encode(found) == changed


@given(st.binary(min_size=16, max_size=16), st.integers(0, 2**64 - 1), st.binary(min_size=32, max_size=32))
def test_pending_comes_back(number: bytes, time_ns: int, secret_hash: bytes) -> None:
    pending = dataclasses.replace(PENDING, number=number, time_ns=time_ns, secret_hash=secret_hash)
    assert exchange.decode_pending(exchange.encode_pending(pending)) == pending


def test_what_could_not_be_read_again_is_not_written() -> None:
    with pytest.raises(DecodeError, match="number"):
        exchange.encode_credential(dataclasses.replace(CREDENTIAL, number=b"1"))
    with pytest.raises(DecodeError, match="EK certificates"):
        exchange.encode_request(exchange.RegistrationRequest(KEY, 5 * CHAIN[:1]))


def test_a_secret_is_not_shown_by_mistake() -> None:
    assert SECRET.hex() not in repr(exchange.Answer(bytes(16), SECRET))
    assert str(SECRET) not in repr(exchange.Answer(bytes(16), SECRET))
