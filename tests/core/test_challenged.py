"""spec/challenge.md, "Judging": what an answer to a challenge attests by a policy, and that each lie is named."""

from __future__ import annotations

import dataclasses
from types import MappingProxyType
from typing import Any

import pytest

from sigillo.core.attestation_trust import AttestationTrust, AttesterTrust
from sigillo.core.challenge import ChallengeAnswer
from sigillo.core.challenged import STEPS, ChallengeVerdict, appraise_answer
from sigillo.core.checkpoint import TreeHead, encode_checkpoint, sign_checkpoint
from sigillo.core.epoch import countersign, encode_statement
from sigillo.core.event_log import encode_event_log
from sigillo.core.policy import ClockTrust, DeviceTrust, OperatorTrust, Policy
from sigillo.core.verdict import Result
from tests.adversary.device import Device
from tests.vector.challenge import KEY_NAME, Launched, configuration
from tests.vector.key import EPOCH, LOG, filler
from tests.vector.sample import FIRST_FIELDS, LOG_KEY, whole
from tests.vector.sample_tpm import NONCE


def device() -> DeviceTrust:
    return Device("crate-1", "p256").trust


def policy(answer: ChallengeAnswer, **changes: Any) -> Policy:
    """Who trusts this operator, its TPM, and what it says that it runs."""
    statement = answer.statement.statement
    values = {
        "executable": (statement.executable_hash,),
        "plugin": (statement.plugin_hash,),
        "configuration": (statement.configuration_hash,),
    }
    operator = OperatorTrust(statement.operator, LOG_KEY, "launched", MappingProxyType(values))
    trust = AttestationTrust(
        attesters=(AttesterTrust(statement.operator, (KEY_NAME,), software=True),),
        allow_software=True,
        unsafe_any_configuration=True,
    )
    parts: dict[str, Any] = {"operators": (operator,), "clock": ClockTrust(10**9), "devices": (device(),)}
    return Policy(**{**parts, "attestation": trust, **changes})


@pytest.fixture
def broker() -> Launched:
    return Launched()


def judged(answer: ChallengeAnswer, trusted: Policy | None = None, nonce: bytes = NONCE) -> ChallengeVerdict:
    return appraise_answer(answer, nonce, trusted or policy(answer))


def failed(verdict: ChallengeVerdict) -> dict[int, str]:
    assert not verdict.attested
    return {check.step: check.detail for check in verdict.checks if check.result is Result.FAILED}


def test_an_honest_answer_is_attested(broker: Launched) -> None:
    verdict = judged(broker.answer())
    assert verdict.attested, verdict.reason
    assert (verdict.level, verdict.software, verdict.reason) == ("launched", True, "")
    assert [check.step for check in verdict.checks] == list(STEPS)
    assert {used.permission for used in verdict.relaxations} == {
        "attestation.allow_software",
        "attestation.unsafe_any_configuration",
    }
    assert verdict.to_json()["attestation_key"] == KEY_NAME.hex()


def test_an_answer_to_another_nonce_is_refused(broker: Launched) -> None:
    """Attack 1: replayed."""
    assert "does not answer the challenge" in failed(judged(broker.answer(), nonce=filler("fresh")))[21]


def test_the_rules_of_the_policy_are_asked(broker: Launched) -> None:
    answer = broker.answer()
    strict = policy(answer)
    strict = dataclasses.replace(
        strict, attestation=dataclasses.replace(strict.attestation, unsafe_any_configuration=False)
    )
    verdict = judged(answer, strict)
    assert 22 in failed(verdict)
    assert all("rule " in finding.text for finding in verdict.checks[-1].failures.listed)


def test_another_attestation_key_is_refused(broker: Launched) -> None:
    answer = broker.answer()
    other = AttesterTrust(answer.statement.statement.operator, (b"\0\x0b" + filler("another"),), software=True)
    trust = AttestationTrust(attesters=(other,), allow_software=True, unsafe_any_configuration=True)
    found = failed(judged(answer, policy(answer, attestation=trust)))
    assert "none that the policy pins" in found[21]
    assert 13 in found


def test_without_an_attester_in_the_policy_nothing_is_attested(broker: Launched) -> None:
    answer = broker.answer()
    assert "names no attester" in failed(judged(answer, policy(answer, attestation=AttestationTrust())))[21]


def test_a_software_tpm_has_to_be_allowed(broker: Launched) -> None:
    answer = broker.answer()
    trusted = policy(answer)
    strict = dataclasses.replace(trusted.attestation, allow_software=False)
    assert "software TPM" in failed(judged(answer, dataclasses.replace(trusted, attestation=strict)))[21]


def test_another_program_is_refused(broker: Launched) -> None:
    answer = broker.answer()
    trusted = policy(answer)
    values = MappingProxyType({**trusted.operators[0].reference_values, "executable": (filler("another"),)})
    operator = dataclasses.replace(trusted.operators[0], reference_values=values)
    assert "executable" in failed(judged(answer, dataclasses.replace(trusted, operators=(operator,))))[12]


def test_a_checkpoint_that_the_log_did_not_sign_is_refused(broker: Launched) -> None:
    head = TreeHead(LOG_KEY.name, broker.checkpoint.size, broker.checkpoint.root)
    forged = encode_checkpoint(sign_checkpoint(head, LOG_KEY, EPOCH.sign))
    assert 14 in failed(judged(broker.answer(checkpoint_bytes=forged)))


def test_a_statement_by_another_log_key_is_refused(broker: Launched) -> None:
    forged = countersign(encode_statement(whole(FIRST_FIELDS), EPOCH.sign), LOG_KEY.key_id32, EPOCH.sign)
    honest = broker.answer()
    assert 3 in failed(judged(dataclasses.replace(honest, statement_bytes=forged), policy(honest)))


def test_a_launch_log_that_leads_elsewhere_is_refused(broker: Launched) -> None:
    assert 22 in failed(judged(broker.answer(launch_bytes=encode_event_log(broker.events[:2]))))
    other = Launched()
    other.tpm.extend(13, [filler("somebody")])
    assert "does not lead" in failed(judged(other.answer()))[22]


def test_a_text_that_was_not_measured_is_refused(broker: Launched) -> None:
    name = configuration()[0].name
    changed = configuration(**{name: "allow_anonymous true\n"})
    assert "not what was measured" in failed(judged(broker.answer(configuration=changed)))[21]


def test_a_level_that_is_not_reached_is_refused(broker: Launched) -> None:
    answer = broker.answer()
    trusted = policy(answer)
    operator = dataclasses.replace(trusted.operators[0], level="enclave")
    assert 'asks for "enclave"' in failed(judged(answer, dataclasses.replace(trusted, operators=(operator,))))[13]


def test_every_part_of_another_broker_is_refused(broker: Launched) -> None:
    """Parts of two answers do not make one."""
    honest, other = broker.answer(), Launched(size=9).answer()
    for name in ("evidence_bytes", "checkpoint_bytes"):
        mixed = dataclasses.replace(honest, **{name: getattr(other, name)})
        assert not judged(mixed, policy(honest)).attested, name
    assert LOG is not EPOCH
