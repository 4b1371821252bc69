"""The verdict on a challenge's answer as text for people: the first line is the answer."""

from __future__ import annotations

from collections.abc import Iterator

from sigillo.core.challenged import LIMITS, ChallengeVerdict
from sigillo.core.verdict import LEVEL_SENTENCE
from sigillo.report.escape import escape
from sigillo.report.text import Paint, check_lines, relaxation_line, software_line


def render_answer(verdict: ChallengeVerdict, *, colour: bool = False) -> str:
    """The verdict as lines of text, each ended by LF; what others wrote is escaped. *colour*: with ANSI colours."""
    return "".join(f"{line}\n" for line in _lines(verdict, Paint(colour)))


def _lines(verdict: ChallengeVerdict, paint: Paint) -> Iterator[str]:
    statement = verdict.answer.statement.statement
    epoch = f'epoch {statement.number} of operator "{escape(verdict.operator)}"'
    if verdict.attested:
        size = verdict.answer.checkpoint.head.size
        yield f"{paint('ATTESTED')}  {epoch}, at this moment, with the log's first {size} entries"
        yield f"Level {verdict.level}: {LEVEL_SENTENCE[verdict.level]}"
    else:
        yield f"{paint('NOT ATTESTED')}: {escape(verdict.reason)}"
        yield f"What the answer claims, unproven: {epoch}"
    if verdict.software:
        yield software_line(verdict.operator)
    yield ""
    for check in verdict.checks:
        yield from check_lines(check, paint)
    yield ""
    yield from map(relaxation_line, verdict.relaxations)
    yield from (f"Limit: {limit}." for limit in LIMITS)
