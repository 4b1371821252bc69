"""Ports for the services of a test, that nothing else on the machine takes meanwhile."""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
from pathlib import Path
from typing import Final

_PORTS: Final = range(20_000, 32_000)
"""Below those that the kernel gives to connections: one of them may be taken between two starts of a service, or by the
look whether it listens already, which the kernel then connects to itself."""

_claims: Final[set[int]] = set()
_locks: Final[list[int]] = []


def free_port() -> int:
    """One on which nobody listens, and that no other test gets as long as this process lives."""
    first = os.getpid() * 61 + len(_claims)
    for at in range(first, first + len(_PORTS)):
        port = _PORTS[at % len(_PORTS)]
        if port not in _claims and _claim(port) and _is_unused(port):
            return port
    raise AssertionError("every port is in use")


def _claim(port: int) -> bool:
    """A lock on one byte of a file that all test processes have: it goes with its process.

    One descriptor for all of them: what uses select() fails where a process has more than 1,024 open.
    """
    if not _locks:
        path = Path(tempfile.gettempdir()) / f"sigillo-test-ports-{os.getuid()}"
        _locks.append(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    try:
        fcntl.lockf(_locks[0], fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    _claims.add(port)
    return True


def _is_unused(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
