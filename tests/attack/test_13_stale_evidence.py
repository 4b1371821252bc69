"""Attack 13 (dstack #613, #1140): evidence of once, shown for now; and evidence of now about what was long ago."""

from __future__ import annotations

import pytest

from sigillo.core.attestation import attested_entries, verify_answer, verify_periodic
from sigillo.core.errors import AttestationError
from sigillo.core.mark import Checkpoint
from sigillo.core.quote import Quote, Subject

from ..adversary.tpm import LyingTpm
from ..vector.accept_tpm import launched
from ..vector.key import filler
from ..vector.sample import EPOCH_ID
from ..vector.sample_tpm import CHALLENGED

NAME = LyingTpm().key.name


def quoted(tpm: LyingTpm, size: int) -> Quote:
    return verify_periodic(tpm.quote(Subject(EPOCH_ID, Checkpoint(size, filler(f"root {size}")))), NAME)


def test_last_weeks_answer_is_no_answer_today() -> None:
    old = launched().quote(CHALLENGED)
    with pytest.raises(AttestationError, match="does not answer"):
        verify_answer(old, NAME, filler("today's nonce"))


def test_marks_after_the_newest_closing_quote_are_not_attested() -> None:
    tpm = launched()
    opening, closing = quoted(tpm, 100), quoted(tpm, 200)
    attested = attested_entries(101, opening, closing)
    assert 199 in attested
    assert 200 not in attested
    assert 10_000 not in attested


def test_marks_before_the_opening_quote_are_not_attested() -> None:
    tpm = launched()
    attested = attested_entries(101, quoted(tpm, 100), quoted(tpm, 200))
    assert 101 not in attested
    assert 50 not in attested


def test_one_quote_shown_as_both_attests_nothing() -> None:
    once = quoted(launched(), 100)
    with pytest.raises(AttestationError, match="clock"):
        attested_entries(101, once, once)


def test_a_fresh_quote_over_a_stale_checkpoint_closes_only_what_that_one_has() -> None:
    """The attester has signed now; it was made to believe, or says, that the log still ends at 150."""
    tpm = launched()
    opening, stale = quoted(tpm, 100), quoted(tpm, 150)
    assert list(attested_entries(101, opening, stale)) == list(range(102, 150))


def test_a_software_tpm_set_back_to_an_older_state_is_seen_by_who_remembers() -> None:
    """The rolled-back state has an older clock at the same reset count."""
    tpm = launched()
    before = quoted(tpm, 100)
    tpm.clock -= 5000
    with pytest.raises(AttestationError, match="older state"):
        attested_entries(101, before, quoted(tpm, 200))
