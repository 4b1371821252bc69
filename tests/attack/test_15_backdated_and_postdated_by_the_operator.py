"""Attack 14, 15 (WoSign 2016): the operator turns its clock, back or forward. Each is refused by what TSAs say."""

from __future__ import annotations

import dataclasses

import pytest

from sigillo.core.policy import AnchorTrust, MissingTrust
from sigillo.core.verdict import Verdict

from ..adversary.broker import SECOND
from ..adversary.story import failing_steps
from ..adversary.third import MINUTE, ONE, ThirdStory, bracketed


def reasons(verdict: Verdict, step: int = 18) -> str:
    return "\n".join(finding.text for finding in verdict.checks[step - 1].failures.listed)


def test_a_clock_that_is_an_hour_behind_backdates_every_mark() -> None:
    verdict = bracketed(skew_ns=60 * MINUTE).judged()
    assert failing_steps(verdict) == [18]
    assert "backdated" in reasons(verdict)
    assert "not before 2026-11-18T12:06:41.000Z, by TSA A and TSA B" in reasons(verdict)


def test_a_clock_that_is_an_hour_ahead_postdates_every_mark() -> None:
    verdict = bracketed(skew_ns=-60 * MINUTE).judged()
    assert failing_steps(verdict) == [18]
    assert "postdated" in reasons(verdict)
    assert "was there by 2026-11-18T10:06:49.000Z, by TSA A and TSA B" in reasons(verdict)


@pytest.mark.parametrize(("skew", "steps"), [(3, []), (4, [18]), (-3, []), (-4, [18])])
def test_an_error_counts_in_the_marks_favour_and_no_further(skew: int, steps: list[int]) -> None:
    """The marks are 4 and 5 s after the lower bound, and 4 and 3 s before the upper; their error is 0.3 s."""
    story = bracketed(skew_ns=skew * SECOND + SECOND // 2 * (1 if skew > 0 else 0))
    assert failing_steps(story.judged()) == steps


def test_one_mark_from_the_future_among_honest_ones_is_named() -> None:
    story = bracketed()
    story.signed(story.first, time_ns=story.broker.clock_ns + 30 * MINUTE)
    story.anchor()
    verdict = story.judged()
    assert failing_steps(verdict) == [18]
    [failure] = verdict.checks[17].failures.listed
    shown = story.file().splitlines()
    assert failure.line and b'"type":"message"' in shown[failure.line - 1]
    assert b'"index":7,' in shown[failure.line - 1]


def test_naming_an_old_checkpoint_hides_nothing_where_the_device_saw_a_newer_one() -> None:
    """The broker names a checkpoint and a time of an hour ago; the device's beacon has newer tokens inside."""
    story = ThirdStory()
    story.broker.start()
    old = story.log.sign()
    story.broker.clock_ns += 60 * MINUTE
    story.anchor()
    beacon = story.log.beacon()
    story.broker.clock_ns -= 60 * MINUTE
    story.broker.checkpoint = old.checkpoint
    story.signed(story.first, beacon=beacon)
    story.broker.clock_ns += 60 * MINUTE
    story.anchor()
    policy = story.trust(missing=MissingTrust(allow_unanchored=True), anchors=AnchorTrust(2, 120 * MINUTE))
    verdict = story.judged(policy)
    assert failing_steps(verdict) == [18]
    assert "its message was signed not before" in reasons(verdict)


def test_withholding_the_mark_from_the_log_makes_the_bracket_wide() -> None:
    """Kept back for an hour, a mark is still bounded by when a TSA saw it: the reader says how wide is too wide."""
    story = bracketed()
    story.signed(story.first)
    story.broker.clock_ns += 60 * MINUTE
    story.anchor()
    verdict = story.judged()
    assert failing_steps(verdict) == [18]
    assert "is wider than the policy's anchors.max_bracket" in reasons(verdict)
    assert story.judged(story.trust(anchors=AnchorTrust(2, 61 * MINUTE))).verified


def test_an_operator_that_does_not_anchor_is_not_verified() -> None:
    story = ThirdStory()
    story.publish()
    assert failing_steps(story.judged()) == [18, 20]


def test_alone_with_one_tsa_the_operator_can_lie_and_the_verdict_says_who() -> None:
    """Who trusts one TSA has to believe it; with two, both must have lied together."""
    story = bracketed()
    rogue = story.tsas[0]
    only_rogue = story.trust(tsas=(rogue.trust(),), anchors=ONE)
    verdict = story.judged(only_rogue)
    assert verdict.verified
    assert verdict.checks[17].liars == (("TSA A",),)
    both = dataclasses.replace(only_rogue, tsas=story.trust().tsas, anchors=AnchorTrust(2, 10 * MINUTE))
    assert story.judged(both).checks[17].liars == (("TSA A", "TSA B"),)
