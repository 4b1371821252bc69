"""A real software TPM for a test: started, used, stopped by its process id."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sigillo.attestation import software_tpm
from sigillo.attestation.attester import Attester
from sigillo.attestation.link import Link, open_link
from sigillo.attestation.tpm import Tpm

NAME = "broker.example"


def made(folder: Path) -> Path:
    """A new TPM in *folder*; skips the test where swtpm is not installed."""
    if shutil.which("swtpm") is None or shutil.which("swtpm_setup") is None:
        pytest.skip("needs a software TPM: the packages swtpm and swtpm-tools")
    software_tpm.make(folder, NAME)
    return folder


@contextmanager
def started(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The TPM of *folder*, from a reset to an orderly end."""
    path = software_tpm.socket_of(folder)
    path.unlink(missing_ok=True)
    words = software_tpm.command(folder)
    with subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            deadline = time.monotonic() + 20
            while not listens(path):
                assert process.poll() is None, (folder / "swtpm.log").read_text()
                assert time.monotonic() < deadline, "swtpm does not listen"
                time.sleep(0.01)
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)  # a test may have stopped it
                process.terminate()


def listens(path: Path) -> bool:
    """Whether somebody answers at the socket: there it is a moment earlier."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def link_to(folder: Path, timeout_s: float = 30.0) -> Link:
    return open_link(software_tpm.socket_of(folder), timeout_s)


@contextmanager
def attester_of(folder: Path) -> Iterator[tuple[Attester, Tpm]]:
    """The attester of the TPM of *folder*, which runs meanwhile."""
    with started(folder):
        tpm = Tpm(link_to(folder))
        yield Attester.open(tpm), tpm


def wait_until(condition: Callable[[], bool]) -> None:
    """Call *condition* until it is true."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "not within 60 s"
        time.sleep(0.05)
