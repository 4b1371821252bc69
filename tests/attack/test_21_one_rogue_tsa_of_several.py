"""Attack 21: one time-stamp authority of several lies, with the operator or against it."""

from __future__ import annotations

import pytest

from sigillo.core.verdict import Verdict

from ..adversary.broker import SECOND
from ..adversary.story import failing_steps
from ..adversary.third import MINUTE, ONE, ThirdStory


def lying(first_ns: int, last_ns: int) -> ThirdStory:
    """TSA B says another time, before the message and after it, than TSA A."""
    story = ThirdStory()
    story.broker.start()
    story.log.sign()
    for place, off_ns in enumerate((first_ns, last_ns)):
        story.anchor(story.tsas[0])
        story.skew_ns = off_ns
        story.anchor(story.tsas[1])
        story.skew_ns = 0
        if place == 0:
            story.signed(story.first)
    return story


def disagreement(verdict: Verdict) -> str:
    return verdict.checks[16].failures.listed[0].text


def test_honest_ones_agree() -> None:
    story = lying(0, 0)
    assert story.judged().verified
    assert story.judged(story.trust(anchors=ONE)).verified


@pytest.mark.parametrize(("first_ns", "last_ns"), [(-60 * MINUTE, 0), (0, -60 * MINUTE), (60 * MINUTE, 0)])
@pytest.mark.parametrize("quorum", [1, 2])
def test_one_that_contradicts_the_order_of_the_log_is_named(first_ns: int, last_ns: int, quorum: int) -> None:
    """It stamps a checkpoint that has an honest token inside with an earlier time; or the honest one does, with its."""
    story = lying(first_ns, last_ns)
    policy = story.trust() if quorum == 2 else story.trust(anchors=ONE)
    verdict = story.judged(policy)
    assert 17 in failing_steps(verdict)
    assert "one of them lied, or its clock was wrong" in disagreement(verdict)
    assert 'TSA "A"' in disagreement(verdict) and 'TSA "B"' in disagreement(verdict)


def test_without_the_rogue_the_same_log_verifies() -> None:
    """The reader finds out which one lied, and takes it out of the policy."""
    story = lying(-60 * MINUTE, -60 * MINUTE)
    assert 17 in failing_steps(story.judged())
    assert story.judged(story.trust(tsas=(story.tsas[0].trust(),), anchors=ONE)).verified


@pytest.mark.parametrize("off_ns", [-2 * SECOND, 2 * SECOND])
def test_within_their_accuracy_tsas_may_differ(off_ns: int) -> None:
    story = lying(off_ns, off_ns)
    assert 17 not in failing_steps(story.judged())
