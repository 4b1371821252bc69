"""Attack 1 (Keylime CVE-2026-6420): a quote of another moment as the answer, or a nonce that is always the same."""

from __future__ import annotations

import dataclasses

import pytest

from sigillo.core.attestation import verify_answer, verify_periodic
from sigillo.core.errors import AttestationError, DecodeError

from ..adversary.tpm import LyingTpm
from ..vector.accept_tpm import launched
from ..vector.key import filler
from ..vector.sample_tpm import CHALLENGED, NONCE, OPENING

NAME = LyingTpm().key.name


def test_the_answer_to_an_earlier_challenge_is_none_to_the_next() -> None:
    recorded = launched().quote(CHALLENGED)
    verify_answer(recorded, NAME, NONCE)
    with pytest.raises(AttestationError, match="does not answer"):
        verify_answer(recorded, NAME, filler("fresh nonce"))


def test_an_old_answer_with_the_new_nonce_written_over_it() -> None:
    recorded, fresh = launched().quote(CHALLENGED), filler("fresh nonce")
    replayed = dataclasses.replace(recorded, subject=dataclasses.replace(CHALLENGED, nonce=fresh))
    with pytest.raises(AttestationError, match="other data"):
        verify_answer(replayed, NAME, fresh)


def test_a_quote_from_the_log_is_no_answer_whatever_the_nonce() -> None:
    with pytest.raises(AttestationError, match="has none"):
        verify_answer(launched().quote(OPENING), NAME, NONCE)


@pytest.mark.parametrize("nonce", [b"", b"\0", bytes(31), bytes(33)])
def test_a_challenger_cannot_ask_with_no_nonce(nonce: bytes) -> None:
    with pytest.raises(DecodeError, match="nonce"):
        verify_answer(launched().quote(CHALLENGED), NAME, nonce)


def test_a_quote_that_has_the_nonce_but_not_the_epoch_and_checkpoint() -> None:
    """qualifyingData = nonce, as others do it, would say nothing of which broker it is."""
    with pytest.raises(AttestationError, match="other data"):
        verify_answer(launched().quote(CHALLENGED, extra=NONCE), NAME, NONCE)


def test_an_entry_of_the_log_moved_to_another_epoch() -> None:
    moved = dataclasses.replace(
        launched().quote(OPENING), subject=dataclasses.replace(OPENING, epoch_id=filler("another epoch"))
    )
    with pytest.raises(AttestationError, match="other data"):
        verify_periodic(moved, NAME)
