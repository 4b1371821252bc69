"""`sigillo witness`: follow logs, and cosign what continues them."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from queue import SimpleQueue

import click

from sigillo import disk
from sigillo.core.note import LogKey
from sigillo.report.escape import escape
from sigillo.witness.error import WitnessFolderError
from sigillo.witness.key import KEY_TYPES, SigningWitnessKey
from sigillo.witness.memory import Memory
from sigillo.witness.server import WitnessServer
from sigillo.witness.witness import Said, Witness

DEFAULT_LISTEN = "127.0.0.1:8390"
_JUST_ENDING_S = 1.0


@click.command(
    short_help="Run a witness: cosign the logs of others.",
    epilog="""\b
Examples:
  sigillo witness /var/lib/witness --name witness.example.org/w1 --log "$(cat log.vkey)"
  sigillo witness /var/lib/witness --listen 127.0.0.1:8390
  sigillo witness /var/lib/witness --log "$(cat another.vkey)" --json
""",
)
@click.argument("directory", metavar="[DIR]", default="witness", type=click.Path(path_type=Path, file_okay=False))
@click.option("--name", help="Name of the witness's key, as a URL without https://. Needed the first time.")
@click.option(
    "--key-type",
    type=click.Choice(list(KEY_TYPES)),
    help="Kind of the key that the first run makes.  [default: ed25519]",
)
@click.option("--log", "logs", multiple=True, metavar="VKEY", help="A log to follow from now on; may be repeated.")
@click.option(
    "--listen", metavar="ADDR:PORT", default=DEFAULT_LISTEN, show_default=True, help="Where to answer, on loopback."
)
@click.option("--json", "as_json", is_flag=True, help="Events for programs: one JSON object per line.")
def command(
    *, directory: Path, name: str | None, key_type: str | None, logs: tuple[str, ...], listen: str, as_json: bool
) -> None:
    """Run a witness (C2SP tlog-witness) on the folder DIR, until Ctrl-C.

    It remembers the largest checkpoint that it cosigned of each log, and cosigns only what continues that one: of one
    log it never signs two histories. Its first run makes a key; give the line that it prints to the logs, and to
    whoever writes policies. Never put DIR back from a backup: begin a new witness, with a new key.

    Exit code: 0 stopped as asked, 2 it could not start or go on.
    """
    keys = [LogKey.from_vkey(vkey, f"--log {vkey[:40]}") for vkey in logs]
    events = _Events(as_json)
    ends: SimpleQueue[OSError | None] = SimpleQueue()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: ends.put(None))
    with ExitStack() as resources:
        _lock(directory, resources)
        key = SigningWitnessKey.open(directory, name, KEY_TYPES[key_type] if key_type else None)
        memory = Memory(directory, key.public)
        for log in keys:
            memory.follow(log)
        server = resources.enter_context(WitnessServer(listen, Witness(key, memory, time.time, events.tell), ends.put))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        resources.callback(server.shutdown)
        events.started(server, key, memory)
        failure = ends.get()
    if failure is not None:
        raise WitnessFolderError(
            f"{failure.filename or directory}: {failure.strerror or failure}; the witness has stopped: see to "
            "the disk, then start it again"
        )
    events.say("stopped", "stopped")


def _lock(directory: Path, resources: ExitStack) -> None:
    """Hold the lock on the folder, which is made if need be. Raises WitnessFolderError where another has it."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = disk.open_folder(directory)
    resources.callback(os.close, descriptor)
    try:
        disk.lock(descriptor, _JUST_ENDING_S)
    except BlockingIOError:
        raise WitnessFolderError(f"{directory}: another `sigillo witness` runs on it; stop that one first") from None


class _Events:
    """What the witness says: text for people, or one JSON object a line. A refusal that repeats itself is said once."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._last: dict[str, tuple[str, int]] = {}
        self._guard = threading.Lock()

    def started(self, server: WitnessServer, key: SigningWitnessKey, memory: Memory) -> None:
        origins = sorted(memory.logs)
        followed = ", ".join(origins) or "no log yet: say --log VKEY"
        text = f"witness key {key.public.vkey}\nfollows {followed}\nanswers at {server.url}"
        self.say("serving", text, vkey=key.public.vkey, url=server.url, logs=origins)

    def tell(self, said: Said) -> None:
        """From any thread. Output that nobody reads is no reason to stop."""
        with suppress(OSError):
            self._tell(said)

    def _tell(self, said: Said) -> None:
        with self._guard:
            again = self._last.get(said.origin) == (said.name, said.status)
            self._last[said.origin] = (said.name, said.status)
        if said.name == "cosigned":
            self.say("cosigned", f"cosigned {said.origin} at {said.size} entries", origin=said.origin, size=said.size)
        elif not again:
            words = "TWO HISTORIES" if said.name == "forked" else "refused"
            text = f"{words}: {said.origin} at {said.size} entries: {said.reason}"
            fields = {"origin": said.origin, "size": said.size, "status": said.status, "reason": said.reason}
            self.say(said.name, text, **fields)

    def say(self, name: str, text: str, **fields: object) -> None:
        """One event."""
        if self._as_json:
            click.echo(json.dumps({"event": name, **fields}, ensure_ascii=False))
        else:
            for line in text.split("\n"):
                click.echo(escape(line))
