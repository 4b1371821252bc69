"""What a tracker does when the broker forgets, refuses or is busy at the worst moment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sigillo.device.folder import make_device_folder
from sigillo.device.link import Address
from sigillo.device.simulate import Fleet, Plan, Tally

from .plain_broker import PATIENCE_S
from .scripted_broker import PUBREL, Connection, ScriptedBroker

CLEAN_START = 0x02


def travel(tmp_path: Path, qos: int, *scripts: Callable[[Connection], None]) -> Tally:
    """One message of one tracker against the scripts, one per connection."""
    broker = ScriptedBroker(tmp_path, *scripts)
    device = make_device_folder(tmp_path / "d", "crate-1", "p256")
    device.install(broker.ca.issue(device.csr.read_bytes(), "crate-1"), broker.ca.pem)
    address = Address("127.0.0.1", broker.port)
    fleet = Fleet([device.path], Plan(address, 1, 0.0, qos, "datagram", "5", 1, float(PATIENCE_S)))
    fleet.start()
    assert fleet.wait(3 * PATIENCE_S)
    broker.finish()
    return fleet.tallies[0]


def test_message_that_a_forgetful_broker_had_half_is_sent_whole(tmp_path: Path) -> None:
    """QoS 2, PUBREC seen, session gone: PUBREL alone would lose it, and Mosquitto would still answer PUBCOMP."""
    contents: list[bytes] = []

    def dies(broker: Connection) -> None:
        flags = broker.accept()[2][7]
        assert flags & CLEAN_START
        payload, message_id, _ = broker.publish()
        contents.append(payload)
        broker.send(f"50 02 {message_id}")
        broker.receive(PUBREL)

    def forgot(broker: Connection) -> None:
        flags = broker.accept(session=False)[2][7]
        assert not flags & CLEAN_START
        payload, message_id, publish_flags = broker.publish()
        contents.append(payload)
        assert publish_flags == 2 << 1  # QoS 2, not a duplicate
        broker.send(f"50 02 {message_id}")
        broker.receive(PUBREL)
        broker.send(f"70 02 {message_id}")
        broker.leave()

    tally = travel(tmp_path, 2, dies, forgot)
    assert (tally.sent, tally.resent, tally.arrived, tally.good) == (1, 1, 1, True)
    assert contents[0] == contents[1]


def test_message_that_a_remembering_broker_had_half_is_only_released(tmp_path: Path) -> None:
    def dies(broker: Connection) -> None:
        broker.accept()
        _, message_id, _ = broker.publish()
        broker.send(f"50 02 {message_id}")
        broker.receive(PUBREL)

    def remembers(broker: Connection) -> None:
        broker.accept(session=True)
        message_id = broker.receive(PUBREL)[2][:2].hex()
        broker.send(f"70 02 {message_id}")
        broker.leave()

    tally = travel(tmp_path, 2, dies, remembers)
    assert (tally.sent, tally.resent, tally.arrived, tally.good) == (1, 0, 1, True)


@pytest.mark.parametrize("remembers", [True, False])
def test_unacknowledged_qos_1_is_sent_again(tmp_path: Path, remembers: bool) -> None:
    contents: list[bytes] = []

    def dies(broker: Connection) -> None:
        broker.accept()
        contents.append(broker.publish()[0])

    def lives(broker: Connection) -> None:
        broker.accept(session=remembers)
        payload, message_id, flags = broker.publish()
        contents.append(payload)
        assert bool(flags & 8) == remembers  # DUP
        broker.send(f"40 02 {message_id}")
        broker.leave()

    assert travel(tmp_path, 1, dies, lives).good
    assert contents[0] == contents[1]


@pytest.mark.parametrize(("qos", "packet"), [(1, "40"), (2, "50")])
def test_reason_of_a_refusal(tmp_path: Path, qos: int, packet: str) -> None:
    """0x97 is what a broker whose clock may not be trusted answers."""

    def refuses(broker: Connection) -> None:
        broker.accept()
        _, message_id, _ = broker.publish()
        broker.send(f"{packet} 03 {message_id} 97")
        if qos == 2:
            broker.receive(PUBREL)
            broker.send(f"70 02 {message_id}")
        broker.leave()

    tally = travel(tmp_path, qos, refuses)
    assert tally.refused == {"Quota exceeded": 1}
    assert (tally.arrived, tally.unsettled, tally.good) == (0, 1, False)


def test_busy_broker_is_asked_again(tmp_path: Path) -> None:
    def busy(broker: Connection) -> None:
        broker.accept(reason=0x89)

    def serves(broker: Connection) -> None:
        broker.accept()
        _, message_id, _ = broker.publish()
        broker.send(f"40 02 {message_id}")
        broker.leave()

    assert travel(tmp_path, 1, busy, serves).good


def test_refused_connection_is_not_asked_again(tmp_path: Path) -> None:
    tally = travel(tmp_path, 1, lambda broker: broker.accept(reason=0x87) and None)
    assert "Not authorized" in tally.error and "sigillo device add" in tally.error
