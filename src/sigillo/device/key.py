"""Keys of a device and their PEM files: the signing key (P-256 or Ed25519), and apart from it the TLS key (P-256).

Files are PEM; what is in them says `sigillo.x509`. Private keys are 0600.
"""

from __future__ import annotations

import stat
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
)

from sigillo.core.certificate import decode_chain
from sigillo.core.device_key import DeviceKey, Kind
from sigillo.core.errors import DecodeError
from sigillo.device.error import DeviceError
from sigillo.x509 import new_key, spki_of

SigningKey = EllipticCurvePrivateKey | Ed25519PrivateKey
Chain = tuple[x509.Certificate, ...]
"""A certificate and those above it, each certified by the next."""
_MAX_PEM_BYTES = 64 * 1024


def generate_signing_key(kind: Kind) -> SigningKey:
    """A fresh signing key from the system's random numbers."""
    return new_key() if kind == "p256" else Ed25519PrivateKey.generate()


def encode_public_key(key: DeviceKey) -> bytes:
    """SubjectPublicKeyInfo PEM."""
    public = load_der_public_key(key.spki)
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def public_half(key: SigningKey) -> DeviceKey:
    """The public key that a policy pins."""
    return DeviceKey.from_spki(spki_of(key.public_key()))


def load_signing_key(path: Path) -> SigningKey:
    """Read a signing key from a PKCS#8 PEM file.

    Raises DeviceError where the file is missing, readable by others than its owner, or no P-256 or Ed25519 key.
    """
    pem = read_pem(path)
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise DeviceError(f"{path}: others than its owner may read this private key; run `chmod 600 {path}`")
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise DeviceError(f"{path}: is not an unencrypted PKCS#8 private key in PEM") from None
    if isinstance(key, Ed25519PrivateKey):
        return key
    if isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1):
        return key
    raise DeviceError(f"{path}: is neither a P-256 nor an Ed25519 key; those are the two that Sigillo verifies")


def load_public_key(path: Path) -> DeviceKey:
    """Read a device's public signing key from a SubjectPublicKeyInfo PEM file. Raises DeviceError."""
    pem = read_pem(path)
    if b"PRIVATE KEY" in pem:
        raise DeviceError(
            f"{path}: holds a private key, which must not leave the device; give the public one "
            "(`openssl pkey -in KEY -pubout`)"
        )
    try:
        return DeviceKey.from_spki(spki_of(load_pem_public_key(pem)), str(path))
    except (ValueError, UnsupportedAlgorithm):
        raise DeviceError(f"{path}: is not a public key in PEM (`-----BEGIN PUBLIC KEY-----`)") from None
    except DecodeError as error:
        raise DeviceError(f"{path}: {error.reason}") from None


def load_csr(path: Path) -> x509.CertificateSigningRequest:
    """Read a certificate request and check that it is signed by its own key. Raises DeviceError."""
    try:
        request = x509.load_pem_x509_csr(read_pem(path))
        valid = request.is_signature_valid
    except (ValueError, UnsupportedAlgorithm):
        raise DeviceError(
            f"{path}: is not a certificate request in PEM (`-----BEGIN CERTIFICATE REQUEST-----`)"
        ) from None
    if not valid:
        raise DeviceError(
            f"{path}: this certificate request is not signed by its own key; have the device make it again"
        )
    return request


def load_certificate(path: Path) -> x509.Certificate:
    """Read the one certificate of a PEM file. Raises DeviceError."""
    try:
        certificates = x509.load_pem_x509_certificates(read_pem(path))
    except ValueError:
        raise DeviceError(f"{path}: is not a certificate in PEM (`-----BEGIN CERTIFICATE-----`)") from None
    if len(certificates) != 1:
        raise DeviceError(f"{path}: holds {len(certificates)} certificates; give one, and its issuer apart")
    return certificates[0]


def load_chain(path: Path) -> Chain:
    """Read a certificate of a signing key and those above it from a PEM file, leaf first, without a root at the end.

    Raises DeviceError, also where spec/certificate.md would not read one of them.
    """
    try:
        chain = decode_chain(
            [found.public_bytes(Encoding.DER) for found in x509.load_pem_x509_certificates(read_pem(path))]
        )
    except ValueError:
        raise DeviceError(f"{path}: is not a list of certificates in PEM (`-----BEGIN CERTIFICATE-----`)") from None
    except DecodeError as error:
        raise DeviceError(f"{path}: a {error}") from None
    if len(chain) > 1 and chain[-1].issuer == chain[-1].subject:
        return chain[:-1]
    return chain


def read_pem(path: Path) -> bytes:
    """The content of a small file. Raises DeviceError where it cannot be read or is no PEM by its size."""
    try:
        with path.open("rb") as file:
            pem = file.read(_MAX_PEM_BYTES + 1)
    except OSError as error:
        raise DeviceError(f"{path}: cannot be read ({error.strerror})") from None
    if len(pem) > _MAX_PEM_BYTES:
        raise DeviceError(f"{path}: is larger than {_MAX_PEM_BYTES} bytes, so it is not the PEM file meant here")
    return pem
