"""The bracket of messages drawn as a time line: plain text of at most 80 columns (spec/verification.md, "Verdict")."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sigillo.core.bracket import Bound
from sigillo.core.verdict import Summary
from sigillo.report.escape import escape
from sigillo.report.moment import duration, utc

WIDTH = 80
_SHOWN_SOURCES = 2
_NAME = 26
_FIELD = WIDTH - 8  # two blanks before it, and room for letters that share the last column


@dataclass(frozen=True, slots=True)
class _Event:
    """A time that is drawn, by the letter that the legend explains. *before_ns*: where it begins to be possible."""

    letter: str
    name: str
    time_ns: int
    before_ns: int
    source: str


def timeline(summary: Summary) -> Iterator[str]:
    """The lines of the drawing, escaped; none where nothing but the broker's clock says anything."""
    events = list(_events(summary))
    if not summary.bounds.marked_after and not summary.bounds.not_later and not summary.bounds.signed_after:
        return
    yield ""
    yield from _drawn(events, pending=summary.bounds.not_later is None)
    for event in events:
        yield f"  {event.letter} {event.name:<{_NAME}}{utc(event.time_ns)}"
        yield from _folded(event.source)
    if summary.bounds.widest_ns is not None:
        yield f"    {'widest bracket of a mark':<{_NAME}}{duration(max(summary.bounds.widest_ns, 0))}"
    if summary.bounds.clock != "not compared":
        yield f"    {'clocks of the devices':<{_NAME}}{summary.bounds.clock}"


def _events(summary: Summary) -> Iterator[_Event]:
    """The outermost bounds, and what the broker says, in the order of the chain."""
    bounds, received = summary.bounds, summary.received
    if bounds.signed_after:
        first = bounds.signed_after.first
        yield _Event("S", "signed after", first.time_ns, first.time_ns, _source(first, "inside"))
    if bounds.marked_after:
        first = bounds.marked_after.first
        yield _Event("M", "marked after", first.time_ns, first.time_ns, _source(first, "inside"))
    if received:
        error_ns = received.bound_ns or 0
        own = "the broker's own claim" + (f", ± {duration(error_ns)}" if received.bound_ns is not None else "")
        yield _Event("R", "received, first", received.first_ns, received.first_ns - error_ns, own)
        if received.last_ns != received.first_ns:
            yield _Event("L", "received, last", received.last_ns, received.last_ns - error_ns, own)
    if bounds.not_later:
        last = bounds.not_later.last
        yield _Event("X", "existed not later than", last.time_ns, last.time_ns, _source(last, "over"))


def _source(bound: Bound, where: str) -> str:
    if not bound.anchors:
        return f"the word of operator {bound.operator}"
    sources = [
        f"token of TSA {anchor.tsa}, entry {anchor.index}, {where} checkpoint {anchor.size}"
        if where == "over"
        else f"token of TSA {anchor.tsa}, inside as entry {anchor.index}"
        for anchor in bound.anchors
    ]
    more = len(sources) - _SHOWN_SOURCES
    return "; ".join(sources[:_SHOWN_SOURCES]) + (f"; and {more} more" if more > 0 else "")


def _drawn(events: list[_Event], *, pending: bool) -> Iterator[str]:
    """The line itself: what is possible between the outermost bounds, and the letters above it."""
    begin, end = min(event.before_ns for event in events), max(event.time_ns for event in events)
    columns = _FIELD - 12 if pending else _FIELD

    def column(time_ns: int) -> int:
        return (time_ns - begin) * (columns - 1) // (end - begin) if end > begin else 0

    letters: list[str] = []
    for event in events:
        _place(letters, event.letter, column(event.time_ns))
    bounds = [column(event.time_ns) for event in events if event.letter in "SMX"]
    scale = ["|" if at in bounds else "-" for at in range(columns)]
    yield f"  {''.join(letters).rstrip()}"
    yield f"  {''.join(scale)}{' -> pending' if pending else ''}"


def _place(rows: list[str], letter: str, at: int) -> None:
    """Put a letter at its column, or at the next one that is free."""
    while len(rows) <= at:
        rows.append(" ")
    if rows[at] == " ":
        rows[at] = letter
    else:
        _place(rows, letter, at + 1)


def _folded(text: str) -> Iterator[str]:
    """A source below its event, folded at blanks; a name that is longer than a line is cut."""
    room, line = WIDTH - 6, ""
    for word in escape(text).split(" "):
        fitting = word if len(word) <= room else f"{word[: room - 1]}…"
        if line and len(line) + 1 + len(fitting) > room:
            yield f"      {line}"
            line = fitting
        else:
            line = f"{line} {fitting}" if line else fitting
    yield f"      {line}"
