"""What a message on a marked filter gets: spec/mark.md."""

from __future__ import annotations

import time

import pytest

from sigillo.core.statement import MarkedFilter

from .launcher import Broker, broker
from .peer import Peer

PAYLOADS = [bytes(range(256)), b"", b"\x00", b"\xff" * 7, bytes(range(256)) * 800]


def test_marks_verify_chain_and_count(running: Broker) -> None:
    before = time.time_ns()
    with Peer(running.port, "reader") as reader, Peer(running.port, "a") as a, Peer(running.port, "b") as b:
        reader.subscribe("m/#")
        for i in range(20):
            assert (a, b)[i % 2].publish("m/t", b"%d" % i) == 0
        received = reader.take(20)
    marks = [message.mark() for message in received]
    running.check(marks)
    assert [signed.mark.sequence for signed in marks] == list(range(1, 21))
    assert [signed.mark.client_id for signed in marks] == ["a", "b"] * 10
    assert {signed.mark.principal for signed in marks} == {""}
    assert [signed.object_hash for signed in marks] == [signed.object_hash for signed in running.spooled_marks()]
    assert before - 10**9 <= marks[0].mark.time_ns <= marks[-1].mark.time_ns <= time.time_ns() + 10**9


def test_each_principal_has_a_chain() -> None:
    with broker(users=("ann", "bob")) as made:
        made.start()
        with Peer(made.port, "a", user="ann") as ann, Peer(made.port, "b", user="bob") as bob:
            for peer in (ann, bob, ann, ann, bob):
                assert peer.publish("m/t") == 0
        marks = made.spooled_marks()
    assert [(signed.mark.principal, signed.mark.count) for signed in marks] == [
        ("ann", 1),
        ("bob", 1),
        ("ann", 2),
        ("ann", 3),
        ("bob", 2),
    ]


@pytest.mark.parametrize("publisher_v5", [True, False])
def test_payload_is_untouched(running: Broker, publisher_v5: bool) -> None:
    with Peer(running.port, "new") as new, Peer(running.port, "old", v5=False) as old:
        new.subscribe("m/#")
        old.subscribe("m/#")
        with Peer(running.port, "publisher", v5=publisher_v5) as publisher:
            for payload in PAYLOADS:
                assert publisher.publish("m/t", payload) == 0
        from_new, from_old = new.take(len(PAYLOADS)), old.take(len(PAYLOADS))
    assert [message.payload for message in from_new] == PAYLOADS
    assert [message.payload for message in from_old] == PAYLOADS
    running.check([message.mark() for message in from_new])


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("retain", [False, True])
def test_flags_as_received(running: Broker, qos: int, retain: bool) -> None:
    with Peer(running.port, "reader") as reader, Peer(running.port, "publisher") as publisher:
        reader.subscribe("m/#", 0)
        publisher.publish("m/t", b"x", qos, retain)
        live = reader.take()[0]
    assert (live.mark().mark.qos, live.mark().mark.retain) == (qos, retain)
    assert not live.retain
    if retain:  # a retained message keeps its mark
        with Peer(running.port, "late") as late:
            late.subscribe("m/#")
            kept = late.take()[0]
        assert kept.retain
        assert kept.carriers == live.carriers


def test_qos_2_is_marked_once(running: Broker) -> None:
    with Peer(running.port, "reader") as reader, Peer(running.port, "publisher") as publisher:
        reader.subscribe("m/#", 2)
        for i in range(10):
            publisher.publish("m/t", b"%d" % i, 2)
        assert [message.mark().mark.sequence for message in reader.take(10)] == list(range(1, 11))
    assert len(running.spooled_marks()) == 10


def test_other_topics_are_untouched(running: Broker) -> None:
    with Peer(running.port, "reader") as reader, Peer(running.port, "publisher") as publisher:
        reader.subscribe("#")
        for topic in ("other", "mm/t", "M/t", "/m/t"):
            assert publisher.publish(topic, b"\x00\xff", UserProperty=[("a", "b")]) == 0
        assert [message.user_properties for message in reader.take(4)] == [[("a", "b")]] * 4
        publisher.publish("m")  # `m/#` is its parent too
        assert reader.take()[0].mark().mark.sequence == 1


def test_several_filters() -> None:
    filters = (MarkedFilter("a/+/c"), MarkedFilter("é/#"))
    with broker(fields={"filters": filters}) as made:
        made.start()
        with Peer(made.port, "reader") as reader, Peer(made.port, "publisher") as publisher:
            reader.subscribe("#")
            topics = {"a/b/c": True, "a/b/d": False, "a/b/c/d": False, "é/→/😀": True, "e/x": False}
            for topic in topics:
                publisher.publish(topic)
            received = reader.take(len(topics))
        assert {message.topic: len(message.carriers) == 1 for message in received} == topics
        assert [signed.mark.topic for signed in made.spooled_marks()] == ["a/b/c", "é/→/😀"]


def test_every_epoch_has_its_own_key() -> None:
    keys, salts = set(), set()
    for _ in range(2):
        with broker() as made:
            made.start()
            with Peer(made.port, "publisher") as publisher:
                publisher.publish("m/t")
            keys.add(made.signed.statement.epoch_key)
            salts.add(made.spooled_marks()[0].salt)
    assert len(keys) == len(salts) == 2
