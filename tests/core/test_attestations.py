"""spec/verification.md, steps 13 and 21 to 23: what quotes and launch logs attest, and what they do not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sigillo.core.appraise import appraise
from sigillo.core.attestation_trust import AttestationTrust, AttesterTrust
from sigillo.core.attestations import NO_LAUNCH_LOG, NOT_CLOSED, NOT_OPENED, STRANGER
from sigillo.core.attested import UNMEASURED
from sigillo.core.errors import PolicyError
from sigillo.core.line import split_lines
from sigillo.core.policy import Policy, decode_policy, encode_policy
from sigillo.core.verdict import Result, Verdict

from ..adversary.attested import AttestedStory, attested
from ..adversary.broker import NOW_NS
from ..adversary.log import logged


def step(verdict: Verdict, number: int) -> Result:
    return verdict.checks[number - 1].result


def unattested_allowed(policy: Policy) -> Policy:
    return replace(policy, missing=replace(policy.missing, allow_unattested=True))


def test_marks_between_quotes_reach_launched() -> None:
    verdict = attested().judged()
    assert verdict.verified, verdict.reason
    assert verdict.level == "launched"
    found = verdict.summary.attestation
    assert (found.attested_count, found.unattested_count) == (12, 0)
    assert found.software_tpms == ("Example Broker",)
    assert [used.permission for used in verdict.relaxations if "attest" in used.permission] == [
        "attestation.allow_software"
    ]
    for number in (13, 21, 22, 23):
        assert step(verdict, number) is Result.PASSED
        assert verdict.checks[number - 1].liars == (("operator Example Broker",),)


def test_without_the_permission_a_software_tpm_is_none() -> None:
    story = attested()
    verdict = story.judged(replace(story.policy, attestation=replace(story.attesters, allow_software=False)))
    assert not verdict.verified
    assert verdict.level == "declared"
    assert "software TPM" in verdict.checks[20].detail
    assert step(verdict, 13) is Result.FAILED


def test_a_chip_is_not_called_software_and_needs_no_permission() -> None:
    story = attested()
    chip = AttesterTrust(story.broker.operator, (story.tpm.key.name,), software=False)
    verdict = story.judged(replace(story.policy, attestation=AttestationTrust(attesters=(chip,))))
    assert verdict.verified, verdict.reason
    assert verdict.summary.attestation.software_tpms == ()
    assert verdict.checks[20].liars == (("TPM of operator Example Broker",),)


def test_a_policy_without_an_attester_reaches_declared_and_says_so() -> None:
    story = attested()
    empty = replace(story.policy, attestation=AttestationTrust())
    verdict = story.judged(empty)
    assert not verdict.verified
    assert 'reaches level "declared", the policy asks for "launched"' in verdict.reason
    declared = replace(empty, operators=(replace(empty.operators[0], level="declared"),))
    verdict = story.judged(declared)
    assert verdict.verified, verdict.reason
    assert verdict.level == "declared"
    assert (step(verdict, 21), verdict.checks[20].detail) == (Result.MISSING, f"{STRANGER} (4 times)")
    assert step(verdict, 23) is Result.MISSING


def test_without_a_policy_nothing_is_attested() -> None:
    verdict = appraise(split_lines([attested().file()]), None, NOW_NS)
    assert [step(verdict, number) for number in (13, 21, 23)] == 3 * [Result.NOT_CHECKED]
    assert verdict.level == "declared"
    assert verdict.summary.attestation.attested_count == 0


def test_a_policy_is_read_as_it_is_written() -> None:
    story = attested()
    policy = replace(story.policy, attestation=replace(story.attesters, manifest_libraries=True))
    assert decode_policy(encode_policy(policy).encode()) == policy
    text = encode_policy(policy).replace("manifest_libraries = true", "manifest_libraries = 1")
    with pytest.raises(PolicyError, match="manifest_libraries"):
        decode_policy(text.encode())


def test_marks_after_the_last_quote_are_not_attested() -> None:
    story = AttestedStory()
    story.launch()
    story.publish(2)
    story.quote()
    story.publish()
    verdict = story.judged()
    assert not verdict.verified
    assert verdict.checks[22].failures.listed[0].text.startswith(NOT_CLOSED)
    assert verdict.level == "launched"
    allowed = story.judged(unattested_allowed(story.policy))
    assert allowed.verified, allowed.reason
    found = allowed.summary.attestation
    assert (found.attested_count, found.unattested_count) == (6, 3)
    assert ("missing.allow_unattested", 3) in [(used.permission, used.count) for used in allowed.relaxations]


def test_marks_before_the_first_quote_are_not_attested() -> None:
    story = AttestedStory()
    story.launch()
    story.publish()
    story.quote()
    lines = story.log.lines()
    quotes = [line for line in lines if line.kind == "attestation"]
    left = [line for line in lines if line is not quotes[0]]
    header, rest = story.log.file(left).split(b"\n", 1)
    shared = story.file()[len(header) + 1 : -len(story.log.file().split(b"\n", 1)[1])]
    verdict = story.verdict(header + b"\n" + shared + rest)
    assert verdict.checks[22].failures.listed[0].text.startswith(NOT_OPENED)


def test_a_quote_over_an_old_checkpoint_closes_nothing() -> None:
    """Attack 35: the marks are in the log, and the quote was made before them."""
    story = AttestedStory()
    story.launch()
    old = story.log.sign().checkpoint
    story.publish()
    story.quote(old)
    verdict = story.judged()
    assert not verdict.verified
    assert verdict.summary.attestation.attested_count == 0
    assert verdict.checks[22].failures.listed[0].text.startswith(NOT_CLOSED)


@pytest.mark.parametrize("level", ["launched", "declared"])
def test_a_broker_started_without_measurement(level: str) -> None:
    story = AttestedStory()
    story.launch(attester=None)
    del story.log.tokens[:], story.log.entries[-1:]
    story.publish()
    policy = replace(story.policy, operators=(replace(story.policy.operators[0], level=level),))
    verdict = story.judged(policy)
    assert not verdict.verified
    assert UNMEASURED in verdict.checks[22].failures.listed[0].text
    assert (step(verdict, 13) is Result.FAILED) == (level == "launched")


def test_without_a_launch_log_the_level_is_declared() -> None:
    story = attested()
    verdict = story.judged(shared=())
    assert verdict.level == "declared"
    assert step(verdict, 13) is Result.FAILED
    assert (step(verdict, 22), verdict.checks[21].detail) == (Result.MISSING, f"{NO_LAUNCH_LOG} (2 times)")


def test_a_file_that_no_hardware_speaks_of_is_as_before() -> None:
    verdict = logged().verdict()
    assert verdict.verified
    assert verdict.level == "declared"
    assert [step(verdict, number) for number in (21, 22, 23)] == 3 * [Result.MISSING]
