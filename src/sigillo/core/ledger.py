"""The record of one run of the verification steps: what passed, failed, was skipped, is worth noting.

A strict ledger raises at the first failure (:func:`sigillo.core.verify.verify`); the other one writes it down
(:func:`sigillo.core.appraise.appraise`). The steps do not know which.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import combinations, islice

from sigillo.core import step_third
from sigillo.core.booted import Booted, explain
from sigillo.core.bracket import Bound
from sigillo.core.checkpoint import TreeHead
from sigillo.core.errors import VerificationError
from sigillo.core.history import Principals
from sigillo.core.mark import Mark
from sigillo.core.statement import EpochStatement
from sigillo.core.timestamp import VerifiedToken
from sigillo.core.trusted import VerifiedMessage
from sigillo.core.verdict import (
    LEVELS,
    LOG_STEPS,
    MAX_LISTED,
    STEPS,
    AttestationSummary,
    Bounds,
    BuiltBy,
    DeviceSummary,
    EpochSummary,
    Finding,
    Findings,
    LogSummary,
    Received,
    Relaxation,
    Span,
    Summary,
)

CONSEQUENCES = {
    "clock.allow_unsynchronised": "the kernel itself said that these times are not synchronised",
    "clock.allow_unknown_bound": "nobody says how far these times may be off",
    "missing.allow_withheld": "the broker marked messages of these devices that the file lacks",
    "missing.allow_not_held": "the broker marked messages of these devices that nobody kept",
    "missing.allow_lost": "messages that these devices numbered are not in the file",
    "missing.allow_unlogged": "nothing shows that these marks are in a log that others can see",
    "missing.allow_unanchored": "on one side or both only the broker's clock bounds these times",
    "missing.allow_unwitnessed": "one history; a split view would not be seen",
    "missing.allow_no_beacon": "nothing says after what these messages were signed",
    "missing.allow_unattested": "nothing attests what made these marks",
    "attestation.allow_software": "a software TPM: whoever has root where it runs can make it say anything",
    "attestation.unsafe_any_configuration": "nothing says that the broker was configured as it should be",
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
    """One step: how often it was run, skipped, and had nothing to look at (by reason); its failures and notes.

    *detail*: what is to be said of it where it passed, if not the same of every file.
    """

    checked: int = 0
    skipped: int = 0
    absent: dict[str, int] = field(default_factory=dict)
    detail: str = ""
    failures: Listing = field(default_factory=Listing)
    notes: Listing = field(default_factory=Listing)


@dataclass(slots=True)
class BoundRecord:
    """The bounds of marks or messages on one side: the first and last in time, how many, and who must have lied."""

    first: Bound | None = None
    last: Bound | None = None
    count: int = 0
    lacking: int = 0
    liars: dict[tuple[str, ...], None] = field(default_factory=dict)

    def add(self, bound: Bound | None, times: int = 1) -> None:
        """So many have this bound; None: have none."""
        if bound is None:
            self.lacking += times
            return
        self.count += times
        self.first = bound if self.first is None else min(self.first, bound, key=_time)
        self.last = bound if self.last is None else max(self.last, bound, key=_time)
        if len(self.liars) < MAX_LISTED:
            self.liars[bound.liars] = None

    def span(self) -> Span | None:
        """All of them; None where nobody has one."""
        if self.first is None or self.last is None:
            return None
        return Span(self.first, self.last, self.count, self.lacking, tuple(self.liars))


@dataclass(slots=True)
class Revocation:
    """Of the tokens of a TSA that count: how many come without revocation data, and the oldest data of the others."""

    unknown: int = 0
    oldest_ns: int | None = None

    def add(self, revocation_ns: int | None) -> None:
        """A token, as in VerifiedToken."""
        if revocation_ns is None:
            self.unknown += 1
        else:
            self.oldest_ns = min(self.oldest_ns or revocation_ns, revocation_ns)

    def limits(self, tsa: str) -> Iterator[str]:
        """What that leaves open, in words: never more than was looked at."""
        if self.unknown:
            without = f"no revocation data with {self.unknown} of its tokens"
            yield f'TSA "{tsa}": {without}: whether its certificates had been revoked is not checked'
        if self.oldest_ns is not None:
            as_of = step_third.moment(self.oldest_ns)
            yield f'TSA "{tsa}": its certificates were not revoked as of {as_of}; what came later is not seen here'


def _time(bound: Bound) -> int:
    return bound.time_ns


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
        self._rebuilt_count = 0
        self._level: str | None = None
        self._attestation = AttestationSummary()
        self._epoch_count = self._message_count = self._not_held_count = 0
        self.has_log = False
        self._log: LogSummary | None = None
        self._received: Received | None = None
        self.signed_after, self.marked_after, self.not_later = BoundRecord(), BoundRecord(), BoundRecord()
        self._widest_ns: int | None = None
        self._clock = "not compared"
        self._revocation: dict[str, Revocation] = {}
        self._liars: dict[int, dict[tuple[str, ...], None]] = {step: {} for step in (9, 12, 17, 19, 21, 22, 23, 24)}

    def at(self, line: int | None) -> None:
        """What follows is about this line of the file."""
        self._line = line

    @contextmanager
    def about(self, line: int | None) -> Iterator[None]:
        """What is found meanwhile is about another line."""
        self._line, held = line, self._line
        yield
        self._line = held

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

    def absent(self, step: int, reason: str, times: int = 1) -> None:
        """The file has nothing for this step, that many times, and nobody demands it."""
        absent = self.steps[step].absent
        absent[reason] = absent.get(reason, 0) + times

    def relaxed(self, permission: str, times: int = 1) -> None:
        """The policy's permission was needed, that many times."""
        self._relaxed[permission] = self._relaxed.get(permission, 0) + times

    def anchored(self, token: VerifiedToken, now_ns: int) -> None:
        """A token that counts."""
        self._lied(17, f"TSA {token.tsa}")
        if not token.accuracy_stated:
            self.limit(f'TSA "{token.tsa}" states no accuracy: 1 s is taken for it')
        if token.expires_ns < now_ns:
            self.limit(f'TSA "{token.tsa}": a certificate has expired since; whoever has its key could backdate now')
        self._revocation.setdefault(token.tsa, Revocation()).add(token.revocation_ns)

    def bracket(self, width_ns: int) -> None:
        """A mark has bounds on both sides."""
        self._widest_ns = max(self._widest_ns or 0, width_ns)

    def contradicted(self, step: int, text: str) -> None:
        """The clock of a device is wrong."""
        self.noted(step, text)
        self._clock = "contradicted"

    def clock_compared(self) -> None:
        """The clock of a device was compared with bounds."""
        if self._clock == "not compared":
            self._clock = "not contradicted"

    def reached(self, level: str) -> None:
        """An epoch reaches this level; the file the lowest of its epochs."""
        self._level = min(self._level or level, level, key=LEVELS.index)

    @property
    def level(self) -> str:
        """The level that every epoch of the file reaches."""
        return self._level or LEVELS[0]

    def vouched(self, operator: str, liars: tuple[tuple[str, ...], ...], *, software: bool) -> None:
        """A TPM of this operator quotes an epoch."""
        for parties in liars:
            self._lied(21, *parties)
            self._lied(23, *parties)
            self._lied(24, *parties)
        self._lied(22, f"operator {operator}")
        if software:
            self.relaxed("attestation.allow_software")
        known = self._attestation.software_tpms
        if software and operator not in known and len(known) < MAX_LISTED:
            self._attestation = replace(self._attestation, software_tpms=(*known, operator))

    def booted(self, booted: Booted) -> None:
        """What a machine booted and loaded is what the reader knows."""
        shown, loaded, *not_shown = explain(booted)
        self.noted(24, shown)
        self.noted(24, loaded)
        for text in not_shown:
            self.limit(text)

    def attested(self, count: int, to: int) -> None:
        """So many marks lie between two quotes; what happened is attested up to entry *to*."""
        held = self._attestation
        self._attestation = replace(held, attested_count=held.attested_count + count, attested_to=to)

    def unattested(self, count: int) -> None:
        """So many marks do not."""
        held = self._attestation
        self._attestation = replace(held, unattested_count=held.unattested_count + count)

    def certified_by(self, bound: Bound) -> None:
        """A device's certificate was judged at this time."""
        self._lied(9, *bound.liars)

    def witnessed(self, names: tuple[str, ...], quorum: int, able: int, operator: str) -> None:
        """These witnesses cosigned the log's checkpoint: *quorum* are needed of the *able* that could."""
        shown = ", ".join(names)
        self.steps[19].detail = f"by {shown}: the largest tree that each has seen of this log, and no other history"
        if self._log:
            self._log = replace(self._log, witnesses=names[:MAX_LISTED])
        both = 2 * quorum - able  # in two quorums
        if both < 1:
            of = f"{quorum} of {able} witnesses"
            self.limit(f"a quorum of {of} is no majority: two histories can each have one, and no witness lies")
        for lying in islice(combinations(names, max(both, 0)), MAX_LISTED):
            self._lied(19, f"operator {operator}", *(f"witness {name}" for name in lying))

    def _lied(self, step: int, *parties: str) -> None:
        if len(self._liars[step]) < MAX_LISTED:
            self._liars[step][parties] = None

    def liars(self, step: int) -> tuple[tuple[str, ...], ...]:
        """Of the steps that are about third parties: who must have lied, as of a check."""
        if step == 18:
            return tuple({**self.marked_after.liars, **self.not_later.liars})
        return tuple(self.signed_after.liars if step == 20 else self._liars.get(step, {}))

    def relaxations(self) -> tuple[Relaxation, ...]:
        """The permissions that were needed, in the order of ``CONSEQUENCES``."""
        return tuple(
            Relaxation(permission, self._relaxed[permission], consequence)
            for permission, consequence in CONSEQUENCES.items()
            if permission in self._relaxed
        )

    def limits(self) -> tuple[str, ...]:
        """What the evidence cannot show, each sentence once."""
        revocation = (text for tsa, of_tsa in self._revocation.items() for text in of_tsa.limits(tsa))
        return (*self._limits, *revocation)

    def limit_device(self, message: VerifiedMessage) -> None:
        """What the device's counter is too short to show, and its maker asserts."""
        device = message.device
        if device.maker and device.maker.hardware:
            name = device.maker.name
            self.limit(f'that these keys are in hardware is what maker "{name}" asserts; nothing here shows it')
        if device.sequence_bits == 8:
            self.limit(f'device "{device.id}" counts in 8 bits: a loss of 256·k messages in a row is invisible')

    def limit(self, text: str) -> None:
        """What this evidence cannot show; each sentence counts once."""
        if len(self._limits) < MAX_LISTED:
            self._limits[text] = None

    def _limit_epoch(self, statement: EpochStatement) -> None:
        name = statement.operator
        if not statement.separated:
            self.limit(f'operator "{name}": broker and log key are in the hands of one user (separated: false)')
        if statement.clock_correction_ns:
            delta = f"by {statement.clock_correction_ns} ns"
            self.limit(f"epoch {statement.number}: before it the operator corrected the clock {delta}")
        if statement.unmarked_paths:
            self.limit(f"not marked by this broker: {', '.join(statement.unmarked_paths)}")

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
        self._lied(12, f"builder {built.builder}", *(f"rebuilder {name}" for name in built.rebuilders))

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
            self.limit("marks name log checkpoints; the file has no log proof, so they bound nothing")
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
            bounds=Bounds(
                self.signed_after.span(),
                self.marked_after.span(),
                self.not_later.span(),
                self._widest_ns,
                self._clock,
            ),
            rebuilt_count=self._rebuilt_count,
            attestation=self._attestation,
        )

    def _complete_to(self) -> int | None:
        """The smallest entry up to which all is known of a principal; None where a step that says so did not pass."""
        if any(self.steps[step].failures.count or not self.steps[step].checked for step in (7, 10, *LOG_STEPS)):
            return None
        ends = [principal.complete_to for principal in self.principals.all() if principal.complete_to is not None]
        return min(ends, default=None)
