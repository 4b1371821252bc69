"""What an evidence file waits for, so that it shows all that was asked for: the log has to get there first."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import click

from sigillo import disk
from sigillo.archive.error import ArchiveError
from sigillo.broker.folder import OperatorFolder
from sigillo.cli.evidence_log import OperatorLog

_PAUSE_S = 0.2


def awaited(log: OperatorLog, newest: tuple[int, int]) -> str:
    """What the evidence of this message (epoch, sequence) and all before it still lacks; empty: nothing."""
    if log.last < newest:
        return "the log's checkpoint over the newest message"
    return ""


def wait(
    folder: OperatorFolder,
    newest: tuple[int, int],
    timeout_s: float,
    pause: Callable[[float], None] = time.sleep,
) -> OperatorLog | None:
    """The operator's log, once nothing is awaited; None where it keeps none.

    Raises ArchiveError where that cannot come, since no broker runs, or does not in *timeout_s* seconds; LogError.
    """
    deadline = time.monotonic() + timeout_s
    shows = sys.stderr.isatty()
    try:
        while True:
            running = disk.is_locked(folder.path)  # first, so that what a broker did before it ended is seen
            log = OperatorLog.find(folder.log)
            missing = log and awaited(log, newest)
            if not missing:
                return log
            if not running:
                raise ArchiveError(
                    f"{missing} is not there, and no broker runs on {folder.path}; start `sigillo up {folder.path}`, "
                    "or take what there is with --no-wait"
                )
            if time.monotonic() >= deadline:
                raise ArchiveError(
                    f"{missing} is not there after {timeout_s:g} s; see what `sigillo up` says, give it longer with "
                    "--timeout, or take what there is with --no-wait"
                )
            if shows:
                click.echo(f"\r\x1b[Kwaiting for {missing}", nl=False, err=True)
            pause(_PAUSE_S)
    finally:
        if shows:
            click.echo("\r\x1b[K", nl=False, err=True)
