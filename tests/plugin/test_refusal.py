"""What is refused goes no further, and the rest goes on: the table of principals, a full disk, roll-over."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from sigillo.core.spool import Ending

from .launcher import Broker, broker, is_root, wait_until
from .peer import Peer, Wire, publish_packet

REFUSED = (0x87, 0x97)  # not authorised; from Mosquitto 2.1 on: quota exceeded


@pytest.fixture
def table_of_one() -> Iterator[Broker]:
    with broker(users=("ann", "bob"), max_principals=1) as made:
        made.start()
        yield made


def test_second_principal_of_a_table_of_one(table_of_one: Broker) -> None:
    port = table_of_one.port
    with Peer(port, "a", user="ann") as ann, Peer(port, "b", user="bob") as bob, Peer(port, "r", user="bob") as reader:
        reader.subscribe("#")
        assert ann.publish("m/t", b"1") == 0
        assert bob.publish("m/t", b"2") in REFUSED
        assert bob.publish("other", b"3") == 0  # unmarked: no matter of the table
        with Peer(port, "c", v5=False, user="bob") as old:
            old.send("m/t", b"4")
            assert old.disconnected.get(timeout=10)  # a bare PUBACK would read as success
        assert ann.publish("m/t", b"5") == 0
        assert [message.payload for message in reader.take(3)] == [b"1", b"3", b"5"]
    assert [signed.mark.principal for signed in table_of_one.spooled_marks()] == ["ann", "ann"]
    assert "the table of principals is full" in table_of_one.log


@pytest.mark.parametrize(("qos", "answer"), [(1, 0x40), (2, 0x50)])
def test_refusal_is_the_answer_to_the_publish(table_of_one: Broker, qos: int, answer: int) -> None:
    ann, bob = (Wire(table_of_one.port, name, user=name) for name in ("ann", "bob"))
    for wire, codes in ((ann, {0}), (bob, set(REFUSED))):
        wire.send(publish_packet("m/t", b"x", qos=qos))
        first, body = wire.read()
        assert (first, body[:2]) == (answer, b"\x00\x01")
        assert (body[2] if len(body) > 2 else 0) in codes | ({0x10} if wire is ann else set())
        wire.barrier()  # still connected
        wire.close()
    assert [signed.mark.principal for signed in table_of_one.spooled_marks()] == ["ann"]


def full(publisher: Peer, limit: int = 2000) -> int:
    """Publish until the spool refuses; how many went through."""
    for i in range(limit):
        code = publisher.publish("m/t", b"%d" % i)
        if code != 0:
            assert code in REFUSED
            return i
    raise AssertionError("the spool never was full")


@pytest.fixture
def small_disk() -> Iterator[Broker]:
    with broker(segment_size=65536) as made:
        if not is_root():
            pytest.skip("only root may mount a tmpfs")
        mount = ["mount", "-t", "tmpfs", "-o", "size=144k,mode=0777", "tmpfs", str(made.spool)]
        done = subprocess.run(mount, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"mount is not permitted here: {done.stderr.strip()}")
        try:
            yield made.start()
        finally:
            if made.process.poll() is None:
                made.process.kill()
            made.process.wait()
            subprocess.run(["umount", str(made.spool)], check=True)


def test_full_disk_refuses_and_room_heals(small_disk: Broker) -> None:
    port = small_disk.port
    with Peer(port, "publisher") as publisher, Peer(port, "reader") as reader:
        reader.subscribe("#")
        through = full(publisher)
        assert through > 200  # two segments full
        assert publisher.publish("m/t", b"again") in REFUSED
        assert publisher.publish("other", b"unmarked") == 0
        assert "the spool has no room" in small_disk.log
        subprocess.run(["mount", "-o", "remount,size=1m", str(small_disk.spool)], check=True)
        wait_until(lambda: publisher.publish("m/t", b"room") == 0, "room in the spool")
        for i in range(10):
            assert publisher.publish("m/t", b"%d" % i) == 0
        received = reader.take(through + 12)
    marks = [message.mark() for message in received if message.topic == "m/t"]
    assert [signed.object_hash for signed in marks] == [signed.object_hash for signed in small_disk.spooled_marks()]
    assert small_disk.process.poll() is None


def test_roll_over_under_load() -> None:
    with broker(segment_size=65536) as made:
        made.start()
        count = 3000
        with Peer(made.port, "reader") as reader, Peer(made.port, "publisher") as publisher:
            reader.subscribe("m/#", 0)
            for i in range(count):
                publisher.send("m/t", b"%d" % i, qos=i % 2)
            received = reader.take(count)
            assert {publisher.answers.get(timeout=10) for _ in range(count)} == {0}
        spooled = made.spooled_marks()
        assert [signed.object_hash for signed in spooled] == [message.mark().object_hash for message in received]
        segments = [segment for segment in made.segments() if segment.records]
        assert len(segments) > 10
        assert all(segment.end.ending in (Ending.CONTINUES, Ending.FULL) for segment in segments[:-1])
        assert segments[-1].end.ending is Ending.OPEN
        assert made.launcher.recv(100)[0] == 5
