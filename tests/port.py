"""Ports for the services of a test, that nothing else on the machine takes meanwhile."""

from __future__ import annotations

import os
import socket
from typing import Final

_PORTS: Final = range(20_000, 32_000)
"""Below those that the kernel gives to connections: one of them may be taken between two starts of a service, or by the
look whether it listens already, which the kernel then connects to itself."""

_claims: Final[list[socket.socket]] = []


def free_port() -> int:
    """One on which nobody listens, and that no other test gets as long as this process lives."""
    first = os.getpid() * 61 + len(_claims)
    for at in range(first, first + len(_PORTS)):
        port = _PORTS[at % len(_PORTS)]
        if _claim(port) and _is_unused(port):
            return port
    raise AssertionError("every port is in use")


def _claim(port: int) -> bool:
    """An abstract name, of which the kernel has one: it goes with its process."""
    name = socket.socket(socket.AF_UNIX)
    try:
        name.bind(f"\0sigillo-test-port-{port}")
    except OSError:
        name.close()
        return False
    _claims.append(name)
    return True


def _is_unused(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
