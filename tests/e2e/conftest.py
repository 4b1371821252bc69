"""The main job on real parts: `sigillo up` with a real Mosquitto, trackers over TLS, evidence, `sigillo verify`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ..port import free_port

CHECKOUT = Path(__file__).resolve().parents[2]
SIGILLO = Path(sys.executable).with_name("sigillo")
PLUGIN = CHECKOUT / "build" / "plugin" / "sigillo.so"
PATIENCE_S = 60
ALONE = ("--allow-unlogged", "--allow-unanchored", "--allow-unwitnessed", "--allow-no-beacon")
"""Of a reader who has nobody but the operator."""


def sigillo(*arguments: object, expect: int = 0) -> str:
    """Run one command; its output, with standard error after it where it failed."""
    done = subprocess.run([str(SIGILLO), *map(str, arguments)], capture_output=True, text=True, timeout=300)
    assert done.returncode == expect, f"{arguments}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@dataclass
class Operator:
    """The third party: its folder, and `sigillo up` while it runs."""

    folder: Path
    port: int
    options: tuple[str, ...] = ()
    program: tuple[str, ...] = (str(SIGILLO),)
    log: Path = field(init=False)
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.log = self.folder.parent / f"{self.folder.name}.log"

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start and wait until the broker listens."""
        command = [
            *self.program,
            "up",
            str(self.folder),
            "--name",
            "localhost",
            "--operator",
            "Example Broker",
            "--http",
            "",
        ]
        command += ["--listen", self.address, "--on-bad-clock", "mark-unsynchronised", "--plugin", str(PLUGIN)]
        command += self.options
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise AssertionError(f"not listening:\n{self.log.read_text()}")

    def stop(self, expect: int | None = 0) -> None:
        """As Ctrl-C would."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        code = self.process.wait(PATIENCE_S)
        self.process = None
        assert expect is None or code == expect, self.log.read_text()

    def statements(self) -> list[Path]:
        """The countersigned epoch statements, oldest first."""
        return sorted(path for path in (self.folder / "epochs").glob("*.cose") if ".end" not in path.name)


@dataclass
class Tracker:
    """A wine-crate tracker: its folder, and how it publishes."""

    name: str
    folder: Path
    form: str = "datagram"
    qos: int = 1

    def enrol(self, operator: Operator, key: str) -> Tracker:
        sigillo("device", "new", self.name, "--key", key, "-o", self.folder)
        sigillo("device", "add", operator.folder, self.folder)
        return self

    def command(self, operator: Operator, count: int, interval: float = 0.01) -> list[str]:
        options = ["--broker", operator.address, "--count", str(count), "--interval", str(interval)]
        return ["device", "simulate", str(self.folder), *options, "--qos", str(self.qos), "--form", self.form]

    def publish(self, operator: Operator, count: int) -> None:
        sigillo(*self.command(operator, count))


def export(operator: Operator, devices: list[str], target: Path, at_least: int, *more: str) -> Path:
    """`sigillo evidence`, again until the archive has *at_least* messages of the devices."""
    options = [*more, *(option for name in devices for option in ("--device", name))]
    deadline = time.monotonic() + PATIENCE_S
    while True:
        target.unlink(missing_ok=True)
        command = [str(SIGILLO), "evidence", "--store", str(operator.folder), *options, "-o", str(target)]
        done = subprocess.run(command, capture_output=True, text=True)
        found = 0
        if done.returncode == 0:
            lines = map(json.loads, target.read_text().splitlines())
            found = sum(line["type"] == "message" and line["payload"] is not None for line in lines)
        if found >= at_least:
            return target
        assert time.monotonic() < deadline, f"{found} of {at_least} archived\n{done.stderr}\n{operator.log.read_text()}"
        time.sleep(0.2)


def trust(operator: Operator, trackers: list[Tracker], target: Path) -> Path:
    """The policy of a stranger who trusts this operator and these trackers."""
    options = [option for t in trackers for option in ("--device", f"{t.name}={t.folder / 'signing.pub.pem'}")]
    options += ["--allow-unsynchronised", "--allow-unknown-bound", *ALONE, "--force"]
    sigillo("policy", "new", "--operator", operator.folder / "published" / "operator.toml", *options, "-o", target)
    return target


@pytest.fixture(scope="session")
def reachable_tmp() -> Iterator[Path]:
    """A temporary folder that the broker's user can reach (pytest's own is private to its user)."""
    folder = Path(tempfile.mkdtemp(prefix="sigillo-e2e-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def operator(reachable_tmp: Path) -> Iterator[Operator]:
    """A new operator, not started; stopped at the end."""
    if not PLUGIN.exists() or shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin") is None:
        pytest.skip("needs Mosquitto and the plugin: make setup plugin")
    folder = Path(tempfile.mkdtemp(dir=reachable_tmp))
    folder.chmod(0o755)
    made = Operator(folder / "operator", free_port())
    yield made
    made.stop(expect=None)


@dataclass(frozen=True)
class Story:
    """One honest run: three trackers of both key types and both forms, at QoS 0, 1 and 2."""

    operator: Operator
    trackers: list[Tracker]
    evidence: Path
    policy: Path


@pytest.fixture(scope="session")
def story(reachable_tmp: Path) -> Iterator[Story]:
    if not PLUGIN.exists() or shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin") is None:
        pytest.skip("needs Mosquitto and the plugin: make setup plugin")
    folder = reachable_tmp / "story"
    folder.mkdir()
    operator = Operator(folder / "operator", free_port())
    operator.start()
    try:
        trackers = [
            Tracker("crate-1", folder / "crate-1", qos=0).enrol(operator, "p256"),
            Tracker("crate-2", folder / "crate-2", qos=1).enrol(operator, "ed25519"),
            Tracker("crate-3", folder / "crate-3", qos=2, form="cose").enrol(operator, "p256"),
            Tracker("crate-4", folder / "crate-4", qos=1, form="cose").enrol(operator, "ed25519"),
        ]
        for tracker in trackers:
            tracker.publish(operator, 3)
        names = [tracker.name for tracker in trackers]
        export(operator, names, folder / "running.jsonl", 12)
        operator.stop()
        evidence = export(operator, names, folder / "evidence.jsonl", 12)
        yield Story(operator, trackers, evidence, trust(operator, trackers, folder / "policy.toml"))
    finally:
        operator.stop(expect=None)
