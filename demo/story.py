"""The story that `make demo` tells, on real parts: a broker, three trackers, a stranger, and a forger.

Every line that starts with `$` is a command that anybody can type again. Leaves `demo/evidence.jsonl` and
`demo/policy.toml`; ends with exit code 0 only if the honest evidence verifies and every forgery is caught.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from forgery import forgeries

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent
SIGILLO = str(CHECKOUT / "sigillo")
EVIDENCE = HERE / "evidence.jsonl"
POLICY = HERE / "policy.toml"
OPERATOR = "Example Broker"
TRACKERS = (  # id, key type, form of the message, QoS
    ("crate-1", "p256", "datagram", 0),
    ("crate-2", "ed25519", "datagram", 1),
    ("crate-3", "p256", "cose", 2),
)
PATIENCE_S = 60


class StoryError(Exception):
    """A step of the story did not end as it must; the text says which and why."""


def say(text: str) -> None:
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)


def shown(arguments: Sequence[str]) -> str:
    """The command as a reader would type it from the checkout."""
    words = [word.replace(f"{CHECKOUT}/", "./" if word == SIGILLO else "") for word in arguments]
    return shlex.join(words)


def run(*arguments: str, expect: int = 0, quiet: bool = False) -> str:
    """Run one `sigillo` command, show it and its output; StoryError unless it exits with *expect*."""
    command = [SIGILLO, *arguments]
    print(f"$ {shown(command)}", flush=True)
    done = subprocess.run(command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if not quiet or done.returncode != expect:
        print("".join(f"  {line}\n" for line in done.stdout.splitlines()), end="", flush=True)
    if done.returncode != expect:
        raise StoryError(f"`{shown(command)}` ended with exit code {done.returncode}, not {expect}")
    return done.stdout


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def story_folder() -> Path:
    """A new folder for the operator and the trackers.

    As root the broker runs as another user, which cannot look below a private home: then the folder is made
    where temporary files are.
    """
    reachable = os.geteuid() != 0 or all(parent.stat().st_mode & 0o001 for parent in HERE.parents)
    folder = HERE / "run"
    if reachable:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder
    made = Path(tempfile.mkdtemp(prefix="sigillo-demo-"))
    made.chmod(0o755)
    return made


class Broker:
    """`sigillo up` as a child of the story."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.address = f"127.0.0.1:{port}"
        self.log = folder.parent / "broker.log"
        command = [SIGILLO, "up", str(folder), "--name", "localhost", "--operator", OPERATOR]
        self.served = f"127.0.0.1:{free_port()}"
        command += ["--listen", self.address, "--http", self.served, "--on-bad-clock", "mark-unsynchronised"]
        print(f"$ {shown(command)} &", flush=True)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=CHECKOUT, stdout=log, stderr=subprocess.STDOUT)

    def wait_until_listening(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise StoryError(f"the broker did not start:\n{self.log.read_text()}")
            with socket.socket() as probe:
                host, port = self.address.split(":")
                if probe.connect_ex((host, int(port))) == 0:
                    print("".join(f"  {line}\n" for line in self.log.read_text().splitlines()), end="", flush=True)
                    return
            time.sleep(0.1)
        raise StoryError(f"the broker does not listen on {self.address}:\n{self.log.read_text()}")

    def stop(self) -> None:
        """As Ctrl-C would; StoryError where it does not end cleanly."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        if self.process.wait(PATIENCE_S) != 0:
            raise StoryError(f"the broker did not stop cleanly:\n{self.log.read_text()}")


def publish(story: Path, broker: Broker, count: int) -> list[str]:
    """Make, enrol and run the three trackers; returns the options by which `policy new` learns their keys."""
    say("2. Three trackers: each makes its own keys; the operator enrols them; they travel and publish.")
    learned: list[str] = []
    for name, key_type, _, _ in TRACKERS:
        folder = story / "trackers" / name
        run("device", "new", name, "--key", key_type, "-o", str(folder), quiet=True)
        run("device", "add", str(broker.folder), str(folder), quiet=True)
        learned += ["--device", f"{name}={folder / 'signing.pub.pem'}"]
    for name, _, form, qos in TRACKERS:
        options = ["--broker", broker.address, "--count", str(count), "--interval", "0.05"]
        run("device", "simulate", str(story / "trackers" / name), *options, "--qos", str(qos), "--form", form)
    return learned


def export(broker: Broker, count: int) -> None:
    """Wait until the archive has every message, then stop the broker and write the evidence file."""
    say("4. The broker stops; what its archive holds becomes one evidence file.")
    devices = [option for name, *_ in TRACKERS for option in ("--device", name)]
    arguments = ("evidence", "--store", str(broker.folder), *devices, "-o", str(EVIDENCE))
    deadline = time.monotonic() + PATIENCE_S
    while archived(broker.folder) < count * len(TRACKERS):
        if time.monotonic() > deadline:
            raise StoryError(f"only {archived(broker.folder)} messages reached the archive")
        time.sleep(0.2)
    broker.stop()
    EVIDENCE.unlink(missing_ok=True)
    run(*arguments)


def show_log(broker: Broker) -> None:
    """What everybody can see of the log while the broker runs."""
    say("3. Every mark is in the operator's log within a second; anybody can fetch its newest checkpoint.")
    url = f"http://{broker.served}/checkpoint"
    print(f"$ curl {url}", flush=True)
    with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
        checkpoint = answer.read().decode()
    print("".join(f"  {line}\n" for line in checkpoint.splitlines()), end="", flush=True)
    if int(checkpoint.splitlines()[1]) < 1:
        raise StoryError("the log is empty")


def archived(folder: Path) -> int:
    """Messages in the archive, asked through the command that everybody has."""
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / "evidence.jsonl"
        devices = [option for name, *_ in TRACKERS for option in ("--device", name)]
        command = [SIGILLO, "evidence", "--store", str(folder), *devices, "--no-wait", "-o", str(target)]
        subprocess.run(command, cwd=CHECKOUT, capture_output=True)
        if not target.exists():
            return 0
        return sum(json.loads(line)["type"] == "message" for line in target.read_text().splitlines())


def caught(case: str, command: list[str]) -> None:
    """One forgery: `verify` must exit 1 or 2, and say why in its first line."""
    done = subprocess.run(command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    first = done.stdout.splitlines()[0] if done.stdout else "(no output)"
    print(f"  {case:<48} exit {done.returncode}  {first}", flush=True)
    if done.returncode not in (1, 2):
        raise StoryError(f"a forgery was accepted: {case}")


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--count", type=int, default=5, help="messages of each tracker (default 5)")
    count = options.parse_args().count
    story = story_folder()
    say("1. A third party runs the broker: Mosquitto with the Sigillo plugin, on a configuration it writes itself.")
    broker = Broker(story / "operator", free_port())
    try:
        broker.wait_until_listening()
        learned = publish(story, broker, count)
        show_log(broker)
        export(broker, count)
    finally:
        if broker.process.poll() is None:
            broker.process.terminate()
            broker.process.wait(PATIENCE_S)

    run("log", "fsck", str(broker.folder))

    say("5. A stranger says whom to trust, and verifies offline: one file, one policy, one command.")
    published = str(broker.folder / "published" / "operator.toml")
    clock = ("--allow-unsynchronised", "--allow-unknown-bound")  # this machine's clock may be either
    run("policy", "new", "--operator", published, *learned, *clock, "--force", "-o", str(POLICY))
    run("verify", str(EVIDENCE), "--policy", str(POLICY))

    say("6. A forger tries: each of these must fail.")
    with tempfile.TemporaryDirectory() as scratch:
        for case, evidence, policy in forgeries(EVIDENCE, POLICY, Path(scratch)):
            caught(case, [SIGILLO, "verify", str(evidence), "--policy", str(policy)])

    say(
        f"Try it yourself:\n  ./sigillo verify {EVIDENCE.relative_to(CHECKOUT)} --policy {POLICY.relative_to(CHECKOUT)}"
    )
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except StoryError as error:
        sys.exit(f"demo: {error}")
    except KeyboardInterrupt:
        sys.exit("demo: interrupted")
