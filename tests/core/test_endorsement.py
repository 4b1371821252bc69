"""Whose TPM: chains of a real software TPM and of a maker in memory; a registrar's word. OpenSSL is never stricter."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from sigillo.core.certificate import decode_certificate
from sigillo.core.endorsement import (
    EndorsementRoot,
    decode_registration,
    encode_registration,
    registrar_id,
    verify_endorsement,
    verify_registration,
)
from sigillo.core.errors import AttestationError, DecodeError

from ..adversary.maker import NO_CA, Maker, der, usage
from ..vector import accept_tpm
from ..vector.accept_tpm import IDENTITY, REGISTRAR
from ..vector.key import Ed25519Key, filler

SWTPM = EndorsementRoot("swtpm", decode_certificate(accept_tpm.root()), software=True)
CHIPS = Maker("Example Chips")
EK = rsa.generate_private_key(65537, 2048).public_key()
EK_USE = x509.ExtendedKeyUsage([x509.ObjectIdentifier("2.23.133.8.1")])
ENCRYPTS = usage(key_encipherment=True)
MODEL = x509.SubjectAlternativeName([x509.DirectoryName(x509.Name([]))])


def certified(maker: Maker = CHIPS, key: Any = EK, **changes: Any) -> list[x509.Certificate]:
    form = {"key_usage": ENCRYPTS, "extended": EK_USE, "constraints": NO_CA, "further": [(MODEL, True)], **changes}
    return maker.certify(key, subject=x509.Name([]), **form)


def endorsed(chain: list[x509.Certificate], maker: Maker = CHIPS) -> bytes:
    root = EndorsementRoot(maker.name, maker.certificate, software=False)
    return verify_endorsement(der(chain), root).fingerprint


def test_a_real_software_tpm_is_named_as_software() -> None:
    found = verify_endorsement(accept_tpm.chain(), SWTPM)
    assert found.root.software
    assert len(found.validities) == 3
    assert found.invalid_at(found.validities[0].from_ns) is None
    assert found.invalid_at(found.validities[0].from_ns - 1) == found.validities[0]


def test_a_maker_of_chips_certifies_an_ek_by_any_chain() -> None:
    found = {endorsed(certified()), endorsed(certified(CHIPS.below("Fab").below("Line")))}
    assert len(found) == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"extended": None}, "not for an EK"),
        ({"extended": x509.ExtendedKeyUsage([x509.ObjectIdentifier("2.23.133.8.3")])}, "not for an EK"),
        ({"extended": x509.ExtendedKeyUsage([*EK_USE, x509.ObjectIdentifier("1.3.6.1.5.5.7.3.1")])}, "not for an EK"),
        ({"key_usage": None}, "not for encryption alone"),
        ({"key_usage": usage(digital_signature=True)}, "not for encryption alone"),
        ({"key_usage": usage(key_encipherment=True, digital_signature=True)}, "not for encryption alone"),
        ({"constraints": x509.BasicConstraints(ca=True, path_length=None)}, "is a CA's"),
        ({"further": [(x509.NameConstraints([x509.DNSName("x")], None), False)]}, "name constraints"),
        ({"key": rsa.generate_private_key(65537, 3072).public_key()}, "not an RSA key of 2048 bits"),
        ({"key": CHIPS.key.public_key()}, "not an RSA key of 2048 bits"),
    ],
)
def test_what_is_no_ek_certificate_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(AttestationError, match=reason):
        endorsed(certified(**changes))


def test_another_makers_ek_is_refused() -> None:
    with pytest.raises(AttestationError, match="was not issued by"):
        endorsed(certified(Maker("Other Chips")))
    with pytest.raises(AttestationError, match="not signed by the key"):
        endorsed(certified(Maker(CHIPS.name, Maker("Other Chips").key)))


@pytest.mark.parametrize("chain", [[], [CHIPS.certificate]], ids=["empty", "root"])
def test_no_certificate_is_not_accepted(chain: list[x509.Certificate]) -> None:
    with pytest.raises(AttestationError, match="no certificate"):
        endorsed(chain)


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_changed_bytes_are_refused(data: st.DataObject) -> None:
    chain = list(accept_tpm.chain())
    which = data.draw(st.integers(0, 1))
    at = data.draw(st.integers(0, len(chain[which]) - 1))
    bit = data.draw(st.integers(0, 7))
    chain[which] = chain[which][:at] + bytes([chain[which][at] ^ 1 << bit]) + chain[which][at + 1 :]
    with pytest.raises((DecodeError, AttestationError)):
        verify_endorsement(chain, SWTPM)


def test_openssl_accepts_the_chain_and_refuses_it_altered(tmp_path: Path) -> None:
    def accepts(leaf: bytes) -> bool:
        issuer = x509.load_der_x509_certificate(accept_tpm.chain()[1])
        (tmp_path / "root.pem").write_bytes(SWTPM.certificate.public_bytes(Encoding.PEM))
        (tmp_path / "issuer.pem").write_bytes(issuer.public_bytes(Encoding.PEM))
        (tmp_path / "ek.der").write_bytes(leaf)
        command = [
            "openssl",
            "verify",
            "-no-CApath",
            "-no-CAstore",
            "-ignore_critical",
            "-CAfile",
            tmp_path / "root.pem",
        ]
        command += ["-untrusted", tmp_path / "issuer.pem", tmp_path / "ek.der"]
        return subprocess.run(command, capture_output=True, timeout=60).returncode == 0

    leaf = accept_tpm.chain()[0]
    assert accepts(leaf)
    assert not accepts(leaf[:-1] + bytes([leaf[-1] ^ 1]))


def test_a_registration_round_trips() -> None:
    registration = accept_tpm.registration()
    signed = decode_registration(encode_registration(registration, REGISTRAR.public, REGISTRAR.sign))
    assert signed.registration == registration
    assert signed.sign1.kid == registrar_id(REGISTRAR.public)
    assert verify_registration(signed, REGISTRAR.public, IDENTITY) == registration.key


def test_a_registration_counts_under_its_own_registrar_and_identity_only() -> None:
    other = Ed25519Key(filler("another registrar"))
    signed = decode_registration(encode_registration(accept_tpm.registration(), REGISTRAR.public, REGISTRAR.sign))
    with pytest.raises(AttestationError, match="another registrar"):
        verify_registration(signed, other.public, IDENTITY)
    with pytest.raises(AttestationError, match="another identity"):
        verify_registration(signed, REGISTRAR.public, "other.example/log")
    forged = encode_registration(accept_tpm.registration(), REGISTRAR.public, other.sign)
    with pytest.raises(AttestationError, match="not signed"):
        verify_registration(decode_registration(forged), REGISTRAR.public, IDENTITY)


@pytest.mark.parametrize("change", [{"time_ns": -1}, {"identity": ""}, {"chain": ()}])
def test_fields_that_could_not_be_read_again_are_not_written(change: dict[str, Any]) -> None:
    bad = dataclasses.replace(accept_tpm.registration(), **change)
    with pytest.raises(DecodeError):
        encode_registration(bad, REGISTRAR.public, REGISTRAR.sign)
