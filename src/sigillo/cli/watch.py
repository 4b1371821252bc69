"""`sigillo watch`: challenge a broker again and again, and say what changes."""

from __future__ import annotations

import datetime
import json
import math
import shlex
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Final

import click

from sigillo import disk
from sigillo.challenge import ChallengeError
from sigillo.cli.challenge import Challenger, challenger_options
from sigillo.cli.source import FileError, naming, read_at_most
from sigillo.core.watched import MAX_STATE, Watch, answered, decode_watch, encode_watch, silent
from sigillo.report.escape import escape

_PATH = click.Path(path_type=Path)
_PRIVATE: Final = 0o600
_HOOK_S: Final = 60.0


@click.command(
    short_help="Challenge a broker again and again; say what changes.",
    epilog="""\b
Exit codes: with --once 0 green, 1 red; else 0 when stopped; 2 misused.

\b
Examples:
  sigillo watch http://127.0.0.1:8380 --policy policy.toml --state broker.watch
  sigillo watch http://127.0.0.1:8380 --policy policy.toml --state broker.watch --hook "mail-me --urgent"
  sigillo watch http://127.0.0.1:8380 --policy policy.toml --state broker.watch --once   (from cron)
""",
)
@challenger_options
@click.option("--state", type=_PATH, required=True, help="What is remembered; made if it is not there.")
@click.option(
    "--interval", type=click.FloatRange(1, 86_400), default=60.0, show_default=True, help="Seconds between two."
)
@click.option("--hook", help="A command to run on each change; it gets one JSON object on its standard input.")
@click.option("--once", is_flag=True, help="Challenge once; the exit code says green or red.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, for each change.")
def command(
    *,
    url: str,
    policy: Path,
    manifests: tuple[Path, ...],
    rebuilds: tuple[Path, ...],
    timeout: float,
    state: Path,
    interval: float,
    hook: str | None,
    once: bool,
    as_json: bool,
) -> int:
    """Challenge the broker whose log is at URL at an interval, and say what changes: another epoch, key or program,
    something that went backward, silence. No answer, and one that attests nothing, is red.

    What went backward once (a rolled-back log, an older TPM, two histories) stays red until another --state is begun.
    """
    if math.isnan(interval):
        raise click.UsageError("--interval nan: must be a number of seconds.")
    challenger = Challenger.read(url, policy, manifests, rebuilds, timeout)
    watcher = _Watcher(challenger, state, _words(hook), as_json=as_json)
    if once:
        return 0 if watcher.turn() else 1
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    while not stop.is_set():
        watcher.turn()
        stop.wait(interval)
    return 0


def _words(hook: str | None) -> list[str]:
    try:
        return shlex.split(hook) if hook else []
    except ValueError as error:
        raise click.UsageError(f"--hook {hook}: {error}.") from None


class _Watcher:
    def __init__(self, challenger: Challenger, state: Path, hook: list[str], *, as_json: bool) -> None:
        self._challenger, self._state, self._hook, self._as_json = challenger, state, hook, as_json
        self._watch = _load(state)

    def turn(self) -> bool:
        """One challenge. Whether it is green. What changed is said whatever happens to the state."""
        try:
            watch, changes = answered(self._watch, self._challenger.ask())
        except ChallengeError as error:
            watch, changes = silent(self._watch, error.reason)
        self._watch = watch
        try:
            self._keep(watch)
        finally:
            for change in changes:
                self._say(change)
        return watch.is_green

    def _keep(self, watch: Watch) -> None:
        try:
            disk.replace(self._state, encode_watch(watch), _PRIVATE)
        except OSError as error:
            raise FileError(f"{self._state}: cannot be written ({error.strerror}); name another with --state") from None

    def _say(self, change: str) -> None:
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        colour = "green" if self._watch.is_green else "red"
        said = json.dumps(
            {"time": now, "url": self._challenger.url, "colour": colour, "change": change, "why": self._watch.why}
        )
        click.echo(said if self._as_json else f"{now} {colour:<5} {escape(change)}")
        if self._hook:
            self._run_hook(said)

    def _run_hook(self, said: str) -> None:
        try:
            done = subprocess.run(self._hook, input=said + "\n", text=True, timeout=_HOOK_S, stdout=sys.stderr)
        except (OSError, subprocess.TimeoutExpired) as error:
            click.echo(f"sigillo: warning: --hook {self._hook[0]}: {error}", err=True)
            return
        if done.returncode != 0:
            click.echo(f"sigillo: warning: --hook {self._hook[0]}: ended with exit code {done.returncode}", err=True)


def _load(path: Path) -> Watch:
    if not path.exists():
        return Watch()
    with naming(path, "put it back from your backup, or name a new file with --state, which forgets what was seen"):
        return decode_watch(read_at_most(path, MAX_STATE))
