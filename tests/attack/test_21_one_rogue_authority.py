"""Attack 21: one authority of several dates back. Its token is good, and says so by its own clock and name alone."""

from __future__ import annotations

import pytest

from sigillo.core.errors import SignatureError
from sigillo.core.timestamp import verify_token

from ..adversary.tsa import Tsa, accuracy

NOTE = b"a signed note\n"
HONEST, ROGUE = Tsa("Honest Time"), Tsa("Rogue Time")
DAY_NS = 86_400 * 10**9


def test_its_time_is_what_it_says_and_is_known_by_its_name() -> None:
    """No verifier can see it from one token; who demands k of n compares them (spec/verification.md)."""
    good = verify_token(HONEST.stamp(NOTE, time=b"20261120120000Z"), NOTE, HONEST.trust())
    bad = verify_token(ROGUE.stamp(NOTE, time=b"20261110120000Z"), NOTE, ROGUE.trust())
    assert (good.tsa, bad.tsa) == ("Honest Time", "Rogue Time")
    assert good.gen_time_ns - bad.gen_time_ns == 10 * DAY_NS
    assert bad.not_after_ns < good.not_before_ns, "the two spans contradict each other"


def test_an_accuracy_of_years_does_not_hide_a_contradiction() -> None:
    """A day is the most that a token may state (spec/timestamp.md)."""
    found = verify_token(ROGUE.stamp(NOTE, accuracy=accuracy(86_400)), NOTE, ROGUE.trust())
    assert found.not_after_ns - found.not_before_ns == 2 * DAY_NS
    with pytest.raises(SignatureError, match="is more than 86400"):
        verify_token(ROGUE.stamp(NOTE, accuracy=accuracy(10 * 365 * 86_400)), NOTE, ROGUE.trust())
