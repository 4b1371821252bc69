"""Whose TPMs a policy believes (spec/policy.md, "Attesters"), and by which registration (spec/endorsement.md)."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from sigillo.core.attestation_trust import AttestationTrust, AttesterTrust, RegistrarTrust
from sigillo.core.attested import Vouched, vouch
from sigillo.core.certificate import decode_certificate
from sigillo.core.endorsement import (
    EndorsementRoot,
    Registration,
    SignedRegistration,
    decode_registration,
    encode_registration,
    endorsement_fingerprint,
)
from sigillo.core.errors import AttestationError, PolicyError
from sigillo.core.policy import Policy, decode_policy, encode_policy

from ..adversary.broker import NOW_NS, START_NS
from ..adversary.maker import Maker, der
from ..adversary.tpm import LyingTpm
from ..vector import accept_tpm
from ..vector.key import Ed25519Key, filler
from .policy_case import MINIMAL, WITH_AK, WITH_EK
from .test_endorsement import certified

IDENTITY, OPERATOR = "broker.example/log", "Example Broker"
KEY = LyingTpm().key
OTHER_KEY = accept_tpm.registration().key
CHIPS, PROGRAMS, STRANGER = (Maker(name) for name in ("Chips", "Programs", "Stranger"))
UNI, OTHER = Ed25519Key(filler("registrar")), Ed25519Key(filler("another registrar"))
REGISTRARS = (RegistrarTrust("Other", OTHER.public), RegistrarTrust("Uni", UNI.public))
YEAR_NS = 365 * 24 * 3600 * 10**9


def root(maker: Maker, *, software: bool = False) -> EndorsementRoot:
    return EndorsementRoot(maker.name, maker.certificate, software)


@cache
def chain(maker_name: str = "Chips") -> tuple[bytes, ...]:
    return tuple(der(certified(next(m for m in (CHIPS, PROGRAMS, STRANGER) if m.name == maker_name))))


@cache
def another_ek() -> tuple[bytes, ...]:
    return tuple(der(certified(CHIPS, rsa.generate_private_key(65537, 2048).public_key())))


EK = endorsement_fingerprint(decode_certificate(chain()[0]))
PINNED = AttesterTrust(OPERATOR, endorsement_keys=(EK,), identity=IDENTITY)
TRUST = AttestationTrust((root(PROGRAMS, software=True), root(CHIPS)), REGISTRARS, (PINNED,))


def registered(by: Ed25519Key = UNI, signed_by: Ed25519Key | None = None, **changes: Any) -> SignedRegistration:
    values = {"time_ns": NOW_NS, "identity": IDENTITY, "key": KEY, "chain": chain(), **changes}
    return decode_registration(encode_registration(Registration(**values), by.public, (signed_by or by).sign))


def believed(*registrations: SignedRegistration, **changes: Any) -> Vouched:
    return vouch(KEY, PINNED, dataclasses.replace(TRUST, **changes), registrations)


def test_a_registration_vouches_and_names_who_could_have_lied() -> None:
    liars = ((f"TPM of operator {OPERATOR}",), ("registrar Uni",), ("TPM maker Chips",))
    assert believed(registered()) == Vouched(software=False, liars=liars)
    assert believed(registered(by=OTHER)).liars[1] == ("registrar Other",)


def test_one_that_counts_is_found_among_others() -> None:
    others = (registered(key=OTHER_KEY), registered(identity="x"), registered(time_ns=START_NS + 2 * YEAR_NS))
    assert not believed(*others, registered(), *others).software


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"key": OTHER_KEY}, "no registration is of this attestation key"),
        ({"by": Ed25519Key(filler("nobody"))}, "by another registrar"),
        ({"signed_by": OTHER}, "not signed by its registrar"),
        ({"identity": "other.example/log"}, "of another identity"),
        ({"identity": OPERATOR}, "of another identity"),
        ({"chain": another_ek()}, "is none that the policy pins"),
        ({"chain": chain("Stranger")}, "was not issued by"),
        ({"time_ns": START_NS + 2 * YEAR_NS}, "was not valid when the key was registered"),
        ({"time_ns": START_NS - YEAR_NS}, "was not valid when the key was registered"),
        ({"chain": (b"no certificate",)}, "is not X.509"),
    ],
)
def test_what_does_not_vouch(bad: dict[str, Any], reason: str) -> None:
    """Attack 4 and 5: another key, registrar, identity or EK; a maker that nobody named; a certificate too old."""
    signed = registered(**bad)
    with pytest.raises(AttestationError, match=reason):
        believed(signed)


def test_without_a_registration_nobody_vouches() -> None:
    with pytest.raises(AttestationError, match="there is no registration"):
        believed()


def test_a_registrar_or_maker_that_the_policy_does_not_have() -> None:
    with pytest.raises(AttestationError, match="another registrar"):
        believed(registered(), registrars=REGISTRARS[:1])
    with pytest.raises(AttestationError, match="was not issued by"):
        believed(registered(), makers=(root(PROGRAMS, software=True),))


def test_a_software_root_makes_it_a_software_tpm() -> None:
    """The label is the reader's: of the root, whatever the certificate says."""
    signed = registered(chain=chain("Programs"))
    with pytest.raises(AttestationError, match="software TPM"):
        believed(signed)
    assert believed(signed, allow_software=True).software
    assert not believed(registered(), allow_software=True).software


def test_a_pinned_key_needs_no_registration_and_no_other_key_counts() -> None:
    chip = AttesterTrust(OPERATOR, (KEY.name,))
    assert vouch(KEY, chip, AttestationTrust(attesters=(chip,)), ()).liars == ((f"TPM of operator {OPERATOR}",),)
    with pytest.raises(AttestationError, match="none that the policy pins"):
        vouch(OTHER_KEY, chip, AttestationTrust(attesters=(chip,)), ())
    program = dataclasses.replace(chip, software=True)
    with pytest.raises(AttestationError, match="software TPM"):
        vouch(KEY, program, AttestationTrust(attesters=(program,)), ())


def test_what_is_absent_is_not_given() -> None:
    assert decode_policy(MINIMAL.encode()).attestation == AttestationTrust()
    assert decode_policy(WITH_AK.encode()).attestation.allow_software
    trust = decode_policy(WITH_EK.encode()).attestation
    assert not trust.allow_software
    assert trust.attesters[0].identity == OPERATOR
    assert trust.attester("Another") is None


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"makers": 2 * (root(CHIPS),)}, "tpm_maker[2].name"),
        ({"makers": (root(CHIPS), EndorsementRoot("x", CHIPS.certificate, True))}, "tpm_maker[2].root"),
        ({"registrars": (*REGISTRARS, RegistrarTrust("Uni", bytes(32)))}, "registrar[3].name"),
        ({"registrars": (*REGISTRARS, RegistrarTrust("x", UNI.public))}, "registrar[3].key"),
        ({"attesters": 2 * (AttesterTrust(OPERATOR, (KEY.name,)),)}, "attester[2].operator"),
        ({"attesters": (AttesterTrust(OPERATOR),)}, "attester[1]"),
        ({"attesters": (dataclasses.replace(PINNED, keys=(KEY.name,)),)}, "attester[1]"),
        ({"attesters": (PINNED,), "registrars": REGISTRARS}, "attester[1].endorsement_key"),
        ({"attesters": (PINNED,), "makers": (root(CHIPS),)}, "attester[1].endorsement_key"),
    ],
)
def test_trust_that_contradicts_itself_is_not_made(values: dict[str, Any], field: str) -> None:
    with pytest.raises(PolicyError) as caught:
        AttestationTrust(**values)
    assert caught.value.field == field


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
hashes = st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=3, unique=True).map(tuple)
pinned_keys = hashes.map(lambda found: tuple(b"\0\x0b" + each for each in found))


@st.composite
def trusts(draw: st.DrawFn) -> AttestationTrust:
    makers = tuple(
        EndorsementRoot(f"{draw(names)}{at}", maker.certificate, draw(st.booleans()))
        for at, maker in enumerate((CHIPS, PROGRAMS)[: draw(st.integers(0, 2))])
    )
    registrars = tuple(
        RegistrarTrust(f"{draw(names)}{at}", Ed25519Key(filler(f"registrar {at}")).public)
        for at in range(draw(st.integers(0, 2)))
    )
    by_key = st.builds(AttesterTrust, st.just(OPERATOR), pinned_keys, st.booleans())
    by_ek = st.builds(
        AttesterTrust, st.just(OPERATOR), endorsement_keys=hashes, identity=names.filter(lambda name: len(name) < 40)
    )
    one = draw(st.one_of(st.none(), by_key, by_ek) if makers and registrars else st.one_of(st.none(), by_key))
    return AttestationTrust(makers, registrars, (one,) if one else (), draw(st.booleans()))


@given(trusts())
def test_trust_comes_back(trust: AttestationTrust) -> None:
    policy: Policy = dataclasses.replace(decode_policy(MINIMAL.encode()), attestation=trust)
    assert decode_policy(encode_policy(policy).encode()) == policy
