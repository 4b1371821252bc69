"""`sigillo up` under load, and `kill -9` of its parts at any moment; what the clients saw is remembered."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from sigillo.core.bytes import base64url_decode
from sigillo.core.entry import Kind, decode_entry
from sigillo.core.mark import decode_mark
from sigillo.log.fsck import fsck
from sigillo.log.incoming import submit
from sigillo.log.reader import LogReader, read_vkey

from ..port import free_port

CHECKOUT = Path(__file__).resolve().parents[2]
PLUGIN = CHECKOUT / "build" / "plugin" / "sigillo.so"
SIGILLO = [sys.executable, "-m", "sigillo.cli.main"]
TARGETS = ("broker", "launcher", "log", "all", "early")
PATIENCE_S = 60.0
_WINDOW = 20


class Seen:
    """What left the broker, over all rounds: topics that were acknowledged, hashes of marks that were delivered."""

    def __init__(self) -> None:
        self.acknowledged: set[str] = set()
        self.delivered: set[bytes] = set()
        self.submitted: list[bytes] = []
        self._made = 0
        self._guard = threading.Lock()

    def token(self) -> bytes:
        """One that was never submitted before, as DER."""
        with self._guard:
            self._made += 1
            return b"\x30\x0a\x02\x08" + self._made.to_bytes(8, "big")

    def topic(self) -> str:
        """One that no message had before: so an acknowledgement names its mark."""
        with self._guard:
            self._made += 1
            return f"m/{self._made}"


def submit_as_owner(log: Path, token: bytes) -> None:
    """Submit as another process of the log key's user does."""
    owner = log.stat()
    if os.getuid() == 0:
        os.setgid(owner.st_gid)
        os.setuid(owner.st_uid)
    submit(log, Kind.TOKEN, token)


class Client:
    """A client of the broker for one round, its network loop in a thread; the broker's end is its end."""

    def __init__(self, port: int, name: str, seen: Seen) -> None:
        self.seen = seen
        self.client = paho.Client(CallbackAPIVersion.VERSION2, name, protocol=paho.MQTTv5, reconnect_on_failure=False)
        self.client.max_inflight_messages_set(_WINDOW)
        self.begin()
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def begin(self) -> None:
        """Set the callbacks."""

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


class Publisher(Client):
    """Publishes with QoS 1, as fast as it is acknowledged."""

    def begin(self) -> None:
        self.waiting: dict[int, str] = {}
        self.early: set[int] = set()
        self.client.on_connect = lambda *_arguments: [self.send() for _ in range(_WINDOW)]
        self.client.on_publish = self.on_publish

    def send(self) -> None:
        topic = self.seen.topic()
        message = self.client.publish(topic, b"payload", 1)
        self.waiting[message.mid] = topic

    def on_publish(self, _client: object, _data: object, mid: int, code: Any, _properties: object) -> None:
        topic = self.waiting.pop(mid)
        if not code.is_failure:
            self.seen.acknowledged.add(topic)
        self.send()


class Subscriber(Client):
    """Takes every marked message."""

    def begin(self) -> None:
        self.client.on_connect = lambda client, *_arguments: client.subscribe("m/#", 0)
        self.client.on_message = self.on_message

    def on_message(self, _client: object, _data: object, message: Any) -> None:
        values = [value for name, value in message.properties.UserProperty if name == "time-mark"]
        self.seen.delivered.add(decode_mark(base64url_decode(values[0], "time-mark")).object_hash)


class Rig:
    """One operator folder through many rounds."""

    def __init__(self, folder: Path, seed: int, *options: str) -> None:
        self.folder, self.random, self.options = folder / "operator", random.Random(seed), options
        self.port, self.own = free_port(), folder / "mosquitto.conf"
        self.own.write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\n")
        self.listen = f"127.0.0.1:{free_port()}"
        self.log = folder / "up.log"
        self.seen = Seen()
        self.killed: Counter[str] = Counter()
        self.process: subprocess.Popen[bytes] | None = None

    # One run of `sigillo up`

    def start(self) -> None:
        command = [*SIGILLO, "up", str(self.folder), "--name", "localhost", "--listen", self.listen, "--http", ""]
        command += ["--conf", str(self.own), "--filter", "m/#", "--on-bad-clock", "mark-unsynchronised", "--json"]
        with self.log.open("wb") as log:
            command += ["--plugin", str(PLUGIN), *self.options]
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)

    def said(self, name: str) -> list[dict[str, Any]]:
        lines = [line for line in self.log.read_text().splitlines() if line.startswith("{") and line.endswith("}")]
        return [event for event in map(json.loads, lines) if event["event"] == name]

    def wait_for(self, name: str) -> None:
        assert self.process is not None
        deadline = time.monotonic() + PATIENCE_S
        while not self.said(name):
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)

    def children(self) -> list[int]:
        """In the order of their start: log, launcher, broker, archive."""
        assert self.process is not None
        with contextlib.suppress(FileNotFoundError):
            return [
                int(p) for p in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
            ]
        return []

    def kill(self, target: str) -> None:
        """`kill -9` of one part, or of all at once as far as there are any."""
        assert self.process is not None
        self.killed[target] += 1
        children = self.children()
        named = dict(zip(("log", "launcher", "broker"), children, strict=False))
        for pid in [named[target]] if target in named else [self.process.pid, *children]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def end(self, *codes: int) -> None:
        """Wait until nothing of the run is left."""
        assert self.process is not None
        code = self.process.wait(PATIENCE_S)
        said = self.log.read_text()
        assert code in codes, said
        assert "Traceback" not in said, said

    # Rounds

    def round(self) -> None:
        """Start, publish, kill at some moment; what is left ends by itself."""
        target = self.random.choice(TARGETS)
        self.start()
        if target == "early":
            time.sleep(self.random.uniform(0.2, 1.5))
            self.kill(target)
            return self.end(-signal.SIGKILL)
        self.wait_for("started")
        self.wait_for_port()
        self.submit()
        clients = [Subscriber(self.port, "subscriber", self.seen)]
        clients += [Publisher(self.port, f"publisher-{number}", self.seen) for number in range(2)]
        time.sleep(self.random.uniform(0.05, 0.5))
        self.kill(target)
        for client in clients:
            client.close()
        return self.end(*((-signal.SIGKILL,) if target == "all" else (1,)))

    def submit(self) -> None:
        """Hand a token to the log, by a process of its own."""
        token = self.seen.token()
        process = multiprocessing.get_context("fork").Process(target=submit_as_owner, args=(self.folder / "log", token))
        process.start()
        process.join()
        assert process.exitcode == 0
        self.seen.submitted.append(token)

    def wait_for_port(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise AssertionError(self.log.read_text())

    def settle(self) -> None:
        """A run without an accident: it takes what the last one left."""
        self.start()
        self.wait_for("started")
        assert self.process is not None
        self.process.terminate()
        self.end(0)

    def check(self) -> int:
        """Nothing that left the broker is missing in the log, and fsck accepts it. Returns its size."""
        for _progress in fsck(self.folder, read_vkey(self.folder / "log")):
            pass
        reader = LogReader(self.folder / "log", read_vkey(self.folder / "log"))
        size = reader.checkpoint.head.size
        hashes, topics, tokens = set(), set(), []
        for record in reader.records(0, size):
            kind = decode_entry(record.entry).kind
            if kind is Kind.MARK:
                signed = decode_mark(record.object_bytes)
                hashes.add(signed.object_hash)
                topics.add(signed.mark.topic)
            elif kind is Kind.TOKEN:
                tokens.append(record.object_bytes)
        assert self.seen.delivered <= hashes
        assert self.seen.acknowledged <= topics
        assert sorted(tokens) == sorted(self.seen.submitted), "each is logged, once"
        return size

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill("all")
            self.process.wait()
