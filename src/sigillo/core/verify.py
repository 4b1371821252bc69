"""Walks an evidence file through the numbered steps of spec/verification.md, line by line, in flat memory.

:func:`verify` raises at the first step that fails; :func:`sigillo.core.appraise.appraise` walks the same way and goes
on. A step runs only on what the steps before it have proved: the types of :mod:`sigillo.core.trusted` see to that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from cryptography import x509

from sigillo.core import step
from sigillo.core.certificate import decode_chain
from sigillo.core.epoch import SignedEpochEnd, SignedStatement, decode_epoch_end, decode_statement
from sigillo.core.errors import DecodeError, VerificationError
from sigillo.core.evidence import CertificateLine, EpochLine, MessageLine, NumberedLine, decode_lines
from sigillo.core.history import Certificates, Contents, DeviceCounter, LastMark, Principal
from sigillo.core.ledger import Ledger
from sigillo.core.mark import SignedMark, decode_mark
from sigillo.core.policy import Policy
from sigillo.core.statement import HowEnded
from sigillo.core.trusted import (
    MADE_BY_VERIFY,
    SelfSignedStatement,
    VerifiedEnd,
    VerifiedEvidence,
    VerifiedMark,
    VerifiedMessage,
    VerifiedStatement,
)

D = TypeVar("D")
T = TypeVar("T")
P = ParamSpec("P")


def verify(lines: Iterable[bytes], policy: Policy, now_ns: int) -> VerifiedEvidence:
    """Verify an evidence file.

    Args:
        lines: its lines without LF (:func:`sigillo.core.line.split_lines`).
        policy: whom to trust.
        now_ns: the reader's time, ns of Unix time; marks from more than a day later are refused.

    Raises:
        DecodeError: the file is not readable as evidence (step 1).
        VerificationError: the first step that failed, with line and reason.
    """
    ledger = Ledger(strict=True)
    walk(lines, policy, now_ns, ledger)
    return VerifiedEvidence(ledger.summary(), ledger.relaxations(), MADE_BY_VERIFY)


def walk(lines: Iterable[bytes], policy: Policy | None, now_ns: int, ledger: Ledger) -> None:
    """Run every step that can be run on every line, and write the results into *ledger*.

    Raises DecodeError at the first line that is not readable, and what a strict ledger raises.
    """
    walker = _Walk(policy, now_ns, ledger)
    for decoded in decode_objects(lines):
        ledger.at(decoded.number)
        ledger.ran(1)
        if isinstance(decoded, DecodedEpoch):
            walker.epoch(decoded)
        elif isinstance(decoded, DecodedCertificate):
            walker.certificate(decoded)
        elif isinstance(decoded, DecodedMessage):
            walker.message(decoded)
    ledger.at(None)
    walker.end()


@dataclass(frozen=True, slots=True)
class DecodedEpoch:
    """An epoch line with its objects decoded; not verified. *number*: of the line in the file."""

    number: int
    statement: SignedStatement
    end: SignedEpochEnd | None


@dataclass(frozen=True, slots=True)
class DecodedCertificate:
    """A certificate line with its chain decoded, leaf first; not verified. *number*: of the line in the file."""

    number: int
    device: str
    chain: tuple[x509.Certificate, ...]


@dataclass(frozen=True, slots=True)
class DecodedMessage:
    """A message line with its mark decoded; not verified. *number*: of the line in the file."""

    number: int
    line: MessageLine
    mark: SignedMark


Decoded = DecodedCertificate | DecodedEpoch | DecodedMessage | NumberedLine


def decode_objects(lines: Iterable[bytes]) -> Iterator[Decoded]:
    """Decode the lines of an evidence file and the objects in them; header and trailer come as they are.

    Raises DecodeError naming line and member.
    """
    for numbered in decode_lines(lines):
        number, line = numbered.number, numbered.line
        if isinstance(line, EpochLine):
            statement = _decode(decode_statement, line.statement, number, "statement")
            end = None if line.end is None else _decode(decode_epoch_end, line.end, number, "end")
            yield DecodedEpoch(number, statement, end)
        elif isinstance(line, CertificateLine):
            yield DecodedCertificate(number, line.device, _decode(decode_chain, line.chain, number, "chain"))
        elif isinstance(line, MessageLine):
            yield DecodedMessage(number, line, _decode(decode_mark, line.mark, number, "mark"))
        else:
            yield numbered


def _decode(decode: Callable[[D], T], data: D, number: int, member: str) -> T:
    try:
        return decode(data)
    except DecodeError as error:
        raise DecodeError(f"line {number}, {member}", str(error)) from error


@dataclass(slots=True)
class _Epoch:
    """The epoch that the walk is in. *own* is None where step 2 failed; *last*: its last mark shown in order."""

    signed: SignedStatement
    own: SelfSignedStatement | None
    end: VerifiedEnd | None
    last: VerifiedMark | None = None


class _Walk:
    def __init__(self, policy: Policy | None, now_ns: int, ledger: Ledger) -> None:
        self._policy = policy
        self._now_ns = now_ns
        self._ledger = ledger
        self._epoch: _Epoch | None = None
        self._certificates = Certificates()
        self._contents = Contents()
        self._counters: dict[str, DeviceCounter] = {}

    def certificate(self, decoded: DecodedCertificate) -> None:
        """For step 9: keep it for the messages of its device. One that does not count fails those that need it."""
        device = self._policy.device(decoded.device) if self._policy else None
        if device is None or device.maker is None:
            return
        try:
            self._certificates.keep(step.check_certificate(decoded.chain, device))
        except VerificationError as error:
            self._certificates.refuse(device.id, error.reason)

    def epoch(self, decoded: DecodedEpoch) -> None:
        """Steps 2, 3, 4, 12 and 13."""
        signed, signed_end = decoded.statement, decoded.end
        self._ledger.epoch(signed.statement, signed.epoch_id, ended=signed_end is not None)
        _, own = self._run(2, step.check_statement, signed)
        if own is None:
            self._ledger.skipped(3, 4, 12, 13)
            self._epoch = _Epoch(signed, None, None)
            return
        self._trust(signed, own)
        self._chain(own)
        end = self._run(4, step.check_end, signed_end, own)[1] if signed_end else None
        self._epoch = _Epoch(signed, own, end)

    def _trust(self, signed: SignedStatement, own: SelfSignedStatement) -> None:
        verified: VerifiedStatement | None = None
        if self._policy is None:
            self._ledger.skipped(3)
        else:
            _, verified = self._run(3, step.check_log_key, signed, own, self._policy)
        if verified is None:
            self._ledger.skipped(12, 13)
            return
        passed, needed_permission = self._run(12, step.check_build, verified)
        if passed and needed_permission:
            self._ledger.relaxed("operator.unsafe_any_build")
        self._run(13, step.check_level, verified)

    def _chain(self, own: SelfSignedStatement) -> None:
        before = self._epoch
        previous = own.statement.previous
        if previous and previous.ended is not HowEnded.CLEAN:
            unlogged = "" if previous.ended is HowEnded.UNCLEAN else "; later marks may exist unlogged"
            self._ledger.noted(4, f"the epoch before epoch {own.statement.number} had no clean end{unlogged}")
        if before is None:
            self._ledger.ran(4)
            if previous:
                self._ledger.noted(4, f"epochs before {own.statement.number} are not in the file")
        elif before.own is None:
            self._ledger.skipped(4)
        else:
            self._run(4, step.check_chain, own, before.own, before.end, before.last)

    def message(self, decoded: DecodedMessage) -> None:
        """Steps 5 to 11."""
        signed, line = decoded.mark, decoded.line
        self._ledger.message(signed.mark)
        epoch = self._epoch
        if epoch is None or epoch.own is None:  # the first cannot be: decode_lines refuses a message before an epoch
            self._ledger.skipped(5, 6, 7, 8, 9, 10, 11)
            return
        _, mark = self._run(5, step.check_mark, signed, epoch.own)
        if mark is None:
            self._ledger.skipped(6, 7, 8, 9, 10, 11)
            return
        principal = self._ledger.principals.of(mark.mark.principal)
        _, received = self._run(6, step.check_binding, mark, line)
        self._order(mark, epoch, principal)
        if self._policy is None:
            self._ledger.skipped(8, 9, 11)
            return
        _, permission = self._run(8, step.check_clock, mark, self._policy.clock)
        if permission:
            self._ledger.relaxed(permission)
        if received is None:
            self._ledger.skipped(9, 11)
            return
        _, message = self._run(9, step.check_device, mark, received, self._policy, self._certificates)
        if message is None:
            self._ledger.skipped(11)
        else:
            self._number(message, principal)

    def _order(self, mark: VerifiedMark, epoch: _Epoch, principal: Principal) -> None:
        """Steps 7 and 10. What is out of order does not move the point from which the next mark is judged."""
        last = principal.last
        in_epoch = last if last and last.epoch == mark.statement.statement.number else None
        ordered, _ = self._run(7, step.check_order, mark, epoch.end, epoch.last, in_epoch, self._now_ns)
        if not ordered:
            self._ledger.skipped(10)
            return
        self._allow("missing.allow_withheld", 10, step.check_withheld, mark, last)
        epoch.last = mark
        number = mark.statement.statement.number
        principal.last = LastMark(number, mark.mark.sequence, mark.mark.count, mark.object_hash)

    def _number(self, message: VerifiedMessage, principal: Principal) -> None:
        """Step 11 for one message; its gaps are judged at the end, since a late message may fill one."""
        device = message.device
        principal.sequence_bits = device.sequence_bits
        self._ledger.limit_device(message)
        counter = self._counters.setdefault(device.id, DeviceCounter(device.sequence_bits))
        mark = message.mark.mark
        epoch = message.mark.statement.statement.number
        first = self._contents.first_mark(device.id, message.content_hash, (epoch, mark.sequence))
        if mark.repeat_of is not None and first != (epoch, mark.repeat_of):
            self._named_first(epoch, mark.repeat_of)
        if first is not None:
            self._ledger.ran(11)
            principal.repeats += 1
            self._ledger.noted(11, f'repeat: number {message.device_sequence} of device "{device.id}" was shown before')
            return
        _, note = self._run(11, step.check_number, message, counter)
        if note:
            self._ledger.noted(11, note)

    def _named_first(self, epoch: int, sequence: int) -> None:
        """Step 7, last part: a mark names another one as the first of its message; the file must not show otherwise."""
        if self._contents.is_first((epoch, sequence)):
            reason = f"the mark says that it repeats mark {sequence}, which is of another message"
            self._ledger.failed(VerificationError(7, reason))

    def end(self) -> None:
        """Step 11 for each device, once every message is known."""
        for device, counter in self._counters.items():
            self._allow("missing.allow_lost", 11, step.check_lost, device, counter)

    def _run(self, number: int, check: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> tuple[bool, T | None]:
        """Run one step: whether it passed, and its value."""
        self._ledger.ran(number)
        try:
            return True, check(*args, **kwargs)
        except VerificationError as error:
            self._ledger.failed(error)
            return False, None

    def _allow(self, permission: str, number: int, check: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Run one step whose failure the policy may allow: then it is a note, and the permission was needed."""
        self._ledger.ran(number)
        try:
            check(*args, **kwargs)
        except VerificationError as error:
            if self._policy is None or permission not in self._policy.permissions():
                self._ledger.failed(error)
                return
            self._ledger.relaxed(permission)
            self._ledger.noted(number, error.reason)
