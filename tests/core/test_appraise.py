"""The whole answer: every finding, who must have lied, what is missing, and its JSON form."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from sigillo.core.appraise import appraise
from sigillo.core.line import split_lines
from sigillo.core.mark import Checkpoint, Clock
from sigillo.core.policy import ClockTrust, Policy
from sigillo.core.verdict import MAX_LISTED, STEPS, Result, Verdict

from ..adversary.broker import NOW_NS, SECOND, START_NS, Broker, alone, evidence_file
from ..adversary.device import Device, ed25519_key
from ..adversary.story import Story, certified, honest, messages, verdict_on

SCHEMA = json.loads((Path(__file__).parents[2] / "spec" / "verdict.schema.json").read_text())


def without_policy(story: Story) -> Verdict:
    return appraise(split_lines([story.broker.file()]), None, NOW_NS)


def test_an_honest_story() -> None:
    story = honest()
    verdict = verdict_on(story.broker.lines, story.policy)
    assert verdict.verified
    assert verdict.reason == ""
    assert [check.step for check in verdict.checks] == list(STEPS)
    assert {check.result for check in verdict.checks[:13]} == {Result.PASSED}
    assert {check.result for check in verdict.checks[13:]} == {Result.MISSING}
    received = verdict.summary.received
    assert received
    assert (received.first_ns, received.bound_ns) == (START_NS + SECOND, 300_000_000)


def test_links_without_evidence_are_missing_never_passed() -> None:
    verdict = without_policy(honest())
    assert [link.name for link in verdict.missing] == ["rebuilder"]
    missing = {check.step for check in verdict.checks if check.result is Result.MISSING}
    assert missing == {14, 15, 16, 17, 19, 21, 22, 23, 24}
    bounds = verdict.to_json()["bounds"]
    assert [bounds[name] for name in ("signed_after", "marked_after", "marked_not_later_than")] == [None] * 3


def test_without_a_policy_the_checks_that_need_no_trust_run_and_nothing_is_verified() -> None:
    verdict = without_policy(honest())
    assert not verdict.verified
    assert verdict.reason == "no policy says whom to trust"
    not_checked = [check.step for check in verdict.checks if check.result is Result.NOT_CHECKED]
    assert not_checked == [3, 8, 9, 11, 12, 13, 18, 20]
    assert not [check for check in verdict.checks if check.result is Result.FAILED]
    assert verdict.checks[4].liars == (("whoever made the keys in this file",),)


def test_without_a_policy_failures_are_found_too() -> None:
    story = Story()
    story.broker.publish(story.first, signed_by=ed25519_key("another"))
    verdict = without_policy(story)
    assert verdict.reason.startswith("no policy says whom to trust; and step 5, time mark: line 3: ")


def test_who_must_have_lied() -> None:
    story = honest()
    verdict = verdict_on(story.broker.lines, story.policy)
    operator, devices = (("operator Example Broker",),), tuple((f"device crate-{n}",) for n in (1, 2, 3))
    for check in verdict.checks:
        missing = check.result is Result.MISSING
        expected = () if check.step == 1 or missing else devices if check.step in (9, 11) else operator
        assert check.liars == expected, check.step


def test_where_a_maker_certifies_keys_it_and_the_operators_time_are_believed_too() -> None:
    story = certified()
    verdict = verdict_on(story.lines, story.policy)
    devices, maker = tuple((f"device crate-{n}",) for n in (1, 2, 3)), ("maker Example Trackers",)
    assert verdict.checks[8].liars == (*devices, maker, ("operator Example Broker",))
    assert verdict.checks[10].liars == (*devices, maker)
    assert verdict.checks[7].liars == (("operator Example Broker",),)


@pytest.mark.parametrize("hardware", [False, True])
def test_what_rests_on_a_makers_word_is_said(hardware: bool) -> None:
    story = dataclasses.replace(certified(), hardware=hardware)
    limits = verdict_on(story.lines, story.policy).limits
    times = 'certificates of maker "Example Trackers" are judged at the broker\'s own times: nothing bounds those'
    asserted = 'that these keys are in hardware is what maker "Example Trackers" asserts; nothing here shows it'
    assert limits.count(times) == 1
    assert limits.count(asserted) == hardware
    assert not any("maker" in limit for limit in verdict_on(honest().broker.lines, honest().policy).limits)


def test_without_a_policy_certificates_prove_nothing_and_spoil_nothing() -> None:
    story = certified()
    verdict = appraise(split_lines([evidence_file(story.lines)]), None, NOW_NS)
    assert verdict.reason == "no policy says whom to trust"
    assert not any(check.notes.count for check in verdict.checks)


def test_a_failed_check_names_nobody() -> None:
    """Nothing that failed needs a liar to be false."""
    story = honest()
    verdict = verdict_on(story.broker.lines, dataclasses.replace(story.policy, clock=ClockTrust(1)))
    assert verdict.checks[7].liars == ()


def test_all_findings_are_counted_and_the_first_are_listed() -> None:
    story = Story()
    for _ in range(MAX_LISTED + 5):
        story.broker.publish(story.second, payload=b"x" * 10)
    verdict = verdict_on(story.broker.lines, story.policy)
    failures = verdict.checks[8].failures
    assert failures.count == MAX_LISTED + 5
    assert len(failures.listed) == MAX_LISTED
    assert failures.listed[0].line == 3
    assert verdict.reason.endswith(f"(and {MAX_LISTED + 4} more findings)")


def test_findings_quote_no_more_of_a_name_than_a_reader_can_use() -> None:
    story = Story()
    story.broker.lines.append(story.broker.mark(f"braid/agent/{'x' * 60_000}/shadow/reported/", b"", "y" * 60_000))
    verdict = verdict_on(story.broker.lines, story.policy)
    assert len(json.dumps(verdict.to_json())) < 20_000


def test_one_failing_message_does_not_hide_the_next() -> None:
    story = Story()
    story.publish(2)
    lines = list(story.broker.lines)
    lines[1] = dataclasses.replace(messages(lines)[0], payload=b"")
    lines[4] = dataclasses.replace(messages(lines)[3], topic="elsewhere")
    verdict = verdict_on(lines, story.policy)
    assert [finding.line for finding in verdict.checks[5].failures.listed] == [3, 6]
    assert verdict.checks[8].result is Result.NOT_CHECKED
    assert verdict.checks[8].checked == 4


def test_the_weakest_clock_and_the_largest_bound_are_shown() -> None:
    story = Story()
    policy = dataclasses.replace(story.policy, clock=ClockTrust(SECOND, True, True))
    for clock, expected in (
        (Clock("bounded", 5), ("bounded", 5)),
        (Clock("bounded", 7), ("bounded", 7)),
        (Clock("bounded", 6), ("bounded", 7)),
        (Clock("bound-unknown"), ("bound-unknown", None)),
        (Clock("unsynchronised"), ("unsynchronised", None)),
        (Clock("bounded", 5), ("unsynchronised", None)),
    ):
        story.broker.clock = clock
        story.broker.publish(story.second)
        received = verdict_on(story.broker.lines, policy).summary.received
        assert received
        assert (received.clock, received.bound_ns) == expected


def test_what_the_statement_admits_is_said() -> None:
    story = Story()
    story.broker.start(separated=False, clock_correction_ns=-3 * SECOND)
    story.broker.publish(story.second, checkpoint=Checkpoint(9, b"\x01" * 32))
    limits = verdict_on(story.broker.lines, story.policy).limits
    assert any("in the hands of one user" in limit for limit in limits)
    assert any("corrected the clock by -3000000000 ns" in limit for limit in limits)
    assert any("no log proof" in limit and "checkpoint" in limit for limit in limits)
    assert "not marked by this broker: broker-published, retained-before, sys, will" in limits


def test_epochs_before_the_first_shown_are_named() -> None:
    story = honest()
    at = next(at for at, line in enumerate(story.broker.lines) if at and line.kind == "epoch")
    verdict = verdict_on(story.broker.lines[at:], story.policy)
    assert verdict.verified
    assert verdict.checks[3].notes.listed[0].text == "epochs before 2 are not in the file"


def every_verdict() -> dict[str, Verdict]:
    """One of each kind: verified, relaxed, failed, without policy, with every list in use."""
    story = honest()
    relaxed = Story()
    relaxed.broker.clock = Clock("unsynchronised")
    relaxed.broker.start(separated=False)
    relaxed.publish(3)
    kept = [line for line in relaxed.broker.lines if line != messages(relaxed.broker.lines)[3]]
    lenient: Policy = relaxed.broker.policy(
        *relaxed.devices,
        clock=ClockTrust(SECOND, True, True),
        missing=alone(allow_withheld=True, allow_lost=True),
        operators=(relaxed.broker.trust(reference_values={}, unsafe_any_build=True),),
    )
    broken = Story()
    broken.broker.publish(broken.first, payload=b"", signed_by=ed25519_key("another"))
    broken.broker.die()
    broken.broker.publish(broken.first, sequence=9, count=9)
    return {
        "verified": verdict_on(story.broker.lines, story.policy),
        "relaxed": verdict_on(kept, lenient),
        "failed": verdict_on(broken.broker.lines, broken.policy),
        "no policy": without_policy(story),
        "another operator": verdict_on(story.broker.lines, Broker("Other", seed="other").policy(Device("x"))),
    }


@pytest.mark.parametrize(
    ("name", "verdict"), every_verdict().items(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_the_json_form_is_that_of_the_schema(name: str, verdict: Verdict) -> None:
    assert verdict.verified == (name in ("verified", "relaxed"))
    value = json.loads(json.dumps(verdict.to_json()))
    assert value == verdict.to_json()  # nothing that JSON cannot hold
    jsonschema.Draft202012Validator(SCHEMA).validate(value)


def test_the_schema_is_closed() -> None:
    """Every object of the schema refuses members that it does not name, and requires those that it does."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)

    def objects(node: Any) -> list[dict[str, Any]]:
        if isinstance(node, list):
            return [found for item in node for found in objects(item)]
        if not isinstance(node, dict):
            return []
        own = [node] if node.get("type") == "object" else []
        return own + [found for item in node.values() for found in objects(item)]

    for node in objects(SCHEMA):
        assert node["additionalProperties"] is False
        assert set(node["required"]) == set(node["properties"])
