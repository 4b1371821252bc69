"""A broker with its log key in memory: marks as the plugin would, and lies exactly as a test tells it.

Every call that signs something takes, beside the honest values, the fields to replace before signing: what comes out is
validly signed by the broker's own keys, as an operator that lies could make it. Fixed seeds: the same calls give the
same bytes.
"""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sigillo.core.entry import Kind, LogEntry
from sigillo.core.epoch import (
    EndReason,
    EpochEnd,
    countersign,
    decode_epoch_end,
    decode_statement,
    encode_epoch_end,
    encode_statement,
)
from sigillo.core.evidence_codec import encode_line
from sigillo.core.evidence_line import EndLine, EpochLine, Header, Line, MessageLine, Trailer
from sigillo.core.mark import Checkpoint, Clock, Mark, decode_mark, encode_mark, mark_salt, payload_commitment
from sigillo.core.note import LogKey
from sigillo.core.policy import ClockTrust, MissingTrust, OperatorTrust, Policy
from sigillo.core.statement import (
    Durability,
    EpochStatement,
    HowEnded,
    MarkedFilter,
    OnBadClock,
    Previous,
    PrincipalSource,
)

from .device import Device, ed25519_key

SECOND = 10**9
START_NS = 1_795_000_000 * SECOND
NOW_NS = START_NS + 3600 * SECOND
HASHES = {"executable": b"\x11" * 32, "plugin": b"\x22" * 32, "configuration": b"\x33" * 32}


def alone(**given: bool) -> MissingTrust:
    """Permissions of a reader who has nobody but the operator; and those *given*."""
    absent = ("allow_unlogged", "allow_unanchored", "allow_unwitnessed", "allow_no_beacon")
    return MissingTrust(**{**dict.fromkeys(absent, True), **given})


@dataclass
class _Chain:
    count: int = 0
    previous: bytes = b""


@dataclass
class Epoch:
    """One run of the broker, as its plugin remembers it."""

    number: int
    key: Ed25519PrivateKey
    salt_key: bytes
    statement: EpochStatement
    countersigned: bytes
    epoch_id: bytes
    sequence: int = 0
    last: bytes = b""
    chains: dict[str, _Chain] = field(default_factory=dict)


@dataclass(frozen=True)
class Signed:
    """An object that the broker signed, in its order, and the entry that a log makes of it."""

    entry: LogEntry
    object_bytes: bytes


class Broker:
    """An honest broker. *clock_ns* is its clock, advanced by a second with each message.

    *checkpoint*: the newest of the log that it has seen.
    """

    def __init__(
        self, operator: str = "Example Broker", origin: str = "broker.example/log", seed: str = "broker"
    ) -> None:
        self.operator = operator
        self.origin = origin
        self.seed = seed
        self.log_private = ed25519_key(f"{seed} log")
        self.log_key = LogKey(origin, self.log_private.public_key().public_bytes_raw())
        self.clock_ns = START_NS
        self.clock = Clock("bounded", 300_000_000)
        self.lines: list[Line] = []
        self.epoch: Epoch | None = None
        self.signed: list[Signed] = []
        self.checkpoint = Checkpoint()
        self._ended: Previous | None = None
        self._number = 0

    def start(self, countersigned_by: Ed25519PrivateKey | None = None, **lies: Any) -> Epoch:
        """Start an epoch; *lies* replace fields of its statement."""
        if self.epoch is not None:
            self.die()
        self._number += 1
        key = ed25519_key(f"{self.seed} epoch {self._number}")
        statement = replace(self._statement(key), **lies)
        log = countersigned_by or self.log_private
        signed = encode_statement(statement, key.sign)
        whole = countersign(signed, statement.log_key_id, log.sign)
        epoch_id = decode_statement(whole).epoch_id
        self.epoch = Epoch(self._number, key, bytes([self._number % 256]) * 32, statement, whole, epoch_id, 0, epoch_id)
        self.lines.append(EpochLine(whole))
        self.signed.append(Signed(LogEntry(Kind.EPOCH_STATEMENT, self._number, 0, epoch_id), whole))
        return self.epoch

    def _statement(self, key: Ed25519PrivateKey) -> EpochStatement:
        return EpochStatement(
            number=self._number,
            previous=self._ended,
            clock_daemon="chrony",
            clock_authenticated=True,
            clock_correction_ns=0,
            on_bad_clock=OnBadClock.MARK_UNSYNCHRONISED,
            durability=Durability.BUFFERED,
            operator=self.operator,
            log_origin=self.origin,
            log_key_id=self.log_key.key_id32,
            log_checkpoint=self.checkpoint,
            executable_hash=HASHES["executable"],
            plugin_hash=HASHES["plugin"],
            configuration_hash=HASHES["configuration"],
            manifest_hash=None,
            filters=(MarkedFilter("braid/agent/+/shadow/reported/#"),),
            principal_source=PrincipalSource.CERT_CN,
            unmarked_paths=("broker-published", "retained-before", "sys", "will"),
            tls_keys=(),
            attester=None,
            separated=True,
            epoch_key=key.public_key().public_bytes_raw(),
            start_ns=self.clock_ns,
        )

    def stop(self, **lies: Any) -> None:
        """End the epoch cleanly. *lies* replace fields of the end."""
        epoch = self._running()
        self.clock_ns += SECOND
        end = EpochEnd(epoch.sequence, self.clock_ns, self.clock, EndReason.STOP, epoch.last)
        encoded = encode_epoch_end(replace(end, **lies), epoch.epoch_id, epoch.key.sign)
        self.lines.append(EndLine(encoded))
        decoded = decode_epoch_end(encoded)
        end = decoded.end
        entry = LogEntry(Kind.EPOCH_END, epoch.number, end.last_sequence, decoded.object_hash)
        self.signed.append(Signed(entry, encoded))
        self._close(HowEnded.CLEAN, end.last_sequence, end.time_ns)

    def die(self) -> None:
        """The epoch ends without a word, as by kill -9."""
        self._close(HowEnded.UNCLEAN, self._running().sequence, self.clock_ns)

    def _close(self, ended: HowEnded, sequence: int, time_ns: int) -> None:
        self._ended = Previous(ended, self._running().epoch_id, sequence, time_ns)
        self.epoch = None

    def _running(self) -> Epoch:
        if self.epoch is None:
            self.start()
        assert self.epoch is not None
        return self.epoch

    def publish(
        self, device: Device, payload: bytes | None = None, *, form: str = "datagram", **lies: Any
    ) -> MessageLine:
        """The device publishes one message, the archive keeps it; *lies*: see :meth:`mark`."""
        if payload is None:
            payload = device.datagram() if form == "datagram" else device.reading()
        line = self.mark(device.topic, payload, device.id, **lies)
        self.lines.append(line)
        return line

    def lose(self, device: Device) -> None:
        """The device publishes one message and the broker marks it, but nobody keeps it."""
        self.mark(device.topic, device.datagram(), device.id)

    def mark(
        self,
        topic: str,
        payload: bytes,
        principal: str,
        *,
        signed_by: Ed25519PrivateKey | None = None,
        kid: bytes | None = None,
        salt: bytes | None = None,
        **lies: Any,
    ) -> MessageLine:
        """Mark one message; *lies* replace fields of the mark before it is signed."""
        epoch = self._running()
        self.clock_ns += SECOND
        chain = epoch.chains.setdefault(principal, _Chain(0, epoch.epoch_id))
        own_salt = salt or mark_salt(epoch.salt_key, epoch.sequence + 1)
        mark = Mark(
            sequence=epoch.sequence + 1,
            time_ns=self.clock_ns,
            clock=self.clock,
            topic=topic,
            client_id=principal,
            principal=principal,
            qos=1,
            retain=False,
            commitment=payload_commitment(own_salt, payload),
            count=chain.count + 1,
            previous=chain.previous,
            checkpoint=self.checkpoint,
        )
        mark = replace(mark, **lies)
        signed = encode_mark(mark, kid or epoch.epoch_id, own_salt, (signed_by or epoch.key).sign)
        epoch.sequence, epoch.last = mark.sequence, decode_mark(signed).object_hash
        self.signed.append(Signed(LogEntry(Kind.MARK, epoch.number, mark.sequence, epoch.last), signed))
        chain.count, chain.previous = mark.count, epoch.last
        return MessageLine(topic, payload, signed)

    def trust(self, **changes: Any) -> OperatorTrust:
        """What a reader pins who trusts this broker."""
        values = MappingProxyType({part: (value,) for part, value in HASHES.items()})
        return replace(OperatorTrust(self.operator, self.log_key, "declared", values), **changes)

    def policy(self, *devices: Device, **changes: Any) -> Policy:
        """A policy that trusts this broker and these devices, and is strict but for third parties; *changes* replace
        its parts.
        """
        parts: dict[str, Any] = {
            "operators": (self.trust(),),
            "clock": ClockTrust(SECOND),
            "devices": tuple(device.trust for device in devices),
            "missing": alone(),
        }
        return Policy(**{**parts, **changes})

    def file(self) -> bytes:
        """The evidence file with everything so far."""
        return evidence_file(self.lines)


def evidence_file(lines: Iterable[Line]) -> bytes:
    """Header, these lines, and the trailer that fits them."""
    body = list(lines)
    kinds = Counter(line.kind for line in body)
    trailer = Trailer(kinds["epoch"], kinds["message"], kinds["certificate"])
    return b"".join(encode_line(line) for line in (Header(), *body, trailer))


def packed(data: bytes) -> bytes:
    """The same file as gzip, the same bytes each time."""
    return gzip.compress(data, mtime=0)
