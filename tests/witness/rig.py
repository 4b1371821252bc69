"""`sigillo witness` as a process, and a log of two histories to show it."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from sigillo.core.checkpoint import SignedCheckpoint, TreeHead, sign_checkpoint
from sigillo.core.cosignature import WitnessKey
from sigillo.core.merkle import Read, consistency_proof, subtree_reader, tree_root
from sigillo.core.note import LogKey
from sigillo.core.witness import AddCheckpoint, Answer, encode_add_checkpoint
from tests.vector.key import LOG, filler

PATIENCE_S = 30
KEY = LogKey("broker.example/log", LOG.public)
NAME = "witness.example/w1"
COMMON, SIZE = 20, 400
"""The two histories have the first so many leaves in common; so many there are."""


@cache
def history(name: str) -> Read:
    """The tree of history "a" or "b"."""
    return subtree_reader([filler(f"leaf {n} {name if n >= COMMON else ''}") for n in range(SIZE)])


def checkpoint(size: int, name: str = "a", *extensions: str) -> SignedCheckpoint:
    return sign_checkpoint(TreeHead(KEY.name, size, tree_root(size, history(name)), extensions), KEY, LOG.sign)


def request(old: int, size: int, name: str = "a") -> bytes:
    """The body that continues history *name* from *old* to *size*."""
    proof = tuple(consistency_proof(old, size, history(name)))
    return encode_add_checkpoint(AddCheckpoint(old, proof, checkpoint(size, name)))


def post(url: str, body: bytes, path: str = "/add-checkpoint") -> Answer:
    """What it answers. Raises OSError, HTTPException."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE_S)
    try:
        connection.request("POST", path, body)
        answer = connection.getresponse()
        return Answer(answer.status, answer.read(), answer.headers["Content-Type"])
    finally:
        connection.close()


@dataclass
class WitnessProcess:
    """A witness on its folder; `url` and `key` are those of its last start."""

    folder: Path
    options: tuple[str, ...] = ("--log", KEY.vkey)
    url: str = ""
    key: WitnessKey = field(init=False)
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}.log")

    def start(self) -> WitnessProcess:
        """Start, and wait until it answers."""
        port = urlsplit(self.url).port or 0
        command = [sys.executable, "-m", "sigillo.cli.main", "witness", str(self.folder), "--name", NAME, "--json"]
        begin = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--listen", f"127.0.0.1:{port}", *self.options], stdout=log, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            for event in self.events(begin):
                if event["event"] == "serving":
                    self.url, self.key = str(event["url"]), WitnessKey.from_vkey(str(event["vkey"]))
                    return self
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.02)
        raise AssertionError(f"it does not serve:\n{self.log.read_text()}")

    def events(self, begin: int = 0) -> Sequence[dict[str, object]]:
        """What it has said since *begin*, a place in its log."""
        lines = self.log.read_bytes()[begin:].split(b"\n")[:-1]
        return [json.loads(line) for line in lines if line.startswith(b"{")]

    def stop(self) -> None:
        """As Ctrl-C would."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(PATIENCE_S) == 0, self.log.read_text()
        self.process = None

    def kill(self) -> None:
        """kill -9, where it runs."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(PATIENCE_S)
            self.process = None
