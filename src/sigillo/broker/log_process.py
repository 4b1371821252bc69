"""The log's process: the one writer of `log/`. Rounds until it is stopped, and word of each checkpoint (C6).

A round begins a quarter of a second after the one before at the latest, at once where there is much to do, or somebody
waits for it. When it is stopped it first takes what there is: the broker's end has been written by then.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import time

from sigillo.broker.cosigner import ask_before_signing
from sigillo.broker.counted import CountedLog, counted_log
from sigillo.broker.error import BrokerError
from sigillo.broker.event import Event, EventName, Report, cut
from sigillo.broker.folder import OperatorFolder
from sigillo.broker.log_key import SigningLogKey
from sigillo.broker.log_link import LogSide
from sigillo.broker.settings import Settings
from sigillo.core.checkpoint import SignedCheckpoint
from sigillo.log.writer import BeforeSigning, CheckCounter, Log, create_log

_PAUSE_S = 0.25
_MUCH = 4096
_REPORT_S = 1.0


def keep_log(folder: OperatorFolder, settings: Settings, end: socket.socket, report: Report) -> None:
    """Keep the log until SIGTERM; *end*: where launchers ask.

    Reports `witness` (of those that do not say what they have seen), `log-opened`, `logged`, `log-finding`.

    Raises BrokerError, LogError, TpmError, OSError.
    """
    os.umask(0o022)  # `public/` is for everybody; what is not has a mode of its own
    wake_reader, wake_writer = socket.socketpair()
    wake_writer.setblocking(False)
    signal.set_wakeup_fd(wake_writer.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGTERM, lambda _number, _frame: None)
    with wake_reader, wake_writer:
        try:
            key = SigningLogKey.open(folder.log, settings.origin, settings.tpm)
            counted = counted_log(folder.log, key, settings.tpm)
            with opened(
                folder,
                key,
                settings.keep_entries,
                heads_interval_s=settings.anchor_interval,
                before_signing=_ask(folder, settings, report),
                check_counter=counted.check if counted else None,
            ) as log:
                Rounds(log, LogSide(end), report, counted).run(wake_reader)
        finally:
            signal.set_wakeup_fd(-1)  # a signal that comes late must find no closed descriptor


def _ask(folder: OperatorFolder, settings: Settings, report: Report) -> BeforeSigning | None:
    """W0, where there are witnesses."""
    if not settings.witness:
        return None
    return lambda signed, size: ask_before_signing(signed, size, folder.log / "public", settings, report)


def opened(
    folder: OperatorFolder,
    key: SigningLogKey,
    keep_entries: int = 0,
    *,
    heads_interval_s: float = 60.0,
    before_signing: BeforeSigning | None = None,
    check_counter: CheckCounter | None = None,
) -> Log:
    """The log; made where no epoch was ever stated. Raises BrokerError where it is gone, LogError.

    *keep_entries*: the setting of that name; *heads_interval_s*: heads are as frequent as anchors.
    """
    if not (folder.log / "public" / "checkpoint").exists():
        if any(folder.epochs.glob("[0-9]*.cose")):
            raise BrokerError(
                f"{folder.log / 'public' / 'checkpoint'}: is gone, but epochs were stated. A new log under the old "
                "name would contradict the one before: keep it as evidence, begin a new one with another --name"
            )
        create_log(folder.log, key.public, key.sign)
    return Log.open(
        folder.log,
        key.public,
        key.sign,
        spool=folder.spool,
        epochs=folder.epochs,
        keep_entries=keep_entries,
        heads_interval_s=heads_interval_s,
        before_signing=before_signing,
        check_counter=check_counter,
    )


class Rounds:
    """The rounds of one log, in the rhythm of its process."""

    def __init__(self, log: Log, launcher: LogSide, report: Report, counted: CountedLog | None = None) -> None:
        self._log, self._launcher, self._report, self._counted = log, launcher, report, counted
        self._newest: SignedCheckpoint = log.checkpoint
        self._reported = self._newest.head.size
        self._due = 0.0

    def run(self, stop: socket.socket) -> None:
        """Until *stop* can be read. Raises LogError, TpmError, OSError."""
        self._report(Event(EventName.LOG_OPENED, {"size": self._newest.head.size}))
        while True:
            stopping = bool(select.select([stop], [], [], 0)[0])
            asked, begun = self._launcher.asked(), time.monotonic()
            self._rounds(until_idle=stopping or bool(asked))
            self._count(ending=stopping)
            for question in asked:
                self._launcher.answer(question, self._newest)
            self._say(now=stopping)
            if stopping:
                return
            rest = max(0.0, begun + _PAUSE_S - time.monotonic())
            if not select.select([stop], [], [], 0)[0]:
                select.select([stop.fileno(), self._launcher.fileno()], [], [], rest)

    def _rounds(self, *, until_idle: bool) -> None:
        """One round; more where it took much, or *until_idle* until there is nothing left."""
        while (made := self._log.round()) is not None:
            much = made.head.size - self._newest.head.size >= _MUCH
            self._newest = made
            self._launcher.tell(made)
            self._say()
            if not (much or until_idle):
                return

    def _count(self, *, ending: bool) -> None:
        """Raise the TPM's counter where it is time: for an epoch before anybody hears that its statement is logged."""
        if self._counted:
            self._counted.turn(self._log.epoch, self._newest.head.checkpoint, ending=ending)
            for finding in self._counted.findings():
                self._report(Event(EventName.LOG_FINDING, {"finding": cut(finding)}))

    def _say(self, *, now: bool = False) -> None:
        """What was logged, at most once a second, and what was found."""
        for finding in self._log.findings:
            self._report(Event(EventName.LOG_FINDING, {"finding": cut(finding)}))
        size = self._newest.head.size
        if size != self._reported and (now or time.monotonic() >= self._due):
            self._reported, self._due = size, time.monotonic() + _REPORT_S
            self._report(Event(EventName.LOGGED, {"size": size}))
