"""The record of one run of the verification steps: what passed, failed, was skipped, is worth noting.

A strict ledger raises at the first failure (:func:`sigillo.core.verify.verify`); the other one writes it down
(:func:`sigillo.core.appraise.appraise`). The steps do not know which.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from sigillo.core.checkpoint import TreeHead
from sigillo.core.errors import VerificationError
from sigillo.core.history import Principals
from sigillo.core.mark import Mark
from sigillo.core.statement import EpochStatement
from sigillo.core.trusted import VerifiedMessage
from sigillo.core.verdict import (
    LOG_STEPS,
    MAX_LISTED,
    STEPS,
    BuiltBy,
    DeviceSummary,
    EpochSummary,
    Finding,
    Findings,
    LogSummary,
    Received,
    Relaxation,
    Summary,
)

CONSEQUENCES = {
    "clock.allow_unsynchronised": "the kernel itself said that these times are not synchronised",
    "clock.allow_unknown_bound": "nobody says how far these times may be off",
    "missing.allow_withheld": "the broker marked messages of these devices that the file lacks",
    "missing.allow_not_held": "the broker marked messages of these devices that nobody kept",
    "missing.allow_lost": "messages that these devices numbered are not in the file",
    "missing.allow_not_rebuilt": "too few others made this broker's programs again from their source",
    "operator.unsafe_any_build": "nothing says which broker software marked these messages",
}
MAX_TEXT = 500
_CLOCK_RANK = ("unsynchronised", "bound-unknown", "bounded")


@dataclass(slots=True)
class Listing:
    """Findings of which the first ``MAX_LISTED`` are kept and all are counted."""

    count: int = 0
    _kept: list[Finding] = field(default_factory=list)

    def add(self, line: int | None, text: str) -> None:
        """Count a finding, and keep it where there is room."""
        self.count += 1
        if len(self._kept) < MAX_LISTED:
            self._kept.append(Finding(line, text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}…"))

    def findings(self) -> Findings:
        """What is kept, and the count."""
        return Findings(tuple(self._kept), self.count)


@dataclass(slots=True)
class StepRecord:
    """One step: how often it was run and skipped, its failures and notes."""

    checked: int = 0
    skipped: int = 0
    failures: Listing = field(default_factory=Listing)
    notes: Listing = field(default_factory=Listing)


class Ledger:
    """Everything that a run found, in bounded memory."""

    def __init__(self, *, strict: bool) -> None:
        self._strict = strict
        self._line: int | None = None
        self.steps = {step: StepRecord() for step in STEPS}
        self._relaxed: dict[str, int] = {}
        self._limits: dict[str, None] = {}
        self.principals = Principals()
        self._epochs: list[EpochSummary] = []
        self._operators: dict[str, None] = {}
        self._built: dict[BuiltBy, None] = {}
        self._rebuilt_count = 0
        self._epoch_count = self._message_count = self._not_held_count = 0
        self.has_log = False
        self._log: LogSummary | None = None
        self._received: Received | None = None

    def at(self, line: int | None) -> None:
        """What follows is about this line of the file."""
        self._line = line

    def ran(self, step: int, times: int = 1) -> None:
        """The step was run once, or that many times."""
        self.steps[step].checked += times

    def skipped(self, *steps: int) -> None:
        """The steps were not run here: a step before them failed, or there is no policy."""
        for step in steps:
            self.steps[step].skipped += 1

    def failed(self, error: VerificationError) -> None:
        """Write the failure down, or raise it where the ledger is strict."""
        if self._strict:
            where = "" if self._line is None else f"line {self._line}: "
            raise VerificationError(error.step, where + error.reason) from error
        self.steps[error.step].failures.add(self._line, error.reason)

    def noted(self, step: int, text: str) -> None:
        """A finding that does not fail."""
        self.steps[step].notes.add(self._line, text)

    def relaxed(self, permission: str) -> None:
        """The policy's permission was needed."""
        self._relaxed[permission] = self._relaxed.get(permission, 0) + 1

    def relaxations(self) -> tuple[Relaxation, ...]:
        """The permissions that were needed, in the order of ``CONSEQUENCES``."""
        return tuple(
            Relaxation(permission, self._relaxed[permission], consequence)
            for permission, consequence in CONSEQUENCES.items()
            if permission in self._relaxed
        )

    def limits(self) -> tuple[str, ...]:
        """What the evidence cannot show, each sentence once."""
        return tuple(self._limits)

    def limit_device(self, message: VerifiedMessage) -> None:
        """What the device's counter is too short to show, its beacon is not looked at for, and its maker asserts."""
        if message.beacon is not None:
            self._limited("devices signed beacons; this version does not check them, so they bound nothing")
        device = message.device
        if device.maker:
            name = device.maker.name
            self._limited(f'certificates of maker "{name}" are judged at the broker\'s own times: nothing bounds those')
            if device.maker.hardware:
                self._limited(f'that these keys are in hardware is what maker "{name}" asserts; nothing here shows it')
        if device.sequence_bits == 8:
            self._limited(f'device "{device.id}" counts in 8 bits: a loss of 256·k messages in a row is invisible')

    def _limited(self, text: str) -> None:
        if len(self._limits) < MAX_LISTED:
            self._limits[text] = None

    def _limit_epoch(self, statement: EpochStatement) -> None:
        name = statement.operator
        if not statement.separated:
            self._limited(f'operator "{name}": broker and log key are in the hands of one user (separated: false)')
        if statement.clock_correction_ns:
            delta = f"by {statement.clock_correction_ns} ns"
            self._limited(f"epoch {statement.number}: before it the operator corrected the clock {delta}")
        if statement.unmarked_paths:
            self._limited(f"not marked by this broker: {', '.join(statement.unmarked_paths)}")

    def epoch(self, statement: EpochStatement, epoch_id: bytes) -> None:
        """An epoch, as its statement says."""
        self._limit_epoch(statement)
        self._epoch_count += 1
        previous = statement.previous
        if len(self._operators) < MAX_LISTED:
            self._operators[statement.operator] = None
        if len(self._epochs) < MAX_LISTED:
            self._epochs.append(
                EpochSummary(
                    number=statement.number,
                    id=epoch_id,
                    operator=statement.operator,
                    separated=statement.separated,
                    clock_correction_ns=statement.clock_correction_ns,
                    previous_ending=previous.ended.name.lower().replace("_", " ") if previous else "none",
                    unmarked_paths=statement.unmarked_paths,
                    ended=False,
                )
            )

    def epoch_end(self) -> None:
        """The newest epoch has its end in the file."""
        if self._epoch_count == len(self._epochs):
            self._epochs[-1] = replace(self._epochs[-1], ended=True)

    def built(self, built: BuiltBy, *, rebuilt: bool) -> None:
        """Who built the programs of the newest epoch. *rebuilt*: enough others made the same."""
        again = f", made again by {', '.join(built.rebuilders)}" if built.rebuilders else ""
        self.noted(12, f"executable and plugin of this epoch built by {built.builder}{again}")
        self._rebuilt_count += rebuilt
        if len(self._built) < MAX_LISTED:
            self._built[built] = None

    def checkpoint(self, head: TreeHead) -> None:
        """The log that the file is shown under."""
        self._log = LogSummary(head.origin, head.size, head.root)

    def not_held(self) -> None:
        """A mark that is admitted, and its message is not held."""
        self._not_held_count += 1

    def message(self, mark: Mark) -> None:
        """A message, as its mark says."""
        self._message_count += 1
        if mark.checkpoint.size and not self.has_log:
            self._limited("marks name log checkpoints; the file has no log proof, so they bound nothing")
        self.principals.of(mark.principal).messages += 1
        seen, clock = self._received, mark.clock
        if seen is None:
            self._received = Received(mark.time_ns, mark.time_ns, clock.state, clock.bound_ns)
            return
        state = min(seen.clock, clock.state, key=_CLOCK_RANK.index)
        bounded = state == "bounded"
        self._received = Received(
            min(seen.first_ns, mark.time_ns),
            max(seen.last_ns, mark.time_ns),
            state,
            max(seen.bound_ns or 0, clock.bound_ns or 0) if bounded else None,
        )

    def summary(self) -> Summary:
        """What the file holds, by its own account."""
        principals = self.principals.all()
        return Summary(
            epoch_count=self._epoch_count,
            message_count=self._message_count,
            not_held_count=self._not_held_count,
            device_count=len(principals),
            repeat_count=sum(principal.repeats for principal in principals),
            received=self._received,
            epochs=tuple(self._epochs),
            devices=tuple(
                DeviceSummary(
                    principal.name,
                    principal.messages,
                    principal.repeats,
                    principal.sequence_bits,
                    principal.complete_to,
                )
                for principal in principals[:MAX_LISTED]
            ),
            operators=tuple(self._operators),
            log=self._log and replace(self._log, complete_to=self._complete_to()),
            built=tuple(self._built),
            rebuilt_count=self._rebuilt_count,
        )

    def _complete_to(self) -> int | None:
        """The smallest entry up to which all is known of a principal; None where a step that says so did not pass."""
        if any(self.steps[step].failures.count or not self.steps[step].checked for step in (7, 10, *LOG_STEPS)):
            return None
        ends = [principal.complete_to for principal in self.principals.all() if principal.complete_to is not None]
        return min(ends, default=None)
