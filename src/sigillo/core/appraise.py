"""The whole answer about an evidence file: every step that can be run, every finding (spec/verification.md)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sigillo.core.ledger import Ledger, StepRecord
from sigillo.core.policy import Policy
from sigillo.core.verdict import (
    LEVEL_SENTENCE,
    MAX_LISTED,
    STEPS,
    Check,
    Finding,
    Findings,
    Link,
    Result,
    Summary,
    Verdict,
)
from sigillo.core.verify import walk

NO_POLICY = "no policy says whom to trust"
NO_REBUILDER = Link("rebuilder", "nobody says that the broker's program was rebuilt from source")
LAST_SHOWN = "after a device's last message shown in an epoch only its own numbers show what is missing"
LAST_WORD = "what never reached the broker only a device's own numbers show, and nothing a loss after its last message"
_DEVICE_STEPS = (9, 11)
_LEVEL_STEP = 13
_FIRST_OF_THIRD_PARTIES = 17
_UNITS = {
    1: "line",
    2: "statement",
    3: "statement",
    4: "check",
    5: "mark",
    6: "message",
    7: "mark",
    8: "mark",
    9: "message",
    10: "mark",
    11: "check",
    12: "epoch",
    13: "epoch",
    14: "line",
    15: "check",
    16: "check",
    17: "token",
    18: "mark",
    19: "cosignature",
    20: "message",
    21: "quote",
    22: "epoch",
    23: "mark",
    24: "quote",
}
_MEANING = {
    1: "readable and canonical",
    2: "each signed by the epoch key it names",
    3: "each countersigned by the log key that the policy pins for its operator",
    4: "epochs without a hole, each naming the one before it",
    5: "each signed by the key of its epoch",
    6: "each about exactly this topic and payload",
    7: "sequence, time, counts and chains in order",
    8: "clock states that the policy allows",
    9: "each signed by the key of the device that its topic names (that its login delivered it is the operator's word)",
    10: "none held back between the first and the last shown of a device in each epoch",
    11: "no gap in a device's own numbers between its first and last shown",
    12: "executable, plugin and configuration as the policy says",
    14: "each the entry at its index, under a checkpoint of the log key that the policy pins",
    15: "sequences without room for another mark between them, checkpoints that are prefixes of this log",
    16: "no mark of a principal shown is denied by the log's heads, or missing up to them",
    17: "each by a TSA of the policy, over a checkpoint of this log, none from before one inside it",
    18: "each mark's time, with its error, between bounds as close as the policy asks",
    19: "the quorum",
    20: "each signed after a checkpoint that the log had before its mark",
    21: "each by a TPM that the policy names for its operator, not reset, and nothing launched, since the one before",
    22: "the launcher's log leads to the quoted PCR, and has the files of the epoch statement",
    23: "each between two quotes of its epoch",
    24: "the boot is one of the policy's platforms, and each file that its kernel measured is known",
}


def appraise(lines: Iterable[bytes], policy: Policy | None, now_ns: int) -> Verdict:
    """Appraise an evidence file: run all that can be run and return every finding.

    Args:
        lines: its lines without LF (:func:`sigillo.core.line.split_lines`).
        policy: whom to trust; None runs the checks that need no trust, and is never verified.
        now_ns: the reader's time, ns of Unix time.

    Raises:
        DecodeError: the file is not readable as evidence (step 1).
    """
    ledger = Ledger(strict=False)
    walk(lines, policy, now_ns, ledger)
    summary = ledger.summary()
    checks = tuple(check_of(step, ledger, summary, policy) for step in STEPS)
    verified = policy is not None and all(check.result in (Result.PASSED, Result.MISSING) for check in checks)
    return Verdict(
        verified=verified,
        reason="" if verified else _reason(checks, policy),
        has_policy=policy is not None,
        level=ledger.level,
        summary=summary,
        checks=checks,
        missing=() if summary.rebuilt_count == summary.epoch_count else (NO_REBUILDER,),
        relaxations=ledger.relaxations(),
        limits=(*ledger.limits(), *(() if ledger.has_log else (LAST_SHOWN,)), LAST_WORD),
    )


def check_of(step: int, ledger: Ledger, summary: Summary, policy: Policy | None) -> Check:
    """What the ledger has of one step."""
    record = ledger.steps[step]
    failures, notes = record.failures.findings(), record.notes.findings()
    if failures.count:
        result, detail = Result.FAILED, _shown(failures.listed[0].line, failures.listed[0].text)
    elif record.absent and not record.checked:
        result, detail = Result.MISSING, "; ".join(_lacking(record))
    elif record.skipped or not record.checked:
        result, detail = Result.NOT_CHECKED, _why_skipped(record, policy)
    else:
        level = f"{ledger.level}: {LEVEL_SENTENCE[ledger.level]}"
        meaning = level if step == _LEVEL_STEP else record.detail or _MEANING[step]
        result, detail = Result.PASSED, f"{_count(record.checked, _UNITS[step])}: {meaning}"
    if result is not Result.MISSING:
        lacking = tuple(Finding(None, text) for text in _lacking(record))
        notes = Findings((*lacking, *notes.listed)[:MAX_LISTED], notes.count + len(lacking))
    liars = _liars(step, ledger, summary, policy) if result is Result.PASSED else ()
    return Check(step, result, detail, record.checked, failures, notes, liars)


def _lacking(record: StepRecord) -> Iterator[str]:
    """What there is nothing to look at for, with how often where that was more than once."""
    for reason, times in record.absent.items():
        yield reason if times == 1 else f"{reason} ({times} times)"


def _why_skipped(record: StepRecord, policy: Policy | None) -> str:
    if policy is None and not record.checked:
        return NO_POLICY
    return f"{record.skipped} of {record.skipped + record.checked} not reached: a step before failed there"


def _liars(step: int, ledger: Ledger, summary: Summary, policy: Policy | None) -> tuple[tuple[str, ...], ...]:
    """Alternatives of smallest sets: any one set, lying together, makes the line false.

    Each device speaks for itself alone, each maker for the keys that it certifies, and each operator for its own
    epochs: sets of one party. Third parties, and who builds a program again, lie together, as the ledger has it;
    certificates are judged by their times.
    """
    if step == 1:
        return ()
    if policy is None:
        return (("whoever made the keys in this file",),)
    if step >= _FIRST_OF_THIRD_PARTIES:
        return ledger.liars(step)
    if step not in _DEVICE_STEPS:
        return (*((f"operator {name}",) for name in summary.operators), *ledger.liars(step))
    devices = tuple((f"device {device.id}",) for device in summary.devices)
    makers = tuple((f"maker {name}",) for name in _makers(summary, policy))
    return (*devices, *makers, *ledger.liars(step))


def _makers(summary: Summary, policy: Policy) -> Iterable[str]:
    """Whose certificates the devices of the summary need, each name once."""
    devices = (policy.device(device.id) for device in summary.devices)
    return dict.fromkeys(device.maker.name for device in devices if device and device.maker)


def _reason(checks: tuple[Check, ...], policy: Policy | None) -> str:
    first = reason_of(checks)
    if policy is not None:
        return first or NO_POLICY
    return f"{NO_POLICY}; and {first}" if first else NO_POLICY


def reason_of(checks: tuple[Check, ...]) -> str:
    """The first failure, of the steps that a level rests on before that of the level; empty where none failed."""
    failed = [check for check in checks if check.result is Result.FAILED]
    if not failed:
        return ""
    first = min(failed, key=lambda check: (check.step == _LEVEL_STEP, check.step))
    more = sum(check.failures.count for check in failed) - 1
    also = f" (and {_count(more, 'more finding')})" if more else ""
    return f"step {first.step}, {first.name}: {first.detail}{also}"


def _shown(line: int | None, text: str) -> str:
    return text if line is None else f"line {line}: {text}"


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"
