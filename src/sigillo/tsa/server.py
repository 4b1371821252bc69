"""The local time-stamp authority over HTTP, on loopback: RFC 3161 section 3.4."""

from __future__ import annotations

import signal
import socket
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus

from sigillo.core.timestamp_exchange import MAX_REQUEST, REQUEST_TYPE, RESPONSE_TYPE
from sigillo.tsa.error import TsaError
from sigillo.tsa.folder import LocalTsa
from sigillo.web import Handler, Server, is_loopback

DEFAULT_LISTEN = "127.0.0.1:8318"
CRL_PATH = "/crl"


class TsaServer(Server):
    """The server on one address; one token after the other."""

    def __init__(self, address: str, tsa: LocalTsa) -> None:
        """*address*: ADDRESS:PORT on loopback; port 0 for any that is free. Raises TsaError."""
        if not is_loopback(address):
            raise TsaError(f"{address}: must be as {DEFAULT_LISTEN}, on loopback: this is for demo and tests")
        self.tsa = tsa
        self.turn = threading.Lock()
        try:
            super().__init__(address, TsaHandler)
        except OSError as error:
            raise TsaError(f"{address}: nothing can listen there ({error.strerror}); choose another --listen") from None


class TsaHandler(Handler):
    """POST of a TimeStampReq, GET of /crl; anything else is refused."""

    server: TsaServer

    def do_POST(self) -> None:
        """Answer with a TimeStampResp."""
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit() or int(length) > MAX_REQUEST:
            self.close_connection = True
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return
        request = self.rfile.read(int(length))
        if self.headers.get("Content-Type", "").strip().lower() != REQUEST_TYPE:
            self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
            return
        try:
            with self.server.turn:
                response = self.server.tsa.reply(request)
        except TsaError as error:
            sys.stderr.write(f"{error}\n")
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR)
            return
        self.answer(HTTPStatus.OK, response, {"Content-Type": RESPONSE_TYPE})

    def do_GET(self) -> None:
        """Answer with the revocation list of the root."""
        try:
            crl = self.server.tsa.crl if self.path == CRL_PATH else None
        except OSError as error:
            sys.stderr.write(f"{error}\n")
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR)
            return
        if crl is None:
            self._refuse(HTTPStatus.NOT_FOUND)
            return
        self.answer(HTTPStatus.OK, crl, {"Content-Type": "application/pkix-crl"})

    def _refuse(self, status: HTTPStatus) -> None:
        self.answer(status, f"{status.phrase}\n".encode(), {"Content-Type": "text/plain; charset=utf-8"})


def serve(server: TsaServer, on_ready: Callable[[], None]) -> None:
    """Serve until SIGINT or SIGTERM. *on_ready* is called once it answers."""
    stop, stopper = socket.socketpair()
    stopper.setblocking(False)
    with stop, stopper:
        signal.set_wakeup_fd(stopper.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda _number, _frame: None)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        on_ready()
        stop.recv(1)
        signal.set_wakeup_fd(-1)
        server.shutdown()
