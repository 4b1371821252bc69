"""The operator's local CA (X.509, RFC 5280): a certificate for the broker, one for each device and for the archive.

Server and client certificates are kept apart by extended key usage, so that no device can pose as the broker.
"""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sigillo import disk
from sigillo.broker.error import BrokerError
from sigillo.x509 import key_usage, new_key, private_pem

CA_YEARS = 20
LEAF_YEARS = 10
_YEAR = datetime.timedelta(days=365)
_BACKDATED = datetime.timedelta(days=1)  # a device whose clock is a little behind can use its certificate at once
_MAX_COMMON_NAME = 64  # RFC 5280, ub-common-name


class Authority:
    """The CA in an operator's `authority/`: `ca.key.pem` (0600) and `ca.cert.pem`."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        self._key = key
        self._certificate = certificate

    @classmethod
    def create(cls, folder: Path, name: str) -> Authority:
        """Make the CA's key and certificate. Raises OSError where one exists."""
        key = new_key()
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Sigillo CA of {name}"[:_MAX_COMMON_NAME])])
        builder = _builder(subject, subject, key.public_key(), CA_YEARS)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(key_usage(signs_certificates=True), critical=True)
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        certificate = builder.add_extension(identifier, critical=False).sign(key, hashes.SHA256())
        disk.create(folder / "ca.key.pem", private_pem(key), disk.PRIVATE)
        disk.create(folder / "ca.cert.pem", certificate_pem(certificate), disk.PUBLIC)
        return cls(key, certificate)

    @classmethod
    def load(cls, folder: Path) -> Authority:
        """Raises BrokerError where key or certificate cannot be read."""
        path = folder / "ca.key.pem"
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), None)
            path = folder / "ca.cert.pem"
            certificate = x509.load_pem_x509_certificate(path.read_bytes())
        except OSError as error:
            raise BrokerError(f"{path}: {error.strerror}; enrol as the user who runs `sigillo up`") from None
        except (ValueError, TypeError) as error:
            raise BrokerError(f"{path}: cannot be read ({error})") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise BrokerError(f"{folder / 'ca.key.pem'}: is no P-256 key")
        return cls(key, certificate)

    @property
    def certificate(self) -> bytes:
        """The CA's certificate, PEM."""
        return certificate_pem(self._certificate)

    def issue_client(self, csr_pem: bytes, common_name: str) -> bytes:
        """Client certificate (PEM) for the key of a certificate request; its subject is *common_name* alone.

        Raises BrokerError where the request is not one or its own signature is wrong.
        """
        try:
            request = x509.load_pem_x509_csr(csr_pem)
        except ValueError as error:
            raise BrokerError(f"certificate request: cannot be read ({error})") from None
        if not request.is_signature_valid:
            raise BrokerError("certificate request: its signature is wrong")
        key = request.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise BrokerError("certificate request: its key is no elliptic-curve key; make a P-256 key")
        return self._issue(key, common_name, ExtendedKeyUsageOID.CLIENT_AUTH, ())

    def issue_server(self, key: ec.EllipticCurvePublicKey, name: str, address: str) -> bytes:
        """Server certificate (PEM) for host *name* and the IP *address* it listens on.

        An address that stands for all (0.0.0.0, ::) becomes that family's loopback, where the archive connects.
        """
        alternatives = dict.fromkeys((_general_name(name), x509.IPAddress(reachable(address))))
        return self._issue(key, name, ExtendedKeyUsageOID.SERVER_AUTH, tuple(alternatives))

    def _issue(
        self,
        key: ec.EllipticCurvePublicKey,
        common_name: str,
        usage: x509.ObjectIdentifier,
        alternatives: tuple[x509.GeneralName, ...],
    ) -> bytes:
        if len(common_name) > _MAX_COMMON_NAME:
            raise BrokerError(f"{common_name[:80]!a}: is longer than the 64 characters of a certificate's common name")
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        builder = _builder(self._certificate.subject, subject, key, LEAF_YEARS)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(key_usage(signs_certificates=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = builder.add_extension(issuer, critical=False)
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        return certificate_pem(builder.sign(self._key, hashes.SHA256()))


def reachable(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Where a program on this machine reaches a listener on the IP *address*."""
    parsed = ipaddress.ip_address(address)
    if not parsed.is_unspecified:
        return parsed
    return ipaddress.ip_address("127.0.0.1" if parsed.version == 4 else "::1")


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def certificate_pem(certificate: x509.Certificate) -> bytes:
    """PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def _builder(
    issuer: x509.Name, subject: x509.Name, key: ec.EllipticCurvePublicKey, years: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().issuer_name(issuer).subject_name(subject).public_key(key)
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - _BACKDATED).not_valid_after(now + years * _YEAR)
