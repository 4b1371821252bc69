"""Mosquitto's own broker tests, of Debian's source package of the installed version."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.debian import fetch_source
from tests.plugin.launcher import CHECKOUT, MOSQUITTO
from tests.port import free_port

PYTHON = "/usr/bin/python3"  # Debian's, for Debian's psutil
TRIES = 3
PATIENCE_S = 120
PLUGINS = Path("plugins/dynamic-security/mosquitto_dynamic_security.so")
LEFT_OUT = {
    "06-bridge-clean-session.py": "hangs, with any broker",
    "08-ssl-connect-cert-auth-expired.py": "whether the client sees the alert or the end of the connection is a race",
    "08-ssl-connect-cert-auth-revoked.py": "the same race",
}
"""Upstream's own Makefile leaves them out too."""
EDITS = {
    MOSQUITTO: "../../src/mosquitto",
    "/tmp/": "./",  # two runs at a time
    # Of address space: the plugin's libraries and spool are 7 MB. The packets that this is about ask for 243 MB each.
    "limit = 25000000": "limit = 50000000",
}


def source() -> Path:
    """Unpacked source package, fetched once."""
    version = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", "mosquitto"], capture_output=True, text=True)
    folder = CHECKOUT / "build" / "upstream" / f"mosquitto-{version.stdout}"
    if not folder.exists():
        fetch_source("mosquitto", folder)
    return folder


def prepare(folder: Path) -> None:
    """A copy of the source whose tests can run: certificates, helpers in C, the installed broker's plugin, EDITS."""
    shutil.copytree(source(), folder, symlinks=True)
    subprocess.run(["sh", "gen.sh"], cwd=folder / "test" / "ssl", check=True, capture_output=True)
    subprocess.run(["make", "-C", folder / "test" / "broker" / "c"], check=True, capture_output=True)
    for path in (*folder.glob("test/*.py"), *folder.glob("test/broker/*.py")):
        text = path.read_text()
        for before, after in EDITS.items():
            text = text.replace(before, after)
        path.write_text(text)
    (folder / PLUGINS).symlink_to(next(Path("/usr/lib").glob(f"*/{PLUGINS.name}")))


@dataclass(frozen=True)
class Suite:
    """One prepared folder; its tests start `src/mosquitto`."""

    folder: Path

    def __post_init__(self) -> None:
        # Mosquitto drops its privileges, and writes beside the tests what these read again.
        subprocess.run(["chmod", "-R", "a+rwX", self.folder], check=True)

    def scripts(self) -> list[str]:
        names = sorted(path.name for path in self.folder.glob("test/broker/[0-9][0-9]-*.py"))
        return [name for name in names if not name.endswith("-helper.py") and name not in LEFT_OUT]

    def results(self) -> dict[str, str]:
        """Script → its result, one script after the other."""
        return {script: self.result(script) for script in self.scripts()}

    def result(self, script: str) -> str:
        """Of the first try that passes, else of the last: a test's own timing fails now and then, with any broker."""
        for _ in range(TRIES):
            result = self._run(script)
            if result != "fails":
                break
        return result

    def _run(self, script: str) -> str:
        here = self.folder / "test" / "broker"
        wanted = re.search(r"get_port\((\d*)\)", (here / script).read_text())
        command = [PYTHON, script, *_ports(int(wanted[1] or 1) if wanted else 1)]
        with (here / f"{script}.log").open("wb") as log, _session(command, here, log) as process:
            try:
                status = process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                return "hangs"
        return "fails" if status else "passes"


def _ports(count: int) -> list[str]:
    ports: set[int] = set()
    while len(ports) < count:
        ports.add(free_port())
    return [str(port) for port in ports]


@contextlib.contextmanager
def _session(command: list[str], folder: Path, log: object) -> Iterator[subprocess.Popen[bytes]]:
    """A process and whatever it starts; nothing of it is left."""
    options = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, "start_new_session": True, "umask": 0}
    process = subprocess.Popen(command, cwd=folder, **options)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
