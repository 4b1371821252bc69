"""Every path into the broker (spec/path.md): what is marked there, what is refused, what stays unmarked and named."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from sigillo.core.statement import Carrier, MarkedFilter

from ..port import free_port
from .launcher import MOSQUITTO, Broker, broker, wait_until
from .peer import PATIENCE_S, TIME_MARK, Peer, Received

EVERYTHING = "topic readwrite #\n"


@pytest.fixture(scope="module")
def listed(plugin: None) -> Iterator[Broker]:
    """A broker with an access list, which allows everything."""
    with broker(access_list=EVERYTHING) as made:
        yield made.start()


# Last wills


def leave_a_will(port: int, client_id: str, topic: str, *, delay_s: int = 0, user: str = "") -> paho.Client:
    """A connected client with a last will on *topic*."""
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id, protocol=paho.MQTTv5)
    if user:
        client.username_pw_set(user, "secret")
    properties = Properties(PacketTypes.WILLMESSAGE)
    properties.WillDelayInterval = delay_s
    properties.UserProperty = (TIME_MARK, "forged")
    client.will_set(topic, b"last", 1, properties=properties)
    connection = Properties(PacketTypes.CONNECT)
    connection.SessionExpiryInterval = 60
    client.connect("127.0.0.1", port, clean_start=True, properties=connection)
    while not client.is_connected():
        assert client.loop(1) == 0
    return client


def drop(client: paho.Client) -> None:
    """Lose the connection without a DISCONNECT."""
    connection = client.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@contextlib.contextmanager
def watching(port: int) -> Iterator[Peer]:
    with Peer(port, "watcher") as reader:
        reader.subscribe("m/#")
        reader.subscribe("other/#")
        reader.subscribe("sigillo/#")
        yield reader


def after_barrier(reader: Peer, port: int) -> list[Received]:
    """What *reader* got before a message that is published now."""
    with Peer(port, "barrier") as publisher:
        publisher.publish("other/barrier", b"end")
    received: list[Received] = []
    while not received or received[-1].payload != b"end":
        received += reader.take()
    return received[:-1]


@pytest.mark.parametrize("topic", ["m/will", "sigillo/will"])
def test_a_will_after_a_lost_connection_is_dropped(listed: Broker, topic: str) -> None:
    with watching(listed.port) as reader:
        drop(leave_a_will(listed.port, "leaver", topic))
        drop(leave_a_will(listed.port, "other-leaver", "other/will"))  # nobody's business
        assert reader.take()[0].topic == "other/will"
        assert after_barrier(reader, listed.port) == []
    assert ("a last will on a marked topic" if topic == "m/will" else "the broker's own") in listed.log


def test_dropped_wills_are_counted(plugin: None) -> None:
    with broker(access_list=EVERYTHING) as made:
        made.start()
        drop(leave_a_will(made.port, "leaver", "m/will"))
        made.counters(dropped_wills=1, last_sequence=0)


def test_who_left_with_a_will_comes_back_and_is_marked(listed: Broker) -> None:
    """The memory of a DISCONNECT is for the very next event only."""
    with watching(listed.port) as reader:
        for _ in range(5):
            drop(leave_a_will(listed.port, "leaver", "m/will"))
            with Peer(listed.port, "leaver") as again:
                assert again.publish("m/t", b"back") == 0
            message = reader.take()[0]
            assert message.payload == b"back"
            assert len(message.carriers) == 1


def test_without_an_access_list_a_will_goes_out_unmarked(running: Broker) -> None:
    with watching(running.port) as reader:
        drop(leave_a_will(running.port, "leaver", "m/will"))
        will = reader.take()[0]
    assert (will.payload, will.carriers) == (b"last", ["forged"])  # so a reader verifies before it believes
    assert running.spooled_marks() == []


@pytest.mark.parametrize("topic", ["m/will", "sigillo/will"])
def test_a_will_at_a_take_over_is_unmarked(listed: Broker, topic: str) -> None:
    with watching(listed.port) as reader:
        taken = leave_a_will(listed.port, "taken", topic)
        with Peer(listed.port, "taken"):
            received = after_barrier(reader, listed.port)
        drop(taken)
    expected = [] if topic.startswith("sigillo") else [["forged"]]
    assert [message.carriers for message in received] == expected


@pytest.mark.parametrize("topic", ["m/will", "sigillo/will"])
def test_a_delayed_will_is_unmarked(listed: Broker, topic: str) -> None:
    with watching(listed.port) as reader:
        drop(leave_a_will(listed.port, "delayed", topic, delay_s=1))
        drop(leave_a_will(listed.port, "delayed-too", "other/will", delay_s=2))
        received = reader.take(1 if topic.startswith("sigillo") else 2)
    assert received[-1].topic == "other/will"
    assert [message.carriers for message in received[:-1]] == ([] if topic.startswith("sigillo") else [["forged"]])


def test_a_will_at_the_brokers_end_is_unmarked(plugin: None) -> None:
    with broker(access_list=EVERYTHING) as made:
        made.start()
        with Peer(made.port, "watcher") as reader:
            reader.subscribe("m/#")
            last = leave_a_will(made.port, "last", "m/will")
            made.signal(signal.SIGTERM)
            assert reader.disconnected.get(timeout=PATIENCE_S)
            while not reader.received.empty():
                assert reader.received.get().carriers == ["forged"]
        drop(last)
        assert made.end().last_sequence == 0


# What else passes the plugin by


def test_system_topics_are_unmarked() -> None:
    with broker(fields={"filters": (MarkedFilter("#"), MarkedFilter("$SYS/#"))}, more=("sys_interval 1",)) as made:
        made.start()
        with Peer(made.port, "reader") as reader:
            reader.subscribe("$SYS/broker/uptime")
            assert [message.carriers for message in reader.take(2)] == [[], []]
            assert reader.publish("$SYS/x", b"1") in (0, 0x87)
        assert made.spooled_marks() == []


@pytest.fixture
def kept() -> Iterator[tuple[str, ...]]:
    """Lines of a configuration whose retained messages outlive the broker."""
    folder = Path(tempfile.mkdtemp(prefix="sigillo-kept-"))
    folder.chmod(0o777)
    yield ("persistence true", f"persistence_location {folder}/")
    shutil.rmtree(folder)


def test_retained_messages_of_before_are_as_they_were(kept: tuple[str, ...]) -> None:
    """One from a run without marks has none; one from an earlier epoch has that epoch's."""
    with broker(fields={"filters": (MarkedFilter("a/#"),)}, more=kept) as first:
        first.start()
        with Peer(first.port, "publisher") as publisher:
            for topic in ("a/kept", "b/kept"):
                assert publisher.publish(topic, b"kept", retain=True) == 0
        first.signal(signal.SIGTERM)
    with broker(fields={"filters": (MarkedFilter("#"),)}, more=kept) as second:
        second.start()
        with Peer(second.port, "reader") as reader:
            reader.subscribe("#")
            received = {message.topic: message for message in reader.take(2)}
        assert received["b/kept"].carriers == []
        assert received["a/kept"].mark().epoch_id == first.signed.epoch_id
        assert second.spooled_marks() == []


def test_what_others_retained_below_sigillo_before_stays_there(kept: tuple[str, ...]) -> None:
    """Retained by a client of a run without the plugin: with an access list, and where the broker asks it about the
    sources of retained messages, it reaches nobody; our own companion does."""
    with plain_broker(*kept) as port, Peer(port, "forger") as forger:
        for topic in ("sigillo/checkpoint", "other/kept"):
            forger.publish(topic, b"forged", retain=True)
    filters = (MarkedFilter("t/#", carrier=Carrier.TOPIC),)
    more = (*kept, "check_retain_source true")
    with broker(access_list=EVERYTHING, fields={"filters": filters}, more=more) as made:
        made.start()
        with Peer(made.port, "crate") as crate, Peer(made.port, "reader") as reader:
            crate.publish("t/kept", b"kept", retain=True)
            for topic in ("sigillo/#", "other/#"):
                reader.subscribe(topic)
            assert [message.topic for message in reader.take(2)] == ["sigillo/mark/t/kept", "other/kept"]
        made.signal(signal.SIGTERM)


# What is marked as anything else


def test_a_mount_point_is_part_of_the_marked_topic() -> None:
    with broker(fields={"filters": (MarkedFilter("site/m/#"),)}, listener=("mount_point site/",)) as made:
        made.start()
        with Peer(made.port, "reader") as reader, Peer(made.port, "publisher") as publisher:
            reader.subscribe("m/#")
            assert publisher.publish("m/t", b"x") == 0
            assert reader.take()[0].mark().mark.topic == "site/m/t"  # and so the subscriber sees it


def test_one_of_a_shared_subscription_gets_message_and_mark(running: Broker) -> None:
    with (
        Peer(running.port, "one") as one,
        Peer(running.port, "two") as two,
        Peer(running.port, "publisher") as publisher,
    ):
        for reader in (one, two):
            reader.subscribe("$share/group/m/#")
        for number in range(6):
            assert publisher.publish("m/t", b"%d" % number) == 0
        wait_until(lambda: one.received.qsize() + two.received.qsize() == 6, "six messages")
        assert one.received.qsize() == two.received.qsize() == 3
        marks = [message.mark() for message in one.take(3) + two.take(3)]
    assert sorted(signed.mark.sequence for signed in marks) == [1, 2, 3, 4, 5, 6]


def test_every_listener_marks() -> None:
    second = free_port()
    with broker(more=(f"listener {second} 127.0.0.1", "mount_point second/")) as made:
        made.start()
        with Peer(made.port, "a") as first_client, Peer(second, "b", v5=False) as second_client:
            assert first_client.publish("m/1") == 0
            second_client.publish("m/2")  # there it is second/m/2, which no filter matches
            second_client.publish("../m/2")
        assert [signed.mark.topic for signed in made.spooled_marks()] == ["m/1"]
    with broker(more=(f"listener {second} 127.0.0.1",)) as made:
        made.start()
        with Peer(made.port, "a") as first_client, Peer(second, "b", v5=False) as second_client:
            first_client.publish("m/1")
            second_client.publish("m/2")
        assert [signed.mark.topic for signed in made.spooled_marks()] == ["m/1", "m/2"]


# Bridges


def test_a_bridges_foreign_mark_is_kept_under_another_name() -> None:
    with broker(users=("ann", "edge"), fields={"bridge_principals": ("edge",)}) as made:
        made.start()
        with (
            Peer(made.port, "reader", user="ann") as reader,
            Peer(made.port, "bridge", user="edge") as edge,
            Peer(made.port, "device", user="ann") as ann,
        ):
            reader.subscribe("#")
            sent = [("a", "1"), (TIME_MARK, "foreign"), ("b", "2"), ("time-mark-before", "earlier still")]
            edge.publish("m/t", b"1", UserProperty=sent)
            edge.publish("m/t", b"2", UserProperty=[(TIME_MARK, "x"), (TIME_MARK, "y")])
            ann.publish("m/t", b"3", UserProperty=sent)
            edge.publish("other", b"4", UserProperty=sent)
            first, second, third, fourth = reader.take(4)
        renamed = [("a", "1"), ("time-mark-before", "foreign"), ("b", "2"), ("time-mark-before", "earlier still")]
        assert first.user_properties[:-1] == renamed
        assert first.mark().mark.before == hashlib.sha256(b"foreign").digest()
        assert (second.user_properties[:-1], second.mark().mark.before) == ([], None)
        assert (third.user_properties[:-1], third.mark().mark.before) == ([sent[0], sent[2], sent[3]], None)
        assert fourth.user_properties == renamed
        made.counters(stripped_properties=3, last_sequence=3)
        made.spooled_marks()


@contextlib.contextmanager
def plain_broker(*lines: str) -> Iterator[int]:
    """A Mosquitto without the plugin; its port."""
    port = free_port()
    folder = Path(tempfile.mkdtemp(prefix="sigillo-plain-"))
    configuration = folder / "mosquitto.conf"
    configuration.write_text("\n".join(["allow_anonymous true", f"listener {port} 127.0.0.1", *lines]) + "\n")
    folder.chmod(0o755)
    process = subprocess.Popen([MOSQUITTO, "-c", str(configuration)], stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0, "a plain broker")
        yield port
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
        shutil.rmtree(folder)


def through_a_bridge(reader: Peer, publisher: Peer, **values: object) -> Received:
    """Publish until a message has come through: the bridge takes its time to connect."""
    for _ in range(100):
        publisher.publish("m/t", b"bridged", **values)
        with contextlib.suppress(Exception):
            return reader.received.get(timeout=0.2)
    raise AssertionError("nothing came through the bridge")


def test_messages_of_a_real_bridge_are_marked_as_its_own() -> None:
    with broker(users=("ann", "edge"), fields={"bridge_principals": ("edge",)}) as made:
        made.start()
        lines = ("connection up", f"address 127.0.0.1:{made.port}", "topic m/# out 1", "topic sigillo/# out 1")
        lines += ("bridge_protocol_version mqttv50", "remote_username edge", "remote_password secret")
        with (
            plain_broker(*lines) as port,
            Peer(made.port, "reader", user="ann") as reader,
            Peer(port, "device") as device,
        ):
            reader.subscribe("#")
            message = through_a_bridge(reader, device, UserProperty=[(TIME_MARK, "foreign")])
            assert message.user_properties[0] == ("time-mark-before", "foreign")
            assert device.publish("sigillo/checkpoint", b"forged", retain=True) == 0
            assert through_a_bridge(reader, device).topic == "m/t"
        marks = made.spooled_marks()
        assert {signed.mark.principal for signed in marks} == {"edge"}
        assert marks[0].mark.before == hashlib.sha256(b"foreign").digest()
        with Peer(made.port, "late", user="ann") as late:
            late.subscribe("sigillo/#")
            late.subscribe("m/#")
            late.publish("m/end", b"end")
            assert late.take()[0].payload == b"end"


@pytest.mark.parametrize(
    ("protocol", "listed", "passes"),
    [("mqttv50", False, ["good"]), ("mqttv311", True, ["bad", "good"]), ("mqttv311", False, [])],
)
def test_a_bad_payload_behind_a_bridge(protocol: str, listed: bool, passes: list[str]) -> None:
    """It holds up what follows only where the bridge speaks MQTT 3.1.1 and is not listed."""
    fields = {
        "filters": (MarkedFilter("m/#", carrier=Carrier.DATAGRAM),),
        "bridge_principals": ("edge",) if listed else (),
    }
    with broker(users=("ann", "edge"), fields=fields) as made:
        made.start()
        lines = ("connection up", f"address 127.0.0.1:{made.port}", "topic m/# out 1", "restart_timeout 1")
        lines += (f"bridge_protocol_version {protocol}", "remote_username edge", "remote_password secret")
        with (
            plain_broker(*lines) as port,
            Peer(made.port, "reader", user="ann") as reader,
            Peer(port, "device") as device,
        ):
            reader.subscribe("m/#")
            through_a_bridge(reader, device)
            device.publish("m/bad", b"\xa1\x6eINGESTION_TIME\x00")
            device.publish("m/good", b"good")
            received: list[str] = []
            while passes and passes[-1] not in received:
                received.append(reader.take()[0].topic.removeprefix("m/"))
            if not passes:
                wait_until(lambda: made.log.count("administrative action") == 2, "refused again")
                received = [message.topic.removeprefix("m/") for message in reader.take(reader.received.qsize())]
        assert [name for name in received if name != "t"] == passes


def test_what_our_own_bridge_brings_in_is_marked() -> None:
    with plain_broker() as port:
        lines = ("connection in", f"address 127.0.0.1:{port}", "topic m/# in 1", "topic sigillo/# in 1")
        with broker(more=(*lines, "local_username site")) as made:
            made.start()
            with Peer(made.port, "reader") as reader, Peer(port, "device") as device:
                reader.subscribe("#")
                assert len(through_a_bridge(reader, device).carriers) == 1
                device.publish("sigillo/checkpoint", b"forged")  # a bridge passes the access list by, not the plugin
                assert through_a_bridge(reader, device).topic == "m/t"
            assert {signed.mark.principal for signed in made.spooled_marks()} == {"site"}
