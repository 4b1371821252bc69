"""What the archive keeps of a message. Its connection is tested with the real broker: tests/cli/test_up.py."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sigillo.archive.store import Aside, Message
from sigillo.archive.subscriber import read_marked
from sigillo.core.bytes import base64url_encode
from sigillo.core.mark import decode_mark
from sigillo.core.marked_datagram import encode_marked_datagram

from ..adversary.broker import Broker
from ..adversary.device import Device

CRATE = Device("crate-1")
LINE = Broker().publish(CRATE)
MARK = base64url_encode(LINE.mark)


def test_a_marked_message_is_kept_as_it_came() -> None:
    kept = read_marked(LINE.topic.encode(), LINE.payload, [MARK])
    assert isinstance(kept, Message)
    signed = decode_mark(LINE.mark)
    assert (kept.epoch_id, kept.sequence, kept.object_hash) == (signed.epoch_id, 1, signed.object_hash)
    assert (kept.principal, kept.topic, kept.payload, kept.mark) == ("crate-1", LINE.topic, LINE.payload, LINE.mark)


@pytest.mark.parametrize(
    ("topic", "marks", "reason"),
    [
        (b"t", ["nonsense!"], "base64url"),
        (b"t", [""], "mark"),
        (b"t", [MARK[:-4]], "mark"),
        (b"t", [MARK, MARK], "occurs 2 times"),
        (b"\xff", [MARK], "decode"),
        (b"t", [base64url_encode(Broker().start().countersigned)], "typ"),
    ],
)
def test_what_cannot_be_read_is_kept_aside(topic: bytes, marks: list[str], reason: str) -> None:
    kept = read_marked(topic, b"payload", marks)
    assert isinstance(kept, Aside)
    assert reason in kept.reason
    assert kept.mark == "\n".join(marks)


def test_numbers_beyond_the_stores_are_kept_aside() -> None:
    line = Broker().publish(CRATE, time_ns=2**63)
    assert isinstance(read_marked(b"t", b"", [base64url_encode(line.mark)]), Aside)


@settings(max_examples=100)
@given(st.binary(max_size=300), st.binary(max_size=300), st.lists(st.text(max_size=300), min_size=1, max_size=3))
def test_nothing_a_broker_delivers_is_an_exception(topic: bytes, payload: bytes, marks: list[str]) -> None:
    assert isinstance(read_marked(topic, payload, marks), Aside)
    assert read_marked(topic, payload, []) is None


def test_a_marked_datagram_is_kept_as_the_device_sent_it() -> None:
    time_ns = decode_mark(LINE.mark).mark.time_ns
    marked = encode_marked_datagram(LINE.payload, time_ns, LINE.mark)
    raw = encode_marked_datagram(LINE.payload, time_ns, bytes(64))
    for payload, marks in ((marked, []), (raw, [MARK])):
        kept = read_marked(LINE.topic.encode(), payload, marks)
        assert isinstance(kept, Message)
        assert (kept.payload, kept.mark) == (LINE.payload, LINE.mark)
    assert isinstance(read_marked(LINE.topic.encode(), raw, []), Aside)
