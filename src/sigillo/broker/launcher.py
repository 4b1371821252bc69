"""The launcher: the launcher's side of spec/handshake.md, one epoch long, in a process of the log key's owner.

It countersigns only the statement that it asked for, once the epoch before is logged (L1 of spec/log-storage.md), and
says GO only once a durable checkpoint of the log covers that statement (L2). Then it hands checkpoints on (C6).
Where there is a TPM, the launch is measured before the broker is started; what its process has mapped is checked, and
its epoch measured and quoted, before GO (spec/launch.md, spec/attestation.md).
"""

from __future__ import annotations

import select
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sigillo.archive.store import Store
from sigillo.broker.boot_record import measured_before
from sigillo.broker.build_manifest import keep_manifest
from sigillo.broker.clock import ClockSource
from sigillo.broker.configuration import Configuration
from sigillo.broker.disclosed import configuration_texts
from sigillo.broker.epoch_store import EpochStore, Past
from sigillo.broker.error import BrokerError
from sigillo.broker.event import Event, EventName, Report, cut
from sigillo.broker.folder import OperatorFolder
from sigillo.broker.log_key import SigningLogKey
from sigillo.broker.log_link import LauncherSide
from sigillo.broker.logged import covers_statement, read_logged
from sigillo.broker.measured import MeasuredLaunch
from sigillo.broker.published import publish
from sigillo.broker.settings import Settings
from sigillo.core.checkpoint import SignedCheckpoint, encode_checkpoint
from sigillo.core.epoch import SignedStatement, countersign
from sigillo.core.errors import AttestationError, DecodeError, SignatureError
from sigillo.core.handshake import (
    MAX_BEACON,
    MAX_PACKET,
    Counters,
    Go,
    NewCheckpoint,
    RunTime,
    State,
    Statement,
    decode_packet,
    encode_packet,
)
from sigillo.core.launch import Closure, check_hashes
from sigillo.core.manifest import SignedManifest
from sigillo.core.mark import Checkpoint
from sigillo.core.signature import verify_own_signature
from sigillo.core.statement import (
    Attester,
    Durability,
    HowEnded,
    OnBadClock,
    PrincipalSource,
    StatementFields,
    encode_statement_fields,
)

STEP_S = 30.0
"""Time for each step of the handshake (spec/handshake.md)."""
_COVER_S = 20.0
"""In which the log covers the statement: less than the plugin waits for GO."""
_CATCH_UP_S = 120.0
"""Without any progress, until the log is given up that has to catch up with the epoch before."""

_SHORT_WAIT_NS = 2 * 10**9
_MAX_SKEW_NS = 60 * 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the next epoch is to state. Hashes are SHA-256; `separated`: broker and log key have different users.

    `closure`: what the launch is made of, where it is measured into a TPM.
    """

    folder: OperatorFolder
    settings: Settings
    configuration: Configuration
    executable_hash: bytes
    plugin_hash: bytes
    clock: ClockSource
    separated: bool
    manifest: SignedManifest | None = None
    closure: Closure | None = None

    @property
    def command(self) -> tuple[str, ...]:
        """What starts the broker."""
        return (self.settings.executable, "-c", str(self.configuration.file))


def launch(plan: Plan, plugin: socket.socket, view_end: socket.socket, log_end: socket.socket, report: Report) -> None:
    """Run one epoch: get ready, shake hands over *plugin*, follow the broker to its end, store the epoch's end.

    *view_end*: where the broker's process is shown, of a measured launch; *log_end*: where the log answers.
    Reports `log-behind`, `ready` (then the broker may be started), `started`, `counters`, `ended`. Raises BrokerError,
    LogError, TpmError, OSError.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it ends when the broker has ended, not before
    folder = plan.folder
    log_key = SigningLogKey.open(folder.log, plan.settings.origin, plan.settings.tpm)
    store = EpochStore(folder.epochs, folder.spool, Path("/proc/sys/kernel/random/boot_id").read_text().strip())
    log = LauncherSide(log_end)
    store.wait_for_broker(STEP_S)
    head = log.settled(_CATCH_UP_S, lambda: report(Event(EventName.LOG_BEHIND))).head
    logged = read_logged(folder.log, log_key.public.key_id32)
    past = store.past(log_key.public, logged, lambda epoch_id: _newest_archived(folder, epoch_id))
    _wait_for_floor(past)
    hashes = {
        "executable": plan.executable_hash,
        "plugin": plan.plugin_hash,
        "configuration": plan.configuration.hash,
    }
    measured = _measure(plan, past.next_number)
    fields = _fields(plan, past, log_key, head.checkpoint, measured.attester if measured else None)
    report(_ready(past, log_key))
    if plan.manifest:
        keep_manifest(folder, plan.manifest)
    run_time = RunTime(
        spool_folder=str(folder.spool),
        segment_size=plan.settings.segment_size,
        max_principals=plan.settings.max_principals,
        clock_bound_meaningful=plan.clock.bound_meaningful,
        raw_tokens=plan.settings.raw_tokens,
        max_rate=plan.settings.max_rate,
        max_payload=plan.settings.max_payload,
        access_list=plan.configuration.access_list,
    )
    if measured:
        measured.watch(view_end, STEP_S)
    plugin.send(encode_packet(State(fields, run_time)))
    statement = receive_statement(plugin)
    signed = check_statement(statement, fields, past.epoch_key, time.time_ns(), raw_tokens=plan.settings.raw_tokens)
    store.store(past.next_number, countersign(statement.statement_bytes, log_key.public.key_id32, log_key.sign))
    newest = log.settled(_COVER_S, lambda: report(Event(EventName.LOG_BEHIND)))
    if not covers_statement(folder.log, past.next_number, newest.head.size):
        raise BrokerError(f"the log has not taken the statement of epoch {past.next_number}; it says why")
    if measured:
        measured.state(signed.epoch_id, newest.head.checkpoint)
        newest = log.settled(_COVER_S, lambda: report(Event(EventName.LOG_BEHIND)))  # the log has the quote
    published = publish(folder.published, plan.settings.operator, log_key.public, hashes)
    plugin.send(encode_packet(Go(signed.epoch_id)))
    report(_started(signed, measured, published=published))
    counters = follow(plugin, log, newest, report)
    report(_ended(store, past.next_number, signed, counters))


def receive_statement(plugin: socket.socket) -> Statement:
    """The plugin's STATEMENT. Raises BrokerError where it does not come within 30 s, or is something else."""
    plugin.settimeout(STEP_S)
    try:
        packet = plugin.recv(MAX_PACKET + 1)
    except TimeoutError:
        raise BrokerError(f"the plugin sent no epoch statement within {STEP_S:.0f} s") from None
    except ConnectionError:
        packet = b""
    if not packet:
        raise BrokerError("the broker ended before its plugin made an epoch statement; its log says why")
    try:
        decoded = decode_packet(packet)
    except DecodeError as error:
        raise BrokerError(f"the plugin's first packet cannot be read: {error}") from None
    if not isinstance(decoded, Statement):
        raise BrokerError("the plugin's first packet is not its epoch statement")
    return decoded


def check_statement(
    statement: Statement, asked: StatementFields, previous_key: bytes | None, now_ns: int, *, raw_tokens: bool
) -> SignedStatement:
    """The statement, if it is what was *asked* for: field by field, signed by its own, fresh key, started just now.

    *raw_tokens*: whether it must have a token key; else it must have none. Raises BrokerError.
    """
    signed = statement.decode()
    stated = signed.statement
    mine, theirs = encode_statement_fields(asked), encode_statement_fields(stated)
    if mine != theirs:
        different = sorted(key for key in mine.keys() | theirs.keys() if mine.get(key) != theirs.get(key))
        raise BrokerError(f"the plugin's statement differs from what was asked for in key {different[0]}")
    if raw_tokens and stated.token_key is None:
        raise BrokerError("the plugin's statement names no token key, though raw tokens were asked for")
    if not raw_tokens and stated.token_key is not None:
        raise BrokerError("the plugin's statement names a token key, which was not asked for")
    if stated.token_key in (stated.epoch_key, previous_key) and raw_tokens:
        raise BrokerError("the plugin's statement names an epoch key as its token key")
    if stated.epoch_key == previous_key:
        raise BrokerError("the plugin's statement names the key of the epoch before")
    if abs(stated.start_ns - now_ns) > _MAX_SKEW_NS:
        raise BrokerError("the plugin's statement does not start now")
    try:
        verify_own_signature(signed)
    except SignatureError as error:
        raise BrokerError(f"the plugin's statement is not signed by its epoch key: {error}") from None
    return signed


def follow(plugin: socket.socket, log: LauncherSide, newest: SignedCheckpoint, report: Report) -> Counters | None:
    """Until the broker's end of the socket closes: report the plugin's counters, hand the log's checkpoints on.

    *newest*: the one so far. Returns the last counters.
    """
    plugin.settimeout(None)
    counters: Counters | None = None
    owed: SignedCheckpoint | None = newest
    while True:
        sources = [plugin.fileno()] if log.gone else [plugin.fileno(), log.fileno()]
        readable, writable, _ = select.select(sources, [plugin] if owed else [], [])
        if log.fileno() in readable:
            owed = log.newest() or owed
        if owed and writable and _hand_out(plugin, owed):
            owed = None
        if plugin.fileno() in readable:
            try:
                packet = plugin.recv(MAX_PACKET + 1)
            except ConnectionError:
                continue  # it ended with a checkpoint unread, said once; then comes what it sent, and the end
            if not packet:
                return counters
            counters = _take(packet, report) or counters


def _hand_out(plugin: socket.socket, signed: SignedCheckpoint) -> bool:
    """C6: the newest checkpoint for marks, and the note for the beacon. False where the plugin has to read first."""
    note = encode_checkpoint(signed)
    packet = NewCheckpoint(signed.head.checkpoint, note if len(note) <= MAX_BEACON else b"")
    try:
        plugin.send(encode_packet(packet), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
    except BlockingIOError:
        return False
    except ConnectionError:
        return True  # its end is read next
    return True


def _take(packet: bytes, report: Report) -> Counters | None:
    try:
        decoded = decode_packet(packet)
    except DecodeError as error:
        report(Event(EventName.ODD_PACKET, {"reason": cut(str(error))}))
        return None
    if isinstance(decoded, Counters):
        report(Event(EventName.COUNTERS, _counts(decoded)))
        return decoded
    report(Event(EventName.ODD_PACKET, {"reason": f"the plugin sent {type(decoded).__name__}"}))
    return None


def _newest_archived(folder: OperatorFolder, epoch_id: bytes) -> Iterator[bytes]:
    if folder.messages.exists():
        with Store.open_to_read(folder.messages) as archive:
            yield from archive.newest_marks(epoch_id)


def _wait_for_floor(past: Past, now: Callable[[], int] = time.time_ns) -> None:
    """Time never runs backward over epochs: wait out a little, refuse more. Raises BrokerError."""
    if past.previous is None:
        return
    behind = past.previous.last_time_ns - now()
    if behind > _SHORT_WAIT_NS:
        raise BrokerError(
            f"the clock is {behind / 10**9:.1f} s before the last time of epoch {past.next_number - 1}, and time never "
            "runs backward here: set the clock right; if it was ahead then, wait until it has passed that time"
        )
    while now() <= past.previous.last_time_ns:
        time.sleep(0.01)


def _measure(plan: Plan, number: int) -> MeasuredLaunch | None:
    """Measure the launch of epoch *number*, where the settings name a TPM: before there is a broker."""
    if plan.closure is None:
        return None
    hashes = (plan.executable_hash, plan.plugin_hash, plan.configuration.hash)
    try:
        check_hashes(plan.closure, *hashes)
    except AttestationError as error:
        raise BrokerError(f"a file was changed while it was measured: {error}; start again") from error
    before = measured_before(plan.settings)
    measured = MeasuredLaunch(plan.folder, Path(plan.settings.tpm), plan.closure, before)
    texts = configuration_texts(plan.folder, plan.configuration)
    measured.begin(number, plan.command, {item.name: item.text for item in texts if item.text is not None})
    return measured


def _fields(
    plan: Plan, past: Past, log_key: SigningLogKey, checkpoint: Checkpoint, attester: Attester | None
) -> StatementFields:
    settings, configuration = plan.settings, plan.configuration
    refuses = settings.on_bad_clock == "refuse"
    return StatementFields(
        number=past.next_number,
        previous=past.previous,
        clock_daemon=plan.clock.daemon,
        clock_authenticated=plan.clock.authenticated,
        clock_correction_ns=0,
        on_bad_clock=OnBadClock.REFUSE if refuses else OnBadClock.MARK_UNSYNCHRONISED,
        durability=Durability[settings.durability.upper()],
        operator=settings.operator,
        log_origin=settings.origin,
        log_key_id=log_key.public.key_id32,
        log_checkpoint=checkpoint,
        executable_hash=plan.executable_hash,
        plugin_hash=plan.plugin_hash,
        configuration_hash=configuration.hash,
        manifest_hash=plan.manifest.sha256 if plan.manifest else None,
        filters=settings.filters,
        principal_source=configuration.principal_source,
        unmarked_paths=configuration.unmarked_paths,
        tls_keys=configuration.listeners,
        attester=attester,
        separated=plan.separated,
        bridge_principals=settings.bridge_principals,
    )


def _ready(past: Past, log_key: SigningLogKey) -> Event:
    previous = past.previous
    names = {HowEnded.CLEAN: "clean", HowEnded.UNCLEAN: "unclean", HowEnded.LOGGED_UP_TO: "logged-up-to"}
    return Event(
        EventName.READY,
        {
            "epoch": past.next_number,
            "log_key": log_key.public.vkey,
            "previous": names[previous.ended] if previous else None,
            "previous_last_sequence": previous.last_sequence if previous else None,
            "findings": [cut(finding) for finding in past.findings[:4]],
        },
    )


def _started(signed: SignedStatement, measured: MeasuredLaunch | None, *, published: bool) -> Event:
    stated = signed.statement
    return Event(
        EventName.STARTED,
        {
            "epoch": stated.number,
            "epoch_id": signed.epoch_id.hex(),
            "executable": stated.executable_hash.hex(),
            "plugin": stated.plugin_hash.hex(),
            "configuration": stated.configuration_hash.hex(),
            "manifest": stated.manifest_hash.hex() if stated.manifest_hash else None,
            "published": published,
            "attester": measured.key_name.hex() if measured else None,
            "authenticated": stated.principal_source is not PrincipalSource.UNAUTHENTICATED,
        },
    )


def _ended(store: EpochStore, number: int, signed: SignedStatement, counters: Counters | None) -> Event:
    tail = store.close(number, signed)
    end = tail.end.end if tail.end else None
    in_spool = tail.last_mark.mark.sequence if tail.last_mark else 0
    return Event(
        EventName.ENDED,
        {
            "epoch": number,
            "clean": end is not None,
            "reason": end.reason.name.lower().replace("_", "-") if end else None,
            "last_sequence": end.last_sequence if end else in_spool,
            "findings": [cut(finding) for finding in tail.findings[:4]],
            **(_counts(counters) if counters else {}),
        },
    )


def _counts(counters: Counters) -> dict[str, int]:
    return {
        "marked": counters.last_sequence,
        "refused_clock": counters.refused_clock,
        "refused_spool": counters.refused_spool,
        "refused_principals": counters.refused_principals,
        "refused_topics": counters.refused_topics,
        "refused_names": counters.refused_names,
        "refused_datagrams": counters.refused_datagrams,
        "refused_rate": counters.refused_rate,
        "refused_size": counters.refused_size,
        "stripped": counters.stripped_properties,
        "repeats": counters.repeats,
        "plain": counters.plain,
        "dropped_wills": counters.dropped_wills,
    }
