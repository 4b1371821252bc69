"""Properties a client sent: a forged mark goes, the others stay as they are."""

from __future__ import annotations

import pytest

from sigillo.core.bytes import base64url_decode
from sigillo.core.mark import decode_mark

from .launcher import Broker
from .peer import TIME_MARK, Peer, Wire, publish_packet, text, user_property

FORMAT_INDICATOR = b"\x01\x01"
CONTENT_TYPE = b"\x03" + text("text/plain")
RESPONSE_TOPIC = b"\x08" + text("answers/1")
CORRELATION_DATA = b"\x09\x00\x04\x00\xff\x00\x01"
EMPTY_CORRELATION_DATA = b"\x09\x00\x00"
FORGED = user_property(TIME_MARK, "forged")
A, B, EMPTY = user_property("a", "1"), user_property("b", "é"), user_property("", "")
LISTS = {
    "forged only": [FORGED],
    "several forged": [FORGED, FORGED, FORGED],
    "none": [A, B],
    "first, between, last": [FORGED, A, FORGED, CONTENT_TYPE, B, FORGED],
    "all kinds": [B, CORRELATION_DATA, FORGED, A, RESPONSE_TOPIC, EMPTY, FORMAT_INDICATOR, FORGED, CONTENT_TYPE, A],
    "empty data": [EMPTY_CORRELATION_DATA, FORGED],
    "other names": [user_property("Time-Mark", "x"), user_property("time-mark-before", "y"), FORGED],
    "a forgery that is a mark": [user_property(TIME_MARK, "0oRY"), A],
}


@pytest.mark.parametrize("marked", [True, False])
def test_forged_marks_go_and_the_rest_stays_in_order(running: Broker, marked: bool) -> None:
    topic = "m/t" if marked else "other/t"
    reader, publisher = Wire(running.port, "reader"), Wire(running.port, "publisher")
    reader.subscribe("#")
    for name, sent in LISTS.items():
        publisher.send(publish_packet(topic, b"payload", b"".join(sent)))
        received_topic, received, payload = reader.read_publish()
        assert (received_topic, payload) == (topic, b"payload")
        kept = b"".join(item for item in sent if not item.startswith(user_property(TIME_MARK, "")[:12]))
        assert received.startswith(kept), name
        added = received[len(kept) :]
        if not marked:
            assert added == b"", name
            continue
        head = user_property(TIME_MARK, "")[:-2]
        assert added.startswith(head), name
        value = added[len(head) + 2 :]
        assert added == user_property(TIME_MARK, value.decode()), name
        running.check([decode_mark(base64url_decode(value.decode(), TIME_MARK))])
    reader.close()
    publisher.close()


def test_expiry_and_alias_survive_the_stripping(running: Broker) -> None:
    with Peer(running.port, "reader") as reader, Peer(running.port, "publisher") as publisher:
        reader.subscribe("m/#")
        forged = [(TIME_MARK, "x"), ("a", "b")]
        publisher.publish("m/t", MessageExpiryInterval=600, TopicAlias=1, UserProperty=forged, ContentType="text/x")
        publisher.publish("", TopicAlias=1, UserProperty=forged, PayloadFormatIndicator=1)
        first, second = reader.take(2)
    assert 590 <= first.properties.MessageExpiryInterval <= 600
    assert first.properties.ContentType == "text/x"
    assert second.properties.PayloadFormatIndicator == 1
    for message in (first, second):
        assert message.user_properties[0] == ("a", "b")
        assert message.mark().mark.topic == "m/t"


def test_retained_forgery_is_gone_too(running: Broker) -> None:
    with Peer(running.port, "publisher") as publisher, Peer(running.port, "reader") as reader:
        publisher.publish("other", retain=True, UserProperty=[(TIME_MARK, "x")])
        reader.subscribe("other")
        assert reader.take()[0].user_properties == []


def test_own_topics_are_closed_for_writers(running: Broker) -> None:
    with Peer(running.port, "reader") as reader, Peer(running.port, "publisher") as publisher:
        assert reader.subscribe("sigillo/#") == [2]  # for readers they are open
        reader.subscribe("done")
        for topic in ("sigillo/x", "sigillo/checkpoint", "sigillo/", "sigillo"):
            assert publisher.publish(topic, retain=True) == 0x87
        with Peer(running.port, "old", v5=False) as old:
            old.publish("sigillo/x")  # a 3.1.1 PUBACK has no reason; the message is gone all the same
        assert publisher.publish("done") == 0
        assert reader.take()[0].topic == "done"
        assert publisher.publish("sigillox") == 0


def test_mark_of_the_longest_names(running: Broker) -> None:
    with Peer(running.port, "reader") as reader, Peer(running.port, "publisher") as publisher:
        reader.subscribe("m/#")
        assert publisher.publish("m/" + "x" * 40_000) == 0
        running.check([reader.take()[0].mark()])
        assert publisher.publish("m/" + "x" * 60_000) in (0x87, 0x97)  # its mark would not fit a property
        assert publisher.publish("m/t") == 0
        assert reader.take()[0].mark().mark.sequence == 2
