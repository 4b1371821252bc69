"""Judges the answer to a challenge by a policy (spec/challenge.md, "Judging"), by the steps of spec/verification.md.

It is about one moment: the epoch that runs now, on the machine that answered. Nothing here is about a message.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from sigillo.core import step, step_attested
from sigillo.core.appraise import check_of, reason_of
from sigillo.core.attestations import STRANGER
from sigillo.core.attested import Launch, LaunchParts, Vouched, appraise_launch
from sigillo.core.build_step import Builds
from sigillo.core.built import judge_build, keep_manifest, keep_rebuild
from sigillo.core.challenge import ChallengeAnswer, verify_challenge_answer
from sigillo.core.errors import AttestationError, DecodeError, VerificationError
from sigillo.core.launch import decode_launch_log
from sigillo.core.ledger import Ledger
from sigillo.core.manifest import SignedManifest
from sigillo.core.policy import Policy
from sigillo.core.quote import Quote
from sigillo.core.rebuild import SignedRebuild
from sigillo.core.run import Run
from sigillo.core.trusted import SelfSignedStatement, VerifiedStatement
from sigillo.core.verdict import LEVEL_SENTENCE, Check, Relaxation, Result, check_json

STEPS: Final = (2, 3, 12, 13, 14, 21, 22)
"""Those that are about an answer; 14 is about its checkpoint alone."""
DETAILS: Final = {
    14: "the checkpoint is signed by the log key that the policy pins",
    21: "made for this nonce, by a TPM that the policy names for its operator",
}
NO_LAUNCH: Final = "the launch log does not have this epoch"
LIMITS: Final = (
    "it is about the moment of the answer; what happened between two answers shows in the quotes that the log has",
    "that this checkpoint continues the one seen before is not checked",
    "an answer has no boot log: above the level launched nothing is judged",
    "a launcher that lies passes: nothing here measured the launcher itself",
)


@dataclass(frozen=True, slots=True)
class ChallengeVerdict:
    """What an answer attests. *reason*: why not; empty where it does. *software*: the TPM is a program.

    *quote*: None where it does not hold, or is of nobody that the policy names; *answer*: what was judged.
    """

    attested: bool
    reason: str
    level: str
    software: bool
    checks: tuple[Check, ...]
    relaxations: tuple[Relaxation, ...]
    answer: ChallengeAnswer
    quote: Quote | None

    @property
    def operator(self) -> str:
        """Who runs the broker, as its statement says."""
        return self.answer.statement.statement.operator

    def to_json(self) -> dict[str, Any]:
        """For programs: only str, int, bool, None, list and dict; hashes in lower-case hex."""
        signed, head = self.answer.statement, self.answer.checkpoint.head
        return {
            "attested": self.attested,
            "reason": self.reason or None,
            "level": {"name": self.level, "sentence": LEVEL_SENTENCE[self.level]},
            "software_tpm": self.software,
            "operator": self.operator,
            "epoch": {"number": signed.statement.number, "id": signed.epoch_id.hex()},
            "attestation_key": self.quote.key.name.hex() if self.quote else None,
            "checkpoint": {"origin": head.origin, "size": head.size, "root": head.root.hex()},
            "checks": [check_json(check) for check in self.checks],
            "relaxations": [
                {"permission": used.permission, "count": used.count, "consequence": used.consequence}
                for used in self.relaxations
            ],
            "limits": list(LIMITS),
        }


def appraise_answer(
    answer: ChallengeAnswer,
    nonce: bytes,
    policy: Policy,
    manifests: Iterable[SignedManifest] = (),
    rebuilds: Iterable[SignedRebuild] = (),
) -> ChallengeVerdict:
    """Judge an answer to *nonce*, 32 bytes made for it. *manifests*, *rebuilds*: what the reader has of builds.

    Every step that can be run is; nothing is raised for an answer that was decoded.
    """
    ledger = Ledger(strict=False)
    judge = _Judge(answer, policy, ledger)
    judge.builds(manifests, rebuilds)
    judge.run(nonce)
    summary = ledger.summary()
    checks = tuple(check_of(number, ledger, summary, policy) for number in STEPS)
    attested = all(check.result is Result.PASSED for check in checks)
    software = bool(judge.vouched and judge.vouched.software)
    reason = "" if attested else reason_of(checks) or "a step was not reached"
    return ChallengeVerdict(
        attested, reason, judge.level, software, checks, ledger.relaxations(), answer, judge.quote if attested else None
    )


class _Judge:
    def __init__(self, answer: ChallengeAnswer, policy: Policy, ledger: Ledger) -> None:
        self._answer, self._policy, self._ledger = answer, policy, ledger
        self._do = Run(policy, ledger)
        self._builds = Builds()
        self._parts = LaunchParts()
        self.quote: Quote | None = None
        self.vouched: Vouched | None = None
        self.level = "declared"

    def builds(self, manifests: Iterable[SignedManifest], rebuilds: Iterable[SignedRebuild]) -> None:
        trust = self._policy.build
        for signed in manifests:
            keep_manifest(signed, self._builds, trust, self._do)
        for statement in rebuilds:
            keep_rebuild(statement, self._builds, trust, self._do)

    def run(self, nonce: bytes) -> None:
        signed = self._answer.statement
        self._ledger.epoch(signed.statement, signed.epoch_id)
        _, own = self._do.step(2, step.check_statement, signed)
        if own is None:
            self._ledger.skipped(3, 12, 13, 14, 21, 22)
            return
        _, verified = self._do.step(3, step.check_log_key, signed, own, self._policy)
        if verified is None:
            self._ledger.skipped(12, 13, 14, 21, 22)
            return
        judge_build(verified, self._builds, self._policy.build, self._do, self._ledger)
        self._do.step(14, step.check_checkpoint, self._answer.checkpoint, verified.operator.log_key)
        self._ledger.steps[14].detail = DETAILS[14]
        if self._quote(verified, nonce):
            self._launch(own)
        else:
            self._ledger.skipped(22)
        self._do.step(13, step.check_level, verified, self.level)
        self._ledger.reached(self.level)

    def _quote(self, verified: VerifiedStatement, nonce: bytes) -> bool:
        """Step 21: for this nonce, and whose TPM it is."""
        self._ledger.steps[21].detail = DETAILS[21]
        _, self.quote = self._do.step(21, _check_quote, self._answer, nonce)
        attester = self._policy.attestation.attester(verified.operator.name)
        if self.quote is None:
            return False
        if attester is None:
            self._ledger.failed(VerificationError(21, STRANGER))
            return False
        if self._answer.registration:
            self._parts.registrations.append(self._answer.registration)
        trust = self._policy.attestation
        _, self.vouched = self._do.attempt(step_attested.check_attester, self.quote, attester, trust, self._parts)
        if self.vouched:
            self._ledger.vouched(verified.operator.name, self.vouched.liars, software=self.vouched.software)
        return self.vouched is not None

    def _launch(self, own: SelfSignedStatement) -> None:
        """Step 22."""
        assert self.quote is not None
        closure = self._answer.closure
        self._parts.closures[closure.object_hash] = closure
        for name, text in self._answer.texts.items():
            if text is not None:
                self._parts.add_text(name, text)
        log = decode_launch_log(self._answer.launch_bytes)
        self._ledger.ran(22)
        if not self._do.attempt(step_attested.read_log, log, self._parts)[0]:
            return
        passed, launch = self._do.attempt(step_attested.check_launch, own, self.quote, self._parts)
        if launch is None:
            if passed:
                self._ledger.failed(VerificationError(22, NO_LAUNCH))
        elif self._judge(own, launch):
            self.level = "launched"

    def _judge(self, own: SelfSignedStatement, launch: Launch) -> bool:
        """Rules, and libraries beside the manifest."""
        trust, build = self._policy.attestation, self._policy.build
        violations = appraise_launch(launch, trust)
        for violation in violations:
            self._ledger.failed(VerificationError(22, f"rule {violation.rule}: {violation.reason}"))
        if trust.unsafe_any_configuration:
            self._ledger.relaxed("attestation.unsafe_any_configuration")
        listed = self._builds.believed(own.statement.manifest_hash, build)
        demanded = trust.manifest_libraries
        passed, note = self._do.attempt(step_attested.check_libraries, launch, listed, demanded=demanded)
        if note:
            self._ledger.noted(22, note)
        return passed and not violations


def _check_quote(answer: ChallengeAnswer, nonce: bytes) -> Quote:
    try:
        return verify_challenge_answer(answer, nonce)
    except AttestationError as error:
        raise VerificationError(21, error.reason) from error
    except DecodeError as error:
        raise VerificationError(21, str(error)) from error
