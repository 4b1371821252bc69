"""The bracket drawn as a time line: plain, at most 80 columns, in the order of time; names cannot steer a terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigillo.core.bracket import Anchor, Bound
from sigillo.core.policy import MissingTrust
from sigillo.core.verdict import Bounds, Received, Span, Summary
from sigillo.report.text import render
from sigillo.report.timeline import WIDTH, timeline

from ..adversary.story import honest, verdict_on
from ..adversary.third import bracketed

NASTY = "\x1b[2J\x07\u202e\u2066\x9b" + "x" * 100
times = st.integers(0, 2**63 - 1)
EXAMPLE = """
  SM                                 R        L                          X
  |----------------------------------------------------------------------|
  S signed after              2026-11-18 11:06:41.000 UTC
      token of TSA A, inside as entry 1; token of TSA B, inside as entry 2
  M marked after              2026-11-18 11:06:41.000 UTC
      token of TSA A, inside as entry 1; token of TSA B, inside as entry 2
  R received, first           2026-11-18 11:06:45.000 UTC
      the broker's own claim, ± 300 ms
  L received, last            2026-11-18 11:06:46.000 UTC
      the broker's own claim, ± 300 ms
  X existed not later than    2026-11-18 11:06:49.000 UTC
      token of TSA A, entry 5, over checkpoint 5; token of TSA B, entry 6, over
      checkpoint 5
    widest bracket of a mark  8 s
    clocks of the devices     not contradicted
"""


def drawn(summary: Summary) -> list[str]:
    return list(timeline(summary))


def summary(signed: int | None, marked: int | None, received: tuple[int, int], later: int | None, tsa: str) -> Summary:
    def span(time_ns: int | None) -> Span | None:
        bound = Bound(time_ns, (Anchor(tsa, 1, 1, 0, 0),)) if time_ns is not None else None
        return Span(bound, bound, 1, 0, ((tsa,),)) if bound else None

    bounds = Bounds(span(signed), span(marked), span(later), 1, "contradicted")
    claim = Received(*sorted(received), "bounded", 5)
    return Summary(1, 1, 0, 1, 0, claim, (), (), (), None, bounds)


def test_the_example() -> None:
    assert "\n".join([*drawn(bracketed().judged().summary), ""]) == EXAMPLE


def test_without_third_parties_there_is_none() -> None:
    story = honest()
    assert drawn(verdict_on(story.broker.lines, story.policy).summary) == []


def test_what_is_pending_is_left_open() -> None:
    story = bracketed()
    story.log.tokens = story.log.tokens[:2]
    policy = story.trust(missing=MissingTrust(allow_unanchored=True))
    verdict = story.judged(policy)
    assert verdict.verified
    lines = drawn(verdict.summary)
    assert lines[2].endswith("-> pending")
    assert "existed and marked: pending" in render(verdict).splitlines()[0]


def test_the_first_line_has_the_bracket() -> None:
    assert render(bracketed().judged()).splitlines()[0] == (
        "VERIFIED  2 messages of 2 devices (crate-1, crate-2): each signed by its device's key after "
        "2026-11-18 11:06:41.000 UTC · broker says received 2026-11-18 11:06:45.000 – 11:06:46.000 UTC ± 300 ms "
        "(its own claim) · marked after 2026-11-18 11:06:41.000 UTC · existed and marked not later than "
        "2026-11-18 11:06:49.000 UTC"
    )


@pytest.mark.parametrize("tsa", [NASTY, "a b " * 60, "x" * 255])
def test_names_cannot_steer_the_terminal_or_leave_the_80_columns(tsa: str) -> None:
    lines = drawn(summary(1, 2, (3, 4), 5, tsa))
    assert all(line.isprintable() and len(line) <= WIDTH for line in lines)


@given(st.none() | times, st.none() | times, st.tuples(times, times), st.none() | times)
def test_any_times_fit(signed: int | None, marked: int | None, received: tuple[int, int], later: int | None) -> None:
    """Also such that contradict each other, or are all the same: the drawing is of a verdict that failed, too."""
    lines = drawn(summary(signed, marked, received, later, "TSA"))
    assert bool(lines) == (signed is not None or marked is not None or later is not None)
    assert all(len(line) <= WIDTH for line in lines)
    letters = [letter for letter, time in (("S", signed), ("M", marked), ("R", 0), ("X", later)) if time is not None]
    if lines:
        assert all(letter in lines[1] for letter in letters)
