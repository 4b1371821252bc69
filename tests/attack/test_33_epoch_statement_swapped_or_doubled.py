"""Attack 33: a statement swapped or doubled, one key in two epochs, one mark in two logs. The epoch id is a hash."""

from __future__ import annotations

import dataclasses

from sigillo.core.epoch import countersign, decode_statement
from sigillo.core.evidence_line import EpochLine

from ..adversary.broker import Broker
from ..adversary.device import ed25519_key
from ..adversary.story import Story, epochs, failing_steps, honest, messages, verdict_on


def test_the_statement_of_another_epoch() -> None:
    story = honest()
    first, second = epochs(story.broker.lines)
    lines = [second if line == first else line for line in story.broker.lines]
    steps = failing_steps(verdict_on(lines, story.policy))
    assert {4, 5} <= set(steps)


def test_a_statement_twice() -> None:
    story = honest()
    first = epochs(story.broker.lines)[0]
    assert 4 in failing_steps(verdict_on([first, *story.broker.lines], story.policy))


def test_two_statements_of_one_epoch_number() -> None:
    """The operator has two first epochs: each verifies alone, together they cannot."""
    one, two = Story(), Story()
    two.broker.start(start_ns=two.broker.clock_ns + 1)
    one.publish()
    two.publish()
    assert verdict_on(one.broker.lines, one.policy).verified
    assert verdict_on(two.broker.lines, two.policy).verified
    assert 4 in failing_steps(verdict_on([*one.broker.lines, *two.broker.lines], one.policy))


def test_one_key_in_two_epochs_does_not_let_a_mark_move() -> None:
    """The second epoch reuses the key of the first; a mark still names its statement, not only its key."""
    story = Story()
    story.publish()
    old = messages(story.broker.lines)[0]
    story.broker.stop()
    key = ed25519_key("broker epoch 1")
    story.broker.start()
    assert story.broker.epoch
    reused = dataclasses.replace(story.broker.epoch.statement, epoch_key=key.public_key().public_bytes_raw())
    story.broker.lines.pop()
    story.broker.epoch = None
    story.broker._number -= 1
    story.broker.start(epoch_key=reused.epoch_key)
    verdict = verdict_on([*story.broker.lines, old], story.policy)
    assert not verdict.verified


def test_a_statement_in_two_logs() -> None:
    """Another operator, also trusted, countersigns a statement that names the first one's log key."""
    story, other = honest(), Broker("Other Broker", "other.example/log", "other")
    policy = dataclasses.replace(story.policy, operators=(story.broker.trust(), other.trust()))
    epoch = epochs(story.broker.lines)[0]
    bare = dataclasses.replace(decode_statement(epoch.statement).sign1, unprotected={}).encode()
    for key_id in (other.log_key.key_id32, story.broker.log_key.key_id32):
        stolen = EpochLine(countersign(bare, key_id, other.log_private.sign))
        assert failing_steps(verdict_on([stolen, *story.broker.lines[1:]], policy)) == [3]


def test_a_trusted_operator_cannot_speak_in_anothers_name() -> None:
    story, other = Story(), Broker("Other Broker", "other.example/log", "other")
    policy = dataclasses.replace(story.policy, operators=(story.broker.trust(), other.trust()))
    for lies in ({"operator": "Example Broker"}, {"log_origin": "broker.example/log"}):
        fresh = Broker("Other Broker", "other.example/log", "other")
        fresh.start(**lies)
        fresh.publish(story.first, payload=story.first.datagram())
        assert failing_steps(verdict_on(fresh.lines, policy)) == [3]


def test_another_trusted_operator_cannot_continue_the_chain() -> None:
    story, other = honest(), Broker("Other Broker", "other.example/log", "other")
    policy = dataclasses.replace(story.policy, operators=(story.broker.trust(), other.trust()))
    story.broker.log_private, story.broker.log_key = other.log_private, other.log_key
    story.broker.operator, story.broker.origin = other.operator, other.origin
    story.broker.start()
    story.publish()
    assert failing_steps(verdict_on(story.broker.lines, policy)) == [4]
