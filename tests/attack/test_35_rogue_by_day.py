"""Attack 35: rogue code all day, a clean start at night, and then quotes for the marks of the day."""

from __future__ import annotations

import pytest

from sigillo.core.attestation import attested_entries, verify_periodic
from sigillo.core.errors import AttestationError
from sigillo.core.mark import Checkpoint
from sigillo.core.quote import LAUNCH_PCR, Quote, Subject

from ..adversary.tpm import LyingTpm
from ..vector.accept_tpm import launched
from ..vector.key import filler
from ..vector.sample import EPOCH_ID
from ..vector.sample_tpm import LAUNCHES

NAME = LyingTpm().key.name
DAY = range(100, 200)
"""Entries of the log that were made by day."""


def quoted(tpm: LyingTpm, size: int) -> Quote:
    return verify_periodic(tpm.quote(Subject(EPOCH_ID, Checkpoint(size, filler(f"root {size}")))), NAME)


def test_quotes_of_the_night_attest_nothing_of_the_day() -> None:
    """Both were logged after the day's entries, whatever checkpoints they are about."""
    clean = launched()
    for opening_size, closing_size in ((50, 100), (50, 200), (50, 203)):
        attested = attested_entries(201, quoted(clean, opening_size), quoted(clean, closing_size))
        assert not set(DAY) & set(attested)


def test_a_quote_before_the_day_and_one_at_night_have_a_reset_between_them() -> None:
    clean = launched()
    morning = quoted(clean, 98)
    clean.resets += 1
    with pytest.raises(AttestationError, match="reset"):
        attested_entries(99, morning, quoted(clean, 201))


def test_without_a_reset_the_rogue_launch_is_in_the_pcr() -> None:
    tpm = launched()
    morning = quoted(tpm, 98)
    tpm.extend(LAUNCH_PCR, [filler("a rogue broker")])
    tpm.extend(LAUNCH_PCR, [event.digest for event in LAUNCHES[1:]])
    with pytest.raises(AttestationError, match="something was launched"):
        attested_entries(99, morning, quoted(tpm, 201))


def test_a_suspend_in_between_is_seen_too() -> None:
    tpm = launched()
    morning = quoted(tpm, 98)
    evening = verify_periodic(tpm.quote(Subject(EPOCH_ID, Checkpoint(201, filler("root"))), restarts=1), NAME)
    with pytest.raises(AttestationError, match="restarted"):
        attested_entries(99, morning, evening)
