"""How an epoch ends, and what then is in the spool: spec/epoch.md, spec/spool.md."""

from __future__ import annotations

import signal
import time

import pytest

from sigillo.core.entry import Kind
from sigillo.core.epoch import EndReason
from sigillo.core.spool import Ending

from .launcher import Broker, broker
from .peer import Peer


def publish_some(made: Broker, count: int = 5) -> None:
    with Peer(made.port, "publisher") as publisher:
        for i in range(count):
            assert publisher.publish("m/t", b"%d" % i) == 0


@pytest.mark.parametrize("count", [0, 5])
def test_stop(running: Broker, count: int) -> None:
    publish_some(running, count)
    assert running.signal(signal.SIGTERM) == 0
    assert running.end().reason is EndReason.STOP
    assert running.end().last_sequence == count
    assert running.objects(Kind.EPOCH_STATEMENT) == [running.signed.sign1.encode()]
    assert [path.name for path in (running.spool / "0000000001").iterdir()] == ["000000.spool"]


def test_reload(running: Broker) -> None:
    publish_some(running)
    assert running.signal(signal.SIGHUP) == 0
    assert running.end().reason is EndReason.RELOAD
    assert "the configuration was reloaded: the epoch ends" in running.log


@pytest.mark.parametrize("how", ["close", "empty packet"])
def test_launcher_gone(running: Broker, how: str) -> None:
    publish_some(running)
    with Peer(running.port, "idle"):
        running.launcher.close() if how == "close" else running.launcher.send(b"")
        assert running.ended() == 0
    assert running.end().reason is EndReason.LAUNCHER_GONE
    assert "the launcher is gone: the epoch ends" in running.log


def test_launcher_gone_under_load(running: Broker) -> None:
    with Peer(running.port, "publisher") as publisher:
        for i in range(200):
            publisher.send("m/t", b"%d" % i)
        running.launcher.close()
        for i in range(200):
            publisher.send("m/t", b"late %d" % i)
        assert running.ended() == 0
    end = running.end()
    assert end.reason is EndReason.LAUNCHER_GONE
    assert not any(segment.end.ending is Ending.TORN for segment in running.segments())


@pytest.mark.parametrize("delivered", [1, 300, 900])
def test_killed_under_load_leaves_every_delivered_mark(delivered: int) -> None:
    with broker(segment_size=65536) as made:
        made.start()
        with Peer(made.port, "reader") as reader, Peer(made.port, "publisher") as publisher:
            reader.subscribe("m/#", 0)
            for i in range(delivered + 600):
                publisher.send("m/t", b"%d" % i)
            received = reader.take(delivered)
            made.process.kill()
            assert made.ended() == -signal.SIGKILL
            time.sleep(0.1)  # what the kernel still had for the reader
            received += [reader.received.get_nowait() for _ in range(reader.received.qsize())]
            acknowledged = publisher.answers.qsize()
        marks = [message.mark() for message in received]
        made.check(marks)
        spooled = {signed.object_hash for signed in made.spooled_marks()}
        assert {signed.object_hash for signed in marks} <= spooled
        assert len(spooled) >= max(len(marks), acknowledged)
        segments = made.segments()
        assert not any(segment.end.ending is Ending.TORN for segment in segments)
        assert made.objects(Kind.EPOCH_END) == []
