"""Attacks 4, 5, 12, 36: quotes by a TPM that is not the operator's, a front before a clean machine.

Row 5 where it is refused first, at the registrar: tests/attestation/test_registrar.py. A front that a device talks to
is not the broker of the statement, whose TLS keys are in the epoch id; that a client compares them with the key that it
meets, is the client's. Which machine a pinned TPM is in, nothing shows: a pin is the reader's own word (no test).
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sigillo.core.attestation import decode_attestation
from sigillo.core.attestation_trust import AttestationTrust, AttesterTrust, RegistrarTrust
from sigillo.core.certificate import decode_certificate
from sigillo.core.endorsement import EndorsementRoot, encode_registration
from sigillo.core.evidence_line import RegistrationLine
from sigillo.core.statement import Attester, AttesterKind, ListenerKey
from sigillo.core.verdict import Verdict

from ..adversary.attested import AttestedStory, attested, refused
from ..adversary.broker import SECOND
from ..adversary.tpm import LyingTpm
from ..vector import accept_tpm
from ..vector.accept_tpm import IDENTITY, REGISTRAR
from ..vector.key import Ed25519Key, P256Key, filler

CUCKOO = P256Key(filler("the attestation key of a TPM somewhere else"))
EK = hashlib.sha256(
    x509.load_der_x509_certificate(accept_tpm.registration().chain[0])
    .public_key()
    .public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
).digest()
MAKER = EndorsementRoot("Maker", decode_certificate(accept_tpm.root()), software=True)


def trusting(story: AttestedStory, *, ek: bytes = EK, **changes: object) -> AttestationTrust:
    """The reader pins an EK, and believes a maker and a registrar."""
    pinned = AttesterTrust(story.broker.operator, endorsement_keys=(ek,), identity=IDENTITY)
    trust = AttestationTrust((MAKER,), (RegistrarTrust("Registrar", REGISTRAR.public),), (pinned,), allow_software=True)
    return replace(trust, **changes)  # type: ignore[arg-type]


def genuine(story: AttestedStory) -> dict[str, object]:
    """What a registration says of the story's TPM, in the years of the recorded certificates."""
    made = x509.load_der_x509_certificate(accept_tpm.registration().chain[0]).not_valid_before_utc
    return {"key": story.tpm.key, "time_ns": (int(made.timestamp()) + 3600) * SECOND}


def registered(story: AttestedStory, trust: AttestationTrust, by: Ed25519Key = REGISTRAR, **changes: object) -> Verdict:
    """The verdict where this registration is in the file."""
    made = accept_tpm.registration(**{**genuine(story), **changes})
    line = RegistrationLine(encode_registration(made, by.public, by.sign))
    return story.judged(replace(story.policy, attestation=trust), [line, *story.shared])


def test_a_registered_key_of_a_pinned_ek() -> None:
    story = attested()
    verdict = registered(story, trusting(story))
    assert verdict.verified, verdict.reason
    assert verdict.level == "launched"
    liars = (("TPM of operator Example Broker",), ("registrar Registrar",), ("TPM maker Maker",))
    assert verdict.checks[20].liars == verdict.checks[22].liars == liars
    assert verdict.summary.attestation.software_tpms == ("Example Broker",)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"identity": "another.example"}, "of another identity"),
        ({"key": LyingTpm(CUCKOO).key}, "no registration is of this attestation key"),
        ({"time_ns": 0}, "was not valid when the key was registered"),
        ({"chain": accept_tpm.chain()[:1]}, "endorsement does not count"),
    ],
    ids=["identity", "key", "too early", "chain"],
)
def test_a_registration_of_something_else(changes: dict[str, object], reason: str) -> None:
    story = attested()
    refused(registered(story, trusting(story), **changes), 21, reason)


def test_a_registration_by_somebody_else() -> None:
    """Row 5: an identity is taken over by whoever may write registrations; only a pinned registrar may."""
    story, own = attested(), Ed25519Key(filler("a registrar of one's own"))
    refused(registered(story, trusting(story), own), 21, "by another registrar")


def test_an_ek_of_the_same_maker_that_is_not_pinned() -> None:
    """Row 4: a maker's certificate says that there is such a TPM, not whose it is."""
    story = attested()
    refused(registered(story, trusting(story, ek=filler("another EK"))), 21, "is none that the policy pins")


def test_no_registration_at_all() -> None:
    story = attested()
    verdict = story.judged(replace(story.policy, attestation=trusting(story)))
    refused(verdict, 21, "there is no registration")


def test_a_registration_of_a_wrong_kind_beside_a_right_one_changes_nothing() -> None:
    story = attested()
    lines = sorted(
        RegistrationLine(encode_registration(made, REGISTRAR.public, REGISTRAR.sign)).registration
        for made in (
            accept_tpm.registration(**genuine(story)),
            accept_tpm.registration(**{**genuine(story), "identity": "another.example"}),
        )
    )
    policy = replace(story.policy, attestation=trusting(story))
    verdict = story.judged(policy, [*map(RegistrationLine, lines), *story.shared])
    assert verdict.verified, verdict.reason


def cuckoo(story: AttestedStory) -> LyingTpm:
    """A TPM somewhere else, with the same launch in its PCR: whoever owns it can extend what they like."""
    return LyingTpm(CUCKOO, pcrs=dict(story.tpm.pcrs))


def test_a_quote_of_another_tpm() -> None:
    story = AttestedStory()
    story.launch()
    story.publish()
    story.quote(tpm=cuckoo(story))
    refused(story.judged(), 21, "not the one that the epoch statement names")


def test_a_statement_that_names_the_other_tpm() -> None:
    story = AttestedStory()
    policy = story.policy
    story.tpm = LyingTpm(CUCKOO)
    story.launch()
    story.publish()
    story.quote()
    refused(story.judged(policy), 21, "is none that the policy pins")


def test_an_epoch_half_quoted_here_and_half_there() -> None:
    """Both keys are the operator's, and pinned: an epoch has one."""
    story = AttestedStory()
    other = LyingTpm(CUCKOO)
    story.launch()
    story.publish()
    story.quote(tpm=cuckoo(story))
    both = AttesterTrust(story.broker.operator, (story.tpm.key.name, other.key.name), software=True)
    policy = replace(story.policy, attestation=AttestationTrust(attesters=(both,), allow_software=True))
    refused(story.judged(policy), 21, "not the one that the epoch statement names")


def test_the_clean_machine_behind_a_front() -> None:
    """The front shows its own TLS key: in a statement of its own, which the clean machine's TPM has not quoted."""
    clean = AttestedStory()
    clean.launch(tls_keys=(ListenerKey("127.0.0.1:8883", filler("TLS key of the clean machine")),))
    genuine = clean.log.quote(clean.tpm)
    front = AttestedStory()
    front.events, front.closures = clean.events, clean.closures
    epoch = front.broker.start(
        configuration_hash=front.policy.operators[0].reference_values["configuration"][0],
        attester=Attester(AttesterKind.TPM, clean.tpm.key.name),
        tls_keys=(ListenerKey("127.0.0.1:8883", filler("TLS key of the front")),),
    )
    assert clean.broker.epoch
    assert epoch.epoch_id != clean.broker.epoch.epoch_id
    front.log.enter(decode_attestation(genuine.evidence))
    front.publish()
    verdict = front.judged()
    refused(verdict, 21, "of another epoch than the one above it")
    assert verdict.summary.attestation.attested_count == 0
