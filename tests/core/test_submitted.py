from __future__ import annotations

import cbor2
import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st

from sigillo.core.bytes import object_hash
from sigillo.core.entry import Kind
from sigillo.core.errors import DecodeError
from sigillo.core.submitted import SUBMITTED, submitted_hash

from ..adversary.device import ed25519_key


def sequence(content: bytes) -> bytes:
    length = len(content)
    digits = length.to_bytes((length.bit_length() + 7) // 8)
    return b"\x30" + (bytes([length]) if length < 0x80 else bytes([0x80 | len(digits)]) + digits) + content


@given(st.integers(0, 65_000))
def test_a_token_is_one_sequence_of_any_length(length: int) -> None:
    data = sequence(bytes(length))
    assert submitted_hash(Kind.TOKEN, data) == object_hash("token", data)


def test_what_another_program_writes_as_der() -> None:
    encoding, form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    submitted_hash(Kind.TOKEN, ed25519_key("any").public_key().public_bytes(encoding, form))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x30",
        b"\x31\x00",
        b"\x30\x01",
        b"\x30\x00\x00",
        b"\x30\x80\x00\x00",  # indefinite
        b"\x30\x81\x01\x00",  # longer than it need be
        b"\x30\x82\x00\x80" + bytes(128),
        b"\x30\x82\x01",
        b"\x30\xff" + bytes(127),
        sequence(bytes(65_536)),
    ],
)
def test_what_is_no_token(data: bytes) -> None:
    with pytest.raises(DecodeError):
        submitted_hash(Kind.TOKEN, data)


@pytest.mark.parametrize("kind", [Kind.ATTESTATION_EVIDENCE, Kind.KEY_CHANGE])
def test_the_others_are_deterministic_maps(kind: Kind) -> None:
    data = cbor2.dumps({1: 1, 2: b"evidence"})
    assert submitted_hash(kind, data) == object_hash(SUBMITTED[kind].name, data)
    for bad in (b"", data[:-1], data + b"\0", b"\x80", b"\xa1\x18\x01\x01", cbor2.dumps({1: bytes(2**20)})):
        with pytest.raises(DecodeError):
            submitted_hash(kind, bad)


@given(st.sampled_from(sorted(SUBMITTED)), st.binary())
def test_any_bytes_are_decided(kind: Kind, data: bytes) -> None:
    try:
        submitted_hash(kind, data)
    except DecodeError:
        return
