"""A verdict as text for people (spec/verification.md, "Verdict"): the first line is the answer."""

from __future__ import annotations

from collections.abc import Iterator

from sigillo.core.verdict import (
    LEVEL_SENTENCE,
    Check,
    DeviceSummary,
    Findings,
    LogSummary,
    Received,
    Relaxation,
    Result,
    Span,
    Summary,
    Verdict,
)
from sigillo.report.escape import escape
from sigillo.report.moment import duration, span
from sigillo.report.timeline import timeline

SHOWN_FINDINGS = 5
SHOWN_NAMES = 3
_COLOUR = {
    "VERIFIED": "1;32",
    "NOT VERIFIED": "1;31",
    "ATTESTED": "1;32",
    "NOT ATTESTED": "1;31",
    "passed": "32",
    "failed": "31",
    "missing": "33",
    "not checked": "33",
}


def render(verdict: Verdict, *, colour: bool = False) -> str:
    """The verdict as lines of text, each ended by LF.

    What others wrote (topics, names) is escaped, so that it cannot steer a terminal. *colour*: with ANSI colours.
    """
    return "".join(f"{line}\n" for line in _lines(verdict, Paint(colour)))


class Paint:
    """Colours words, or leaves them as they are."""

    def __init__(self, on: bool) -> None:
        self._on = on

    def __call__(self, word: str, width: int = 0) -> str:
        """The word, padded to a width."""
        padded = word.ljust(width)
        return f"\x1b[{_COLOUR[word]}m{padded}\x1b[0m" if self._on else padded


def _lines(verdict: Verdict, paint: Paint) -> Iterator[str]:
    if verdict.verified:
        yield f"{paint('VERIFIED')}  {_answer(verdict)}"
    else:
        yield f"{paint('NOT VERIFIED')}: {escape(verdict.reason)}"
        yield f"What the file claims, unproven: {_claim(verdict.summary)}"
    if verdict.summary.log:
        yield _complete(verdict.summary.log)
    yield from _level(verdict)
    yield from timeline(verdict.summary)
    yield ""
    for check in verdict.checks:
        yield from check_lines(check, paint)
    for link in verdict.missing:
        yield f"    {link.name:<18}{paint('missing', 13)}{link.detail}"
    if verdict.relaxations or verdict.limits:
        yield ""
    for used in verdict.relaxations:
        yield relaxation_line(used)
    for limit in verdict.limits:
        yield f"Limit: {escape(limit)}."


def _answer(verdict: Verdict) -> str:
    """The bounds in time, in the order of the chain: signed, received, marked, existed."""
    summary, bounds = verdict.summary, verdict.summary.bounds
    signer = "its key" if summary.device_count == 1 else "its device's key"
    each = "" if summary.message_count == 1 else "each "
    signed = _bound(bounds.signed_after, " after", ", no lower bound", "no lower bound")
    parts = [
        f"{_messages(summary)}: {each}signed by {signer}{signed}",
        _received(summary),
        _bound(bounds.marked_after, "marked after", "marked after: no lower bound", "no lower bound"),
        _bound(bounds.not_later, "existed and marked not later than", "existed and marked: pending", "pending"),
    ]
    return " · ".join(parts)


def _bound(found: Span | None, words: str, nothing: str, lacking: str) -> str:
    """A side of the bracket: the span of the bounds, and how many messages lack one."""
    if found is None:
        return nothing
    others = f" ({found.lacking} more: {lacking})" if found.lacking else ""
    own = " (broker's word)" if found.first.operator or found.last.operator else ""
    return f"{words} {span(found.first.time_ns, found.last.time_ns)}{own}{others}"


def _complete(log: LogSummary) -> str:
    if log.complete_to is None:
        return (
            f"Not complete: nothing here shows what is missing, up to entry {log.size - 1} of log {escape(log.origin)}"
        )
    between = "between the first and last message shown and up to there"
    lacks = f"the broker marked no message of these devices {between} that the file lacks"
    where = f"entry {log.complete_to} of log {escape(log.origin)}"
    return f"Complete up to {where}: {lacks}; unknown beyond entry {log.complete_to}"


def _level(verdict: Verdict) -> Iterator[str]:
    """How far what ran is attested, and by what; of a file that no hardware says anything of, its step says that."""
    attestation = verdict.summary.attestation
    if not attestation.attested_count:
        return
    of = _many(attestation.attested_count + attestation.unattested_count, "mark")
    marks = f"{attestation.attested_count} of {of} attested, up to entry {attestation.attested_to}"
    yield f"Level {verdict.level} ({LEVEL_SENTENCE[verdict.level]}): {marks}"
    for operator in attestation.software_tpms:
        yield software_line(operator)


def software_line(operator: str) -> str:
    """A TPM that is a program is called one."""
    proves = "it proves the protocol, not the platform"
    return f'SOFTWARE TPM: that of operator "{escape(operator)}" is a program, not a chip: {proves}'


def _claim(summary: Summary) -> str:
    return f"{_messages(summary)} · {_received(summary)}"


def _messages(summary: Summary) -> str:
    names = _names(summary.devices, summary.device_count)
    of = f"{summary.device_count} devices ({names})" if summary.device_count > 1 else names
    repeats = f" (and {_many(summary.repeat_count, 'repeat')})" if summary.repeat_count else ""
    not_held = f" (and {summary.not_held_count} admitted, not held)" if summary.not_held_count else ""
    return f"{_many(summary.message_count - summary.repeat_count, 'message')} of {of}{repeats}{not_held}"


def _names(devices: tuple[DeviceSummary, ...], count: int) -> str:
    shown = [escape(device.id) or "(nobody)" for device in devices[:SHOWN_NAMES]]
    return ", ".join(shown) + (", …" if count > len(shown) else "")


def _received(summary: Summary) -> str:
    received: Received | None = summary.received
    if received is None:
        return "nothing received"
    when = span(received.first_ns, received.last_ns)
    who = "broker says" if len(summary.operators) == 1 else "brokers say"
    if received.bound_ns is not None:
        return f"{who} received {when} ± {duration(received.bound_ns)} (its own claim)"
    state = "clock unsynchronised" if received.clock == "unsynchronised" else "clock error unknown"
    return f"{who} received {when} (its own claim; {state})"


def check_lines(check: Check, paint: Paint) -> Iterator[str]:
    """The line of a check, and those of its findings."""
    detail = escape(check.detail)
    if check.result is Result.FAILED and check.failures.count > 1:
        detail = f"{_many(check.failures.count, 'finding')}:"
    yield f" {check.step:>2} {check.name:<18}{paint(str(check.result), 13)}{detail}{_liars(check)}"
    if check.failures.count > 1:
        yield from _findings(check.failures, "")
    yield from _findings(check.notes, "note: ")


def _liars(check: Check) -> str:
    if not check.liars:
        return ""
    sets = [escape(" and ".join(parties)) for parties in check.liars]
    shown = sets[:SHOWN_NAMES]
    more = [f"{len(sets) - len(shown)} others"] if len(sets) > len(shown) else []
    return f" · false only if {' or '.join(shown + more)} lied"


def _findings(findings: Findings, prefix: str) -> Iterator[str]:
    margin = " " * 22
    for finding in findings.listed[:SHOWN_FINDINGS]:
        where = "" if finding.line is None else f"line {finding.line}: "
        yield f"{margin}{prefix}{where}{escape(finding.text)}"
    if findings.count > SHOWN_FINDINGS:
        yield f"{margin}{prefix}and {findings.count - SHOWN_FINDINGS} more"


def _many(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"


def relaxation_line(used: Relaxation) -> str:
    """A permission that was needed."""
    return f"Allowed by the policy: {used.permission} ({_times(used.count)}): {used.consequence}."


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"
