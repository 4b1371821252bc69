"""What TPMs say of a file as it is read: steps 21 to 24 of spec/verification.md, and 13, which rests on them.

Memory is flat: one opening quote, and a bounded number of groups of marks that wait for the quote behind them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import zip_longest

from sigillo.core import step, step_attested
from sigillo.core.attestation_trust import AttestationTrust, AttesterTrust
from sigillo.core.attested import UNMEASURED, Launch, LaunchParts, Vouched, appraise_launch
from sigillo.core.build_step import Builds
from sigillo.core.build_trust import BuildTrust
from sigillo.core.decoded import (
    DecodedAttestation,
    DecodedBootLog,
    DecodedClosure,
    DecodedLaunchLog,
    DecodedMeasurements,
    DecodedRegistration,
)
from sigillo.core.errors import VerificationError
from sigillo.core.event_log import EventLog
from sigillo.core.evidence import MAX_BOOTS
from sigillo.core.evidence_line import ConfigurationLine
from sigillo.core.launch import begins_with_boot
from sigillo.core.ledger import Ledger
from sigillo.core.policy import Policy
from sigillo.core.quote import Quote
from sigillo.core.run import Run
from sigillo.core.trusted import SelfSignedStatement, VerifiedStatement

MAX_GROUPS = 4096
Part = DecodedRegistration | DecodedClosure | DecodedLaunchLog | DecodedBootLog | DecodedMeasurements
UNATTESTED = "missing.allow_unattested"
ANY_CONFIGURATION = "attestation.unsafe_any_configuration"
NO_HARDWARE = "no hardware vouches for what ran"
NO_LAUNCH_LOG = "nothing but the operator's statement says what was launched"
NO_BOOT = "nothing but the launcher's word says what was loaded"
LAUNCHER_LIES = "a launcher that lies reaches the level launched: nothing here measured the launcher itself"
NOTHING_ATTESTED = "nothing attests what made these marks"
NOT_CLOSED = "no quote after these marks: what happened since the one before them is not attested"
NOT_OPENED = "no quote before these marks in their epoch"
STRANGER = "the policy names no attester of this operator: whose TPM it is, nobody says"


@dataclass(slots=True)
class _Group:
    """Marks that wait together; *last*: index of the last, *line*: of the first, in the file."""

    last: int
    line: int | None
    count: int = 1


@dataclass(slots=True)
class _Epoch:
    """The epoch that the walk is in. *verified*: None where step 3 did not pass.

    *before*: its newest quote; *last*: the same where it is a good one, else None.
    """

    own: SelfSignedStatement | None
    verified: VerifiedStatement | None
    attester: AttesterTrust | None
    before: Quote | None = None
    last: Quote | None = None
    vouched: Vouched | None = None
    launch: Launch | None = None
    booted: bool | None = None
    sound: bool = True
    waiting: deque[_Group] = field(default_factory=deque)

    @property
    def level(self) -> str:
        """What the quotes and the launch log reach."""
        if not (self.vouched and self.launch and self.sound):
            return "declared"
        return "booted" if self.booted else "launched"


class Attestations:
    """One walk through a file. *builds*: its manifests, as they are read."""

    def __init__(self, policy: Policy | None, builds: Builds, ledger: Ledger, run: Run) -> None:
        self._policy, self._builds, self._ledger, self._run = policy, builds, ledger, run
        self._parts = LaunchParts()
        self._epoch: _Epoch | None = None
        self._cut = True
        self._newest: Quote | None = None
        self._logs: list[EventLog] = []
        self._logs_sound = True

    def text(self, line: ConfigurationLine) -> None:
        """The text of a configuration file, for the epochs below."""
        self._parts.add_text(line.name, line.text)

    def part(self, decoded: Part) -> None:
        """A shared part, for the epochs below."""
        if isinstance(decoded, DecodedRegistration):
            self._parts.registrations.append(decoded.registration)
        elif isinstance(decoded, DecodedClosure):
            self._parts.closures[decoded.closure.object_hash] = decoded.closure
        elif isinstance(decoded, DecodedBootLog):
            self._parts.boots.append(decoded.log)
        elif isinstance(decoded, DecodedMeasurements):
            self._parts.measurements.append(decoded.line.measurements)
        elif begins_with_boot(decoded.log) and len(self._logs) < MAX_BOOTS:
            self._logs.append(decoded.log)
        else:
            self._read_log(decoded.log)

    def _read_logs(self) -> None:
        """Of the launch logs that begin with something else, once the boot logs below them are known."""
        for log in self._logs:
            self._read_log(log)
        self._logs = []

    def _read_log(self, log: EventLog) -> None:
        """Step 22 of a launch log."""
        passed, _ = self._run.attempt(step_attested.read_log, log, self._parts)
        self._logs_sound = self._logs_sound and passed

    def epoch(self, own: SelfSignedStatement | None, verified: VerifiedStatement | None) -> None:
        """The next epoch; the one before is over."""
        self._read_logs()
        self._close()
        attester = None
        if self._policy and verified:
            attester = self._policy.attestation.attester(verified.operator.name)
        self._epoch = _Epoch(own, verified, attester, sound=self._logs_sound)
        if self._policy is None or verified is None:
            self._ledger.skipped(13)

    def quote(self, decoded: DecodedAttestation, *, of_log: bool) -> None:
        """Steps 21 and 22, and the marks that are covered now. *of_log*: about a tree that this log had."""
        epoch = self._running
        if epoch.own is None:
            self._ledger.skipped(21)
            return
        passed, quote = self._run.attempt(step_attested.check_quote, decoded.evidence, epoch.own)
        if passed and quote and epoch.before:
            passed, _ = self._run.attempt(step_attested.check_next, epoch.before, quote)
        elif passed and quote and self._newest:
            passed, _ = self._run.attempt(step_attested.check_newer, self._newest, quote)
        epoch.before = quote or epoch.before
        if not passed or quote is None or not of_log:
            epoch.sound, epoch.last = False, None
            self._lose(epoch)
            return
        first, epoch.last = epoch.last is None, quote
        self._newest = quote
        self._believe(epoch, quote)
        if first:
            self._launch(epoch, epoch.own, quote)
        self._boot(epoch, quote)
        if epoch.vouched:
            self._cover(epoch, quote.subject.checkpoint.size)
        else:
            self._lose(epoch)
        self._cut = True

    def _believe(self, epoch: _Epoch, quote: Quote) -> None:
        """Step 21: whose TPM it is."""
        policy = self._policy
        if policy is None or epoch.verified is None:
            self._ledger.skipped(21)
        elif epoch.attester is None:
            self._ledger.absent(21, STRANGER)
        else:
            trust = policy.attestation
            _, vouched = self._run.step(21, step_attested.check_attester, quote, epoch.attester, trust, self._parts)
            epoch.sound = epoch.sound and vouched is not None
            epoch.vouched = vouched
            if vouched:
                self._ledger.vouched(epoch.verified.operator.name, vouched.liars, software=vouched.software)

    def _launch(self, epoch: _Epoch, own: SelfSignedStatement, quote: Quote) -> None:
        passed, launch = self._run.attempt(step_attested.check_launch, own, quote, self._parts)
        epoch.sound = epoch.sound and passed
        if launch and epoch.vouched and self._policy:
            self._ledger.ran(22)
            epoch.launch = launch
            self._judge(epoch, launch, self._policy.attestation)
        if launch:
            epoch.sound = self._libraries(own, launch) and epoch.sound

    def _judge(self, epoch: _Epoch, launch: Launch, trust: AttestationTrust) -> None:
        """Step 22: by the rules of the policy."""
        violations = appraise_launch(launch, trust)
        for violation in violations:
            self._ledger.failed(VerificationError(22, f"rule {violation.rule}: {violation.reason}"))
        epoch.sound = epoch.sound and not violations
        if trust.unsafe_any_configuration:
            self._ledger.relaxed(ANY_CONFIGURATION)
        elif not violations:
            self._ledger.noted(22, f"configuration and process keep {', '.join(trust.rules)}")

    def _libraries(self, own: SelfSignedStatement, launch: Launch) -> bool:
        """Step 22: what the broker loads, beside the manifest that its statement names."""
        trust = self._policy.build if self._policy else BuildTrust()
        listed = self._builds.believed(own.statement.manifest_hash, trust)
        demanded = bool(self._policy and self._policy.attestation.manifest_libraries)
        passed, note = self._run.attempt(step_attested.check_libraries, launch, listed, demanded=demanded)
        if note:
            self._ledger.noted(22, note)
        return passed

    def _boot(self, epoch: _Epoch, quote: Quote) -> None:
        """Step 24, of each quote: what is loaded between two of them shows in the later one."""
        if self._policy is None or epoch.verified is None or epoch.launch is None:
            return
        operator = epoch.verified.operator
        platforms = [platform for platform in self._policy.platforms if platform.operator == operator.name]
        if not platforms:
            return
        vouched = self._vouched(epoch.verified, self._policy)
        own = (quote, epoch.launch, self._parts, platforms, vouched)
        passed, booted = self._run.attempt(step_attested.check_boot, *own)
        if booted:
            self._ledger.ran(24)
            self._ledger.booted(booted)
        if booted or not passed:
            epoch.booted = passed and epoch.booted is not False

    def _vouched(self, verified: VerifiedStatement, policy: Policy) -> set[bytes]:
        """SHA-256 of files that a build manifest by a builder of the policy lists: never by the launcher's word."""
        listed = self._builds.believed(verified.own.statement.manifest_hash, policy.build)
        if listed is None:
            return set()
        return {file.sha256 for file in listed.closure} | {output.sha256 for _, output in listed.outputs()}

    def mark(self, line: int | None, index: int | None) -> None:
        """A mark of this epoch that its key signed waits for the quote behind it."""
        epoch = self._running
        if epoch.last is None or epoch.vouched is None or index is None:
            self._unattested(epoch, 1, line)
        elif not self._cut and epoch.waiting:
            epoch.waiting[-1].last = index
            epoch.waiting[-1].count += 1
        else:
            if len(epoch.waiting) >= MAX_GROUPS:
                epoch.waiting = deque(_joined_pairs(epoch.waiting))
            epoch.waiting.append(_Group(index, line))
            self._cut = False

    def stop(self) -> None:
        """A size that a quote may be about: what comes next is not below it."""
        self._cut = True

    def end(self) -> None:
        """The file is over."""
        self._close()

    def _cover(self, epoch: _Epoch, size: int) -> None:
        """Step 23: the marks below *size* lie between two quotes."""
        count = 0
        while epoch.waiting and epoch.waiting[0].last < size:
            count += epoch.waiting.popleft().count
        if count:
            self._ledger.ran(23, count)
            self._ledger.attested(count, size - 1)

    def _lose(self, epoch: _Epoch) -> None:
        """What waits has no good quote behind it."""
        for group in epoch.waiting:
            self._unattested(epoch, group.count, group.line, NOT_CLOSED)
        epoch.waiting = deque()

    def _unattested(self, epoch: _Epoch, count: int, line: int | None, reason: str = "") -> None:
        self._ledger.unattested(count)
        if epoch.attester is None:
            if epoch.last and (self._policy is None or epoch.verified is None):
                self._ledger.skipped(23)
            else:
                self._ledger.absent(23, NOTHING_ATTESTED, count)
            return
        if epoch.own and epoch.own.statement.attester is None:
            reason = UNMEASURED
        with self._ledger.about(line):
            self._run.absent(UNATTESTED, 23, reason or NOT_OPENED, count)

    def _close(self) -> None:
        epoch, self._cut = self._epoch, True
        if epoch is None:
            return
        self._lose(epoch)
        if epoch.vouched is None and epoch.last is None and epoch.sound:
            self._ledger.absent(21, NO_HARDWARE)
        if epoch.sound and not epoch.launch:
            self._ledger.absent(22, NO_LAUNCH_LOG)
        if epoch.booted is None:
            self._ledger.absent(24, NO_BOOT)
        if epoch.level == "launched":
            self._ledger.limit(LAUNCHER_LIES)
        self._ledger.reached(epoch.level)
        if self._policy and epoch.verified:
            self._run.step(13, step.check_level, epoch.verified, epoch.level)

    @property
    def _running(self) -> _Epoch:
        assert self._epoch  # decode_lines refuses what stands before the first epoch
        return self._epoch


def _joined_pairs(groups: Iterable[_Group]) -> Iterator[_Group]:
    pairs = iter(groups)
    for first, second in zip_longest(pairs, pairs):
        if second:
            first.last, first.count = second.last, first.count + second.count
        yield first
