"""What the plugin's core does for one message (no Mosquitto), part by part, beside libsodium's signature alone."""

from __future__ import annotations

import subprocess
from functools import partial
from pathlib import Path

from bench.load import PAYLOAD, datagram
from bench.result import Work

PARTS = {
    "libsodium's signature": "sign",
    "a time mark: signature and hashes": "mark",
    "… of these: salt (HMAC-SHA-256)": "salt",
    "… of these: commitment (SHA-256 of the payload)": "commitment",
    "… of these: object hash (SHA-256)": "hash",
    "repeats: a keyed hash of the message": "repeat",
    "the principal: SHA-256 of the name": "principal",
    "walk over the datagram": "datagram",
    "base64url of the mark": "base64",
    "spool record, CRC-32 and page faults": "spool",
}
"""By row of the table, what bench/mark.c calls it."""


class Program:
    """bench/mark.c, built with the plugin's own sources and flags; it runs until `close`."""

    def __init__(self, checkout: Path) -> None:
        """Build and start. Raises CalledProcessError where the compiler fails (it says why)."""
        folder = checkout / "build/bench"
        folder.mkdir(parents=True, exist_ok=True)
        plugin = checkout / "plugin"
        sources = [str(checkout / "bench/mark.c"), *sorted(str(path) for path in plugin.glob("core/*.c"))]
        flags = ["-std=c11", "-O2", "-D_GNU_SOURCE", "-fstack-protector-strong", "-D_FORTIFY_SOURCE=2", f"-I{plugin}"]
        flags += ["-fstack-clash-protection", f"-DPAYLOAD={PAYLOAD}"]
        subprocess.run(["cc", *flags, *sources, "-lsodium", "-o", str(folder / "mark")], check=True)
        pipe = subprocess.PIPE
        self._process = subprocess.Popen([folder / "mark", datagram(0).hex()], stdin=pipe, stdout=pipe, text=True)
        self.libsodium = self._ask("version")

    def work(self, part: str) -> Work:
        """CPU seconds of one *part*."""
        return partial(self._seconds, part)

    def close(self) -> None:
        """End the program."""
        self._process.communicate()

    def _seconds(self, part: str) -> float:
        return float(self._ask(part)) / 1e9

    def _ask(self, what: str) -> str:
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise SystemExit("bench: no pipe to bench/mark")
        stdin.write(f"{what}\n")
        stdin.flush()
        answer = stdout.readline().strip()
        if not answer:
            raise SystemExit(f"bench: bench/mark does not answer {what!r}")
        return answer
