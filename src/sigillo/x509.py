"""Keys, certificate requests and TLS, as broker, archive and devices share them.

Keys are P-256 unless the caller brings another: every broker and secure element speaks it. Formats: PKCS#8 (RFC 5958,
not encrypted: the file's permissions protect it), CSR (PKCS#10, RFC 2986), SubjectPublicKeyInfo (RFC 5280).
"""

from __future__ import annotations

import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat


def new_key() -> EllipticCurvePrivateKey:
    """A fresh P-256 key from the system's random numbers."""
    return generate_private_key(SECP256R1())


def private_pem(key: PrivateKeyTypes) -> bytes:
    """PKCS#8 PEM."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def spki_of(key: PublicKeyTypes) -> bytes:
    """DER SubjectPublicKeyInfo: what keys are compared and named by."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def request_for(key: EllipticCurvePrivateKey, common_name: str) -> bytes:
    """Certificate request (PEM) for a key of our own, signed by it; its subject is CN = *common_name*."""
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return request.public_bytes(Encoding.PEM)


def client_context(authority: Path, certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.2 or later with a client certificate; the broker's must verify under *authority* and no other (all PEM).

    Raises OSError (ssl.SSLError is one) where a file cannot be read or the three do not fit.
    """
    context = ssl.create_default_context(cafile=str(authority))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    return context


def key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    """Of a CA, which signs certificates and revocation lists, or of a key that signs something else."""
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
