"""The record of one run of the verification steps: what passed, failed, was skipped, is worth noting.

A strict ledger raises at the first failure (:func:`sigillo.core.verify.verify`); the other one writes it down
(:func:`sigillo.core.appraise.appraise`). The steps do not know which.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sigillo.core.errors import VerificationError
from sigillo.core.history import Principals
from sigillo.core.mark import Mark
from sigillo.core.statement import EpochStatement
from sigillo.core.trusted import VerifiedMessage
from sigillo.core.verdict import (
    MAX_LISTED,
    STEPS,
    DeviceSummary,
    EpochSummary,
    Finding,
    Findings,
    Received,
    Relaxation,
    Summary,
)

CONSEQUENCES = {
    "clock.allow_unsynchronised": "the kernel itself said that these times are not synchronised",
    "clock.allow_unknown_bound": "nobody says how far these times may be off",
    "missing.allow_withheld": "the broker marked messages of these devices that the file lacks",
    "missing.allow_lost": "messages that these devices numbered are not in the file",
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
        self._epoch_count = self._message_count = 0
        self._received: Received | None = None

    def at(self, line: int | None) -> None:
        """What follows is about this line of the file."""
        self._line = line

    def ran(self, step: int) -> None:
        """The step was run once."""
        self.steps[step].checked += 1

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

    def epoch(self, statement: EpochStatement, epoch_id: bytes, *, ended: bool) -> None:
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
                    ended=ended,
                )
            )

    def message(self, mark: Mark) -> None:
        """A message, as its mark says."""
        self._message_count += 1
        if mark.checkpoint.size:
            self._limited("marks name log checkpoints; this version does not check them, so they bound nothing")
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
            device_count=len(principals),
            repeat_count=sum(principal.repeats for principal in principals),
            received=self._received,
            epochs=tuple(self._epochs),
            devices=tuple(
                DeviceSummary(principal.name, principal.messages, principal.repeats, principal.sequence_bits)
                for principal in principals[:MAX_LISTED]
            ),
            operators=tuple(self._operators),
        )
