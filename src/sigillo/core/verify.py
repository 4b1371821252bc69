"""Walks an evidence file through the numbered steps of spec/verification.md, line by line, in flat memory.

:func:`verify` raises at the first step that fails; :func:`sigillo.core.appraise.appraise` walks the same way and goes
on. A step runs only on what the steps before it have proved: the types of :mod:`sigillo.core.trusted` see to that.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sigillo.core import step
from sigillo.core.attestations import Attestations, Part
from sigillo.core.build_step import Builds
from sigillo.core.build_trust import BuildTrust
from sigillo.core.built import judge_build, keep_manifest, keep_rebuild
from sigillo.core.decoded import (
    Decoded,
    DecodedAttestation,
    DecodedCertificate,
    DecodedCheckpoint,
    DecodedEnd,
    DecodedEpoch,
    DecodedHead,
    DecodedHeads,
    DecodedManifest,
    DecodedMessage,
    DecodedRebuild,
    DecodedToken,
    DecodedTrailer,
    decode_objects,
    entry_of,
)
from sigillo.core.epoch import SignedStatement
from sigillo.core.errors import MerkleError, VerificationError
from sigillo.core.evidence_line import ConfigurationLine, Header, Line, MessageLine, NumberedLine, Skip, StopLine
from sigillo.core.history import Certificates, Contents, DeviceCounter, LastMark, Principal
from sigillo.core.inclusion import Inclusion, Logged
from sigillo.core.ledger import Ledger
from sigillo.core.mark import Checkpoint
from sigillo.core.policy import OperatorTrust, Policy
from sigillo.core.run import Run
from sigillo.core.statement import HowEnded
from sigillo.core.third import ThirdParties
from sigillo.core.trusted import (
    MADE_BY_VERIFY,
    SelfSignedStatement,
    VerifiedEnd,
    VerifiedEvidence,
    VerifiedMark,
    VerifiedMessage,
    VerifiedStatement,
)
from sigillo.core.verdict import NO_LOG


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
    return VerifiedEvidence(ledger.summary(), ledger.level, ledger.relaxations(), MADE_BY_VERIFY)


def walk(lines: Iterable[bytes], policy: Policy | None, now_ns: int, ledger: Ledger) -> None:
    """Run every step that can be run on every line, and write the results into *ledger*.

    Raises DecodeError at the first line that is not readable, and what a strict ledger raises.
    """
    walker = _Walk(policy, now_ns, ledger)
    for decoded in decode_objects(lines):
        ledger.at(decoded.number)
        ledger.ran(1)
        walker.line(decoded)
    ledger.at(None)
    walker.end()


@dataclass(slots=True)
class _Epoch:
    """The epoch that the walk is in. *own* is None where step 2 failed; *last*: its last mark shown in order."""

    signed: SignedStatement
    own: SelfSignedStatement | None
    end: VerifiedEnd | None = None
    last: VerifiedMark | None = None
    heads: DecodedHeads | None = None

    @property
    def number(self) -> int:
        return self.signed.statement.number

    @property
    def before(self) -> int:
        """The last sequence of the epoch before it, as the statement says."""
        previous = self.signed.statement.previous
        return previous.last_sequence if previous else 0


class _Walk:
    def __init__(self, policy: Policy | None, now_ns: int, ledger: Ledger) -> None:
        self._policy = policy
        self._now_ns = now_ns
        self._ledger = ledger
        self._epoch: _Epoch | None = None
        self._certificates = Certificates()
        self._builds = Builds()
        self._contents = Contents()
        self._counters: dict[str, DeviceCounter] = {}
        self._log: Inclusion | None = None
        self._operator: OperatorTrust | None = None
        self._do = Run(policy, ledger)
        self._third = ThirdParties(policy, now_ns, ledger, self._do)
        self._attestations = Attestations(policy, self._builds, ledger, self._do)

    def line(self, decoded: Decoded) -> None:
        """The next line."""
        if isinstance(decoded, DecodedCertificate):
            self.certificate(decoded)
        elif isinstance(decoded, DecodedManifest | DecodedRebuild):
            self.build(decoded)
        elif isinstance(decoded, Part):
            self._attestations.part(decoded)
        elif isinstance(decoded, DecodedEpoch):
            self.epoch(decoded)
        elif isinstance(decoded, DecodedMessage):
            self.message(decoded)
        elif isinstance(decoded, DecodedEnd):
            self.epoch_end(decoded)
        elif isinstance(decoded, DecodedHeads):
            self.heads(decoded)
        elif isinstance(decoded, DecodedHead):
            self.head(decoded)
        elif isinstance(decoded, DecodedToken | DecodedAttestation):
            self.submitted(decoded)
        elif isinstance(decoded, DecodedCheckpoint):
            self._third.checkpoint(decoded)
        elif isinstance(decoded, DecodedTrailer):
            self.trailer(decoded)
        elif isinstance(decoded, NumberedLine):
            self.plain(decoded.line)

    def plain(self, line: Line) -> None:
        """A line with nothing in it to decode."""
        if isinstance(line, StopLine):
            self.stop(line)
        elif isinstance(line, Header) and line.log:
            self._log, self._ledger.has_log = Inclusion(), True
            self._third.stops = self._log.stops
        elif isinstance(line, ConfigurationLine):
            self._attestations.text(line)

    def certificate(self, decoded: DecodedCertificate) -> None:
        """For step 9: keep it for the messages of its device. One that does not count fails those that need it."""
        device = self._policy.device(decoded.device) if self._policy else None
        if device is None or device.maker is None:
            return
        try:
            self._certificates.keep(step.check_certificate(decoded.chain, device))
        except VerificationError as error:
            self._certificates.refuse(device.id, error.reason)

    def build(self, decoded: DecodedManifest | DecodedRebuild) -> None:
        """For step 12: keep it for the epochs that name this manifest, or that of this statement."""
        trust = self._build_trust
        if isinstance(decoded, DecodedManifest):
            keep_manifest(decoded.manifest, self._builds, trust, self._do)
        else:
            keep_rebuild(decoded.rebuild, self._builds, trust, self._do)

    @property
    def _build_trust(self) -> BuildTrust:
        return self._policy.build if self._policy else BuildTrust()

    def epoch(self, decoded: DecodedEpoch) -> None:
        """Steps 2, 3, 4, 12 to 15."""
        signed = decoded.statement
        self._ledger.epoch(signed.statement, signed.epoch_id)
        before, self._epoch = self._epoch, _Epoch(signed, None)
        self._third.time(signed.statement.start_ns, signed.statement.operator)
        self._entry(decoded, signed.statement.log_checkpoint)
        _, own = self._do.step(2, step.check_statement, signed)
        self._epoch.own = own
        if own is None:
            self._ledger.skipped(3, 4, 12)
            self._attestations.epoch(None, None)
            return
        self._attestations.epoch(own, self._trust(signed, own))
        self._chain(own, before)

    def _trust(self, signed: SignedStatement, own: SelfSignedStatement) -> VerifiedStatement | None:
        verified: VerifiedStatement | None = None
        if self._policy is None:
            self._ledger.skipped(3)
        else:
            _, verified = self._do.step(3, step.check_log_key, signed, own, self._policy)
        if verified is None:
            self._ledger.skipped(12)
            return None
        self._operator = verified.operator
        judge_build(verified, self._builds, self._build_trust, self._do, self._ledger)
        return verified

    def _chain(self, own: SelfSignedStatement, before: _Epoch | None) -> None:
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
            self._do.step(4, step.check_chain, own, before.own, before.end, before.last)

    def epoch_end(self, decoded: DecodedEnd) -> None:
        """Step 4 for the end of the epoch, step 7 for its last mark shown, 14 and 15."""
        signed, epoch = decoded.end, self._running()
        self._ledger.epoch_end()
        self._entry(decoded)
        if epoch.own is None:
            self._ledger.skipped(4)
            return
        _, epoch.end = self._do.step(4, step.check_end, signed, epoch.own)
        if epoch.end and epoch.last:
            self._do.attempt(step.check_last, epoch.end, epoch.last)

    def message(self, decoded: DecodedMessage) -> None:
        """Steps 5 to 11 and 14 to 20."""
        signed, line, epoch = decoded.mark, decoded.line, self._running()
        held = line.payload is not None
        if held:
            self._ledger.message(signed.mark)
        else:
            self._ledger.not_held()
        self._entry(decoded, signed.mark.checkpoint)
        if epoch.own is None:
            self._ledger.skipped(5, 6, 7, 8, 9, 10, 11, 16, 18, 20, 23)
            return
        _, mark = self._do.step(5, step.check_mark, signed, epoch.own)
        if mark is None:
            self._ledger.skipped(6, 7, 8, 9, 10, 11, 16, 18, 20, 23)
            return
        self._attestations.mark(decoded.number, line.index)
        principal = self._ledger.principals.of(mark.mark.principal)
        _, received = self._do.step(6, step.check_binding, mark, line)
        self._order(mark, line, epoch, principal)
        message = self._content(mark, received, principal) if held else None
        self._third.mark(mark, message, decoded.number, line.index)
        if held and message is None:
            self._ledger.skipped(20)

    def _content(self, mark: VerifiedMark, received: bytes | None, principal: Principal) -> VerifiedMessage | None:
        """Steps 8, 9 and 11. *received*: None where step 6 failed."""
        if self._policy is None:
            self._ledger.skipped(8, 9, 11)
            return None
        _, permission = self._do.step(8, step.check_clock, mark, self._policy.clock)
        if permission:
            self._ledger.relaxed(permission)
        if received is None:
            self._ledger.skipped(9, 11)
            return None
        _, message = self._do.step(9, step.check_device, mark, received, self._policy, self._certificates)
        if message is None or not self._third.certified(message):
            self._ledger.skipped(11)
            return None
        self._number(message, principal)
        return message

    def _order(self, mark: VerifiedMark, line: MessageLine, epoch: _Epoch, principal: Principal) -> None:
        """Steps 7, 10 and 16. What is out of order does not move the point from which the next mark is judged."""
        last = principal.last
        in_epoch = last if last and last.epoch == epoch.number else None
        ordered, _ = self._do.step(7, step.check_order, mark, epoch.end, epoch.last, in_epoch, self._now_ns)
        if not ordered:
            self._ledger.skipped(10, 16)
            return
        if line.payload is None:
            self._do.allow("missing.allow_not_held", 10, step.check_held, mark)
        whole = self._do.allow("missing.allow_withheld", 10, step.check_withheld, mark, last)
        epoch.last = mark
        principal.last = LastMark(epoch.number, mark.mark.sequence, mark.mark.count, mark.object_hash)
        self._reach(principal, epoch, mark.mark.sequence, line.index, whole=whole)

    def _reach(self, principal: Principal, epoch: _Epoch, sequence: int, index: int | None, *, whole: bool) -> None:
        """Step 16: all marks of the principal are known up to this entry, or a note says from where on they are not.

        *whole*: nothing is missing since the one before it that the file shows.
        """
        if index is None:
            return
        self._ledger.ran(16)
        if not (whole and principal.joins(epoch.number, epoch.before)) and not principal.gap:
            principal.gap = True
            beyond = f'marks of "{principal.name}" are unknown beyond entry {principal.complete_to}'
            self._ledger.noted(16, f"{beyond}: nothing shows that the file has all of them up to entry {index}")
        principal.reach((epoch.number, sequence), index)

    def heads(self, decoded: DecodedHeads) -> None:
        """Steps 14 to 16 for heads of the epoch."""
        epoch, heads = self._running(), decoded.heads
        self._entry(decoded)
        epoch.heads = None
        if epoch.own is None:
            self._ledger.skipped(16)
        elif self._do.step(16, step.check_heads, heads, epoch.own)[0]:
            epoch.heads = decoded

    def head(self, decoded: DecodedHead) -> None:
        """Step 16 for one principal under the heads above."""
        epoch, name = self._running(), decoded.line.principal
        principal = self._ledger.principals.find(name)
        if epoch.heads is None:
            self._ledger.skipped(16)
            return
        if principal is None or principal.known is None:
            reason = f'a head of "{name}" stands here, of whom the file shows no message above it'
            self._ledger.failed(VerificationError(16, reason))
            return
        heads, last = epoch.heads.heads, principal.last
        in_epoch = last if last and last.epoch == epoch.number else None
        _, missing = self._do.step(16, step.check_head, decoded.proof, heads, name, in_epoch)
        if missing is None:
            return
        whole = self._do.allow("missing.allow_withheld", 16, step.check_complete, missing, principal.name)
        self._reach(principal, epoch, heads.last_sequence, epoch.heads.line.index, whole=whole)

    def _entry(
        self,
        decoded: DecodedEpoch | DecodedMessage | DecodedEnd | DecodedHeads | DecodedToken | DecodedAttestation,
        named: Checkpoint | None = None,
    ) -> None:
        """Steps 14 and 15 for a line that stands for an entry of the log. *named*: the checkpoint in its object."""
        log, index, epoch = self._log, decoded.line.index, self._epoch
        entry = entry_of(decoded, epoch.number if epoch else 0)
        if log is None or index is None or entry is None:
            return
        shown = Logged(index, entry)
        before = log.show(shown, decoded.line.skip)
        self._do.step(15, step.check_log_order, shown, before, epoch.before if epoch else None)
        if named:
            self._do.step(15, step.check_named, named, index, log.stops)

    def submitted(self, decoded: DecodedToken | DecodedAttestation) -> None:
        """Steps 14 and 15, and 17 for a token; for a quote 21 to 23."""
        self._entry(decoded)
        if isinstance(decoded, DecodedToken):
            self._third.token(decoded)
            return
        log, index = self._log, decoded.line.index
        assert log  # decode_lines refuses it without a log
        assert index is not None
        of_log, _ = self._do.step(15, step.check_prefix, decoded.evidence.subject.checkpoint, index, log.stops)
        self._attestations.quote(decoded, of_log=of_log)

    def stop(self, line: StopLine) -> None:
        """Step 14 up to here: the entries lead to this root."""
        assert self._log  # decode_lines refuses a stop without a log
        self._lead(self._log, line.size, line.root, line.skip)
        self._third.stop(line)
        self._attestations.stop()

    def trailer(self, decoded: DecodedTrailer) -> None:
        """Steps 14 and 19: the entries lead to the checkpoint, which the pinned log key and witnesses signed."""
        log, checkpoint = self._log, decoded.checkpoint
        if log is None or checkpoint is None:
            return
        head = checkpoint.head
        self._ledger.checkpoint(head)
        self._lead(log, head.size, head.root, decoded.line.skip)
        self._third.trailer(checkpoint, self._operator)
        if self._operator is None:  # no policy, or step 3 failed
            self._ledger.skipped(14)
            return
        self._ledger.ran(14, log.entries)
        self._do.attempt(step.check_checkpoint, checkpoint, self._operator.log_key)

    def _lead(self, log: Inclusion, size: int, root: bytes, skip: Skip) -> None:
        try:
            log.stop(size, root, skip)
        except MerkleError as error:
            self._ledger.failed(VerificationError(14, error.reason))

    def _running(self) -> _Epoch:
        assert self._epoch  # decode_lines refuses what stands before the first epoch
        return self._epoch

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
        _, note = self._do.step(11, step.check_number, message, counter)
        if note:
            self._ledger.noted(11, note)

    def _named_first(self, epoch: int, sequence: int) -> None:
        """Step 7, last part: a mark names another one as the first of its message; the file must not show otherwise."""
        if self._contents.is_first((epoch, sequence)):
            reason = f"the mark says that it repeats mark {sequence}, which is of another message"
            self._ledger.failed(VerificationError(7, reason))

    def end(self) -> None:
        """Step 11 for each device, once every message is known; and what the file has nothing for."""
        for device, counter in self._counters.items():
            self._do.allow("missing.allow_lost", 11, step.check_lost, device, counter)
        if self._log is None:
            self._do.absent("missing.allow_unlogged", 14, NO_LOG)
            self._ledger.absent(15, NO_LOG)
            self._ledger.absent(16, NO_LOG)
        self._third.end()
        self._attestations.end()
