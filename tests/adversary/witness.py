"""Witnesses in threads: an honest one, and one that answers what a test says."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sigillo.core.cosignature import WitnessKey, WitnessKeyType, sign_cosignature
from sigillo.core.note import LogKey
from sigillo.core.witness import Answer, decode_add_checkpoint, encode_lines
from sigillo.log.submission import WitnessAddress
from sigillo.web import Handler, Server
from sigillo.witness.key import SigningWitnessKey
from sigillo.witness.memory import Memory
from sigillo.witness.server import WitnessServer
from sigillo.witness.witness import Witness

from .device import ed25519_key

NOW_S = 1_795_536_000
Script = Callable[[bytes], Answer | None]
"""From the body of a request to its answer; None: the connection ends without one."""


@contextmanager
def _serving(server: Server) -> Iterator[str]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.url
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def honest(folder: Path, *logs: LogKey, name: str = "witness.example/w1") -> Iterator[WitnessAddress]:
    """A real witness on *folder*, which may be there already."""
    folder.mkdir(exist_ok=True)
    key = SigningWitnessKey.open(folder, name, None)
    memory = Memory(folder, key.public)
    for log in logs:
        memory.follow(log)
    witness = Witness(key, memory, lambda: NOW_S, lambda _said: None)
    with _serving(WitnessServer("127.0.0.1:0", witness, lambda _error: None)) as url:
        yield WitnessAddress(url, key.public)


class _ScriptedServer(Server):
    script: Script


class _ScriptedHandler(Handler):
    server: _ScriptedServer

    def do_POST(self) -> None:
        answer = self.server.script(self.rfile.read(int(self.headers["Content-Length"])))
        if answer is None:
            self.close_connection = True
        else:
            self.answer(answer.status, answer.body, {"Content-Type": answer.content_type})


LIAR = ed25519_key("a witness that lies")
LIAR_KEY = WitnessKey("liar.example/w", WitnessKeyType.ED25519, LIAR.public_key().public_bytes_raw())


@contextmanager
def lying(script: Script) -> Iterator[WitnessAddress]:
    """A witness with the key `LIAR`."""
    server = _ScriptedServer("127.0.0.1:0", _ScriptedHandler)
    server.script = script
    with _serving(server) as url:
        yield WitnessAddress(url, LIAR_KEY)


def whatever(body: bytes) -> Answer:
    """Cosigns all that it is shown."""
    note = decode_add_checkpoint(body).checkpoint.note
    return Answer(200, encode_lines([sign_cosignature(note, LIAR_KEY, NOW_S, LIAR.sign)]))
