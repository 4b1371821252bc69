"""An authority of :mod:`tests.adversary.tsa` over HTTP on loopback: honest unless a test says how not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from sigillo.core import der
from sigillo.core.der import Reader

from .tsa import Tsa, integer, sequence

REPLY = "application/timestamp-reply"


@dataclass
class Answer:
    """What goes over the wire. *stall*: send the head, then nothing."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": REPLY})
    stall: bool = False


@dataclass
class TsaServer:
    """Where it answers, what it was asked for, and how it answers: *answer* gets the imprint and the nonce.

    *crl*: what is at /crl.
    """

    tsa: Tsa
    url: str = ""
    requests: list[bytes] = field(default_factory=list)
    answer: Callable[[bytes, int], Answer] | None = None
    crl: Answer | None = None
    stopped: threading.Event = field(default_factory=threading.Event)

    def honest(self, imprint: bytes, nonce: int, /, **lies: Any) -> Answer:
        return Answer(response(self.tsa.stamp(b"", **{"imprint": imprint, "nonce": nonce} | lies)))


def response(token: bytes, status: int = 0) -> bytes:
    return sequence(sequence(integer(status)), token)


@contextmanager
def serving(tsa: Tsa, port: int = 0) -> Iterator[TsaServer]:
    """On any free port where none is given."""
    served = TsaServer(tsa)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = self.rfile.read(int(self.headers["Content-Length"]))
            served.requests.append(request)
            self._send((served.answer or served.honest)(*asked(request)))

        def do_GET(self) -> None:
            self._send(served.crl if served.crl and self.path == "/crl" else Answer(b"", 404))

        def _send(self, found: Answer) -> None:
            self.send_response(found.status)
            for name, value in {"Content-Length": str(len(found.body)), **found.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if found.stall:
                served.stopped.wait(60)
            else:
                self.wfile.write(found.body)

        def log_message(self, *_arguments: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads, block_on_close = True, False

        def handle_error(self, *_arguments: object) -> None:
            pass

    with Quiet(("127.0.0.1", port), Handler) as server:
        served.url = f"http://127.0.0.1:{server.server_address[1]}/"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield served
        finally:
            served.stopped.set()
            server.shutdown()
            thread.join()


def asked(request: bytes) -> tuple[bytes, int]:
    """Imprint and nonce of a request."""
    reader = Reader(request, "request").within(der.SEQUENCE)
    assert reader.integer() == 1
    imprint = reader.within(der.SEQUENCE)
    imprint.next(der.SEQUENCE)
    hashed = imprint.next(der.OCTET_STRING).content
    nonce = reader.integer()
    assert reader.true()  # certReq
    reader.end()
    return hashed, nonce
