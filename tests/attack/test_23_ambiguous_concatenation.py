"""Attack 23 (dstack #554): two different inputs that are hashed or signed as the same bytes."""

from __future__ import annotations

import pytest

from sigillo.core.bytes import DOMAINS, domain, object_hash
from sigillo.core.epoch import configuration_hash
from sigillo.core.errors import DecodeError
from sigillo.core.mark import payload_commitment

from ..adversary.story import Story, failing_steps, verdict_on
from ..vector.key import digests


def test_no_domain_is_a_prefix_of_another() -> None:
    domains = [domain(name) for name in DOMAINS]
    assert not [(a, b) for a in domains for b in domains if a != b and b.startswith(a)]


def test_one_object_of_two_kinds_has_two_hashes() -> None:
    assert len({object_hash(kind, b"object") for kind in DOMAINS}) == len(DOMAINS)


def test_bytes_cannot_move_between_salt_and_payload() -> None:
    with pytest.raises(DecodeError):
        payload_commitment(b"\0" * 15, b"\0payload")
    assert payload_commitment(b"\0" * 16, b"\0payload") != payload_commitment(b"\0" * 16, b"payload")


def test_bytes_cannot_move_between_name_and_content_of_a_file() -> None:
    assert configuration_hash(digests({"ab": b"c"})) != configuration_hash(digests({"a": b"bc"}))
    assert configuration_hash(digests({"a": b"", "b": b""})) != configuration_hash(digests({"a": b"b"}))


def test_a_topic_split_elsewhere_is_another_topic() -> None:
    """The signed message of a COSE device binds its topic as one string."""
    story = Story()
    story.broker.publish(story.third, payload=story.third.reading(topic="braid/agent/crate-3/shadow/reported/a"))
    assert failing_steps(verdict_on(story.broker.lines, story.policy)) == [9]
