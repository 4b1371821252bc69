"""tpm2-tools on the software TPM of a test; as a program, this file carries their commands to its socket."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sigillo.attestation import software_tpm


class Stock:
    """Stock tools, run in *work*."""

    def __init__(self, tpm: Path, work: Path) -> None:
        if shutil.which("tpm2_unseal") is None:
            pytest.skip("needs the package tpm2-tools")
        self._work = work
        relay = f"{sys.executable} {Path(__file__)} {software_tpm.socket_of(tpm)}"
        self._environment = {"PATH": "/usr/bin:/bin", "TPM2TOOLS_TCTI": f"cmd:{relay}", "TSS2_LOG": "all+NONE"}

    def tries(self, *words: object) -> subprocess.CompletedProcess[bytes]:
        """Run one tool; what it leaves loaded is flushed."""
        done = self._run(*words)
        self._run("tpm2_flushcontext", "-t")
        return done

    def run(self, *words: object) -> bytes:
        """Run one tool, which has to do its work: what it prints."""
        done = self.tries(*words)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def _run(self, *words: object) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [str(word) for word in words], capture_output=True, timeout=60, env=self._environment, cwd=self._work
        )


def relay(path: str) -> None:
    """Commands from standard input to a TPM's socket, responses back."""
    while len(head := sys.stdin.buffer.read(10)) == 10:
        command = head + sys.stdin.buffer.read(int.from_bytes(head[2:6], "big") - 10)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(path)
            connection.sendall(command)
            response = b""
            while len(response) < 10 or len(response) < int.from_bytes(response[2:6], "big"):
                response += connection.recv(4096)
        sys.stdout.buffer.write(response)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    relay(sys.argv[1])
