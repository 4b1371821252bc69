"""Structures of a TPM: what decodes re-encodes to itself, what a real TPM makes is of the form."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigillo.core.errors import DecodeError
from sigillo.core.tpm import (
    PCRS,
    Cursor,
    decode_attest,
    decode_attestation_key,
    decode_signature,
    encode_attestation_key,
    encode_selection,
)

from ..adversary.tpm import LyingTpm
from ..vector.accept_tpm import evidences, recorded
from ..vector.sample_tpm import OPENING


def test_a_key_that_a_tpm_has_made_re_encodes_to_itself() -> None:
    key = decode_attestation_key(recorded("opening", OPENING).key_bytes)
    assert encode_attestation_key(key.x, key.y) == key.public_bytes
    assert len(key.public_bytes) == 88
    assert key.name[:2] == key.qualified_name[:2] == b"\0\x0b"
    assert key.name != key.qualified_name


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_read_to_their_end(data: bytes) -> None:
    for decode in (decode_attest, decode_attestation_key, decode_signature):
        with contextlib.suppress(DecodeError):
            decode(data)


@pytest.mark.parametrize("evidence", evidences().values(), ids=evidences())
def test_every_cut_and_a_byte_more_are_refused(evidence: object) -> None:
    assert isinstance(evidence, type(recorded("opening", OPENING)))
    pairs = (
        (decode_attest, evidence.attest_bytes),
        (decode_attestation_key, evidence.key_bytes),
        (decode_signature, evidence.signature_bytes),
    )
    for decode, data in pairs:
        for changed in (*(data[:size] for size in range(len(data))), data + b"\0"):
            with pytest.raises(DecodeError):
                decode(changed)


@given(st.sets(st.integers(0, PCRS - 1), min_size=1))
def test_selections_read_as_they_were_written(indices: set[int]) -> None:
    bits = encode_selection(indices)[-3:]
    attest = decode_attest(LyingTpm().quote(OPENING, banks=((0x000B, bits),)).attest_bytes)
    assert attest.selection == tuple(sorted(indices))


def test_a_cursor_gives_what_is_left() -> None:
    cursor = Cursor(b"\0\1\2", "bytes")
    assert (cursor.number(1), cursor.rest(), cursor.rest()) == (0, b"\1\2", b"")
    cursor.end()
