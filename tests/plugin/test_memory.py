"""The plugin in a real broker, looked at from below: sanitizers, valgrind, and a million messages on flat memory."""

from __future__ import annotations

import contextlib
import fcntl
import re
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from sigillo.core.statement import Carrier, MarkedFilter

from .launcher import CHECKOUT, MOSQUITTO, Broker, broker
from .peer import TIME_MARK, Peer, Wire, publish_packet, user_property
from .test_path import EVERYTHING, drop, leave_a_will

FILTERS = (
    MarkedFilter("d/#", carrier=Carrier.DATAGRAM),
    MarkedFilter("t/#", carrier=Carrier.TOPIC),
    MarkedFilter("m/#"),
)
FIELDS = {"filters": FILTERS, "bridge_principals": ("edge",)}
LISTED = f"user crate\n{EVERYTHING}user edge\n{EVERYTHING}"
FORGED = user_property(TIME_MARK, "forged")
OTHERS = b"\x01\x01" + user_property("a", "1") + b"\x03\x00\x01t" + FORGED + b"\x09\x00\x02\x00\xff"
TAKEN = b"\xa1\x7f\x69INGESTION\x65_TIME\xff\x01"
PINGRESP = b"\xd0\x00"
CYCLE = 10
"""Messages of each kind of traffic once."""


class Traffic:
    """Packets of every kind for every carrier, no signed datagram like another except where one is to be a repeat."""

    def __init__(self) -> None:
        self.count = 0

    def datagram(self) -> bytes:
        self.count += 1
        return b"\xa2\x63VER\x1a" + self.count.to_bytes(4, "big") + b"\x64SIGN\x58\x40" + self.count.to_bytes(64, "big")

    def packets(self, cycles: int) -> bytes:
        """Each cycle CYCLE messages; whatever the broker has to acknowledge has an id of its own."""
        made = bytearray()
        for cycle in range(cycles):
            ids = range(8 * cycle + 1, 8 * cycle + 9)
            again = self.datagram()
            made += publish_packet("d/0", self.datagram())
            made += publish_packet("d/1", self.datagram(), OTHERS, qos=1, message_id=ids[0])
            made += publish_packet("d/2", again, qos=2, message_id=ids[1])
            made += publish_packet("d/2", self.datagram(), FORGED, qos=2, message_id=ids[2])
            made += publish_packet("t/1", self.datagram(), qos=1, message_id=ids[3])
            made += publish_packet("t/0", self.datagram())
            made += publish_packet("m/1", self.datagram(), OTHERS, qos=1, message_id=ids[4])
            made += publish_packet("m/0", self.datagram(), FORGED)
            made += publish_packet("d/plain", b"21.5", FORGED + FORGED)
            made += (
                publish_packet("d/2", again, OTHERS, qos=2, message_id=ids[5]),  # a repeat: the first bytes again
                publish_packet("d/1", TAKEN, OTHERS, qos=1, message_id=ids[6]),
                publish_packet("t/kept", b"on", OTHERS, retain=True),
                publish_packet("t/kept", b"", FORGED, retain=True),
                publish_packet("sigillo/x", b"mine", OTHERS, qos=1, message_id=ids[6]),
                publish_packet("m/" + "x" * 60_000, b"", OTHERS, qos=1, message_id=ids[6]),
                publish_packet("other", b"nobody's", OTHERS),
            )[cycle % 7]
            made += b"".join(b"\x62\x02" + ids[index].to_bytes(2, "big") for index in (1, 2, 5))  # PUBREL
        return bytes(made)


def exchange(wire: Wire, packets: bytes) -> None:
    """Send, and read past every answer: the broker has then done all of it."""
    wire.send(packets + b"\xc0\x00")
    tail = b""
    while not tail.endswith(PINGRESP):  # no id has 0xd0 as its first byte
        received = wire.socket.recv(1 << 20)
        assert received, "the broker closed the connection"
        tail = received[-2:] if len(received) > 1 else tail[-1:] + received


@contextlib.contextmanager
def reading(port: int, user: str) -> Iterator[None]:
    """A subscriber of everything that looks at nothing."""
    wire = Wire(port, "reader", user=user)
    wire.subscribe("#")
    wire.socket.settimeout(None)

    def read() -> None:
        while wire.socket.recv(1 << 20):
            pass

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield
    finally:
        wire.socket.shutdown(socket.SHUT_RDWR)
        reader.join()
        wire.close()


def everything(made: Broker, cycles: int) -> None:
    """Messages of every carrier by clients of both versions, a bridge, and one that is lost with its will."""
    with reading(made.port, "crate"):
        for user in ("crate", "edge"):
            wire = Wire(made.port, f"wire-{user}", user=user)
            exchange(wire, Traffic().packets(cycles))
            wire.close()
        for topic in ("d/1", "t/1", "m/1", "sigillo/x", "d/taken"):
            with Peer(made.port, "old", v5=False, user="crate") as old:
                for payload in (Traffic().datagram(), b"21.5", b""):
                    old.send(topic, TAKEN if topic == "d/taken" else payload, 2, retain=True)
                old.send("m/1", b"last", 1)
        drop(leave_a_will(made.port, "leaver", "m/will", user="crate"))
        with Peer(made.port, "last", user="crate") as last:
            assert last.publish("m/1", b"end") == 0


def settings(raw_tokens: bool) -> dict[str, object]:
    limits = {"raw_tokens": raw_tokens, "max_payload": 100_000}
    return {"fields": FIELDS, "users": ("crate", "edge"), "access_list": LISTED, "limits": limits}


def without_report(made: Broker) -> None:
    assert made.signal(signal.SIGTERM) == 0, made.log[-4000:]
    reports = [path.read_text(errors="replace") for path in made.folder.glob("sanitizer.*")]
    assert reports == []
    assert "runtime error" not in made.log
    assert made.end().last_sequence > 0


@pytest.fixture(scope="session")
def sanitized(plugin: None) -> Path:
    """The plugin built with the address and undefined-behaviour sanitizers."""
    with (CHECKOUT / "build" / "plugin.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        command = ["make", "-C", CHECKOUT / "plugin", "../build/plugin/sigillo-asan.so"]
        subprocess.run(command, check=True, capture_output=True)
    return CHECKOUT / "build" / "plugin" / "sigillo-asan.so"


def under_sanitizer(made: Broker) -> None:
    """The broker itself is not built for it, so its library must come first. Leaks are valgrind's to find."""
    command = ["gcc", "-print-file-name=libasan.so"]
    library = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    options = f"log_path={made.folder}/sanitizer:exitcode=99:detect_leaks=0"
    made.environment = {"LD_PRELOAD": library, "ASAN_OPTIONS": options, "UBSAN_OPTIONS": "print_stacktrace=1"}


@pytest.mark.parametrize("raw_tokens", [False, True], ids=["marks", "raw tokens"])
def test_no_report_of_the_sanitizers(sanitized: Path, raw_tokens: bool) -> None:
    with broker(plugin=sanitized, **settings(raw_tokens)) as made:
        under_sanitizer(made)
        made.start()
        assert "libasan" in Path(f"/proc/{made.process.pid}/maps").read_text()
        everything(made, 300)
        met = made.counters(dropped_wills=1)
        assert min(met.refused_datagrams, met.refused_names, met.refused_topics) > 0
        assert min(met.stripped_properties, met.repeats, met.plain) > 0
        without_report(made)


def valgrind(made: Broker) -> None:
    options = ("--xml=yes", f"--xml-file={made.folder}/valgrind", "--leak-check=full", "--show-leak-kinds=definite")
    made.mosquitto = ("valgrind", "--quiet", "--keep-debuginfo=yes", "--num-callers=30", *options, MOSQUITTO)


def errors(made: Broker) -> set[tuple[str, ...]]:
    """What valgrind says: the kind of each error, and the functions that lead to it."""
    assert made.signal(signal.SIGTERM) == 0, made.log[-4000:]
    found = set()
    for error in ElementTree.parse(made.folder / "valgrind").getroot().iter("error"):
        frames = error.find("stack").iter("frame")
        found.add((error.findtext("kind"), *(frame.findtext("fn") or frame.findtext("obj") or "?" for frame in frames)))
    return found


@pytest.mark.slow
def test_valgrind_has_nothing_to_say_of_the_plugin(plugin: None) -> None:
    """Thousands of messages; what it says of the broker alone it may say again."""
    if not shutil.which("valgrind"):
        pytest.skip("valgrind is not installed (packages/<release>/slow.txt)")
    chosen = settings(raw_tokens=False)
    with broker(plugin=None, **chosen) as bare:
        valgrind(bare)
        bare.start()
        everything(bare, 50)
        known = errors(bare)
    for raw_tokens in (False, True):
        with broker(**settings(raw_tokens)) as made:
            valgrind(made)
            made.start()
            everything(made, 300)
            assert errors(made) - known == set()
            assert made.end().last_sequence > 5_000


def anonymous_kib(made: Broker) -> int:
    """What the process has of its own: heap, stacks, data; not the spool, whose pages are the file's."""
    status = Path(f"/proc/{made.process.pid}/status").read_text()
    return int(re.search(r"RssAnon:\s+(\d+) kB", status).group(1))


def forget_segments(made: Broker) -> int:
    """Remove what the plugin will not look at again; how many segments it has open."""
    maps = Path(f"/proc/{made.process.pid}/maps").read_text()
    paths = sorted((made.spool / f"{made.fields.number:010}").glob("*.spool"))
    for path in paths[:-4]:
        path.unlink()
    return sum(path.name in maps for path in paths)


@pytest.mark.slow
def test_a_million_messages_take_no_memory() -> None:
    """All carriers mixed; every table of the plugin is full after the first 100,000."""
    batch, warm_up, messages, bound_kib = 200, 100_000, 1_000_000, 2_048
    traffic = Traffic()
    with broker(log_type="error", **settings(raw_tokens=True)) as made:
        made.start()
        wire = Wire(made.port, "crate", user="crate")
        warm = 0
        with reading(made.port, "crate"):
            for sent in range(0, warm_up + messages, batch * CYCLE):
                if sent == warm_up:
                    warm = anonymous_kib(made)
                exchange(wire, traffic.packets(batch))
                if sent % 20_000 == 0:
                    assert forget_segments(made) <= 2
            grown = anonymous_kib(made) - warm
        wire.close()
        print(f"{messages} messages: {warm} KiB, then {grown:+} KiB")
        assert warm > 8_192  # the tables are there
        assert grown < bound_kib
        assert made.signal(signal.SIGTERM) == 0
