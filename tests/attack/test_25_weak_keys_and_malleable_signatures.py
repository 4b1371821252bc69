"""Attack 25 ("Taming the many EdDSAs"): signatures that hold for every message, or in a second form; wrong key ids."""

from __future__ import annotations

import dataclasses

import pytest

from sigillo.core.epoch import countersign, decode_statement, encode_statement
from sigillo.core.evidence_line import EpochLine
from sigillo.core.mark import decode_mark

from ..adversary.broker import Broker
from ..adversary.device import ed25519_key
from ..adversary.forge import GROUP_ORDER
from ..adversary.story import Story, failing_steps, messages, verdict_on

IDENTITY = (1).to_bytes(32, "little")
HOLDS_FOR_EVERYTHING = IDENTITY + bytes(32)  # R is the neutral element, S is 0: [0]B = R + [k]A


@pytest.mark.parametrize(
    "weak",
    [
        IDENTITY,
        bytes(32),
        (2**255 - 20).to_bytes(32, "little"),
        (2**255 - 18).to_bytes(32, "little"),
        (2**255 - 1).to_bytes(32, "little"),
    ],
    ids=["neutral", "order 4", "order 2", "neutral, not canonical", "not canonical"],
)
def test_an_epoch_key_under_which_anything_verifies_is_refused(weak: bytes) -> None:
    """With such a key anybody could make marks for the epoch; the log key countersigned it all the same."""
    story = Story()
    honest = story.broker.start()
    statement = encode_statement(dataclasses.replace(honest.statement, epoch_key=weak), lambda _: HOLDS_FOR_EVERYTHING)
    whole = countersign(statement, story.broker.log_key.key_id32, story.broker.log_private.sign)
    epoch_id = decode_statement(whole).epoch_id
    message = story.broker.mark(story.first.topic, story.first.datagram(), "crate-1", kid=epoch_id, previous=epoch_id)
    sign1 = dataclasses.replace(decode_mark(message.mark).sign1, signature=HOLDS_FOR_EVERYTHING)
    verdict = verdict_on([EpochLine(whole), dataclasses.replace(message, mark=sign1.encode())], story.policy)
    assert failing_steps(verdict) == [2]


def test_a_signature_has_one_form_only() -> None:
    """S + L verifies where a verifier does not compare S with L."""
    story = Story()
    story.publish()
    line = messages(story.broker.lines)[0]
    sign1 = decode_mark(line.mark).sign1
    s = int.from_bytes(sign1.signature[32:], "little") + GROUP_ORDER
    second = dataclasses.replace(sign1, signature=sign1.signature[:32] + s.to_bytes(32, "little"))
    lines = [
        dataclasses.replace(line, mark=second.encode()) if other == line else other for other in story.broker.lines
    ]
    assert 5 in failing_steps(verdict_on(lines, story.policy))


def test_a_key_id_is_not_a_key() -> None:
    """The statement names the pinned log key, and somebody else's key signed as it."""
    story, mallory = Story(), Broker(seed="mallory")
    story.broker.start(countersigned_by=mallory.log_private)
    story.publish()
    assert failing_steps(verdict_on(story.broker.lines, story.policy)) == [3]


def test_the_epoch_key_is_no_log_key() -> None:
    """A statement that its own epoch key countersigned."""
    story = Story()
    story.broker.start(countersigned_by=ed25519_key("broker epoch 1"))
    story.publish()
    assert failing_steps(verdict_on(story.broker.lines, story.policy)) == [3]


def test_the_log_key_cannot_mark() -> None:
    story = Story()
    story.broker.publish(story.first, signed_by=story.broker.log_private)
    assert failing_steps(verdict_on(story.broker.lines, story.policy)) == [5]
