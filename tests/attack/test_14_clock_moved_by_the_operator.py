"""Attacks 14 and 16 (dstack #745, Sunlight's fatal rule): a clock that is set, loses its source or runs backward."""

from __future__ import annotations

import dataclasses

import pytest

from sigillo.core.epoch import encode_statement
from sigillo.core.errors import DecodeError
from sigillo.core.mark import Clock
from sigillo.core.policy import ClockTrust
from sigillo.core.statement import HowEnded, OnBadClock, Previous

from ..adversary.broker import NOW_NS, SECOND, START_NS
from ..adversary.story import Story, failing_steps, honest, verdict_on


def test_a_loss_of_synchronisation_fails_by_default() -> None:
    story = Story()
    story.publish()
    story.broker.clock = Clock("unsynchronised")
    story.broker.publish(story.first)
    verdict = verdict_on(story.broker.lines, story.policy)
    assert failing_steps(verdict) == [8]
    assert verdict.checks[7].failures.count == 1


def test_where_the_policy_allows_it_the_verdict_says_so() -> None:
    story = Story()
    story.broker.clock = Clock("unsynchronised")
    story.publish()
    policy = dataclasses.replace(story.policy, clock=ClockTrust(SECOND, allow_unsynchronised=True))
    verdict = verdict_on(story.broker.lines, policy)
    assert verdict.verified
    assert verdict.relaxations[0].permission == "clock.allow_unsynchronised"
    assert verdict.summary.received
    assert verdict.summary.received.clock == "unsynchronised"


@pytest.mark.parametrize("back_ns", [1, SECOND, 3600 * SECOND])
def test_a_clock_stepped_back_within_an_epoch_fails(back_ns: int) -> None:
    story = Story()
    story.publish()
    story.broker.clock_ns -= SECOND + back_ns
    story.broker.publish(story.first)
    assert failing_steps(verdict_on(story.broker.lines, story.policy)) == [7]


def test_a_clock_stepped_back_between_epochs_cannot_be_stated() -> None:
    story = honest()
    ended = Previous(HowEnded.CLEAN, b"\x01" * 32, 9, START_NS)
    epoch = story.broker.start()
    with pytest.raises(DecodeError, match="before the last time of the previous epoch"):
        encode_statement(dataclasses.replace(epoch.statement, previous=ended, start_ns=START_NS - 1), epoch.key.sign)


def test_a_clock_stepped_back_between_epochs_with_a_false_last_time_fails() -> None:
    story = Story()
    story.publish()
    story.broker.die()
    story.broker.clock_ns = START_NS
    ended = story.broker._ended
    assert ended
    story.broker.start(previous=dataclasses.replace(ended, last_time_ns=START_NS))
    story.publish()
    assert failing_steps(verdict_on(story.broker.lines, story.policy)) == [4]


def test_a_clock_stepped_forward_beyond_the_readers_day_fails() -> None:
    story = Story()
    story.broker.clock_ns = NOW_NS + 25 * 3600 * SECOND
    story.publish()
    assert failing_steps(verdict_on(story.broker.lines, story.policy)) == [7]


def test_a_correction_by_the_operator_is_in_every_verdict() -> None:
    story = Story()
    story.broker.start(clock_correction_ns=7 * SECOND)
    story.publish()
    verdict = verdict_on(story.broker.lines, story.policy)
    assert verdict.verified
    assert any("corrected the clock by 7000000000 ns" in limit for limit in verdict.limits)


def test_a_beacon_bounds_nothing_yet_and_the_verdict_says_so() -> None:
    story = Story()
    story.broker.publish(story.first, payload=story.first.datagram(beacon=b"\x0b" * 32))
    verdict = verdict_on(story.broker.lines, story.policy)
    assert verdict.verified
    assert any("beacons" in limit for limit in verdict.limits)


def test_without_third_parties_no_verdict_claims_more_than_the_brokers_word() -> None:
    story = honest()
    bounds = verdict_on(story.broker.lines, story.policy).to_json()["bounds"]
    assert {name for name, value in bounds.items() if value not in (None, "not compared")} == {"received"}


def test_a_mark_does_not_contradict_its_own_statement() -> None:
    """Unsynchronised though the broker said that it refuses then; a bound that nobody keeps up to date."""
    for clock, lies in (
        (Clock("unsynchronised"), {"on_bad_clock": OnBadClock.REFUSE}),
        (Clock("bounded", 1000), {"clock_daemon": "systemd-timesyncd"}),
    ):
        story = Story()
        trust = ClockTrust(SECOND, allow_unknown_bound=True, allow_unsynchronised=True)
        story.broker.start(**lies)
        story.broker.clock = clock
        story.publish()
        policy = dataclasses.replace(story.policy, clock=trust)
        assert failing_steps(verdict_on(story.broker.lines, policy)) == [8]
