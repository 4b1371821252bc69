"""The story that `make demo` tells, on real parts: a broker, a TPM in software, a time-stamp authority, a witness,
three trackers, a stranger, and a forger.

Every line that starts with `$` is a command that anybody can type again. Leaves `demo/evidence.jsonl` and
`demo/policy.toml`; ends with exit code 0 only if the honest evidence verifies and every forgery is caught.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from built import MANIFEST, REBUILD, altered, another_plugin, differences
from forgery import forgeries

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent
SIGILLO = str(CHECKOUT / "sigillo")
EVIDENCE = HERE / "evidence.jsonl"
POLICY = HERE / "policy.toml"
OPERATOR, WITNESS = "Example Broker", "Example University"
BROKER = Path("/usr/sbin/mosquitto")
PLUGIN = Path(os.environ.get("SIGILLO_PLUGIN", CHECKOUT / "build" / "plugin" / "sigillo.so"))
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


class Service:
    """A command that runs while the story is told."""

    def __init__(self, story: Path, name: str, *arguments: str) -> None:
        self.log = story / f"{name}.log"
        command = [SIGILLO, *arguments]
        print(f"$ {shown(command)} &", flush=True)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=CHECKOUT, stdout=log, stderr=subprocess.STDOUT)

    def wait_until_listening(self, address: str) -> None:
        """Then show what it has said so far. StoryError where it ends, or never listens."""
        host, port = address.split(":")

        def listens() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex((host, int(port))) == 0

        self.wait_until(listens)

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Then show what it has said so far. StoryError where it ends, or is not ready in time."""
        deadline = time.monotonic() + PATIENCE_S
        while not ready():
            if self.process.poll() is not None:
                raise StoryError(f"it did not start:\n{self.log.read_text()}")
            if time.monotonic() > deadline:
                raise StoryError(f"it is not ready:\n{self.log.read_text()}")
            time.sleep(0.1)
        print("".join(f"  {line}\n" for line in self.log.read_text().splitlines()), end="", flush=True)

    def stop(self) -> None:
        """As Ctrl-C would; StoryError where it does not end cleanly."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        if self.process.wait(PATIENCE_S) != 0:
            raise StoryError(f"it did not stop cleanly:\n{self.log.read_text()}")

    def end(self) -> None:
        """Whatever happened."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(PATIENCE_S)


@dataclass(frozen=True)
class Addresses:
    """Where everybody listens, on loopback."""

    broker: str
    log: str
    tsa: str
    witness: str

    @classmethod
    def free(cls) -> Addresses:
        return cls(*(f"127.0.0.1:{free_port()}" for _ in range(4)))


def as_built() -> bool:
    """Whether broker and plugin are those that a builder built from source, and a rebuilder again; says so."""
    say("1. Somebody built broker and plugin from source and signed a manifest; another made the same bytes again.")
    found = list(differences({"executable": BROKER, "plugin": PLUGIN}))
    print(f"  {shown([str(MANIFEST)])}, {shown([str(REBUILD)])} (docs/rebuild.md)")
    if not found:
        print("  Both programs of this machine are those of the manifest, bit for bit.")
    for line in found:
        print(f"  Not equal here: {line}")
    if found:
        print("  So nobody but the operator vouches for them below, and the verdict says that a rebuilder is missing.")
    return not found


def start(story: Path, at: Addresses, services: list[Service], *, built: bool) -> None:
    """A time-stamp authority, a witness, and the broker that asks both. *built*: it runs what the manifest names."""
    say("2. A third party runs the broker: Mosquitto with the Sigillo plugin, on a configuration it writes itself.")
    print("  Two more look after its log: a time-stamp authority, and a witness. Here all run on one machine.")
    print("  Each start is measured into a TPM, which signs what it holds. Here that is a program, no chip.")
    services.append(Service(story, "swtpm", "swtpm", str(story / "tpm")))
    services[-1].wait_until(lambda: "measure into it" in services[-1].log.read_text())
    services.append(Service(story, "tsa", "tsa", str(story / "tsa"), "--listen", at.tsa))
    services[-1].wait_until_listening(at.tsa)
    witness = ("witness", str(story / "witness"), "--listen", at.witness)
    services.append(Service(story, "witness", *witness, "--name", "witness.example/w1"))
    services[-1].wait_until_listening(at.witness)
    vkey = witness_key(story)
    third = ["--tsa", f"http://{at.tsa}/", "--tsa-crl", f"http://{at.tsa}/crl", "--anchor-interval", "2"]
    third += ["--witness", f"http://{at.witness}={vkey}", "--cosign-interval", "1"]
    own = ["--name", "localhost", "--operator", OPERATOR, "--listen", at.broker, "--http", at.log]
    clock = ["--on-bad-clock", "mark-unsynchronised"]
    tpm = ["--tpm", str(story / "tpm" / "tpm.sock"), "--quote-interval", "2"]
    manifest = ["--manifest", str(MANIFEST)] if built else []
    services.append(Service(story, "broker", "up", str(story / "operator"), *own, *clock, *tpm, *third, *manifest))
    services[-1].wait_until_listening(at.broker)
    print("  The witness learns which log to follow:")
    services[2].stop()
    log_key = (story / "operator" / "log" / "log.vkey").read_text().strip()
    services[2] = Service(story, "witness", *witness, "--log", log_key)
    services[2].wait_until_listening(at.witness)


def witness_key(story: Path) -> str:
    return (story / "witness" / "witness.vkey").read_text().strip()


def publish(story: Path, at: Addresses, count: int) -> list[str]:
    """Make, enrol and run the three trackers; returns the options by which `policy new` learns their keys."""
    say("4. Three trackers: each makes its own keys; the operator enrols them; they travel and publish.")
    print("  In each message they sign which checkpoint of the log they have seen: it was signed after that.")
    learned: list[str] = []
    for name, key_type, _, _ in TRACKERS:
        folder = story / "trackers" / name
        run("device", "new", name, "--key", key_type, "-o", str(folder), quiet=True)
        run("device", "add", str(story / "operator"), str(folder), quiet=True)
        learned += ["--device", f"{name}={folder / 'signing.pub.pem'}"]
    for name, _, form, qos in TRACKERS:
        options = ["--broker", at.broker, "--count", str(count), "--interval", "0.05"]
        run("device", "simulate", str(story / "trackers" / name), *options, "--qos", str(qos), "--form", form)
    return learned


def show_log(at: Addresses) -> None:
    """What everybody can see of the log while the broker runs, once a time-stamp token is in it."""
    say("3. Everything is in the operator's log within a second; anybody can fetch its newest checkpoint.")
    url = f"http://{at.log}/checkpoint"
    deadline = time.monotonic() + PATIENCE_S
    checkpoint = ""
    while not checkpoint or int(checkpoint.splitlines()[1]) < 2:  # the broker's statement, and the token
        if time.monotonic() > deadline:
            raise StoryError(f"no time-stamp token is logged:\n{checkpoint}")
        time.sleep(0.2)
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
            checkpoint = answer.read().decode()
    print(f"$ curl {url}", flush=True)
    print("".join(f"  {line}\n" for line in checkpoint.splitlines()), end="", flush=True)


def export(operator: Path, count: int) -> None:
    """Wait until the archive has every message, then write the evidence file."""
    say(
        "5. What the archive holds becomes one evidence file, once the log, the authority and the witness have seen it."
    )
    deadline = time.monotonic() + PATIENCE_S
    while (found := archived(operator)) < count * len(TRACKERS):
        if time.monotonic() > deadline:
            raise StoryError(f"only {found} messages reached the archive")
        time.sleep(0.2)
    EVIDENCE.unlink(missing_ok=True)
    run(*evidence_of_all(operator), "-o", str(EVIDENCE))


def evidence_of_all(operator: Path) -> list[str]:
    devices = [option for name, *_ in TRACKERS for option in ("--device", name)]
    return ["evidence", "--store", str(operator), *devices]


def archived(operator: Path) -> int:
    """Messages in the archive, asked through the command that everybody has."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [SIGILLO, *evidence_of_all(operator), "--no-wait", "--json", "-o", str(Path(scratch) / "evidence")]
        done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True)
        if done.returncode != 0:
            return 0
        said = json.loads(done.stdout)
        return int(said["messages"] + said["pending"])


def caught(case: str, command: list[str]) -> str:
    """One forgery: the command must exit 1 or 2, and say why in a line, which is returned."""
    output = subprocess.PIPE
    try:
        done = subprocess.run(
            command, cwd=CHECKOUT, stdout=output, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE_S
        )
    except subprocess.TimeoutExpired:
        raise StoryError(f"a forgery was accepted, or took too long: {case}") from None
    lines = done.stdout.splitlines() or ["(no output)"]
    first = next((line for line in lines if line.startswith("sigillo: error:")), lines[0])
    print(f"  {case:<48} exit {done.returncode}  {first}", flush=True)
    if done.returncode not in (1, 2):
        raise StoryError(f"a forgery was accepted: {case}")
    return first


def attestation_key(story: Path) -> str:
    """What the operator told the stranger of its TPM: the name of the key, as `sigillo up` says it."""
    said = re.search(r"attestation key is (000b[0-9a-f]{64})", (story / "broker.log").read_text())
    if said is None:
        raise StoryError("the broker was started without a TPM")
    return said[1]


def refuse_to_start(story: Path) -> None:
    """Programs that the manifest does not name, and a manifest that its builder did not sign: no broker starts."""
    forged = story / "manifest.json"
    forged.write_text(altered(MANIFEST.read_text()))
    plugin = another_plugin(PLUGIN, story / "sigillo.so")
    own = ["--name", "localhost", "--http", "", "--on-bad-clock", "mark-unsynchronised"]
    cases = {
        "a plugin of one byte more than the manifest's": ["--manifest", str(MANIFEST), "--plugin", str(plugin)],
        "a manifest with the builder's name changed": ["--manifest", str(forged)],
    }
    for number, (case, options) in enumerate(cases.items()):
        listen = ["--listen", f"127.0.0.1:{free_port()}"]
        said = caught(case, [SIGILLO, "up", str(story / f"operator-{number}"), *own, *listen, *options])
        if "manifest" not in said:
            raise StoryError(f"the broker did not start, but for another reason: {case}")


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--count", type=int, default=5, help="messages of each tracker (default 5)")
    count = options.parse_args().count
    story, at = story_folder(), Addresses.free()
    operator = story / "operator"
    services: list[Service] = []
    built = as_built()
    try:
        start(story, at, services, built=built)
        show_log(at)
        learned = publish(story, at, count)
        if built:
            shutil.copy(REBUILD, operator / "published" / "rebuilds")
        export(operator, count)
        for service in reversed(services):
            service.stop()
    finally:
        for service in services:
            service.end()
    run("log", "fsck", str(operator))

    say("6. A stranger says whom to trust, and verifies offline: one file, one policy, one command.")
    published = str(operator / "published" / "operator.toml")
    third = ("--tsa", str(story / "tsa" / "tsa.toml"), "--witness", f"{WITNESS}={witness_key(story)}")
    clock = ("--allow-unsynchronised", "--allow-unknown-bound")  # this machine's clock may be either
    build = ("--builder", str(MANIFEST), "--rebuilder", str(REBUILD)) if built else ()
    tpm = ("--level", "launched", "--software-attester", f"{OPERATOR}={attestation_key(story)}", "--allow-software-tpm")
    trusted = (*learned, *third, *build, *tpm, *clock)
    run("policy", "new", "--operator", published, *trusted, "--force", "-o", str(POLICY))
    run("verify", str(EVIDENCE), "--policy", str(POLICY))

    say("7. A forger tries: each of these must fail.")
    with tempfile.TemporaryDirectory() as scratch:
        for case, evidence, policy in forgeries(EVIDENCE, POLICY, Path(scratch)):
            caught(case, [SIGILLO, "verify", str(evidence), "--policy", str(policy)])
        if built:
            refuse_to_start(story)

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
