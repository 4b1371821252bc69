"""The operator's limits for one principal: what is above is refused, with a reason, counted; the others go on."""

from __future__ import annotations

import pytest

from sigillo.core.statement import Carrier, MarkedFilter

from .launcher import broker
from .peer import Peer, Wire, publish_packet
from .test_refusal import REFUSED

LARGEST = 268_435_455 - 131_072


def test_a_principal_has_its_rate_and_no_more() -> None:
    with broker(users=("ann", "bob"), limits={"max_rate": 5}) as made:
        made.start()
        with Peer(made.port, "a", user="ann") as ann, Peer(made.port, "b", user="bob") as bob:
            answers = [ann.publish("m/t") for _ in range(100)]
            assert answers[:5] == [0] * 5  # a second's messages at once
            assert set(answers[5:]) - {0} <= set(REFUSED)
            refused = len(answers) - answers.count(0)
            assert refused > 50
            assert bob.publish("m/t") == 0
            assert ann.publish("other") == 0  # unmarked topics are Mosquitto's own business
            with Peer(made.port, "c", v5=False, user="ann") as old:
                for _ in range(20):
                    old.send("m/t")
                assert old.disconnected.get(timeout=10)  # a bare PUBACK would read as success
        counted = made.counters(last_sequence=len(made.spooled_marks()))
        assert counted.refused_rate >= refused
        assert "more messages a second" in made.log


def test_a_payload_may_be_as_large_as_the_settings_say() -> None:
    with broker(limits={"max_payload": 1000}) as made:
        made.start()
        with Peer(made.port, "publisher") as publisher, Peer(made.port, "reader") as reader:
            reader.subscribe("#")
            assert publisher.publish("m/t", bytes(1000)) == 0
            assert publisher.publish("m/t", bytes(1001)) in REFUSED
            assert publisher.publish("m/t", bytes(100_000)) in REFUSED
            assert publisher.publish("other", bytes(1001)) == 0
            assert [len(message.payload) for message in reader.take(2)] == [1000, 1001]
        made.counters(last_sequence=1, refused_size=2)


def test_what_is_too_large_or_too_often_is_not_read_first() -> None:
    """Size and rate are asked before the payload is walked: of two reasons the cheaper one is given."""
    filters = (MarkedFilter("d/#", carrier=Carrier.DATAGRAM),)
    taken = b"\xa1\x6eINGESTION_TIME\x00"
    with broker(fields={"filters": filters}, limits={"max_payload": 100, "max_rate": 1}) as made:
        made.start()
        with Peer(made.port, "publisher") as publisher:
            assert publisher.publish("d/t", taken + bytes(100)) in REFUSED
            assert publisher.publish("d/t", b"x") == 0
            assert publisher.publish("d/t", taken) in REFUSED
        made.counters(refused_size=1, refused_rate=1, refused_datagrams=0)


@pytest.mark.slow
def test_the_largest_packets_of_mqtt() -> None:
    """What has no room for its mark is refused; what has it is marked; the broker and its subscribers stay."""
    with broker() as made:
        made.start()
        reader, publisher = Wire(made.port, "reader"), Wire(made.port, "publisher")
        for wire in (reader, publisher):
            wire.socket.settimeout(120)
        reader.subscribe("m/#")
        for length, good in ((LARGEST - 3, True), (LARGEST - 2, False), (268_435_455 - 6, False)):
            publisher.send(publish_packet("m/t", bytes(length)))
            publisher.barrier()
            if good:
                topic, _, payload = reader.read_publish()
                assert (topic, len(payload)) == ("m/t", length)
        reader.barrier()
        publisher.send(publish_packet("m/t", b"after"))
        assert reader.read_publish()[2] == b"after"
        assert len(made.spooled_marks()) == 2
        reader.close()
        publisher.close()
