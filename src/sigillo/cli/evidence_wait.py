"""What an evidence file waits for, so that it shows all that can be shown of what was asked for."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import click

from sigillo import disk
from sigillo.archive.error import ArchiveError
from sigillo.broker.folder import OperatorFolder
from sigillo.broker.settings import Settings
from sigillo.cli.evidence_log import OperatorLog

_PAUSE_S = 0.2

Mark = tuple[int, int]
"""Epoch number and sequence."""


def best_log(folder: OperatorFolder, settings: Settings, newest: Mark | None) -> tuple[OperatorLog | None, str]:
    """The checkpoint to make evidence under; and what that of *newest* and all before it still lacks, in words.

    Each thing needs the one before: a checkpoint over the message; where there is a TPM and its epoch still runs, a
    quote over that; where there are TSAs, heads and a token of each over it, logged; where there are witnesses,
    cosignatures over all of that. The log is None where the operator keeps none.
    Raises LogError.
    """
    log = OperatorLog.find(folder.log)
    if log is None or newest is None:
        return log, ""
    missing = _missing(log, settings, newest)
    if missing or not settings.witness:
        return log, missing
    cosigned, quorum = OperatorLog.find_cosigned(folder.log), settings.cosign_quorum
    if cosigned is None or _missing(cosigned, settings, newest):
        return log, "a checkpoint over it that witnesses have cosigned"
    found = cosigned.cosigners(witness.key for witness in settings.witness)
    return cosigned, "" if found >= quorum else f"the cosignatures of {quorum} witnesses (there are {found})"


def _missing(log: OperatorLog, settings: Settings, newest: Mark) -> str:
    place = log.place(newest)
    if place == log.size:
        return "the log's checkpoint over the newest message"
    if settings.tpm and log.awaits_quote_over(place):
        return "the TPM's quote over the newest message"
    if settings.tsa and not log.has_heads_over(place):
        return "the log's heads over the newest message"
    tsas = (tsa.name for tsa in settings.tsa if not log.has_token_over(place, tsa.name))
    return f"a time-stamp token over the newest message from {name}" if (name := next(tsas, "")) else ""


def wait(
    folder: OperatorFolder,
    settings: Settings,
    newest: Mark,
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
            log, missing = best_log(folder, settings, newest)
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
