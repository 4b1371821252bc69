"""Trackers against a plain TLS Mosquitto: every QoS, restarts, refusals, nothing lost or numbered twice."""

from __future__ import annotations

import datetime
import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from sigillo.core.datagram import decode_datagram
from sigillo.core.reading import decode_reading
from sigillo.device.error import DeviceError
from sigillo.device.folder import DeviceFolder
from sigillo.device.key import load_csr, load_public_key, load_signing_key
from sigillo.device.link import Address, parse_address
from sigillo.device.simulate import Fleet, Plan
from sigillo.device.store import Outbox

from .plain_broker import ONE_DAY, PATIENCE_S, Ca, PlainBroker, name, running, until

FIELDS = {"FW_VER", "DELAY", "HUMID", "TEMP", "ACC_X", "ACC_Y", "ACC_Z", "LAT", "LON", "HSPEED", "DIR", "ALT", "H_ACC"}


@pytest.fixture
def broker() -> Iterator[PlainBroker]:
    with running() as made:
        yield made


def plan(broker: PlainBroker, **changes: object) -> Plan:
    fields: dict[str, object] = {
        "address": parse_address(broker.address),
        "count": 5,
        "interval_s": 0.0,
        "qos": 1,
        "form": "datagram",
        "protocol": "5",
        "seed": 1,
        "patience_s": float(PATIENCE_S),
    }
    return Plan(**{**fields, **changes})


def travel(devices: list[DeviceFolder], what: Plan) -> Fleet:
    fleet = Fleet([device.path for device in devices], what)
    fleet.start()
    assert fleet.wait(3 * PATIENCE_S)
    return fleet


@pytest.mark.parametrize("protocol", ["5", "311"])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_every_message_arrives_verifiable(broker: PlainBroker, tmp_path: Path, qos: int, protocol: str) -> None:
    devices = [broker.make_device(tmp_path / kind, f"crate-{kind}", kind) for kind in ("p256", "ed25519")]
    with broker.reader() as received:
        fleet = travel(devices, plan(broker, qos=qos, protocol=protocol))
        assert all(tally.good and tally.arrived == 5 for tally in fleet.tallies), fleet.tallies
        until(lambda: len(received) == 10)
    for device in devices:
        key = load_public_key(device.signing_public)
        payloads = [m.payload for m in received if m.topic == f"braid/agent/{device.device_id}/shadow/reported/"]
        messages = [decode_datagram(payload) for payload in payloads]
        assert [message.ver for message in messages] == [1, 2, 3, 4, 5]
        for message in messages:
            key.verify(message.signature, message.signed_bytes)


def test_cose_form_is_bound_to_the_topic(broker: PlainBroker, tmp_path: Path) -> None:
    device = broker.make_device(tmp_path / "d", "crate-1")
    with broker.reader() as received:
        assert travel([device], plan(broker, form="cose", count=2)).tallies[0].good
        until(lambda: len(received) == 2)
    reading = decode_reading(received[0].payload, received[0].topic)
    assert (reading.device_id, reading.ver) == ("crate-1", 1)
    load_public_key(device.signing_public).verify(reading.signature, reading.signed_bytes)


@pytest.mark.parametrize("persistence", [True, False])
@pytest.mark.parametrize("qos", [1, 2])
def test_broker_killed_in_the_middle_loses_nothing(tmp_path: Path, qos: int, persistence: bool) -> None:
    """Whether or not the broker remembers the session, every number is acknowledged in the end."""
    with running(persistence=persistence) as broker:
        device = broker.make_device(tmp_path / "d", "crate-1")
        fleet = Fleet([device.path], plan(broker, qos=qos, count=60, interval_s=0.01))
        fleet.start()
        for how in (signal.SIGKILL, signal.SIGTERM):
            arrived = fleet.tallies[0].arrived
            until(lambda: fleet.tallies[0].arrived >= arrived + 10)  # noqa: B023 (called at once)
            broker.restart(how)
        assert fleet.wait(3 * PATIENCE_S)
    tally = fleet.tallies[0]
    assert tally.good and tally.arrived == 60 and tally.last_sequence == 60, tally
    assert tally.connections >= 3


def test_qos_0_over_a_restart_never_repeats_a_number(broker: PlainBroker, tmp_path: Path) -> None:
    device = broker.make_device(tmp_path / "d", "crate-1")
    with broker.reader() as received:
        fleet = Fleet([device.path], plan(broker, qos=0, count=None, interval_s=0.02))
        fleet.start()
        until(lambda: len(received) >= 10)
        broker.restart()
        before = len(received)
        until(lambda: len(received) >= before + 10)
        fleet.stop()
        assert fleet.wait(PATIENCE_S)
        assert fleet.tallies[0].good
    numbers = [decode_datagram(message.payload).ver for message in received]
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("qos", [1, 2])
def test_refusal_is_named_and_kept(tmp_path: Path, qos: int) -> None:
    """MQTT 5: PUBACK and PUBREC carry the reason; the message stays in the outbox under its number."""
    with running(acl="user nobody\ntopic read x\n") as broker:
        device = broker.make_device(tmp_path / "d", "crate-1")
        tally = travel([device], plan(broker, qos=qos, count=3)).tallies[0]
    assert tally.refused == {"Not authorized": 3}
    assert (tally.arrived, tally.unsettled, tally.last_sequence) == (0, 3, 3)
    assert not tally.good


def test_outbox_of_an_interrupted_run_goes_first(broker: PlainBroker, tmp_path: Path) -> None:
    device = broker.make_device(tmp_path / "d", "crate-1")
    unreachable = plan(broker, address=Address("127.0.0.1", 1), patience_s=0.2)
    assert "nothing arrived" in travel([device], unreachable).tallies[0].error
    signer = device.signer()
    from sigillo.device.message import encode_message

    with Outbox(device.path) as outbox:
        left = outbox.issue(
            "braid/agent/crate-1/shadow/reported/",
            lambda n: encode_message("datagram", signer, "crate-1", "", ver=n, ts=0, body={}),
        )
    with broker.reader() as received:
        assert travel([device], plan(broker, count=0)).tallies[0].good
        until(lambda: len(received) == 1)
        assert travel([device], plan(broker, count=1)).tallies[0].good
        until(lambda: len(received) == 2)
    assert received[0].payload == left.payload
    assert decode_datagram(received[1].payload).ver == left.sequence + 1
    with Outbox(device.path) as outbox:
        assert outbox.pending == []


def test_stop_ends_in_good_order(broker: PlainBroker, tmp_path: Path) -> None:
    device = broker.make_device(tmp_path / "d", "crate-1")
    fleet = Fleet([device.path], plan(broker, count=None, interval_s=0.01))
    fleet.start()
    until(lambda: fleet.tallies[0].arrived >= 3)
    fleet.stop()
    assert fleet.wait(PATIENCE_S)
    tally = fleet.tallies[0]
    assert tally.good and tally.arrived == tally.sent == tally.last_sequence


def test_same_seed_same_readings(broker: PlainBroker, tmp_path: Path) -> None:
    from sigillo.device.journey import reading

    assert reading(7, "crate-1", 3, 1.0) == reading(7, "crate-1", 3, 1.0)
    assert reading(7, "crate-1", 3, 1.0) != reading(8, "crate-1", 3, 1.0)
    first = reading(7, "crate-1", 1, 1.0)
    assert set(first) == FIELDS
    json.dumps(first)


def test_foreign_broker_is_not_spoken_to(broker: PlainBroker, tmp_path: Path) -> None:
    """A broker whose certificate is of another CA gets nothing, at once and with the reason."""
    device = broker.make_device(tmp_path / "d", "crate-1")
    device.install(device.certificate.read_bytes(), Ca("another").pem)
    tally = travel([device], plan(broker)).tallies[0]
    assert "certificate does not verify" in tally.error and tally.sent == 0


def self_signed(tls_key: EllipticCurvePrivateKey, issuer: str, subject: str, public: object) -> bytes:
    """A certificate of *subject* signed by the holder of *issuer*, who is no CA."""
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - ONE_DAY)
        .not_valid_after(now + ONE_DAY)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    return builder.sign(tls_key, hashes.SHA256()).public_bytes(Encoding.PEM)


def test_trusted_self_signed_certificate_opens_for_its_own_name_only(tmp_path: Path) -> None:
    """What `device add --cert` appends to the broker's client CAs lets its device in, and certifies nobody else."""
    with running() as broker:
        alone = broker.make_device(tmp_path / "alone", "crate-1")
        key = load_signing_key(alone.tls_key)
        assert isinstance(key, EllipticCurvePrivateKey)
        own = self_signed(key, "crate-1", "crate-1", key.public_key())
        alone.install(own, broker.ca.pem)
        assert travel([alone], plan(broker, patience_s=1.0)).tallies[0].arrived == 0
        (broker.folder / "ca.pem").write_bytes(broker.ca.pem + own)
        broker.restart()
        assert travel([alone], plan(broker)).tallies[0].good
        forged = broker.make_device(tmp_path / "forged", "crate-2")
        victim = load_csr(forged.csr).public_key()
        chain = self_signed(key, "crate-1", "crate-2", victim) + own
        forged.install(chain, broker.ca.pem)
        tally = travel([forged], plan(broker, patience_s=2.0)).tallies[0]
        assert tally.error and tally.arrived == 0


def test_missing_certificate_is_named(broker: PlainBroker, tmp_path: Path) -> None:
    device = broker.make_device(tmp_path / "d", "crate-1")
    device.certificate.unlink()
    assert "tls.cert.pem: not found" in travel([device], plan(broker)).tallies[0].error


def test_two_runs_on_one_folder(broker: PlainBroker, tmp_path: Path) -> None:
    device = broker.make_device(tmp_path / "d", "crate-1")
    with Outbox(device.path):
        assert "another process" in travel([device], plan(broker)).tallies[0].error


@pytest.mark.parametrize("text", ["", "host", ":1", "host:", "host:0", "host:65536", "host:1a", "host:²"])
def test_bad_address(text: str) -> None:
    with pytest.raises(DeviceError, match="HOST:PORT"):
        parse_address(text)


def test_address() -> None:
    assert parse_address("[::1]:8883") == Address("::1", 8883)
    assert str(parse_address("[::1]:8883")) == "[::1]:8883"


def test_threads_end(broker: PlainBroker, tmp_path: Path) -> None:
    before = threading.active_count()
    travel([broker.make_device(tmp_path / "d", "crate-1")], plan(broker, count=1))
    assert threading.active_count() == before
