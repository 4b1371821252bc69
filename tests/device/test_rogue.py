"""A misbehaving tracker against a plain broker: its numbers on disk stay those of an honest one."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from sigillo.core.datagram import Datagram, decode_datagram
from sigillo.core.errors import DecodeError, SignatureError
from sigillo.device.error import DeviceError
from sigillo.device.folder import DeviceFolder
from sigillo.device.key import load_public_key
from sigillo.device.link import Address
from sigillo.device.misbehaviour import KINDS, Mischief, Misdeeds
from sigillo.device.rogue import Rogue
from sigillo.device.simulate import Fleet, Plan, Tally
from sigillo.device.store import Outbox

from .plain_broker import PATIENCE_S, PlainBroker, running, until
from .test_simulate import plan

TOPIC = "braid/agent/crate-1/shadow/reported/"


@pytest.fixture
def broker() -> Iterator[PlainBroker]:
    with running() as made:
        yield made


def fleet_of(device: DeviceFolder, what: Plan, *kinds: str, size: int = 1000) -> Fleet:
    return Fleet([device.path], what, partial(Rogue, Mischief(kinds, "crate-2", size, burst=20)))


def misbehave(device: DeviceFolder, what: Plan, *kinds: str, size: int = 1000) -> Tally:
    fleet = fleet_of(device, what, *kinds, size=size)
    fleet.start()
    assert fleet.wait(3 * PATIENCE_S)
    return fleet.tallies[0]


def behave(device: DeviceFolder, what: Plan) -> Tally:
    fleet = Fleet([device.path], what)
    fleet.start()
    assert fleet.wait(3 * PATIENCE_S)
    return fleet.tallies[0]


def genuine(device: DeviceFolder, payload: bytes) -> Datagram | None:
    """The message, if this device signed one."""
    try:
        found = decode_datagram(payload)
        load_public_key(device.signing_public).verify(found.signature, found.signed_bytes)
    except (DecodeError, SignatureError):
        return None
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_no_number_has_two_contents_and_the_next_run_goes_on(broker: PlainBroker, tmp_path: Path, kind: str) -> None:
    device = broker.make_device(tmp_path / "d", "crate-1")
    with broker.reader() as received:
        assert behave(device, plan(broker, count=2)).good
        tally = misbehave(device, plan(broker, count=3), kind)
        assert tally.good and tally.sent == tally.arrived == 3, tally
        assert tally.last_sequence == 5 if kind != "gap" else tally.last_sequence > 7
        assert behave(device, plan(broker, count=2)).good
        until(lambda: any(is_number(device, message.payload, tally.last_sequence + 2) for message in received))
    found = [message for message in (genuine(device, message.payload) for message in received) if message]
    contents = {(message.ver, message.signed_bytes) for message in found}
    assert len(contents) == 7 and len({number for number, _ in contents}) == 7
    with Outbox(device.path) as outbox:
        assert (outbox.pending, outbox.sequence) == ([], tally.last_sequence + 2)


def is_number(device: DeviceFolder, payload: bytes, number: int) -> bool:
    found = genuine(device, payload)
    return found is not None and found.ver == number


def test_all_kinds_at_once(broker: PlainBroker, tmp_path: Path) -> None:
    tally = misbehave(broker.make_device(tmp_path / "d", "crate-1"), plan(broker, count=2), *KINDS)
    assert tally.good and list(tally.misdeeds) == list(KINDS)
    assert tally.misdeeds["indefinite"] == tally.misdeeds["eight-bit"] == Misdeeds(2, 2)
    assert tally.misdeeds["flood"] == Misdeeds(40, 40)


def test_what_the_broker_refuses_is_sent_by_the_next_honest_run(tmp_path: Path) -> None:
    with running(acl="user nobody\ntopic read x\n") as broker:
        device = broker.make_device(tmp_path / "d", "crate-1")
        tally = misbehave(device, plan(broker, count=2), "eight-bit", "bad-signature")
        assert tally.refused == {"Not authorized": 2} and tally.unsettled == 2 and not tally.good
        assert tally.misdeeds["bad-signature"] == Misdeeds(2, 0, tally.refused)
        with Outbox(device.path) as outbox:
            left = [message.payload for message in outbox.pending]
        assert all(genuine(device, payload) for payload in left)
        (broker.folder / "acl").write_text("user reader\ntopic read #\npattern write braid/agent/%u/#\n")
        broker.restart()
        with broker.reader() as received:
            assert behave(device, plan(broker, count=0)).good
            until(lambda: len(received) == 2)
        assert [message.payload for message in received] == left


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_connection_that_the_broker_cuts_is_counted_and_made_again(tmp_path: Path, qos: int) -> None:
    with running() as broker:
        configuration = broker.folder / "mosquitto.conf"
        configuration.write_text(configuration.read_text() + "max_packet_size 2000\n")
        broker.restart()
        device = broker.make_device(tmp_path / "d", "crate-1")
        tally = misbehave(device, plan(broker, count=2, qos=qos), "huge", "repeat", size=100_000)
    assert tally.good and tally.arrived == 2
    huge = tally.misdeeds["huge"]
    assert (huge.sent, huge.disconnected) == (2, 2)
    # at QoS 0 what was written counts, and whether all of it was before the broker cut the line is a race
    assert huge.accepted in ((0, 1, 2) if qos == 0 else (0,))
    assert tally.misdeeds["repeat"] == Misdeeds(6, 6)
    assert tally.connections == 1 + 2 + 2


def test_unreachable_broker(tmp_path: Path, broker: PlainBroker) -> None:
    device = broker.make_device(tmp_path / "d", "crate-1")
    tally = misbehave(device, plan(broker, address=Address("127.0.0.1", 1), patience_s=0.2), "flood")
    assert "nothing arrived for 0.2 s" in tally.error and tally.unsettled == 1


def test_stop_ends_in_good_order(broker: PlainBroker, tmp_path: Path) -> None:
    device = broker.make_device(tmp_path / "d", "crate-1")
    fleet = fleet_of(device, plan(broker, count=None, interval_s=0.01), "repeat")
    fleet.start()
    until(lambda: fleet.tallies[0].arrived >= 3)
    fleet.stop()
    assert fleet.wait(PATIENCE_S)
    assert fleet.tallies[0].good and fleet.tallies[0].misdeeds["repeat"].sent == 3 * fleet.tallies[0].sent


def test_no_other_machine_is_attacked(broker: PlainBroker, tmp_path: Path) -> None:
    device = broker.make_device(tmp_path / "d", "crate-1")
    with pytest.raises(DeviceError, match="on this machine only"):
        fleet_of(device, plan(broker, address=Address("192.0.2.1", 8883)), "flood")
