"""Attack 19 (cosign CVE-2022-36056, CVE-2026-22703): a proof that is good, for something else."""

from __future__ import annotations

import dataclasses

import pytest

from sigillo.core.evidence_line import MessageLine
from sigillo.core.mark import decode_mark

from ..adversary.broker import Broker
from ..adversary.story import Story, failing_steps, honest, messages, verdict_on


@pytest.mark.parametrize("member", ["payload", "mark", "topic"])
@pytest.mark.parametrize(("one", "other"), [(0, 3), (0, 1), (0, 6)], ids=["same device", "other device", "other epoch"])
def test_two_messages_exchange_a_part(member: str, one: int, other: int) -> None:
    story = honest()
    first, second = messages(story.broker.lines)[one], messages(story.broker.lines)[other]
    if getattr(first, member) == getattr(second, member):
        pytest.skip("the same topic")
    changed = {
        first: dataclasses.replace(first, **{member: getattr(second, member)}),
        second: dataclasses.replace(second, **{member: getattr(first, member)}),
    }
    lines = [changed.get(line, line) if isinstance(line, MessageLine) else line for line in story.broker.lines]
    steps = failing_steps(verdict_on(lines, story.policy))
    assert set(steps) & {5, 6, 7}


def test_the_salt_of_another_message_does_not_help() -> None:
    story = honest()
    first, second = messages(story.broker.lines)[0], messages(story.broker.lines)[3]
    salt = decode_mark(second.mark).sign1.unprotected
    mark = dataclasses.replace(decode_mark(first.mark).sign1, unprotected=salt).encode()
    lines = [dataclasses.replace(first, mark=mark) if line == first else line for line in story.broker.lines]
    assert failing_steps(verdict_on(lines, story.policy)) == [6]


def test_a_mark_of_another_broker_does_not_help() -> None:
    """Both brokers are trusted, and marked the same payload of the same device."""
    story, other = Story(), Broker("Other Broker", "other.example/log", "other")
    payload = story.first.datagram()
    story.broker.publish(story.first, payload=payload)
    foreign = other.publish(story.first, payload=payload)
    policy = dataclasses.replace(story.policy, operators=(story.broker.trust(), other.trust()))
    assert verdict_on(story.broker.lines, policy).verified
    assert verdict_on(other.lines, policy).verified
    assert failing_steps(verdict_on([story.broker.lines[0], foreign], policy)) == [5]
