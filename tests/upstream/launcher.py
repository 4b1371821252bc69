"""The launcher of every broker that upstream's tests start: tests/upstream/mosquitto.py connects to it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sigillo.core.epoch import EndReason
from sigillo.core.handshake import MAX_PACKET
from sigillo.core.statement import MarkedFilter
from tests.plugin.launcher import PATIENCE_S, broker

UNUSED = (MarkedFilter("sigillo-unused/#"),)
"""What no test publishes."""


@dataclass
class Launcher:
    """Shakes hands with each broker that connects, stays until it ends, and reads its spool."""

    listener: socket.socket
    ends: list[EndReason] = field(default_factory=list)
    """Of every broker that ended with a signed epoch end, without having marked anything."""
    faults: list[str] = field(default_factory=list)
    """Of every other."""
    serving: list[threading.Thread] = field(default_factory=list)

    def accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                connection, _ = self.listener.accept()
                self.serving.append(threading.Thread(target=self._serve, args=(connection,)))
                self.serving[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, broker(fields={"filters": UNUSED}) as made:
                connection.settimeout(PATIENCE_S)
                made.access_list = connection.recv(MAX_PACKET).decode()
                made.launcher = connection
                made.shake_hands()
                connection.settimeout(None)
                while connection.recv(MAX_PACKET):
                    pass
                assert made.spooled_marks() == []
                self.ends.append(made.end().reason)
        except Exception as error:  # noqa: BLE001 (whatever it is, the test says it)
            self.faults.append(repr(error))


@contextlib.contextmanager
def launcher(path: Path) -> Iterator[Launcher]:
    """Listen at `path`, in threads of its own; at the end every broker has ended."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(path))
    listener.listen()
    made = Launcher(listener)
    accepting = threading.Thread(target=made.accept)
    accepting.start()
    try:
        yield made
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        accepting.join()
        listener.close()
        for thread in made.serving:
            thread.join()
