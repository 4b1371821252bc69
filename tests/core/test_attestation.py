"""Attestation evidence: round trips, single bits, and what lies between two quotes."""

from __future__ import annotations

import contextlib
import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigillo.core.attestation import (
    AttestationEvidence,
    attested_entries,
    decode_attestation,
    encode_attestation,
    verify_answer,
    verify_periodic,
)
from sigillo.core.errors import AttestationError, DecodeError
from sigillo.core.mark import Checkpoint
from sigillo.core.quote import Quote, Subject
from sigillo.core.tpm import decode_attestation_key

from ..adversary.tpm import LyingTpm
from ..vector.accept_tpm import evidences, launched, recorded
from ..vector.key import filler
from ..vector.sample import EPOCH_ID
from ..vector.sample_tpm import CHALLENGED, CLOSING, NONCE, OPENING

NAME = LyingTpm().key.name


@pytest.mark.parametrize("evidence", evidences().values(), ids=evidences())
def test_round_trip(evidence: AttestationEvidence) -> None:
    encoded = encode_attestation(evidence)
    assert decode_attestation(encoded) == evidence
    assert len(encoded) < 1100


@given(st.binary(max_size=120))
def test_other_bytes_are_refused(data: bytes) -> None:
    good = encode_attestation(launched().quote(OPENING))
    for changed in (data, good[: len(data)] + data):
        with contextlib.suppress(DecodeError):
            assert encode_attestation(decode_attestation(changed)) == changed


def test_every_single_bit_flip_of_a_real_one_is_refused() -> None:
    evidence = recorded("closing", CLOSING)
    name = decode_attestation_key(evidence.key_bytes).name
    verify_periodic(evidence, name)
    data = encode_attestation(evidence)
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises((AttestationError, DecodeError)):
            verify_periodic(decode_attestation(bytes(flipped)), name)


def test_an_answer_is_no_entry_and_an_entry_no_answer() -> None:
    tpm = launched()
    assert verify_periodic(tpm.quote(OPENING), NAME).subject == OPENING
    assert verify_answer(tpm.quote(CHALLENGED), NAME, NONCE).subject == CHALLENGED
    with pytest.raises(AttestationError, match="not an entry"):
        verify_periodic(tpm.quote(CHALLENGED), NAME)
    with pytest.raises(AttestationError, match="does not answer"):
        verify_answer(tpm.quote(OPENING), NAME, NONCE)


def at(tpm: LyingTpm, size: int) -> Quote:
    checkpoint = Checkpoint(size, filler(f"root {size}")) if size else Checkpoint()
    return verify_periodic(tpm.quote(Subject(EPOCH_ID, checkpoint)), NAME)


def test_attested_is_what_was_logged_between_two_quotes() -> None:
    """The opening quote is entry 10; the closing one is about the first 20 entries: 11 to 19 are between them."""
    tpm = launched()
    opening, closing = at(tpm, 9), at(tpm, 20)
    assert list(attested_entries(10, opening, closing)) == list(range(11, 20))


def test_a_quote_over_an_old_checkpoint_closes_nothing() -> None:
    tpm = launched()
    opening, closing = at(tpm, 9), at(tpm, 11)
    assert not attested_entries(10, opening, closing)
    assert not attested_entries(10, opening, at(tpm, 3))


def test_an_opening_quote_cannot_know_a_checkpoint_with_itself_in_it() -> None:
    tpm = launched()
    opening, closing = at(tpm, 11), at(tpm, 20)
    with pytest.raises(AttestationError, match="its own entry"):
        attested_entries(10, opening, closing)


def test_a_reset_in_between_attests_nothing() -> None:
    tpm = launched()
    opening = at(tpm, 9)
    tpm.resets += 1
    with pytest.raises(AttestationError, match="reset"):
        attested_entries(10, opening, at(tpm, 20))


def test_fields_that_could_not_be_read_again_are_not_written() -> None:
    good = launched().quote(OPENING)
    for bad in (
        dataclasses.replace(good, pcrs=good.pcrs[1:]),
        dataclasses.replace(good, subject=Subject(bytes(31), Checkpoint())),
        dataclasses.replace(good, signature_bytes=b""),
    ):
        with pytest.raises(DecodeError):
            encode_attestation(bad)
