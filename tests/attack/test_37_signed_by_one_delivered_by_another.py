"""Attack 37: a signed message of device A, delivered by B or on B's topic. Principal = device = topic, or refused."""

from __future__ import annotations

import pytest

from ..adversary.story import Story, failing_steps, verdict_on


@pytest.mark.parametrize("form", ["datagram", "reading"])
def test_a_signs_b_delivers_on_a_topic(form: str) -> None:
    story = Story()
    payload = getattr(story.first, form)()
    story.broker.lines.append(story.broker.mark(story.first.topic, payload, "crate-2"))
    verdict = verdict_on(story.broker.lines, story.policy)
    assert failing_steps(verdict) == [9]
    assert 'topic of "crate-1", delivered by "crate-2"; signed by "crate-1"' in verdict.reason


@pytest.mark.parametrize("form", ["datagram", "reading"])
def test_a_signs_b_delivers_on_b_topic(form: str) -> None:
    story = Story()
    payload = getattr(story.first, form)()
    story.broker.lines.append(story.broker.mark(story.second.topic, payload, "crate-2"))
    assert failing_steps(verdict_on(story.broker.lines, story.policy)) == [9]


@pytest.mark.parametrize("form", ["datagram", "reading"])
def test_a_signs_and_delivers_on_b_topic(form: str) -> None:
    story = Story()
    payload = getattr(story.first, form)()
    story.broker.lines.append(story.broker.mark(story.second.topic, payload, "crate-1"))
    verdict = verdict_on(story.broker.lines, story.policy)
    assert failing_steps(verdict) == [9]
    assert 'topic of "crate-2", delivered by "crate-1"' in verdict.reason


def test_nobody_delivers() -> None:
    story = Story()
    story.broker.lines.append(story.broker.mark(story.first.topic, story.first.datagram(), ""))
    assert failing_steps(verdict_on(story.broker.lines, story.policy)) == [9]


@pytest.mark.parametrize("name", ["crate-1 ", "CRATE-1", "crate-1\u200b", "сrate-1"])
def test_names_that_look_alike_are_others(name: str) -> None:
    story = Story()
    story.broker.lines.append(story.broker.mark(story.first.topic, story.first.datagram(), name))
    assert failing_steps(verdict_on(story.broker.lines, story.policy)) == [9]


@pytest.mark.parametrize(
    "topic",
    [
        "braid/agent/crate-1/crate-1/shadow/reported/",
        "braid/agent//shadow/reported/",
        "braid/agent/crate-1/shadow/reported",
        "braid/agent/crate-1/shadow/reporteder/",
        "x/braid/agent/crate-1/shadow/reported/",
    ],
)
def test_topics_that_only_look_like_a_devices(topic: str) -> None:
    story = Story()
    story.broker.lines.append(story.broker.mark(topic, story.first.datagram(), "crate-1"))
    assert not verdict_on(story.broker.lines, story.policy).verified
