"""spec/timestamp.md, "Exchange": requests that OpenSSL reads, and answers that are refused."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rfc3161_client import decode_timestamp_response

from sigillo.core.errors import DecodeError, SignatureError
from sigillo.core.timestamp_exchange import MAX_RESPONSE, RefusedRequest, encode_request, read_response

from ..adversary.tsa import element, integer, octets, sequence
from ..adversary.tsa_server import asked, response
from .timestamp_case import NOTE, TSA


@given(st.binary(max_size=100), st.integers(0, 2**64 - 1))
def test_a_request_asks_for_what_it_should(message: bytes, nonce: int) -> None:
    assert asked(encode_request(message, nonce)) == (hashlib.sha256(message).digest(), nonce)


def test_openssl_reads_a_request(tmp_path: Path) -> None:
    (tmp_path / "query").write_bytes(encode_request(NOTE, 2**64 - 1))
    command = ["openssl", "ts", "-query", "-in", tmp_path / "query", "-text"]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert "Hash Algorithm: sha256" in shown
    assert "Nonce: 0xFFFFFFFFFFFFFFFF" in shown
    assert "Certificate required: yes" in shown


def test_the_token_of_an_answer() -> None:
    token = TSA.stamp(NOTE, nonce=7)
    for status in (0, 1):
        found, said = read_response(response(token, status), NOTE, 7)
        assert (found, said.nonce) == (token, 7)
    assert decode_timestamp_response(response(token)).time_stamp_token() == token
    words = sequence(integer(0), sequence(element(12, b"fine")))
    assert read_response(sequence(words, token), NOTE, 7)[0] == token


@pytest.mark.parametrize("lies", [{}, {"nonce": 8}, {"nonce": 0}], ids=["none", "other", "zero"])
def test_without_the_nonce_that_was_asked_for_it_may_be_an_old_one(lies: dict[str, int]) -> None:
    with pytest.raises(SignatureError, match="nonce"):
        read_response(response(TSA.stamp(NOTE, **lies)), NOTE, 7)


def test_about_something_else() -> None:
    with pytest.raises(SignatureError, match="something else"):
        read_response(response(TSA.stamp(b"other", nonce=7)), NOTE, 7)


def test_a_refusal_counts_as_one_even_with_a_token_in_it() -> None:
    token = TSA.stamp(NOTE, nonce=7)
    rejected = sequence(integer(2), sequence(element(12, b"the time source\xff is not available")), b"\x03\x02\x00\x01")
    for data in (sequence(rejected), sequence(rejected, token), response(token, 3), response(token, 5)):
        with pytest.raises(RefusedRequest, match="refuses with status"):
            read_response(data, NOTE, 7)
    with pytest.raises(RefusedRequest, match="is not available"):
        read_response(sequence(rejected), NOTE, 7)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>",
        sequence(sequence(integer(0))),
        sequence(sequence(integer(6)), TSA.stamp(NOTE, nonce=7)),
        sequence(sequence(integer(-1)), TSA.stamp(NOTE, nonce=7)),
        sequence(sequence(integer(0)), TSA.stamp(NOTE, nonce=7), b"\x05\x00"),
        response(TSA.stamp(NOTE, nonce=7)) + b"\0",
        TSA.stamp(NOTE, nonce=7),
        response(octets(b"token")),
        bytes(MAX_RESPONSE + 1),
    ],
)
def test_what_is_no_answer(data: bytes) -> None:
    with pytest.raises(DecodeError):
        read_response(data, NOTE, 7)


@given(st.data())
def test_an_answer_that_was_tampered_with(data: st.DataObject) -> None:
    token = TSA.stamp(NOTE, nonce=7)
    changed = bytearray(response(token))
    at = data.draw(st.integers(0, len(changed) - 1))
    changed[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    try:
        read_response(bytes(changed), NOTE, 7)
    except (DecodeError, SignatureError):
        return
