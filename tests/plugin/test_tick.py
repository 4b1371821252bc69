"""What launcher and plugin tell each other while the broker runs: spec/handshake.md."""

from __future__ import annotations

import time

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sigillo.core.bytes import EMPTY_ROOT
from sigillo.core.checkpoint import (
    TreeHead,
    decode_checkpoint,
    encode_checkpoint,
    sign_checkpoint,
    verify_checkpoint,
)
from sigillo.core.epoch import EndReason
from sigillo.core.handshake import Counters, NewCheckpoint, decode_packet, encode_packet
from sigillo.core.mark import Checkpoint
from sigillo.core.note import LogKey

from .launcher import PATIENCE_S, Broker, broker, wait_until
from .peer import TIME_MARK, Peer

FIVE, SEVEN, THREE = (Checkpoint(size, bytes([size]) * 32) for size in (5, 7, 3))


def newest(running: Broker, publisher: Peer) -> Checkpoint:
    """The checkpoint in a mark made now."""
    assert publisher.publish("m/t") == 0
    return running.spooled_marks()[-1].mark.checkpoint


def send(running: Broker, checkpoint: Checkpoint) -> None:
    running.launcher.send(encode_packet(NewCheckpoint(checkpoint)))


def test_checkpoint_is_in_later_marks_and_never_falls(running: Broker) -> None:
    with Peer(running.port, "publisher") as publisher:
        assert newest(running, publisher) == Checkpoint(0, EMPTY_ROOT)
        running.launcher.send(b"\x04" + bytes(40))  # size 0 with a root
        wait_until(lambda: running.log.count("ignored a packet") == 1, "the first warning")
        assert newest(running, publisher) == Checkpoint(0, EMPTY_ROOT)
        send(running, FIVE)
        wait_until(lambda: newest(running, publisher) == FIVE, "checkpoint 5")
        send(running, THREE)
        running.launcher.send(b"\x04" + bytes(39))
        running.launcher.send(b"\x03" + bytes(40))
        wait_until(lambda: running.log.count("ignored a packet") == 4, "three more warnings")
        assert newest(running, publisher) == FIVE
        send(running, SEVEN)
        wait_until(lambda: newest(running, publisher) == SEVEN, "checkpoint 7")


def test_the_beacon_is_retained_for_who_comes_late(running: Broker) -> None:
    key = Ed25519PrivateKey.generate()
    log_key = LogKey("broker.example/log", key.public_key().public_bytes_raw())
    with Peer(running.port, "publisher") as publisher, Peer(running.port, "early") as early:
        early.subscribe("sigillo/#")
        for size in (5, 7):
            signed = sign_checkpoint(TreeHead(log_key.name, size, bytes([size]) * 32), log_key, key.sign)
            note = encode_checkpoint(signed)
            running.launcher.send(encode_packet(NewCheckpoint(signed.head.checkpoint, note)))
            assert early.take()[0].payload == note
        send(running, SEVEN)  # the same once more, with nothing to publish
        wait_until(lambda: newest(running, publisher) == SEVEN, "checkpoint 7")
        with Peer(running.port, "late", v5=False) as late:
            late.subscribe("sigillo/checkpoint", 1)
            beacon = late.take()[0]
        assert (beacon.topic, beacon.retain) == ("sigillo/checkpoint", True)
        head = verify_checkpoint(decode_checkpoint(beacon.payload), log_key)
        assert head.checkpoint == newest(running, publisher)
        assert early.received.empty()
        assert publisher.publish("sigillo/checkpoint", b"forged", retain=True) != 0


def counters(running: Broker) -> Counters:
    packet = decode_packet(running.launcher.recv(100))
    assert isinstance(packet, Counters)
    return packet


def test_counters_arrive_when_they_change(running: Broker) -> None:
    with Peer(running.port, "publisher") as publisher:
        for _ in range(3):
            publisher.publish("m/t")
        for _ in range(2):
            publisher.publish("sigillo/x")
        publisher.publish("other", UserProperty=[(TIME_MARK, "a"), (TIME_MARK, "b")])
        publisher.publish("m/" + "x" * 60_000)
        expected = Counters(3, refused_topics=2, refused_names=1, stripped_properties=2)
        deadline = time.monotonic() + PATIENCE_S
        got = [counters(running)]
        while got[-1] != expected:
            assert time.monotonic() < deadline, got
            got.append(counters(running))
        assert [item.last_sequence for item in got] == sorted(item.last_sequence for item in got)
        running.launcher.settimeout(1.5)
        try:
            extra = counters(running)
        except TimeoutError:
            extra = None
        assert extra is None  # nothing changed


def test_launcher_that_does_not_read_stalls_nobody(running: Broker) -> None:
    with Peer(running.port, "publisher") as publisher:
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            assert publisher.publish("m/t") == 0


def test_without_ticks_messages_do_their_work() -> None:
    """Mosquitto 2.0.11 gives no ticks under this setting; `sigillo up` refuses it, the plugin bears it."""
    with broker(per_listener=True, segment_size=65536) as made:
        made.start()
        with Peer(made.port, "publisher") as publisher:
            send(made, FIVE)
            wait_until(lambda: newest(made, publisher) == FIVE, "checkpoint 5")
            made.launcher.close()

            def ended() -> bool:
                if publisher.client.is_connected():
                    publisher.send("m/t")
                time.sleep(0.2)
                return made.process.poll() is not None

            wait_until(ended, "the end")
        assert made.process.returncode == 0
        assert made.end().reason is EndReason.LAUNCHER_GONE
