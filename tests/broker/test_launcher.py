"""The launcher's side of the handshake, against a plugin that lies as a test tells it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sigillo.broker import launcher, log_process
from sigillo.broker.clock import ClockSource
from sigillo.broker.configuration import read_configuration
from sigillo.broker.error import BrokerError
from sigillo.broker.event import Event, Report
from sigillo.broker.folder import OperatorFolder
from sigillo.broker.launcher import Plan, launch
from sigillo.broker.log_key import SigningLogKey
from sigillo.broker.log_link import LauncherSide, LogSide
from sigillo.broker.log_process import Rounds, opened
from sigillo.broker.settings import Settings
from sigillo.core.checkpoint import SignedCheckpoint, TreeHead, encode_checkpoint, sign_checkpoint
from sigillo.core.entry import Kind
from sigillo.core.epoch import decode_statement, encode_statement
from sigillo.core.handshake import Counters, Go, NewCheckpoint, State, Statement, decode_packet, encode_packet
from sigillo.core.mark import Checkpoint
from sigillo.core.note import LogKey
from sigillo.core.published import decode_published
from sigillo.core.statement import Carrier, EpochStatement, HowEnded, MarkedFilter, StatementFields
from sigillo.log.public import PublicLog

from .operator import SETTINGS, installed

KEY = Ed25519PrivateKey.from_private_bytes(b"\7" * 32)


@pytest.fixture(autouse=True)
def signals_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Here the launcher is no process of its own."""
    monkeypatch.setattr(launcher.signal, "signal", lambda *_arguments: None)
    yield


@pytest.fixture
def folder(tmp_path: Path) -> OperatorFolder:
    return installed(tmp_path)


def plan(folder: OperatorFolder, settings: Settings = SETTINGS) -> Plan:
    return Plan(
        folder=folder,
        settings=settings,
        configuration=read_configuration(folder, SETTINGS.listen),
        executable_hash=b"\1" * 32,
        plugin_hash=b"\2" * 32,
        clock=ClockSource("none", False, False, False),
        separated=False,
    )


@contextmanager
def log_of(folder: OperatorFolder) -> Iterator[socket.socket]:
    """The log of its process, in a thread; the launcher's end of the socket to it."""
    logs, launchers = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    stop, stopper = socket.socketpair()
    report: Report = lambda _event: None  # noqa: E731

    log = opened(folder, SigningLogKey.open(folder.log, SETTINGS.origin))

    def run() -> None:
        with log:
            Rounds(log, LogSide(logs), report).run(stop)

    thread = threading.Thread(target=run, daemon=True)
    with logs, launchers, stop, stopper:
        thread.start()
        try:
            yield launchers
        finally:
            stopper.send(b"\0")
            thread.join(30)


class Plugin(threading.Thread):
    """The other side: answers STATE with a statement in which *lies* replace fields, waits for GO, goes away."""

    def __init__(self, end: socket.socket, key: Ed25519PrivateKey = KEY, signed_by: Any = None, **lies: Any) -> None:
        super().__init__(daemon=True)
        self.end, self.key, self.signed_by, self.lies = end, key, signed_by or key, lies
        self.state: State | None = None
        self.go: bytes | None = None
        self.before_go: Callable[[], object] = lambda: None

    def statement(self, asked: StatementFields) -> bytes:
        values = {field.name: getattr(asked, field.name) for field in fields(StatementFields)}
        key = self.key.public_key().public_bytes_raw()
        honest = EpochStatement(**values, epoch_key=key, start_ns=time.time_ns())
        return encode_statement(replace(honest, **self.lies), self.signed_by.sign)

    def run(self) -> None:
        with self.end:
            received = self.end.recv(65_536)
            if not received:
                return
            packet = decode_packet(received)
            assert isinstance(packet, State)
            self.state = packet
            self.end.send(encode_packet(Statement(self.statement(packet.fields))))
            self.before_go()
            go = self.end.recv(65_536)
            if go:
                answer = decode_packet(go)
                assert isinstance(answer, Go)
                self.go = answer.epoch_id
                self.end.send(encode_packet(Counters(2, stripped_properties=1)))


def run(
    folder: OperatorFolder, kind: Callable[[socket.socket], Plugin] = Plugin, settings: Settings = SETTINGS
) -> tuple[Plugin, list[Event]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    events: list[Event] = []
    plugin = kind(theirs)
    plugin.start()
    try:
        with ours, log_of(folder) as log:
            launch(plan(folder, settings), ours, ours, log, events.append)  # not measured: nothing is shown
    finally:
        plugin.join(30)
    return plugin, events


def test_go_comes_once_the_statement_is_countersigned_and_stored(folder: OperatorFolder) -> None:
    plugin, events = run(folder)
    assert [event.name for event in events] == ["ready", "started", "counters", "ended"]
    signed = decode_statement((folder.epochs / "0000000001.cose").read_bytes())
    assert signed.countersignature is not None
    assert plugin.go == signed.epoch_id
    assert events[1].fields["epoch_id"] == signed.epoch_id.hex()
    assert events[3].fields["clean"] is False
    assert events[3].fields["stripped"] == 1
    trust = decode_published(folder.published.read_bytes())
    assert trust.reference_values["plugin"] == (b"\2" * 32,)
    assert trust.log_key.key_id32 == signed.statement.log_key_id
    assert plugin.state is not None
    assert plugin.state.run_time.spool_folder == str(folder.spool)
    assert plugin.state.run_time.clock_bound_meaningful is False


def test_how_much_the_log_keeps_is_a_setting(folder: OperatorFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[int] = []
    monkeypatch.setattr(
        log_process, "Log", SimpleNamespace(open=lambda *_, keep_entries, **__: kept.append(keep_entries))
    )
    opened(folder, SigningLogKey.open(folder.log, SETTINGS.origin), 7)
    assert kept == [7]


def test_the_next_epoch_names_the_one_before(folder: OperatorFolder) -> None:
    first, _ = run(folder)
    other = Ed25519PrivateKey.from_private_bytes(b"\x08" * 32)
    second, _ = run(folder, lambda end: Plugin(end, key=other))
    assert second.state is not None
    previous = second.state.fields.previous
    assert previous is not None
    assert (second.state.fields.number, previous.ended, previous.epoch_id) == (2, HowEnded.UNCLEAN, first.go)


@pytest.mark.parametrize(
    ("lies", "reason"),
    [
        ({"operator": "Somebody Else"}, "in key 11"),
        ({"plugin_hash": b"\x09" * 32}, "in key 13"),
        ({"separated": True}, "in key 19"),
        ({"log_checkpoint": Checkpoint(1, b"\1" * 32)}, "in key 12"),
        ({"clock_correction_ns": 1}, "in key 8"),
        ({"bridge_principals": ("x",)}, "in key 20"),
        ({"token_key": b"\1" * 32}, "token key"),
        ({"start_ns": 1}, "does not start now"),
        ({"start_ns": 2**62}, "does not start now"),
        ({"signed_by": Ed25519PrivateKey.from_private_bytes(b"\x05" * 32)}, "not signed by its epoch key"),
    ],
)
def test_a_statement_that_was_not_asked_for_is_not_countersigned(
    folder: OperatorFolder, lies: dict[str, Any], reason: str
) -> None:
    with pytest.raises(BrokerError, match=reason):
        run(folder, lambda end: Plugin(end, **lies))
    assert not list(folder.epochs.glob("*.cose"))
    assert not folder.published.exists()


RAW = replace(
    SETTINGS,
    filters=(MarkedFilter("a/#", carrier=Carrier.DATAGRAM),),
    raw_tokens=True,
    max_rate=7,
    max_payload=1000,
    bridge_principals=("bridge",),
)


def test_carriers_limits_and_bridges_reach_the_plugin(folder: OperatorFolder) -> None:
    plugin, events = run(folder, lambda end: Plugin(end, token_key=b"\1" * 32), RAW)
    assert plugin.state is not None
    asked, run_time = plugin.state.fields, plugin.state.run_time
    assert (asked.filters, asked.bridge_principals) == (RAW.filters, ("bridge",))
    assert (run_time.raw_tokens, run_time.max_rate, run_time.max_payload, run_time.access_list) == (True, 7, 1000, True)
    assert events[-1].name == "ended"


@pytest.mark.parametrize(
    ("token_key", "reason"), [(None, "no token key"), (KEY.public_key().public_bytes_raw(), "epoch key as its token")]
)
def test_raw_tokens_need_a_key_of_their_own(folder: OperatorFolder, token_key: bytes | None, reason: str) -> None:
    with pytest.raises(BrokerError, match=reason):
        run(folder, lambda end: Plugin(end, token_key=token_key), RAW)
    assert not list(folder.epochs.glob("*.cose"))


def test_one_key_for_two_epochs_is_refused(folder: OperatorFolder) -> None:
    run(folder)
    with pytest.raises(BrokerError, match="the epoch before"):
        run(folder)


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (b"\x02nonsense", "cannot be read"),
        (encode_packet(Go(b"\1" * 32)), "not its epoch statement"),
        (b"", "before its plugin made"),
    ],
)
def test_another_first_packet_is_refused(packet: bytes, reason: str) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        with theirs:
            if packet:
                theirs.send(packet)
        with pytest.raises(BrokerError, match=reason):
            launcher.receive_statement(ours)


def test_a_plugin_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "STEP_S", 0.01)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, pytest.raises(BrokerError, match="no epoch statement within"):
        launcher.receive_statement(ours)


def test_odd_packets_later_are_named_and_passed_over() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    events: list[Event] = []
    logs, launchers = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, logs, launchers:
        with theirs:
            for packet in (b"\xff", encode_packet(Go(b"\1" * 32)), encode_packet(Counters(7))):
                theirs.send(packet)
        counters = launcher.follow(ours, LauncherSide(launchers), checkpoint(1), events.append)
    assert counters == Counters(7)
    assert [event.name for event in events] == ["odd-packet", "odd-packet", "counters"]


def checkpoint(size: int) -> SignedCheckpoint:
    key = LogKey("localhost/log", KEY.public_key().public_bytes_raw())
    return sign_checkpoint(TreeHead(key.name, size, bytes([size]) * 32), key, KEY.sign)


def test_each_newer_checkpoint_goes_to_the_plugin_with_its_note() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    logs, launchers = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    follower = threading.Thread(
        target=launcher.follow, args=(ours, LauncherSide(launchers), checkpoint(1), lambda _event: None)
    )
    with ours, launchers:
        with theirs:
            theirs.settimeout(30)
            follower.start()
            with logs:
                for size in (1, 2, 3):
                    packet = decode_packet(theirs.recv(65_536))
                    assert packet == NewCheckpoint(
                        checkpoint(size).head.checkpoint, encode_checkpoint(checkpoint(size))
                    )
                    LogSide(logs).tell(checkpoint(size + 1))
            assert isinstance(decode_packet(theirs.recv(65_536)), NewCheckpoint), "the log is gone, the broker is not"
        follower.join(30)
    assert not follower.is_alive()


def test_a_log_that_ends_or_does_nothing_is_named() -> None:
    logs, launchers = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with launchers:
        with logs:
            LogSide(logs).tell(checkpoint(1))  # news are no answer
            with pytest.raises(BrokerError, match="made no progress"):
                LauncherSide(launchers).settled(0.1, lambda: None)
            assert len(LogSide(logs).asked()) == 1
        with pytest.raises(BrokerError, match="the log has ended"):
            LauncherSide(launchers).settled(1, lambda: None)


def test_no_go_before_the_statement_is_covered(folder: OperatorFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "covers_statement", lambda *_arguments: False)
    with pytest.raises(BrokerError, match="has not taken the statement of epoch 1"):
        run(folder)
    assert (folder.epochs / "0000000001.cose").exists()


def test_the_statement_names_the_newest_checkpoint_and_is_covered_before_go(folder: OperatorFolder) -> None:
    run(folder)
    at_go: list[int | None] = []

    class Looking(Plugin):
        def run(self) -> None:
            self.before_go = lambda: None
            super().run()
            at_go.append(PublicLog(folder.log / "public").find(Kind.EPOCH_STATEMENT, 2, 0))

    other = Ed25519PrivateKey.from_private_bytes(b"\x08" * 32)
    plugin, _ = run(folder, lambda end: Looking(end, key=other))
    assert plugin.state is not None
    assert plugin.state.fields.log_checkpoint.size == 1
    assert at_go[0] is not None


def test_time_before_the_last_of_the_previous_epoch_is_refused(folder: OperatorFolder) -> None:
    run(folder)
    now = time.time_ns
    with pytest.MonkeyPatch.context() as patch, pytest.raises(BrokerError, match="time never runs backward"):
        patch.setattr(launcher._wait_for_floor, "__defaults__", (lambda: now() - 3600 * 10**9,))
        run(folder)
    assert len(list(folder.epochs.glob("*.cose"))) == 1
