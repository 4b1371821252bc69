"""Base64url, domains, object hash."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigillo.core.bytes import DOMAINS, EMPTY_ROOT, base64url_decode, base64url_encode, domain, object_hash
from sigillo.core.errors import DecodeError


@given(st.binary(max_size=100))
def test_base64url_round_trip(data: bytes) -> None:
    assert base64url_decode(base64url_encode(data)) == data


@given(st.text(alphabet="AQgw-_+/= \n", max_size=9))
def test_one_text_per_bytes(text: str) -> None:
    try:
        data = base64url_decode(text)
    except DecodeError:
        return
    assert base64url_encode(data) == text


@pytest.mark.parametrize("text", ["QQ==", "QR", "Q", "QQ\n", " QQ", "Q+", "Q/", "QQ=", "AAA=", "è", "QUJ", "\ud800"])
def test_other_spellings_are_refused(text: str) -> None:
    with pytest.raises(DecodeError, match="payload"):
        base64url_decode(text, "payload")


def test_no_domain_is_a_prefix_of_another() -> None:
    domains = [domain(name) for name in DOMAINS]
    assert not [(a, b) for a in domains for b in domains if a != b and b.startswith(a)]
    with pytest.raises(ValueError, match="no such domain"):
        domain("mark\n")


def test_object_hash_by_hand() -> None:
    expected = hashlib.sha256(b"sigillo/v1/token\n" + b"\0\0\0\0\0\0\0\x03" + b"abc").digest()
    assert object_hash("token", b"abc") == expected
    assert object_hash("heads", b"abc") != expected


def test_empty_root() -> None:
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
