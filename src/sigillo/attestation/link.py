"""The way to a TPM: bytes of a command in, bytes of its response out, and never a wait without an end.

`/dev/tpmrm0` is the kernel's resource manager: what is loaded belongs to the descriptor and goes with it. A software
TPM (swtpm) listens on a Unix socket, serves one connection at a time and keeps what is loaded: one connection a
command.
"""

from __future__ import annotations

import os
import select
import socket
import stat
import time
from pathlib import Path
from typing import Final, Protocol

from sigillo.attestation.error import TpmError

TIMEOUT_S: Final = 30.0
"""Making an RSA key takes a chip many seconds; nothing takes longer."""
MAX_RESPONSE: Final = 4096
_HEADER: Final = 10


class Link(Protocol):
    """What carries commands to one TPM."""

    def transmit(self, command: bytes) -> bytes:
        """The response to *command*. Raises TpmError where there is none in time, or it is no response."""
        ...

    def close(self) -> None:
        """Let go of the TPM."""
        ...


def open_link(path: Path, timeout_s: float = TIMEOUT_S) -> Link:
    """The TPM at *path*: a device, or the socket of a software TPM. Raises TpmError where there is none."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISSOCK(mode):
            return SocketLink(path, timeout_s)
        if stat.S_ISCHR(mode):
            return DeviceLink(path, timeout_s)
    except OSError as error:
        raise _failed(path, "there is no TPM", error) from error
    raise TpmError(f"{path}: is neither a TPM device nor the socket of a software TPM")


class SocketLink:
    """A software TPM behind a Unix socket."""

    def __init__(self, path: Path, timeout_s: float = TIMEOUT_S) -> None:
        self._path, self._timeout_s = path, timeout_s

    def transmit(self, command: bytes) -> bytes:
        """As :class:`Link` says."""
        deadline = time.monotonic() + self._timeout_s
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(self._timeout_s)
                connection.connect(str(self._path))
                connection.sendall(command)
                response = self._receive(connection, deadline, _HEADER)
                size = _size(response)
                response += self._receive(connection, deadline, size - _HEADER)
        except TimeoutError:
            raise TpmError(f"{self._path}: the TPM does not answer within {self._timeout_s:g} s") from None
        except OSError as error:
            raise _failed(self._path, "the TPM is gone", error) from error
        return response

    def close(self) -> None:
        """Nothing is open between commands."""

    def _receive(self, connection: socket.socket, deadline: float, size: int) -> bytes:
        received = b""
        while len(received) < size:
            connection.settimeout(max(0.001, deadline - time.monotonic()))
            part = connection.recv(size - len(received))
            if not part:
                raise TpmError(f"{self._path}: the TPM ended in the middle of a response")
            received += part
        return received


class DeviceLink:
    """A TPM behind the kernel's resource manager."""

    def __init__(self, path: Path, timeout_s: float = TIMEOUT_S) -> None:
        self._path, self._timeout_s = path, timeout_s
        self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)

    def transmit(self, command: bytes) -> bytes:
        """As :class:`Link` says."""
        if self._descriptor < 0:
            raise TpmError(f"{self._path}: was closed after it had not answered")
        try:
            os.write(self._descriptor, command)
            if not select.select([self._descriptor], [], [], self._timeout_s)[0]:
                self.close()  # else the next command would read this one's response
                raise TpmError(f"{self._path}: the TPM does not answer within {self._timeout_s:g} s")
            response = os.read(self._descriptor, MAX_RESPONSE)
        except OSError as error:
            raise _failed(self._path, "the TPM is gone", error) from error
        if _size(response) != len(response):
            raise TpmError(f"{self._path}: the TPM's response has another length than it says")
        return response

    def close(self) -> None:
        """Close the device: the kernel forgets what was loaded through it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _failed(path: Path, what: str, error: OSError) -> TpmError:
    if isinstance(error, PermissionError):
        return TpmError(
            f"{path}: user {os.geteuid()} may not use it; allow that: setfacl -m u:{os.geteuid()}:rw {path}"
        )
    return TpmError(f"{path}: {what}: {error.strerror}")


def _size(response: bytes) -> int:
    size = int.from_bytes(response[2:6], "big")
    if not _HEADER <= size <= MAX_RESPONSE:
        raise TpmError(f"the TPM's response says that it has {size} bytes")
    return size
