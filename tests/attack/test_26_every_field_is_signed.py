"""Attack 26 (HiveMQ's rule): a field that the signature does not cover. Each field of a mark is changed."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from sigillo.core.mark import Checkpoint, Clock, Mark, decode_mark, encode_mark_payload

from ..adversary.story import failing_steps, honest, messages, verdict_on

CHANGES: dict[str, Any] = {
    "sequence": 5,
    "time_ns": 1_795_000_005_000_000_001,
    "clock": Clock("bounded", 1),
    "topic": "braid/agent/crate-1/shadow/reported/live",
    "client_id": "crate-2",
    "principal": "crate-2",
    "qos": 2,
    "retain": True,
    "commitment": bytes(32),
    "count": 3,
    "previous": bytes(32),
    "checkpoint": Checkpoint(1, bytes(32)),
    "repeat_of": 1,
    "before": bytes(32),
}


def test_the_list_is_whole() -> None:
    assert set(CHANGES) == {field.name for field in dataclasses.fields(Mark)}


@pytest.mark.parametrize("field", CHANGES)
def test_a_field_changed_after_signing(field: str) -> None:
    story = honest()
    line = messages(story.broker.lines)[3]
    signed = decode_mark(line.mark)
    changed = dataclasses.replace(signed.mark, **{field: CHANGES[field]})
    assert changed != signed.mark
    mark = dataclasses.replace(signed.sign1, payload=encode_mark_payload(changed)).encode()
    forged = dataclasses.replace(line, mark=mark)
    lines = [forged if other == line else other for other in story.broker.lines]
    assert 5 in failing_steps(verdict_on(lines, story.policy))


def test_a_topic_changed_in_the_file_and_in_the_mark() -> None:
    story = honest()
    line = messages(story.broker.lines)[3]
    signed = decode_mark(line.mark)
    topic = CHANGES["topic"]
    mark = dataclasses.replace(signed.sign1, payload=encode_mark_payload(dataclasses.replace(signed.mark, topic=topic)))
    forged = dataclasses.replace(line, topic=topic, mark=mark.encode())
    lines = [forged if other == line else other for other in story.broker.lines]
    assert 5 in failing_steps(verdict_on(lines, story.policy))
