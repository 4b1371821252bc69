"""A thin HTTP server for loopback: bounded connections, and nobody who speaks slowly, or not at all, holds it up.

A proxy goes in front of what strangers shall reach.
"""

from __future__ import annotations

import ipaddress
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MAX_CONNECTIONS = 64
IDLE_S = 10.0
"""Longest wait for a byte, of one that comes or one that is taken."""
LIFE_S = 60.0
"""Longest life of a connection: a client that sends a byte now and then does not hold it for ever."""


def host_and_port(address: str) -> tuple[str, int]:
    """Host and port of ADDRESS:PORT."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def is_loopback(address: str) -> bool:
    """Whether this is ADDRESS:PORT with an IP address of this machine alone; port 0 stands for any that is free."""
    host, colon, port = address.rpartition(":")
    try:
        own = ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
    return own and bool(colon) and port.isascii() and port.isdigit() and int(port) < 2**16


class Server(ThreadingHTTPServer):
    """A server on one address, at most MAX_CONNECTIONS connections at once."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, address: str, handler: type[Handler]) -> None:
        """*address*: ADDRESS:PORT. Raises OSError where nothing can listen there."""
        host, port = host_and_port(address)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._open: dict[socket.socket, float] = {}
        self._guard = threading.Lock()
        super().__init__((host, port), handler)

    @property
    def url(self) -> str:
        """Where it answers."""
        host, port = self.server_address[:2]
        return f"http://[{host!s}]:{port}/" if self.address_family is socket.AF_INET6 else f"http://{host!s}:{port}/"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread; close it at once where there are too many."""
        with self._guard:
            full = len(self._open) >= MAX_CONNECTIONS
            if not full:
                self._open[request] = time.monotonic()
        if full:
            super().shutdown_request(request)
        else:
            super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """The end of a connection."""
        with self._guard:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Now and then: cut off who has been here too long."""
        with self._guard:
            old = [request for request, since in self._open.items() if time.monotonic() - since > LIFE_S]
        for request in old:
            try:
                request.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # gone already

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no matter; an error of our own is a line on standard error."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            print(f"sigillo: error: a request failed: {type(error).__name__}: {error}", file=sys.stderr)


class Handler(BaseHTTPRequestHandler):
    """One connection. Standard error is for failures, so nothing is logged here."""

    protocol_version = "HTTP/1.1"
    timeout = IDLE_S
    disable_nagle_algorithm = True  # head and content are two writes
    server_version, sys_version = "sigillo", ""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the library's name
        """Nothing."""

    def answer(self, status: int, content: bytes, headers: dict[str, str], *, with_content: bool = True) -> None:
        """Send a whole answer."""
        self.send_response(status)
        for name, value in {
            **headers,
            "Content-Length": str(len(content)),
            "X-Content-Type-Options": "nosniff",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if with_content:
            self.wfile.write(content)
