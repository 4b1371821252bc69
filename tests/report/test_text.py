"""The text of a verdict: the first line is the answer, and nothing that others wrote steers the terminal."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigillo.core.appraise import appraise
from sigillo.core.line import split_lines
from sigillo.core.mark import Clock
from sigillo.core.policy import ClockTrust
from sigillo.core.verdict import Verdict
from sigillo.report.escape import escape
from sigillo.report.moment import duration, span, utc
from sigillo.report.text import render

from ..adversary.broker import NOW_NS, SECOND, Broker, alone
from ..adversary.device import Device
from ..adversary.story import Story, honest, messages, verdict_on

NASTY = "\x1b[2J\x07\r\nVERIFIED\u202e\u2066\u200b\x9b\x00\\"


def first_line(verdict: Verdict) -> str:
    return render(verdict).splitlines()[0]


def test_the_answer_for_many_devices() -> None:
    story = honest()
    assert first_line(verdict_on(story.broker.lines, story.policy)) == (
        "VERIFIED  9 messages of 3 devices (crate-1, crate-2, crate-3): each signed by its device's key, no lower bound"
        " · broker says received 2026-11-18 11:06:41.000 – 11:06:50.000 UTC ± 300 ms (its own claim)"
        " · marked after: no lower bound · existed and marked: pending"
    )


@pytest.mark.parametrize(
    ("clock", "claim"),
    [
        (Clock("bounded", 1_500_000), "± 1.5 ms (its own claim)"),
        (Clock("bound-unknown"), "UTC (its own claim; clock error unknown)"),
        (Clock("unsynchronised"), "UTC (its own claim; clock unsynchronised)"),
    ],
)
def test_the_answer_for_one_message(clock: Clock, claim: str) -> None:
    story = Story()
    story.broker.clock = clock
    story.broker.publish(story.first)
    policy = dataclasses.replace(story.policy, clock=ClockTrust(SECOND, True, True))
    line = first_line(verdict_on(story.broker.lines, policy))
    assert line.startswith(
        "VERIFIED  1 message of crate-1: signed by its key, no lower bound · broker says received 2026-"
    )
    assert claim in line


def test_the_answer_for_a_fleet_is_short() -> None:
    broker, fleet = Broker(), [Device(f"crate-{number:03d}") for number in range(30)]
    for device in fleet:
        broker.publish(device)
    text = render(verdict_on(broker.lines, broker.policy(*fleet)))
    assert text.startswith("VERIFIED  30 messages of 30 devices (crate-000, crate-001, crate-002, …): each signed")
    assert "false only if device crate-000 or device crate-001 or device crate-002 or 27 others lied" in text


def test_a_refusal_says_why_first_and_what_the_file_only_claims_second() -> None:
    story = honest()
    lines = render(verdict_on(story.broker.lines, dataclasses.replace(story.policy, clock=ClockTrust(1)))).splitlines()
    assert lines[0].startswith("NOT VERIFIED: step 8, clock: line 3: the clock's error bound, 300000000 ns, is larger")
    assert lines[1].startswith("What the file claims, unproven: 9 messages of 3 devices")
    assert "and 4 more" in "\n".join(lines)


def test_without_a_policy() -> None:
    verdict = appraise(split_lines([honest().broker.file()]), None, NOW_NS)
    assert first_line(verdict) == "NOT VERIFIED: no policy says whom to trust"


def test_every_step_link_relaxation_and_limit_has_its_line() -> None:
    story = Story()
    story.broker.start(separated=False)
    story.publish(3)
    kept = [line for line in story.broker.lines if line != messages(story.broker.lines)[3]]
    text = render(
        verdict_on(kept, dataclasses.replace(story.policy, missing=alone(allow_withheld=True, allow_lost=True)))
    )
    for number, name in enumerate(("file", "epoch statement", "log key", "epoch chain", "time mark", "binding"), 1):
        assert f"\n {number:>2} {name} " in text
    assert "\n 17 anchor            missing      no time-stamp token" in text
    assert "quote             missing      no hardware vouches for what ran" in text
    assert "declared: hashes self-reported by the operator · false only if operator Example Broker lied" in text
    assert "Allowed by the policy: missing.allow_withheld (once): the broker marked messages" in text
    assert "broker and log key are in the hands of one user (separated: false)." in text
    assert "note: line 8: 1 marked message(s)" in text


def test_colour_only_where_asked_for() -> None:
    story = honest()
    for verdict in (
        verdict_on(story.broker.lines, story.policy),
        appraise(split_lines([story.broker.file()]), None, NOW_NS),
    ):
        plain, coloured = render(verdict), render(verdict, colour=True)
        assert "\x1b" not in plain
        assert "\x1b[1;3" in coloured.splitlines()[0]


def test_names_cannot_steer_the_terminal_or_add_lines() -> None:
    """Operator, device and topic of a hostile file, verified or not."""
    hostile, device = Broker(operator=NASTY), Device(NASTY.replace("\0", ""))
    harmless, plain = Broker(operator="Example Broker"), Device("crate-1")
    device.seed = ""
    for broker, tracker in ((hostile, device), (harmless, plain)):
        broker.lines.append(broker.mark(tracker.topic, tracker.datagram(), tracker.id))
    texts = [
        render(appraise(split_lines([broker.file()]), policy, NOW_NS))
        for broker in (hostile, harmless)
        for policy in (None, harmless.policy(plain))
    ]
    for text in texts:
        assert all(line.isprintable() for line in text.splitlines())
    assert not [line for line in texts[0].splitlines() if line.startswith("VERIFIED")]
    assert len(texts[0].splitlines()) == len(texts[2].splitlines())


@given(st.text())
def test_escaped_text_is_printable_and_tells_texts_apart(text: str) -> None:
    assert escape(text).isprintable()
    assert escape(text) == text or "\\" in escape(text)


@given(st.text(), st.text())
def test_escaping_never_makes_two_texts_alike(first: str, second: str) -> None:
    assert (escape(first) == escape(second)) == (first == second)


@pytest.mark.parametrize(
    ("duration_ns", "text"),
    [
        (0, "0 s"),
        (1, "1 ns"),
        (999, "999 ns"),
        (1_001, "1.001 µs"),
        (1_000_001, "1.001 ms"),
        (300_000_000, "300 ms"),
        (1_000_000_001, "1.001 s"),
        (16_000_000_000, "16 s"),
    ],
)
def test_a_bound_is_never_rounded_down(duration_ns: int, text: str) -> None:
    assert duration(duration_ns) == text


def test_times() -> None:
    assert utc(1_795_000_000_999_999_999) == "2026-11-18 11:06:40.999 UTC"
    assert utc(2**64 - 1).startswith("2554-")
    assert span(0, 86_400 * SECOND) == "1970-01-01 00:00:00.000 – 1970-01-02 00:00:00.000 UTC"
    assert span(0, SECOND) == "1970-01-01 00:00:00.000 – 00:00:01.000 UTC"
    assert span(0, 999) == "1970-01-01 00:00:00.000 UTC"
