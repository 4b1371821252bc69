"""spec/certificate.md: which certificates count. OpenSSL is the second opinion, and never stricter than we are."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from sigillo.core.certificate import (
    CertifiedKey,
    check_chain,
    decode_authority,
    decode_certificate,
    decode_chain,
    signing_key,
    validity,
    verify_chain,
)
from sigillo.core.errors import DecodeError, SignatureError
from tests.vector.file import paths, read_vector

from ..adversary.broker import START_NS
from ..adversary.maker import Maker, der
from .certificate_case import CRATE, MAKER, Case, accepted, refused, unreadable

ACCEPTED, REFUSED, UNREADABLE = accepted(), refused(), unreadable()


def judged(case: Case) -> CertifiedKey:
    """As a message of the case's device, marked at its time, would be judged. Raises DecodeError, SignatureError."""
    certified = verify_chain(decode_chain(case.chain), decode_authority(case.ca), case.device)
    invalid = certified.invalid_at(case.time_ns)
    if invalid is not None:
        raise SignatureError(f"{invalid.name} is valid from {invalid.from_ns} to {invalid.to_ns}")
    return certified


def openssl_accepts(case: Case, folder: Path) -> bool:
    """What `openssl verify` says of a chain, with our CA as its only anchor and the time of the mark."""
    anchor, *chain = (x509.load_der_x509_certificate(found) for found in (case.ca, *case.chain))
    pem = {"ca": [anchor], "leaf": chain[:1], "untrusted": chain[1:]}
    for name, certificates in pem.items():
        text = b"".join(found.public_bytes(Encoding.PEM) for found in certificates)
        (folder / f"{name}.pem").write_bytes(text)
    command = ["openssl", "verify", "-no-CApath", "-no-CAstore", "-partial_chain", "-CAfile", folder / "ca.pem"]
    command += ["-attime", str(case.time_ns // 10**9)]
    command += ["-untrusted", folder / "untrusted.pem"] if chain[1:] else []
    done = subprocess.run([*command, folder / "leaf.pem"], capture_output=True, timeout=60)
    return done.returncode == 0


@pytest.mark.parametrize("case", ACCEPTED.values(), ids=ACCEPTED)
def test_accepted_and_openssl_agrees(case: Case, tmp_path: Path) -> None:
    assert judged(case).key == signing_key(decode_certificate(case.chain[0]))
    assert openssl_accepts(case, tmp_path)


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_refused_and_openssl_agrees_or_it_is_said_why_not(case: Case, tmp_path: Path) -> None:
    with pytest.raises((DecodeError, SignatureError)) as caught:
        judged(case)
    assert case.reason in str(caught.value)
    assert openssl_accepts(case, tmp_path) == bool(case.stricter)


@pytest.mark.parametrize("case", UNREADABLE.values(), ids=UNREADABLE)
def test_unreadable(case: Case, recwarn: pytest.WarningsRecorder) -> None:
    with pytest.raises(DecodeError) as caught:
        judged(case)
    assert case.reason in str(caught.value)
    assert not recwarn.list, "the parser's warnings are for others"


def test_an_rsa_ca_is_accepted_from_2048_bits_on(tmp_path: Path) -> None:
    for bits, fits in ((1024, False), (2048, True)):
        maker = Maker(f"RSA {bits}", rsa.generate_private_key(65537, bits))
        case = Case(der(maker.certify(CRATE)), der([maker.certificate])[0])
        if fits:
            assert judged(case).key == CRATE.key
            assert openssl_accepts(case, tmp_path)
        else:
            with pytest.raises(DecodeError, match="kind or size"):
                judged(case)
    leaf = MAKER.certify(rsa.generate_private_key(65537, 2048).public_key(), CRATE.id)
    with pytest.raises(SignatureError, match="neither a P-256 nor an Ed25519"):
        verify_chain(leaf, MAKER.certificate, CRATE.id)


def test_without_the_ca_everything_else_is_checked() -> None:
    chain = decode_chain(ACCEPTED["three-intermediates"].chain)
    assert check_chain(chain, CRATE.id).key == CRATE.key
    with pytest.raises(SignatureError, match="was not issued by"):
        check_chain((chain[0], chain[2]), CRATE.id)
    with pytest.raises(SignatureError, match="not of device"):
        check_chain(chain, "crate-2")


def test_validity_is_both_instants_of_the_certificate() -> None:
    found = validity(MAKER.certify(CRATE)[0])
    assert (found.from_ns, found.to_ns) == (START_NS - 30 * 86400 * 10**9, START_NS + 335 * 86400 * 10**9)
    certified = judged(ACCEPTED["direct"])
    for time_ns, inside in ((found.from_ns - 1, 0), (found.from_ns, 1), (found.to_ns, 1), (found.to_ns + 1, 0)):
        assert (certified.invalid_at(time_ns) is None) == bool(inside)


@pytest.mark.parametrize("case", ["direct", "three-intermediates", "for-documents", "unknown-extensions"])
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_changed_bytes_are_refused(case: str, data: st.DataObject) -> None:
    """Any byte of any certificate: never another key, and never another exception."""
    chain = list(ACCEPTED[case].chain)
    which = data.draw(st.integers(0, len(chain) - 1))
    at = data.draw(st.integers(0, len(chain[which]) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != chain[which][at]))
    chain[which] = chain[which][:at] + bytes([byte]) + chain[which][at + 1 :]
    with pytest.raises((DecodeError, SignatureError)):
        judged(Case(chain, ACCEPTED[case].ca))


@given(st.binary(max_size=300))
def test_bytes_that_are_no_certificate_are_refused(data: bytes) -> None:
    for der_bytes in (data, ACCEPTED["direct"].chain[0][:30] + data):
        with pytest.raises(DecodeError):
            decode_certificate(der_bytes)


def read(fields: dict[str, str]) -> CertifiedKey:
    numbers = range(1, 1 + sum(name.startswith("chain_") for name in fields))
    chain = [bytes.fromhex(fields[f"chain_{number}"]) for number in numbers]
    return judged(Case(chain, bytes.fromhex(fields["ca"]), fields["device"], int(fields["time"])))


@pytest.mark.parametrize("path", list(paths("certificate", "accept")), ids=lambda path: path.stem)
def test_accepted_vectors(path: Path) -> None:
    fields = read_vector(path)
    assert read(fields).key.spki.hex() == fields["public_key"]


@pytest.mark.parametrize("path", list(paths("certificate", "reject")), ids=lambda path: path.stem)
def test_rejected_vectors(path: Path) -> None:
    with pytest.raises((DecodeError, SignatureError)):
        read(read_vector(path))
