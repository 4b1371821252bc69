"""Attack 41: a signing key that comes in a certificate: of the maker's CA, for this device, in time, or not at all."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from sigillo.core.errors import DecodeError
from sigillo.core.evidence_line import CertificateLine, Line, shared_order
from sigillo.core.policy import Policy
from sigillo.core.verdict import Verdict

from ..adversary.broker import SECOND, START_NS, evidence_file
from ..adversary.device import Device, p256_key
from ..adversary.maker import DAY, NO_CA, SIGNS, START, Maker, line
from ..adversary.story import Story, failing_steps, messages, outcome, verdict_on
from ..core.certificate_case import authority, refused

MAKER = Maker()
FLEET = MAKER.below("Fleet")


class CertifiedFirst(Story):
    """The reader pins the maker of the first tracker instead of its key."""

    @property
    def policy(self) -> Policy:
        return self.trusting()

    def trusting(self, maker: Maker = MAKER, hardware: bool = False) -> Policy:
        devices = (maker.device(self.first, hardware), self.second.trust, self.third.trust)
        return self.broker.policy(devices=devices, makers=(maker.trust(hardware),))

    def with_chains(self, *chains: Iterable[x509.Certificate], device: Device | None = None) -> list[Line]:
        lines = [line(device or self.first, tuple(chain)) for chain in chains]
        return [*sorted(lines, key=shared_order), *self.broker.lines]


@pytest.fixture
def story() -> CertifiedFirst:
    made = CertifiedFirst()
    made.publish(2)
    return made


def fails_at_9(verdict: Verdict, *, says: str) -> None:
    assert failing_steps(verdict) == [9]
    assert says in verdict.reason, verdict.reason


def test_the_honest_case(story: CertifiedFirst) -> None:
    verdict = verdict_on(story.with_chains(FLEET.certify(story.first)), story.policy)
    assert verdict.verified
    assert not any(check.notes.count for check in verdict.checks)


def test_no_certificate(story: CertifiedFirst) -> None:
    fails_at_9(verdict_on(story.broker.lines, story.policy), says="the file has no certificate of it")


def test_a_certificate_of_another_device(story: CertifiedFirst) -> None:
    """The maker did certify that key, but as crate-2's."""
    chain = MAKER.certify(story.first, "crate-2")
    fails_at_9(verdict_on(story.with_chains(chain), story.policy), says='is of "crate-2", not of device "crate-1"')
    under_its_name = story.with_chains(chain, device=story.second)
    fails_at_9(verdict_on(under_its_name, story.policy), says="the file has no certificate of it")


def test_a_device_of_the_same_maker_signs_as_another(story: CertifiedFirst) -> None:
    """crate-2 has a good certificate of the maker, and signs what crate-1 delivers."""
    second = dataclasses.replace(story.second)
    policy = story.broker.policy(
        devices=(MAKER.device(story.first), MAKER.device(second), story.third.trust), makers=(MAKER.trust(),)
    )
    story.broker.publish(story.first, payload=second.datagram())
    chains = [line(story.first, MAKER.certify(story.first)), line(second, MAKER.certify(second))]
    verdict = verdict_on([*chains, *story.broker.lines], policy)
    fails_at_9(verdict, says="none of its 1 certificate(s) that count has the key")


def test_another_makers_ca(story: CertifiedFirst) -> None:
    for other in (Maker("Other Trackers"), Maker(MAKER.name, p256_key("twin"))):
        verdict = verdict_on(story.with_chains(other.certify(story.first)), story.policy)
        assert failing_steps(verdict) == [9]


def test_the_ca_in_the_chain_is_not_trusted_for_being_there(story: CertifiedFirst) -> None:
    other = Maker("Other Trackers")
    chain = [*other.certify(story.first), other.certificate]
    fails_at_9(verdict_on(story.with_chains(chain), story.policy), says="was not issued by")


def test_a_certificate_that_signs_itself(story: CertifiedFirst) -> None:
    own = Maker(story.first.id, form=authority(constraints=NO_CA, key_usage=SIGNS)).certificate
    fails_at_9(verdict_on(story.with_chains([own]), story.policy), says="was not issued by")


def test_a_device_certifies_another(story: CertifiedFirst) -> None:
    """crate-2's good certificate, used as a CA for crate-1 (Basic constraints: Moxie Marlinspike, 2002)."""
    crate_2 = Maker("crate-2", issuer=MAKER, form=authority(constraints=NO_CA, key_usage=SIGNS))
    fails_at_9(verdict_on(story.with_chains(crate_2.certify(story.first)), story.policy), says="is not a CA's")


def test_a_ca_signs_messages_itself(story: CertifiedFirst) -> None:
    """An intermediate that calls itself crate-1 signs as the device."""
    posing = Maker("crate-1", issuer=MAKER, form=authority())
    fails_at_9(verdict_on(story.with_chains([posing.certificate]), story.policy), says="not a device's")


@pytest.mark.parametrize("names", [("crate-1", "crate-1"), ("crate-1", "crate-2"), ("crate-2", "crate-1")])
def test_two_common_names(story: CertifiedFirst, names: tuple[str, ...]) -> None:
    chain = MAKER.certify(story.first, *names)
    fails_at_9(verdict_on(story.with_chains(chain), story.policy), says="has 2 common names")


def test_a_certificate_for_tls(story: CertifiedFirst) -> None:
    """The same CA certifies the tracker's TLS key, which software holds: it does not sign messages."""
    client = x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH])
    chain = MAKER.certify(story.first, extended=client)
    fails_at_9(verdict_on(story.with_chains(chain), story.policy), says="for something else than signing data")


def test_a_p384_key(story: CertifiedFirst) -> None:
    chain = MAKER.certify(ec.derive_private_key(7, ec.SECP384R1()).public_key(), "crate-1")
    fails_at_9(verdict_on(story.with_chains(chain), story.policy), says="neither a P-256 nor an Ed25519 key")


def test_a_chain_that_is_too_long(story: CertifiedFirst) -> None:
    long = FLEET.below("Line").below("Week")
    assert verdict_on(story.with_chains(long.certify(story.first)), story.policy).verified
    longer = story.with_chains(long.below("Day").certify(story.first))
    assert isinstance(outcome(evidence_file(longer), story.policy), DecodeError)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"not_after": START - DAY}, "to 2026-11-17T"),
        ({"not_before": START + DAY}, "valid from 2026-11-19T"),
        ({"not_after": START}, "to 2026-11-18T"),
    ],
    ids=["expired", "not yet valid", "ends before the first mark"],
)
@pytest.mark.parametrize("whose", ["leaf", "intermediate", "CA"])
def test_expired_at_the_time_of_the_mark(story: CertifiedFirst, changes: dict[str, Any], says: str, whose: str) -> None:
    """The reason names the certificate, its dates and the mark's; today's date does not matter."""
    maker = Maker("M", form=authority(serial=7, **changes)) if whose == "CA" else Maker("M")
    above = maker.below("Fleet", serial=7, **changes) if whose == "intermediate" else maker
    chain = above.certify(story.first, **({"serial": 7, **changes} if whose == "leaf" else {}))
    verdict = verdict_on(story.with_chains(chain), story.trusting(maker))
    fails_at_9(verdict, says="the certificate with serial number 7 is valid from")
    assert says in verdict.reason
    assert "and the mark is of 2026-11-18T" in verdict.reason


def test_a_certificate_ends_between_two_messages(story: CertifiedFirst) -> None:
    """Each message is judged at its own time: what was marked before stays good."""
    marks = [decoded for decoded in messages(story.broker.lines) if decoded.topic == story.first.topic]
    assert len(marks) == 2  # at START + 1 s and START + 4 s
    ends = START + DAY * 2 / 86400
    verdict = verdict_on(story.with_chains(MAKER.certify(story.first, not_after=ends)), story.policy)
    assert failing_steps(verdict) == [9]
    assert verdict.checks[8].failures.count == 1


def test_a_key_that_was_renewed_away(story: CertifiedFirst) -> None:
    """The old key leaked after its certificate had ended: it opens nothing any more, and the new one does."""
    old, day = Device("crate-1", "p256", seed="old key"), 86_400 * SECOND
    until = MAKER.certify(old, serial=5, not_after=START + DAY)
    renewed = MAKER.certify(story.first, serial=6, not_before=START - DAY)
    story.broker.clock_ns = START_NS + 2 * day
    story.broker.publish(story.first)
    lines = story.with_chains(until, renewed)
    assert verdict_on(lines, story.policy, START_NS + 3 * day).verified
    old.number = story.first.number
    story.broker.publish(story.first, payload=old.datagram())
    verdict = verdict_on(story.with_chains(until, renewed), story.policy, START_NS + 3 * day)
    fails_at_9(verdict, says="serial number 5 is valid from 2026-10-19T")
    verdict = verdict_on(story.with_chains(renewed), story.policy, START_NS + 3 * day)
    fails_at_9(verdict, says="none of its 1 certificate(s)")


def test_the_old_key_counts_for_what_was_marked_in_its_time() -> None:
    old, story = Device("crate-1", "p256", seed="old key"), CertifiedFirst()
    until = MAKER.certify(old, serial=5, not_after=START + DAY)
    renewed = MAKER.certify(story.first, serial=6, not_before=START + DAY / 2)
    story.broker.publish(story.first, payload=old.datagram())
    story.broker.clock_ns += 2 * 86_400 * SECOND
    story.first.number = old.number
    story.broker.publish(story.first, form="cose")
    now_ns = story.broker.clock_ns
    assert verdict_on(story.with_chains(until, renewed), story.policy, now_ns).verified
    assert failing_steps(verdict_on(story.with_chains(renewed), story.policy, now_ns)) == [9]


def test_an_algorithm_that_is_not_the_certified_keys(story: CertifiedFirst) -> None:
    """A COSE message that names Ed25519, of a device whose certificate has a P-256 key."""
    other = Device("crate-1", "ed25519")
    story.broker.publish(story.first, payload=other.reading())
    verdict = verdict_on(story.with_chains(MAKER.certify(story.first)), story.policy)
    fails_at_9(verdict, says="none of its 1")


def test_certificate_lines_moved_doubled_or_dropped(story: CertifiedFirst) -> None:
    chain, early = line(story.first, MAKER.certify(story.first)), line("crate-0", MAKER.certify(story.first, "crate-0"))
    epoch, *rest = story.broker.lines
    for lines in (
        [epoch, chain, *rest],
        [epoch, *rest, chain],
        [chain, chain, epoch, *rest],
        [chain, early, epoch, *rest],
    ):
        assert isinstance(outcome(evidence_file(lines), story.policy), DecodeError)
    assert verdict_on([early, chain, epoch, *rest], story.policy).verified
    assert failing_steps(verdict_on([early, epoch, *rest], story.policy)) == [9]


def test_a_certificate_does_not_replace_a_pinned_key(story: CertifiedFirst) -> None:
    """The reader pins the key of crate-2; a certificate of a maker that it trusts for others changes nothing."""
    posing = Device("crate-2", "p256", seed="posing")
    story.broker.publish(story.second, payload=posing.datagram())
    chains = [line(story.first, MAKER.certify(story.first)), line("crate-2", MAKER.certify(posing))]
    fails_at_9(verdict_on([*chains, *story.broker.lines], story.policy), says='key of device "crate-2"')


def test_a_makers_certificate_counts_for_no_other_maker(story: CertifiedFirst) -> None:
    """Two makers in the policy: each certifies its own devices only."""
    other = Maker("Other Trackers")
    devices = (MAKER.device(story.first), other.device(story.second), story.third.trust)
    policy = story.broker.policy(devices=devices, makers=(MAKER.trust(), other.trust()))
    good = [line(story.first, MAKER.certify(story.first)), line(story.second, other.certify(story.second))]
    assert verdict_on([*good, *story.broker.lines], policy).verified
    crossed = [good[0], line(story.second, MAKER.certify(story.second))]
    fails_at_9(verdict_on([*crossed, *story.broker.lines], policy), says="was not issued by")


def test_a_certificate_that_no_message_needs_changes_nothing(story: CertifiedFirst) -> None:
    """Nobody can spoil a file, or change its verdict, by adding what does not count."""
    good = MAKER.certify(story.first)
    honest = verdict_on(story.with_chains(good), story.policy)
    for other in (
        MAKER.certify(story.first, "crate-2"),
        Maker("Other").certify(story.first),
        FLEET.certify(story.first),
    ):
        verdict = verdict_on(story.with_chains(other, good), story.policy)
        assert verdict.verified
        for found, before in zip(verdict.checks[1:], honest.checks[1:], strict=True):
            assert found == before


@pytest.mark.parametrize("name", [name for name, case in refused().items() if case.device == "crate-1"])
def test_no_chain_that_the_specification_refuses_counts(name: str) -> None:
    """All of vectors/certificate/reject, in evidence."""
    case = refused()[name]
    fresh = CertifiedFirst()
    fresh.broker.clock_ns = case.time_ns - SECOND
    fresh.publish()
    maker = Maker()
    maker.certificate = x509.load_der_x509_certificate(case.ca)
    lines = [CertificateLine("crate-1", tuple(case.chain)), *fresh.broker.lines]
    found = outcome(evidence_file(lines), fresh.trusting(maker), case.time_ns)
    assert isinstance(found, DecodeError) or 9 in failing_steps(found)
