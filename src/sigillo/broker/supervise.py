"""Starts log, cosigner, launcher, broker, archive and the rest, and stops what is left when one of them ends.

Order: the log opens its folder, the anchors begin, the launcher gets ready (log key, epochs, spool), the broker starts
with its end of the handshake socket as standard input and is shown to the launcher, the archive connects, the attester
quotes. At the end of a run the broker is stopped, the launcher stores the epoch's end, the log takes it, the attester
quotes it, the last checkpoint is anchored, the archive commits what it has.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

from sigillo import disk
from sigillo.broker.account import Account, Accounts
from sigillo.broker.anchor_process import keep_anchors
from sigillo.broker.archiver import archive
from sigillo.broker.attester_process import Challenges, QuotedEpoch, keep_quoting
from sigillo.broker.challenge_link import Exchange
from sigillo.broker.cosigner import gather
from sigillo.broker.disclosed import configuration_texts
from sigillo.broker.error import BrokerError
from sigillo.broker.event import Event, EventName, LineReader, Report, Value, cut, decode_event, reporter
from sigillo.broker.launcher import Plan, launch
from sigillo.broker.log_process import keep_log
from sigillo.broker.log_server import Folders, serve_log
from sigillo.broker.process import FAILED, Child, ending, start_child, start_program
from sigillo.broker.process_state import show_process
from sigillo.broker.settings import Settings
from sigillo.core.challenge import ConfigurationText
from sigillo.core.errors import SigilloError

_STOP_PATIENCE_S = {
    "broker": 20.0,
    "launcher": 120.0,
    "attester": 30.0,
    "anchors": 20.0,
    "log": 120.0,
    "cosigner": 20.0,
    "archive": 20.0,
    "server": 5.0,
}
_LAST_LINES = 10
_LAST_WORDS_S = 0.1
_FOLLOW_S = 1.0
_HANDLER_S = 0.05
_CHILDREN = ("broker", "launcher", "attester", "anchors", "log", "cosigner", "archive", "server")
"""In the order in which they are stopped."""
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_RESTARTING_REASONS = ("reload",)


@dataclass(slots=True)
class _Running:
    """A child and what it said. `status`: what waitpid said, once it has ended; `judged`: its end was reported."""

    child: Child
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=_LAST_LINES))
    status: int | None = None
    judged: bool = False


class Supervisor:
    """Runs epochs, one after the other, until it is told to stop or something fails."""

    def __init__(self, accounts: Accounts, lock: int, report: Report) -> None:
        """*lock*: descriptor of the lock on the operator folder; the children that write there hold it too."""
        self._accounts, self._lock, self._listener = accounts, lock, report
        self._deaf = False
        self._selector = selectors.DefaultSelector()
        self._running: dict[str, _Running] = {}
        self._settings: Settings | None = None
        self._stop_requested = self._reload_requested = False
        self._failed = False
        self._log_open = self._serving = self._ready = self._started = False
        self._epoch_reason: Value = None
        self._quoted: QuotedEpoch | None = None
        self._exchange = Exchange()
        self._log_end, self._launchers_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._wake_reader, self._wake_writer = socket.socketpair()

    def run(self, plan: Callable[[], Plan]) -> bool:
        """Run until stopped (SIGINT, SIGTERM); *plan* is asked before each epoch. Returns whether all went well.

        SIGHUP is passed on to the broker, which ends its epoch: a new one follows.
        Raises what *plan* raises; nothing that was started is left running.
        """
        self._watch_signals()
        try:
            self._epoch(plan)
            while self._goes_on():
                self._report(Event(EventName.RESTARTING, {"reason": self._epoch_reason}))
                self._epoch(plan)
        finally:
            self._stop_all()
            for number in (*_STOP_SIGNALS, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # nothing is left to reload
            signal.set_wakeup_fd(-1)
        return not self._failed

    def _goes_on(self) -> bool:
        if self._stop_requested or self._failed:
            return False
        return self._epoch_reason in _RESTARTING_REASONS

    def _epoch(self, ask: Callable[[], Plan]) -> None:
        """One epoch, from the start of its launcher to the end of broker and launcher."""
        plan = ask()
        self._ready = self._started = False
        self._epoch_reason = None
        self._part_with_old(plan.settings)
        texts = configuration_texts(plan.folder, plan.configuration) if plan.closure and plan.settings.http else ()
        if "log" not in self._running and not self._start_log(plan):
            return
        if plan.settings.witness and "cosigner" not in self._running:
            self._start_worker("cosigner", lambda report: gather(plan.folder, plan.settings, report))
        if plan.settings.http and "server" not in self._running and not self._start_server(plan):
            return
        if plan.settings.tsa and "anchors" not in self._running:
            self._start_worker("anchors", lambda report: keep_anchors(plan.folder, plan.settings, report))
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        shown, view = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs, shown, view:
            ends = (ours.fileno(), view.fileno(), self._launchers_end.fileno())
            self._start_worker("launcher", lambda report: launch(plan, ours, view, self._launchers_end, report), *ends)
            while not self._ready and self._all_alive("launcher", "log"):
                self._turn(None)
            if not self._ready or self._stop_requested:
                self._end_launcher_early()
                return
            self._start_broker(plan, theirs)
            if plan.closure:
                show_process(self._running["broker"].child.pid, shown)
        while not self._started and self._all_alive("broker", "launcher", "log"):
            self._turn(None)
        if self._started and "archive" not in self._running:
            self._start_worker("archive", lambda report: archive(plan.folder, plan.settings, report))
        if self._started and (quoted := self._quoted):
            self._start_attester(plan, quoted, texts)
        while self._all_alive(*self._running):
            self._pass_reload_on(ask)
            self._turn(_HANDLER_S if self._reload_requested else None)
        self._let_follow()
        by_themselves = [name for name in self._running if not self._alive(name)]
        self._stop("broker")
        self._wait("launcher")
        self._stop("attester")  # its last quote, before anything else is launched
        self._judge(by_themselves)

    def _start_log(self, plan: Plan) -> bool:
        """Start the log; whether it has opened its folder, and nobody wants us to stop."""
        main = lambda report: keep_log(plan.folder, plan.settings, self._log_end, report)  # noqa: E731
        self._start_worker("log", main, self._log_end.fileno())
        self._log_end.close()
        while not self._log_open and self._all_alive("log"):
            self._turn(None)
        if not self._log_open and not self._alive("log"):
            self._refuse_start("log")
        return self._all_alive("log")

    def _start_server(self, plan: Plan) -> bool:
        """Serve what is public, by somebody who has rights to nothing else; whether all is well so far."""
        folder, address = plan.folder, plan.settings.http
        self._serving = False
        with ExitStack() as stack:
            opened = [disk.open_folder(path) for path in (folder.log / "public", folder.epochs, folder.manifests)]
            for descriptor in opened:
                stack.callback(os.close, descriptor)
            challenges = stack.enter_context(self._exchange.new_server()) if plan.settings.tpm else None
            main = lambda report: serve_log(Folders(*opened), address, challenges, report)  # noqa: E731
            keep = (*opened, challenges.fileno()) if challenges else opened
            self._start_worker("server", main, *keep, account=self._accounts.public, locked=False)
        while not self._serving and self._all_alive("server", "log"):
            self._turn(None)
        if not self._serving and not self._alive("server"):
            self._refuse_start("server")
        return self._all_alive("server", "log")

    def _start_attester(self, plan: Plan, quoted: QuotedEpoch, texts: tuple[ConfigurationText, ...]) -> None:
        """Quotes of the epoch; and answers to challenges, where a server takes them."""
        with ExitStack() as stack:
            end = self._exchange.new_attester()
            challenges = Challenges(stack.enter_context(end), texts) if end else None
            main = lambda report: keep_quoting(plan.folder, plan.settings, quoted, challenges, report)  # noqa: E731
            self._start_worker("attester", main, *([end.fileno()] if end else []))

    def _part_with_old(self, settings: Settings) -> None:
        """Those live through epochs that hang on the settings; those that were started with other ones do not.
        The attester is of one epoch."""
        self._running.pop("attester", None)
        if self._settings not in (None, settings):
            for name in ("archive", "server", "anchors", "cosigner"):
                if name in self._running:
                    self._stop(name)
                    del self._running[name]
            self._exchange.close()
        self._settings = settings

    def _pass_reload_on(self, ask: Callable[[], Plan]) -> None:
        """A reload of the broker ends its epoch, and the next one reads everything anew: only if that can be used.

        A broker that has just started would die of the signal: it waits until there is a handler for it.
        """
        if not self._reload_requested or not self._running["broker"].child.catches(signal.SIGHUP):
            return
        self._reload_requested = False
        try:
            ask()
        except (SigilloError, OSError) as error:
            self._report(Event(EventName.RELOAD_REFUSED, {"reason": cut(str(error))}))
        else:
            self._running["broker"].child.send(signal.SIGHUP)

    def _all_alive(self, *names: str) -> bool:
        """Whether to go on waiting: nobody of *names* has ended, and nobody wants us to stop."""
        return all(self._alive(name) for name in names) and not self._stop_requested

    def _let_follow(self) -> None:
        """One end often has another for its cause or consequence: wait a little for the broker's, to name it."""
        deadline = time.monotonic() + _FOLLOW_S
        while self._alive("broker") and not self._stop_requested and time.monotonic() < deadline:
            self._turn(deadline - time.monotonic())

    def _end_launcher_early(self) -> None:
        """Before the broker was started: a launcher that failed has said why; one that is to stop has no epoch yet."""
        self._turn(0)
        if not self._alive("log"):  # the cause, whatever the launcher says of it
            self._refuse_start("log")
            return
        if self._alive("launcher"):
            self._running["launcher"].child.send(signal.SIGKILL)
            self._wait("launcher")
            return
        self._refuse_start("launcher")

    def _refuse_start(self, name: str) -> None:
        """A child ended before it was ready. Raises BrokerError where it said why."""
        self._turn(_LAST_WORDS_S)
        ended = self._running[name]
        if ended.status is not None and os.waitstatus_to_exitcode(ended.status) == FAILED:
            ended.judged = True
            raise BrokerError(" ".join(ended.lines))
        self._judge([name])

    def _start_broker(self, plan: Plan, theirs: socket.socket) -> None:
        reader, writer = os.pipe()
        os.set_blocking(writer, False)  # better a lost log line than a broker that waits for ours
        child = start_program(
            "broker",
            self._accounts.broker,
            plan.command,
            environment={},
            streams=(theirs.fileno(), writer),
            cwd=plan.folder.path,
        )
        os.close(writer)
        self._follow(child, reader, self._on_broker_line)
        self._report(Event(EventName.BROKER_STARTED, {"pid": child.pid, "command": " ".join(plan.command)}))

    def _start_worker(
        self,
        name: str,
        main: Callable[[Report], None],
        *keep: int,
        account: Account | None = None,
        locked: bool = True,
    ) -> None:
        reader, writer = os.pipe()
        error_reader, error_writer = os.pipe()

        def run() -> None:
            os.dup2(error_writer, 2)
            main(reporter(writer))

        keep = (*keep, self._lock) if locked else keep
        child = start_child(name, account or self._accounts.rest, (writer, error_writer, *keep), run)
        os.close(writer)
        os.close(error_writer)
        running = self._follow(child, reader, self._on_event_line)
        self._selector.register(error_reader, selectors.EVENT_READ, LineReader(error_reader, running.lines.append))

    def _follow(self, child: Child, reader: int, on_line: Callable[[str], None]) -> _Running:
        running = self._running[child.name] = _Running(child)
        self._selector.register(reader, selectors.EVENT_READ, LineReader(reader, on_line))
        return running

    def _on_broker_line(self, line: str) -> None:
        self._running["broker"].lines.append(line)
        self._report(Event(EventName.BROKER_LOG, {"line": cut(line)}))

    def _on_event_line(self, line: str) -> None:
        event = decode_event(line)
        if event.name is EventName.LOG_OPENED:
            self._log_open = True
        elif event.name is EventName.SERVING:
            self._serving = True
        elif event.name is EventName.READY:
            self._ready = True
        elif event.name is EventName.STARTED:
            self._started = True
            self._quoted = _quoted(event.fields)
        elif event.name is EventName.ENDED:
            self._epoch_reason = event.fields["reason"]
        elif event.name is EventName.ARCHIVE_LINKED and self._running["broker"].child.catches(signal.SIGUSR1):
            # save the archive's session: after a kill -9 it is known; a broker that cannot yet is a newer one
            self._running["broker"].child.send(signal.SIGUSR1)
        self._report(event)

    def _report(self, event: Event) -> None:
        """Tell the caller; where its output is gone, stop, and say no more."""
        if self._deaf:
            return
        try:
            self._listener(event)
        except OSError:  # a pipe without a reader, a terminal that was closed
            self._deaf = self._failed = self._stop_requested = True

    # Waiting and stopping

    def _watch_signals(self) -> None:
        for end in (self._wake_reader, self._wake_writer):
            end.setblocking(False)
        signal.set_wakeup_fd(self._wake_writer.fileno(), warn_on_full_buffer=False)
        for number in _STOP_SIGNALS:
            signal.signal(number, self._on_stop_signal)
        signal.signal(signal.SIGHUP, self._on_reload_signal)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        self._selector.register(self._wake_reader, selectors.EVENT_READ, None)

    def _on_stop_signal(self, _number: int, _frame: object) -> None:
        self._stop_requested = True

    def _on_reload_signal(self, _number: int, _frame: object) -> None:
        self._reload_requested = True

    def _turn(self, timeout_s: float | None) -> None:
        """Wait for something to happen (at most *timeout_s*), and take it in."""
        for key, _ in self._selector.select(timeout_s):
            if key.data is None:
                self._drain_wakeups()
            else:
                self._read(key.data)
        self._reap()

    def _drain_wakeups(self) -> None:
        try:
            while self._wake_reader.recv(4096):
                pass
        except BlockingIOError:
            return

    def _read(self, lines: LineReader) -> None:
        if not lines.read():
            self._selector.unregister(lines.descriptor)
            os.close(lines.descriptor)

    def _reap(self) -> None:
        for running in self._running.values():
            if running.status is None:
                pid, status = os.waitpid(running.child.pid, os.WNOHANG)
                if pid:
                    running.status = status

    def _alive(self, name: str) -> bool:
        return name in self._running and self._running[name].status is None

    def _judge(self, by_themselves: list[str]) -> None:
        """Report the children whose end was no good one: a bad exit code, or *by themselves* without a good reason.

        The launcher ends with its broker, and a broker may end its run for a new epoch.
        """
        self._turn(_LAST_WORDS_S)
        ended = {name: running for name, running in self._running.items() if running.status is not None}
        bad = {name for name, running in ended.items() if running.status != 0} - self._cut_short()
        excused = {"launcher"} | ({"broker"} if bad or self._epoch_reason in _RESTARTING_REASONS else set())
        for name in _CHILDREN:
            running = ended.get(name)
            if running is None or running.status is None or running.judged:
                continue
            unasked = name in by_themselves and name not in excused and not self._stop_requested
            if name in bad or unasked:
                self._report_death(name, running, running.status)

    def _report_death(self, name: str, running: _Running, status: int) -> None:
        self._failed = running.judged = True
        fields: dict[str, Value] = {"child": name, "how": ending(status), "lines": list(running.lines)}
        self._report(Event(EventName.CHILD_DIED, fields))

    def _cut_short(self) -> set[str]:
        """Whose bad end is our own stop, early in a start: a broker without its handler for SIGTERM yet, and with it a
        launcher that waited for its plugin."""
        broker, launcher = self._running.get("broker"), self._running.get("launcher")
        if not self._stop_requested or not broker or not launcher or broker.status not in (0, signal.SIGTERM):
            return set()
        waited = launcher.status is not None and os.waitstatus_to_exitcode(launcher.status) == FAILED
        return {"broker", "launcher"} if waited and not self._started else {"broker"}

    def _stop(self, name: str) -> None:
        """SIGTERM and, after much patience, SIGKILL."""
        if name == "broker":
            self._let_begin()
        if self._alive(name):
            self._running[name].child.send(signal.SIGTERM)
            self._wait(name)

    def _let_begin(self) -> None:
        """A broker that has just started would die of SIGTERM, and its epoch without an end: wait for its handler.

        And a moment longer: a signal that comes before its main loop begins is forgotten there.
        """
        deadline = time.monotonic() + _STOP_PATIENCE_S["broker"]
        caught_before = True
        while self._alive("broker") and time.monotonic() < deadline:
            caught = self._running["broker"].child.catches(signal.SIGTERM)
            if caught and caught_before:
                return
            caught_before = caught
            self._turn(_HANDLER_S)

    def _wait(self, name: str) -> None:
        deadline = time.monotonic() + _STOP_PATIENCE_S[name]
        while self._alive(name):
            self._turn(min(1.0, max(0.0, deadline - time.monotonic())))
            if self._alive(name) and time.monotonic() >= deadline:
                self._report(Event(EventName.KILLED, {"child": name, "patience_s": int(_STOP_PATIENCE_S[name])}))
                self._failed = True
                self._running[name].child.send(signal.SIGKILL)
                deadline += _STOP_PATIENCE_S[name]
        self._turn(0)

    def _stop_all(self) -> None:
        if self._running:
            self._report(Event(EventName.STOPPING))
        for name in _CHILDREN:
            if name == "launcher":
                if self._alive(name):
                    self._wait(name)
            else:
                self._stop(name)
        self._turn(_LAST_WORDS_S)
        log = self._running.get("log")
        if log and log.status not in (None, 0, signal.SIGTERM) and not log.judged:  # it could not take the rest
            self._report_death("log", log, log.status or 0)
        self._report(Event(EventName.STOPPED, {"well": not self._failed}))


def _quoted(started: Mapping[str, Value]) -> QuotedEpoch | None:
    """What there is to quote of an epoch that has started, where its launch was measured."""
    if not started["attester"]:
        return None
    epoch_id, key_name = (bytes.fromhex(str(started[name])) for name in ("epoch_id", "attester"))
    number = started["epoch"]
    assert isinstance(number, int)
    return QuotedEpoch(number, epoch_id, key_name)
