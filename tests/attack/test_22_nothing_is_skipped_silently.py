"""Attack 22 (cosign #1816, systemd #15425): a check is skipped because its part is optional, or its key is missing."""

from __future__ import annotations

import dataclasses

import pytest

from sigillo.core.appraise import appraise
from sigillo.core.epoch import decode_statement
from sigillo.core.errors import DecodeError, PolicyError
from sigillo.core.evidence_line import EndLine, EpochLine, MessageLine
from sigillo.core.line import split_lines
from sigillo.core.mark import decode_mark
from sigillo.core.policy import BUILD_PARTS, Policy, decode_policy
from sigillo.core.verdict import Result

from ..adversary.broker import HASHES, NOW_NS
from ..adversary.story import failing_steps, honest, outcome, verdict_on


def test_no_policy_or_an_empty_one_accepts_nothing() -> None:
    story = honest()
    assert not appraise(split_lines([story.broker.file()]), None, NOW_NS).verified
    for text in (b"", b"\n", b"version = 1\n"):
        with pytest.raises(PolicyError):
            decode_policy(text)
    for operators, devices in ((), story.policy.devices), (story.policy.operators, ()):
        with pytest.raises(PolicyError, match="at least one"):
            Policy(operators, story.policy.clock, devices)


@pytest.mark.parametrize("part", BUILD_PARTS)
def test_an_absent_reference_value_is_not_compared_and_not_verified(part: str) -> None:
    story = honest()
    values = {name: (value,) for name, value in HASHES.items() if name != part}
    policy = dataclasses.replace(story.policy, operators=(story.broker.trust(reference_values=values),))
    assert failing_steps(verdict_on(story.broker.lines, policy)) == [12]


def without_countersignature(line: EpochLine) -> EpochLine:
    sign1 = decode_statement(line.statement).sign1
    return dataclasses.replace(line, statement=dataclasses.replace(sign1, unprotected={}).encode())


def without_salt(line: MessageLine) -> MessageLine:
    sign1 = decode_mark(line.mark).sign1
    return dataclasses.replace(line, mark=dataclasses.replace(sign1, unprotected={}).encode())


def test_a_part_taken_out_fails() -> None:
    story = honest()
    epoch, message = story.broker.lines[:2]
    assert isinstance(epoch, EpochLine)
    assert isinstance(message, MessageLine)
    rest = story.broker.lines[2:]
    assert failing_steps(verdict_on([without_countersignature(epoch), message, *rest], story.policy)) == [3]
    assert failing_steps(verdict_on([epoch, without_salt(message), *rest], story.policy)) == [6]
    empty = outcome(b"".join(story.broker.file().splitlines(keepends=True)[:2]), story.policy)
    assert isinstance(empty, DecodeError)


def test_the_statement_itself_taken_out_is_unreadable() -> None:
    story = honest()
    lines = story.broker.file().splitlines(keepends=True)
    assert isinstance(outcome(b"".join([lines[0], *lines[2:]]), story.policy), DecodeError)


def test_a_missing_end_is_no_failure_but_an_end_is_never_ignored() -> None:
    """The end is optional in the file: left out, nothing is claimed by it."""
    story = honest()
    lines = [line for line in story.broker.lines if not isinstance(line, EndLine)]
    verdict = verdict_on(lines, story.policy)
    assert verdict.verified
    assert not any(epoch.ended for epoch in verdict.summary.epochs)


def test_what_is_not_checked_is_never_called_passed() -> None:
    """After a failed statement nothing that hangs on it passes."""
    story = honest()
    story.broker.start(epoch_key=b"\x02" + bytes(30) + b"\x01")
    story.publish()
    verdict = verdict_on(story.broker.lines, story.policy)
    results = {check.step: check.result for check in verdict.checks}
    assert results[2] is Result.FAILED
    assert {results[step] for step in range(3, 14)} == {Result.NOT_CHECKED}
