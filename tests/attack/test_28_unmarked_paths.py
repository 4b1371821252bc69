"""Attack 28: what reached subscribers without a mark is shown as marked. No path of spec/path.md makes evidence.

What the broker does on each path is tested on the real one, in tests/plugin/test_path.py; here a reader looks at what a
lying archive makes of an unmarked message.
"""

from __future__ import annotations

import dataclasses

import pytest

from sigillo.core.errors import DecodeError
from sigillo.core.evidence_line import EpochLine
from sigillo.core.mark import decode_mark
from sigillo.core.statement import MarkedFilter

from ..adversary.broker import evidence_file
from ..adversary.story import Story, failing_steps, outcome, verdict_on


def test_an_unmarked_message_is_no_evidence() -> None:
    story = Story()
    line = story.broker.publish(story.first)
    unmarked = dataclasses.replace(line, mark=b"")
    assert isinstance(outcome(evidence_file([story.broker.lines[0], unmarked]), story.policy), DecodeError)


def test_a_will_with_a_mark_that_was_seen_before_is_about_another_payload() -> None:
    story = Story()
    seen = story.broker.publish(story.first)
    will = dataclasses.replace(seen, payload=story.first.datagram())
    assert failing_steps(verdict_on([story.broker.lines[0], will], story.policy)) == [6]


def test_a_retained_message_of_before_has_no_mark_of_this_epoch() -> None:
    """The mark of its own epoch stays good; put under a later statement it is of another epoch."""
    story = Story()
    kept = story.broker.publish(story.first)
    story.broker.stop()
    story.broker.start()
    story.broker.publish(story.first)
    later = next(line for line in reversed(story.broker.lines) if isinstance(line, EpochLine))
    assert 5 in failing_steps(verdict_on([later, kept], story.policy))


@pytest.mark.parametrize("topic", ["$SYS/broker/uptime", "braid/agent/crate-1/status", "sigillo/checkpoint"])
def test_a_mark_on_a_topic_that_no_filter_matches(topic: str) -> None:
    """An operator that marks what its statement does not say: `#` does not match `$SYS`, nor a filter another topic."""
    story = Story()
    filters = (MarkedFilter("#"),) if topic.startswith("$") else (MarkedFilter("braid/agent/+/shadow/reported/#"),)
    story.broker.start(filters=filters)
    story.broker.lines.append(story.broker.mark(topic, story.first.datagram(), "crate-1"))
    assert failing_steps(verdict_on(story.broker.lines, story.policy)) == [5]


def test_a_foreign_mark_of_who_is_no_bridge() -> None:
    story = Story()
    story.broker.publish(story.first, before=bytes(32))
    assert failing_steps(verdict_on(story.broker.lines, story.policy)) == [5]
    bridged = Story()
    bridged.broker.start(bridge_principals=("crate-1",))
    line = bridged.broker.publish(bridged.first, before=bytes(32))
    assert decode_mark(line.mark).mark.before == bytes(32)
    assert verdict_on(bridged.broker.lines, bridged.policy).verified


def test_what_is_unmarked_is_said_in_the_verdict() -> None:
    story = Story()
    story.broker.publish(story.first)
    verdict = verdict_on(story.broker.lines, story.policy)
    assert any("will" in limit and "retained-before" in limit for limit in verdict.limits)
