"""Attack 27 (BRAID, CVE-2023-28366): device messages replayed, reordered, lost, wrapped; two devices, one id."""

from __future__ import annotations

import dataclasses

import pytest

from sigillo.core.errors import PolicyError
from sigillo.core.policy import Policy

from ..adversary.broker import alone
from ..adversary.device import Device
from ..adversary.story import Story, failing_steps, messages, verdict_on


def test_a_replay_is_named_and_the_earliest_mark_is_the_arrival() -> None:
    story = Story()
    payload = story.first.datagram()
    for _ in range(3):
        story.broker.publish(story.first, payload=payload)
    verdict = verdict_on(story.broker.lines, story.policy)
    assert verdict.verified
    assert verdict.summary.repeat_count == 2
    assert [finding.line for finding in verdict.checks[10].notes.listed] == [4, 5]


def test_a_mark_that_names_the_first_of_its_message() -> None:
    story = Story()
    payload = story.first.datagram()
    story.broker.publish(story.first, payload=payload)
    story.broker.publish(story.first, payload=payload, repeat_of=1)
    verdict = verdict_on(story.broker.lines, story.policy)
    assert verdict.verified, verdict.reason
    assert verdict.summary.repeat_count == 1


@pytest.mark.parametrize("named", [1, 2], ids=["of another device", "of its own"])
def test_a_mark_that_names_another_message_as_its_first(named: int) -> None:
    """A broker that wants a reading to look like an old one: the file shows both, and they differ."""
    story = Story()
    story.broker.publish(story.second)
    story.broker.publish(story.first)
    story.broker.publish(story.first, repeat_of=named)
    verdict = verdict_on(story.broker.lines, story.policy)
    assert failing_steps(verdict) == [7]
    assert f"repeats mark {named}" in verdict.reason


def test_a_first_mark_that_the_file_does_not_show_is_nobodys_contradiction() -> None:
    story = Story()
    payload = story.first.datagram()
    story.broker.mark(story.first.topic, payload, "crate-1")
    story.broker.publish(story.first, payload=payload, repeat_of=1)
    assert verdict_on(story.broker.lines, story.policy).verified


def test_a_replay_in_a_later_epoch_is_named() -> None:
    story = Story()
    payload = story.first.datagram()
    story.broker.publish(story.first, payload=payload)
    story.broker.stop()
    story.broker.start()
    story.broker.publish(story.first, payload=payload)
    assert verdict_on(story.broker.lines, story.policy).summary.repeat_count == 1


def test_a_replay_on_another_topic_of_the_device_is_named_or_refused() -> None:
    """A datagram does not bind its topic: a repeat. A COSE message does: refused."""
    story = Story()
    story.broker.publish(story.first, payload=(datagram := story.first.datagram()))
    story.broker.lines.append(story.broker.mark(f"{story.first.topic}live", datagram, "crate-1"))
    assert verdict_on(story.broker.lines, story.policy).summary.repeat_count == 1
    reading = story.first.reading()
    story.broker.lines.append(story.broker.mark(story.first.topic, reading, "crate-1"))
    story.broker.lines.append(story.broker.mark(f"{story.first.topic}live", reading, "crate-1"))
    assert failing_steps(verdict_on(story.broker.lines, story.policy)) == [9]


def test_messages_in_another_order_than_sent_are_named() -> None:
    story = Story()
    payloads = [story.first.datagram() for _ in range(4)]
    for at in (0, 2, 1, 3):
        story.broker.publish(story.first, payload=payloads[at])
    verdict = verdict_on(story.broker.lines, story.policy)
    assert verdict.verified
    assert "reordering: number 2" in verdict.checks[10].notes.listed[0].text


def test_a_message_that_never_reached_the_broker_fails() -> None:
    story = Story()
    story.publish()
    story.first.datagram()
    story.publish()
    verdict = verdict_on(story.broker.lines, story.policy)
    assert failing_steps(verdict) == [11]
    assert '1 number(s) of device "crate-1"' in verdict.reason


def test_a_message_taken_out_of_the_file_fails() -> None:
    story = Story()
    story.publish(3)
    lines = [line for line in story.broker.lines if line != messages(story.broker.lines)[3]]
    assert failing_steps(verdict_on(lines, story.policy)) == [10, 11]


def test_messages_put_in_another_order_in_the_file_fail() -> None:
    story = Story()
    story.publish(2)
    lines = list(story.broker.lines)
    lines[1], lines[4] = lines[4], lines[1]
    assert 7 in failing_steps(verdict_on(lines, story.policy))


def test_a_message_twice_in_the_file_fails() -> None:
    story = Story()
    story.publish(2)
    assert 7 in failing_steps(verdict_on([*story.broker.lines, story.broker.lines[-1]], story.policy))


def test_two_devices_under_one_id_are_found_by_their_numbers() -> None:
    """A cloned tracker: the same key, its own counter."""
    story = Story()
    twin = Device(story.first.id, "p256")
    story.publish(3)
    story.broker.publish(twin, payload=twin.datagram(TEMP=99.0))
    policy = dataclasses.replace(story.policy, missing=alone(allow_withheld=True, allow_lost=True))
    verdict = verdict_on(story.broker.lines, policy)
    assert failing_steps(verdict) == [11]
    assert "twice, for different content" in verdict.reason


def test_one_id_with_two_keys_or_one_key_with_two_ids_is_no_policy() -> None:
    story = Story()
    other_key, other_id = Device("crate-1", seed="other"), Device("crate-9", "p256", seed="device crate-1")
    for device in (other_key, other_id):
        with pytest.raises(PolicyError, match="twice"):
            Policy(story.policy.operators, story.policy.clock, (story.first.trust, device.trust))


def test_eight_bits_wrap_and_the_verdict_says_what_they_cannot_show() -> None:
    story, small = Story(), Device("crate-8", bits=8, number=253)
    policy = story.broker.policy(small)
    for _ in range(5):
        story.broker.publish(small)
    verdict = verdict_on(story.broker.lines, policy)
    assert verdict.verified
    assert 'device "crate-8" counts in 8 bits: a loss of 256·k messages in a row is invisible' in verdict.limits
    small.number = (small.number + 7) % 256
    story.broker.publish(small)
    assert failing_steps(verdict_on(story.broker.lines, policy)) == [11]


@pytest.mark.parametrize("numbers", [(10, 1), (2**64 - 1, 0), (3, 2, 9, 1)])
def test_a_loss_is_not_hidden_by_showing_the_messages_out_of_order(numbers: tuple[int, ...]) -> None:
    story = Story()
    for number in numbers:
        story.first.number = number - 1
        story.broker.publish(story.first)
    assert failing_steps(verdict_on(story.broker.lines, story.policy)) == [11]


def test_a_number_below_the_first_shown_is_not_used_twice() -> None:
    story = Story()
    allowed = dataclasses.replace(story.policy, missing=alone(allow_lost=True))
    for number, reading in ((10, 1), (5, 1), (5, 2)):
        story.first.number = number - 1
        story.broker.publish(story.first, payload=story.first.datagram(TEMP=reading))
    assert failing_steps(verdict_on(story.broker.lines, allowed)) == [11]
