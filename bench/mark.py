"""What a time mark costs in the plugin's core (no Mosquitto), beside libsodium's signature alone."""

from __future__ import annotations

import subprocess
from pathlib import Path


class Program:
    """bench/mark.c, built with the plugin's own sources and flags; it runs until this object's process ends."""

    def __init__(self, checkout: Path) -> None:
        """Build and start. Raises CalledProcessError where the compiler fails (it says why)."""
        binary = checkout / "build/bench/mark"
        binary.parent.mkdir(parents=True, exist_ok=True)
        plugin = checkout / "plugin"
        sources = [str(checkout / "bench/mark.c"), *sorted(str(path) for path in plugin.glob("core/*.c"))]
        flags = ["-std=c11", "-O2", "-D_GNU_SOURCE", "-fstack-protector-strong", "-D_FORTIFY_SOURCE=2", f"-I{plugin}"]
        subprocess.run(["cc", *flags, *sources, "-lsodium", "-o", str(binary)], check=True)
        self._process = subprocess.Popen([binary], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def mark(self) -> float:
        """CPU seconds for one mark."""
        return self._ask("mark")

    def signature(self) -> float:
        """CPU seconds for one crypto_sign_detached."""
        return self._ask("sign")

    def close(self) -> None:
        """End the program."""
        self._process.communicate()

    def _ask(self, what: str) -> float:
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise SystemExit("bench: no pipe to bench/mark")
        stdin.write(f"{what}\n")
        stdin.flush()
        return float(stdout.readline()) / 1e9
