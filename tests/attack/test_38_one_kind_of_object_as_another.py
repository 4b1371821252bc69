"""Attack 38: a weaker mode or another kind of object passed off as a mark. `typ` and the epoch statement decide."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sigillo.core.epoch import Seal, encode_seal
from sigillo.core.errors import DecodeError
from sigillo.core.evidence_line import EndLine, EpochLine, MessageLine
from sigillo.core.mark import decode_mark, encode_batch_mark
from sigillo.core.marked_datagram import encode_marked_datagram, token_bytes
from sigillo.core.statement import Carrier, MarkedFilter, Mode
from sigillo.core.verdict import Verdict

from ..adversary.broker import evidence_file
from ..adversary.device import ed25519_key
from ..adversary.forge import sign1
from ..adversary.story import Story, failing_steps, honest, messages, outcome, verdict_on


def statement(story: Story) -> bytes:
    line = story.broker.lines[0]
    assert isinstance(line, EpochLine)
    return line.statement


def end(story: Story) -> bytes:
    return next(line.end for line in story.broker.lines if isinstance(line, EndLine))


def seal(story: Story) -> bytes:
    epoch = story.broker.start()
    return encode_seal(Seal(1, 1, bytes(32)), epoch.epoch_id, epoch.key.sign)


def batch_mark(story: Story) -> bytes:
    signed = decode_mark(messages(story.broker.lines)[0].mark)
    return encode_batch_mark(signed.mark, signed.epoch_id, signed.salt)


def tagged_batch_mark(story: Story) -> bytes:
    return b"\xd2" + batch_mark(story)


def reading(story: Story) -> bytes:
    return story.third.reading()


@pytest.mark.parametrize("other", [statement, end, seal, batch_mark, tagged_batch_mark, reading])
def test_another_object_as_a_mark(other: Callable[[Story], bytes]) -> None:
    story = honest()
    forged = other(story)
    lines = list(story.broker.lines[:9])
    lines[1] = dataclasses.replace(messages(lines)[0], mark=forged)
    result = outcome(evidence_file(lines), story.policy)
    assert isinstance(result, DecodeError)
    assert str(result).startswith("line 3, mark: ")


def test_a_mark_as_a_statement_or_an_end() -> None:
    story = honest()
    mark = messages(story.broker.lines)[0].mark
    epoch, *others = story.broker.lines
    for lines in ([EpochLine(mark)], [epoch, EndLine(mark)], [epoch, EndLine(statement(story))]):
        assert isinstance(outcome(evidence_file([*lines, *others]), story.policy), DecodeError)


def test_the_typ_cannot_be_relabelled() -> None:
    """The end of an epoch with the header of a mark: its signature is then wrong, its payload no mark's."""
    story = honest()
    story.broker.start()
    line = story.broker.publish(story.first)
    assert story.broker.epoch
    header = decode_mark(line.mark).sign1.protected_bytes
    forged = sign1(
        header, b"\xa6\x01\x01\x02\x01\x03\x01\x04\x81\x00\x05\x01\x06\x58\x20" + bytes(32), story.broker.epoch.key
    )
    lines = [*story.broker.lines[:-1], dataclasses.replace(line, mark=forged)]
    assert isinstance(outcome(evidence_file(lines), story.policy), DecodeError)


def test_a_deprecated_algorithm_is_refused() -> None:
    story = Story()
    line = story.broker.publish(story.first)
    assert story.broker.epoch
    mark = decode_mark(line.mark).sign1
    for other in (b"\x27", b"\x26", b"\x28"):  # -8 EdDSA, -7 ES256, -9 ESP256
        header = mark.protected_bytes.replace(b"\x01\x32", b"\x01" + other, 1)
        forged = dataclasses.replace(line, mark=sign1(header, mark.payload, story.broker.epoch.key))
        assert isinstance(outcome(evidence_file([story.broker.lines[0], forged]), story.policy), DecodeError)


def test_a_filter_of_mode_batch_takes_no_single_mark_and_an_earlier_filter_decides() -> None:
    story = Story()
    story.broker.start(filters=(MarkedFilter("braid/agent/crate-1/#", Mode.BATCH), MarkedFilter("braid/#")))
    story.publish()
    verdict = verdict_on(story.broker.lines, story.policy)
    assert failing_steps(verdict) == [5]
    assert "mode batch" in verdict.reason


def on_carrier(carrier: Carrier, token_key: Ed25519PrivateKey | None = None) -> tuple[Story, MessageLine, int]:
    """One marked datagram of crate-1, as received, and the time of its mark."""
    story = Story()
    public = None if token_key is None else token_key.public_key().public_bytes_raw()
    story.broker.start(filters=(MarkedFilter("braid/#", carrier=carrier),), token_key=public)
    line = story.broker.publish(story.first)
    return story, line, decode_mark(line.mark).mark.time_ns


def verdict_of(story: Story, line: MessageLine, payload: bytes) -> Verdict:
    return verdict_on([story.broker.lines[0], dataclasses.replace(line, payload=payload)], story.policy)


def test_a_marked_datagram_verifies_as_delivered_and_as_received_alike() -> None:
    story, line, time_ns = on_carrier(Carrier.DATAGRAM)
    delivered = verdict_of(story, line, encode_marked_datagram(line.payload, time_ns, line.mark))
    assert delivered.verified, delivered.reason
    assert delivered == verdict_of(story, line, line.payload)


def test_a_raw_token_counts_under_the_token_key_of_the_statement() -> None:
    key = ed25519_key("token")
    story, line, time_ns = on_carrier(Carrier.DATAGRAM, key)
    token = key.sign(token_bytes(line.payload, time_ns))
    delivered = verdict_of(story, line, encode_marked_datagram(line.payload, time_ns, token))
    assert delivered.verified, delivered.reason
    assert delivered == verdict_of(story, line, line.payload)


@pytest.mark.parametrize("carrier", [Carrier.PROPERTY, Carrier.TOPIC])
def test_a_marked_datagram_on_a_filter_of_another_carrier(carrier: Carrier) -> None:
    story, line, time_ns = on_carrier(carrier)
    assert verdict_of(story, line, line.payload).verified
    assert failing_steps(verdict_of(story, line, encode_marked_datagram(line.payload, time_ns, line.mark))) == [6]


def test_the_brokers_keys_say_what_the_mark_says() -> None:
    """Another time, another mark, a mark for a raw token, a raw token for the mark, one by another key."""
    story, line, time_ns = on_carrier(Carrier.DATAGRAM)
    other = story.broker.publish(story.first)
    raw = ed25519_key("token").sign(token_bytes(line.payload, time_ns))
    for when, token in (
        (time_ns + 10**6, line.mark),
        (0, line.mark),
        (time_ns, other.mark),
        (time_ns, raw),
        (time_ns, b""),
    ):
        assert failing_steps(verdict_of(story, line, encode_marked_datagram(line.payload, when, token))) == [6]
    story, line, time_ns = on_carrier(Carrier.DATAGRAM, ed25519_key("token"))
    by_other = ed25519_key("other").sign(token_bytes(line.payload, time_ns))
    late = ed25519_key("token").sign(token_bytes(line.payload, time_ns + 10**6))
    for when, token in ((time_ns, line.mark), (time_ns, by_other), (time_ns + 10**6, late), (time_ns, late)):
        assert failing_steps(verdict_of(story, line, encode_marked_datagram(line.payload, when, token))) == [6]


def test_every_byte_of_a_marked_datagram_counts() -> None:
    story, line, time_ns = on_carrier(Carrier.DATAGRAM)
    payload = encode_marked_datagram(line.payload, time_ns, line.mark)
    for at in range(len(payload)):
        changed = payload[:at] + bytes([payload[at] ^ 1]) + payload[at + 1 :]
        assert not verdict_of(story, line, changed).verified, at
