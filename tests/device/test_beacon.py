"""A device echoes the newest checkpoint that verifies under its operator's log key, and no other."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import paho.mqtt.publish as publisher
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sigillo.core.checkpoint import decode_checkpoint, encode_checkpoint
from sigillo.core.datagram import decode_datagram
from sigillo.core.message import decode_device_message
from sigillo.core.note import LogKey
from sigillo.device.beacon import CHECKPOINT_TOPIC, Beacon
from sigillo.device.folder import DeviceFolder
from sigillo.device.misbehaviour import Mischief
from sigillo.device.rogue import Rogue
from sigillo.device.simulate import Fleet, Plan, Tally

from ..adversary.broker import Broker
from .beacon_case import FORGER, OPERATOR, checkpoint
from .plain_broker import PATIENCE_S, PlainBroker, running, until
from .test_simulate import plan, travel

ACL = """\
user reader
topic read #
user log
topic readwrite sigillo/checkpoint
pattern write braid/agent/%u/#
pattern read sigillo/checkpoint
"""


def note(*arguments: int, by: Broker = OPERATOR) -> bytes:
    return encode_checkpoint(checkpoint(*arguments, by=by))


def seen(*notes: bytes, key: LogKey = OPERATOR.log_key) -> Beacon:
    beacon = Beacon(key)
    for each in notes:
        beacon.see(each)
    return beacon


def test_the_newest_checkpoint_counts_whatever_comes_after_it() -> None:
    beacon = seen(note(3), note(9), note(5), note(9))
    assert (beacon.hash, beacon.refused.total()) == (checkpoint(9).beacon_hash, 0)
    assert beacon.first == checkpoint(3)


def test_cosignatures_do_not_change_it() -> None:
    cosigned = note(9) + "— witness.example AAAAAAAA\n".encode()
    assert len(decode_checkpoint(cosigned).note.signatures) == 2
    assert seen(cosigned).hash == checkpoint(9).beacon_hash


def test_what_does_not_verify_is_refused_and_named() -> None:
    altered = note(9).replace(b"\n9\n", b"\n90\n")
    beacon = seen(note(9, by=FORGER), altered, b"", b"no note", note(3))
    assert beacon.hash == checkpoint(3).beacon_hash
    assert beacon.refused.total() == 4


def test_another_checkpoint_of_one_size_is_refused() -> None:
    beacon = seen(note(9, 1), note(9, 2))
    assert beacon.hash == checkpoint(9, 1).beacon_hash
    assert [*beacon.refused] == ["it contradicts the checkpoint of the same size that was seen before"]


NOTES = [note(size) for size in range(1, 20)]


@settings(deadline=None)
@given(st.lists(st.binary(max_size=200) | st.sampled_from(NOTES)))
def test_any_bytes_leave_it_at_the_newest(notes: list[bytes]) -> None:
    sizes = [size for size, data in enumerate(NOTES, 1) if data in notes]
    assert seen(*notes).hash == (checkpoint(sizes[-1]).beacon_hash if sizes else None)


@pytest.fixture
def broker() -> Iterator[PlainBroker]:
    with running(ACL) as made:
        yield made


@pytest.fixture
def crate(broker: PlainBroker, tmp_path: Path) -> DeviceFolder:
    device = broker.make_device(tmp_path / "crate-1", "crate-1")
    device.install(device.certificate.read_bytes(), broker.ca.pem, OPERATOR.log_key)
    return device


class LogOf:
    """Who publishes checkpoints: in the product that is the plugin."""

    def __init__(self, broker: PlainBroker, folder: Path) -> None:
        self._broker, self._device = broker, broker.make_device(folder, "log")

    def publish(self, data: bytes) -> None:
        context = ssl.create_default_context(cafile=str(self._device.authority))
        context.load_cert_chain(self._device.certificate, self._device.tls_key)
        publisher.single(
            CHECKPOINT_TOPIC,
            data,
            qos=1,
            retain=True,
            hostname="127.0.0.1",
            port=self._broker.port,
            client_id="log",
            tls=context,
        )


@pytest.fixture
def log(broker: PlainBroker, tmp_path: Path) -> LogOf:
    return LogOf(broker, tmp_path / "log")


def echoed(broker: PlainBroker, device: DeviceFolder, what: Plan) -> tuple[list[bytes | None], Tally]:
    with broker.reader() as received:
        tally = travel([device], what).tallies[0]
        assert tally.good, tally
        until(lambda: len([m for m in received if m.topic != CHECKPOINT_TOPIC]) >= (what.count or 0))
    messages = [m for m in received if m.topic != CHECKPOINT_TOPIC]
    return [decode_device_message(m.payload, m.topic).beacon for m in messages], tally


@pytest.mark.parametrize("protocol", ["5", "311"])
@pytest.mark.parametrize("form", ["datagram", "cose"])
def test_every_message_echoes_it_the_first_one_too(
    broker: PlainBroker, crate: DeviceFolder, log: LogOf, form: str, protocol: str
) -> None:
    log.publish(note(7))
    beacons, tally = echoed(broker, crate, plan(broker, form=form, protocol=protocol, count=3))
    assert beacons == [checkpoint(7).beacon_hash] * 3
    assert tally.beacon_size == 7


def test_a_newer_one_is_echoed_from_then_on(broker: PlainBroker, crate: DeviceFolder, log: LogOf) -> None:
    log.publish(note(7))
    with broker.reader() as received:
        fleet = Fleet([crate.path], plan(broker, count=None, interval_s=0.02))
        fleet.start()

        def beacons() -> list[bytes | None]:
            return [decode_datagram(m.payload).beacon for m in received if m.topic != CHECKPOINT_TOPIC]

        until(lambda: len(beacons()) >= 3)
        log.publish(note(8))
        until(lambda: checkpoint(8).beacon_hash in beacons())
        log.publish(note(9, by=FORGER))
        count = len(beacons())
        until(lambda: len(beacons()) > count + 3)
        broker.restart()
        count = len(beacons())
        until(lambda: len(beacons()) > count + 3)
        fleet.stop()
        assert fleet.wait(PATIENCE_S)
    named = beacons()
    assert set(named) == {checkpoint(7).beacon_hash, checkpoint(8).beacon_hash}
    assert named.index(checkpoint(8).beacon_hash) == named.count(checkpoint(7).beacon_hash), "it never goes back"
    refused = fleet.tallies[0].beacon_refused
    assert len(refused) == 1 and refused.total() >= 1


def test_without_the_log_key_nothing_is_echoed(broker: PlainBroker, log: LogOf, tmp_path: Path) -> None:
    """Shipped firmware: it knows no log."""
    device = broker.make_device(tmp_path / "d", "crate-1")
    log.publish(note(7))
    beacons, tally = echoed(broker, device, plan(broker, count=2))
    assert (beacons, tally.beacon_size) == ([None, None], None)


def test_a_forged_one_is_not_echoed_and_does_not_stop_the_tracker(
    broker: PlainBroker, crate: DeviceFolder, log: LogOf
) -> None:
    log.publish(note(7, by=FORGER))
    beacons, tally = echoed(broker, crate, plan(broker, count=2))
    assert beacons == [None, None]
    assert tally.beacon_refused.total() == 1


def test_a_broker_that_lets_nobody_read_it_costs_the_beacon_only(tmp_path: Path) -> None:
    with running("user reader\ntopic read #\npattern write braid/agent/%u/#\nuser log\ntopic write #\n") as broker:
        device = broker.make_device(tmp_path / "d", "crate-1")
        device.install(device.certificate.read_bytes(), broker.ca.pem, OPERATOR.log_key)
        LogOf(broker, tmp_path / "log").publish(note(7))
        beacons, tally = echoed(broker, device, plan(broker, count=2))
    assert (beacons, tally.beacon_size) == ([None, None], None)


def test_a_bad_log_key_is_named(broker: PlainBroker, crate: DeviceFolder) -> None:
    crate.log_vkey.write_text("nonsense\n")
    assert "log.vkey" in travel([crate], plan(broker)).tallies[0].error


@pytest.mark.parametrize("kind", ["stale-beacon", "unknown-beacon", "future-beacon"])
def test_a_rogue_echoes_what_it_should_not(broker: PlainBroker, crate: DeviceFolder, log: LogOf, kind: str) -> None:
    log.publish(note(7))
    make = partial(Rogue, Mischief((kind,), "crate-2", 100, 1))
    with broker.reader() as received:
        fleet = Fleet([crate.path], plan(broker, count=None, interval_s=0.02), make)
        fleet.start()
        until(lambda: len([m for m in received if m.topic != CHECKPOINT_TOPIC]) >= 2)
        log.publish(note(8))
        count = len(received)
        until(lambda: len(received) >= count + 10)
        fleet.stop()
        assert fleet.wait(PATIENCE_S)
    named = {decode_datagram(m.payload).beacon for m in received if m.topic != CHECKPOINT_TOPIC}
    assert fleet.tallies[0].beacon_size == 8
    if kind == "stale-beacon":
        assert named == {checkpoint(7).beacon_hash}
    else:
        assert None not in named and not named & {checkpoint(7).beacon_hash, checkpoint(8).beacon_hash}
