"""Whose TPM an attestation key is in: spec/endorsement.md. A maker's certificate for the EK, a registrar's for the AK.

The EK cannot sign. That an AK is in the same TPM shows in that the TPM gives up a secret which was encrypted to the EK
for that AK alone: whoever made the secret, the *registrar*, sees it; everybody else has the registrar's signature.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sigillo.core import cbor, cose
from sigillo.core.certificate import (
    MAX_CERTIFICATE,
    MAX_CHAIN,
    Validity,
    decode_chain,
    find_extension,
    public_key,
    validity,
    verify_path,
)
from sigillo.core.errors import AttestationError, DecodeError, SignatureError
from sigillo.core.field import array, byte_string, integer, numbered_map, text
from sigillo.core.tpm import AttestationKey, decode_attestation_key

VERSION: Final = 1
MAX_IDENTITY: Final = 255
_EK_CERTIFICATE: Final = x509.ObjectIdentifier("2.23.133.8.1")
_LEAF_CRITICAL: Final = frozenset({x509.ExtendedKeyUsage.oid, x509.SubjectAlternativeName.oid})


@dataclass(frozen=True, slots=True)
class EndorsementRoot:
    """A certificate that the policy pins as a maker's of TPMs. *software*: it certifies programs, not chips."""

    name: str
    certificate: x509.Certificate
    software: bool


@dataclass(frozen=True, slots=True)
class Endorsement:
    """An EK that the maker of *root* certifies. *fingerprint*: SHA-256 of its SubjectPublicKeyInfo, 32 bytes."""

    root: EndorsementRoot
    fingerprint: bytes
    validities: tuple[Validity, ...]

    def invalid_at(self, time_ns: int) -> Validity | None:
        """A certificate that is not valid at this time (ns of Unix time), or None."""
        return next((found for found in self.validities if not found.from_ns <= time_ns <= found.to_ns), None)


@dataclass(frozen=True, slots=True)
class Registration:
    """What a registrar states: at *time_ns* the TPM of this EK, and no other, had this AK; it is known as *identity*.

    *chain*: certificates in DER, the EK's own first.
    """

    time_ns: int
    identity: str
    key: AttestationKey
    chain: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class SignedRegistration:
    """A decoded registration, not verified."""

    registration: Registration
    sign1: cose.Sign1


def registrar_id(public_key_bytes: bytes) -> bytes:
    """Key id of a registrar, 32 bytes: SHA-256 of its Ed25519 public key."""
    return hashlib.sha256(public_key_bytes).digest()


def encode_registration(registration: Registration, registrar_key: bytes, sign: Callable[[bytes], bytes]) -> bytes:
    """Make a registration; *registrar_key*: 32 bytes, whose private half *sign* signs with. Raises DecodeError."""
    value: dict[int, object] = {
        1: VERSION,
        2: registration.time_ns,
        3: registration.identity,
        4: registration.key.public_bytes,
        5: list(registration.chain),
    }
    _registration(value)
    payload = cbor.encode(value, "registration")
    return cose.encode_sign1(cose.REGISTRATION, payload, sign, kid=registrar_id(registrar_key))


def decode_registration(data: bytes) -> SignedRegistration:
    """Decode a registration; nothing is verified. Raises DecodeError."""
    sign1 = cose.decode_sign1(data, cose.REGISTRATION)
    return SignedRegistration(_registration(cbor.decode(sign1.payload, "registration")), sign1)


def verify_registration(signed: SignedRegistration, registrar_key: bytes, identity: str) -> AttestationKey:
    """The AK that this registrar (Ed25519, 32 bytes) vouches for under *identity*. Raises AttestationError."""
    if signed.sign1.kid != registrar_id(registrar_key):
        raise AttestationError("the registration is by another registrar")
    try:
        cose.verify_ed25519(registrar_key, signed.sign1.signature, signed.sign1.signed_bytes())
    except SignatureError as error:
        raise AttestationError(f"the registration is not signed by its registrar: {error.reason}") from None
    if signed.registration.identity != identity:
        raise AttestationError("the registration is of another identity")
    return signed.registration.key


def verify_endorsement(chain: Sequence[bytes], root: EndorsementRoot) -> Endorsement:
    """Verify that the maker of *root* certifies an EK by *chain* (DER, the EK's own first); times are not judged here.

    Raises DecodeError for what is no certificate, AttestationError that says which one does not count and why.
    """
    certificates = decode_chain(chain)
    path = tuple(takewhile(lambda certificate: certificate != root.certificate, certificates))
    if not path:
        raise AttestationError("the EK has no certificate, or only the maker's own")
    try:
        fingerprint = verify_path((*path, root.certificate), endorsement_fingerprint, _LEAF_CRITICAL)
    except SignatureError as error:
        raise AttestationError(f"the endorsement does not count: {error.reason}") from None
    validities = tuple(validity(certificate) for certificate in (*path, root.certificate))
    return Endorsement(root, fingerprint, validities)


def endorsement_fingerprint(certificate: x509.Certificate) -> bytes:
    """SHA-256 of the EK's SubjectPublicKeyInfo, 32 bytes. Raises SignatureError as :func:`endorsement_key`."""
    spki = endorsement_key(certificate).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(spki).digest()


def endorsement_key(certificate: x509.Certificate) -> RSAPublicKey:
    """The EK in its certificate. Raises SignatureError unless it is for an EK and nothing else."""
    constraints = find_extension(certificate, x509.BasicConstraints)
    if constraints is not None and constraints.ca:
        raise SignatureError("the EK's certificate is a CA's")
    uses = find_extension(certificate, x509.ExtendedKeyUsage)
    if uses is None or list(uses) != [_EK_CERTIFICATE]:
        raise SignatureError("the first certificate is not for an EK (extended key usage)")
    usage = find_extension(certificate, x509.KeyUsage)
    if usage is None or not usage.key_encipherment or usage.digital_signature or usage.key_cert_sign:
        raise SignatureError("the EK's certificate is not for encryption alone (key usage)")
    key = public_key(certificate)
    if not isinstance(key, RSAPublicKey) or key.key_size != 2048:
        raise SignatureError("the EK is not an RSA key of 2048 bits")
    return key


def _registration(value: object) -> Registration:
    values = numbered_map(value, "registration", range(1, 6))
    integer(values[1], "version", VERSION, VERSION)
    return Registration(
        integer(values[2], "time"),
        decode_identity(values[3]),
        decode_key_field(values[4]),
        decode_chain_field(values[5]),
    )


def decode_identity(value: object) -> str:
    """What an attester is known as, as a decoded object has it. Raises DecodeError."""
    return text(value, "identity", 1, MAX_IDENTITY, allow_nul=False)


def decode_key_field(value: object) -> AttestationKey:
    """The AK, as a decoded object has it. Raises DecodeError."""
    return decode_attestation_key(byte_string(value, "attestation key", 1, MAX_CERTIFICATE))


def decode_chain_field(value: object) -> tuple[bytes, ...]:
    """EK certificates (DER, not yet read), as a decoded object has them. Raises DecodeError."""
    chain = array(value, "EK certificates")
    if not 1 <= len(chain) <= MAX_CHAIN:
        raise DecodeError("EK certificates", f"are {len(chain)}, not 1…{MAX_CHAIN}")
    return tuple(byte_string(item, "EK certificate", 1, MAX_CERTIFICATE) for item in chain)
