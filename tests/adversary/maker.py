"""A maker of devices with its CA in memory: certifies honestly unless a test says how to lie. Always the same bytes."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key

from sigillo.core.evidence_line import CertificateLine
from sigillo.core.policy import DeviceTrust, MakerTrust

from .broker import START_NS
from .device import Device, p256_key

CaKey = ec.EllipticCurvePrivateKey | Ed25519PrivateKey | Any
START = datetime.datetime.fromtimestamp(START_NS // 10**9, datetime.UTC)
DAY = datetime.timedelta(days=1)
DOCUMENT_SIGNING = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.36")
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
NAME_CONSTRAINTS = x509.NameConstraints([x509.DNSName("example")], None)


def usage(**uses: bool) -> x509.KeyUsage:
    """Key usage with exactly these bits."""
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    names += ("key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    return x509.KeyUsage(**{name: uses.get(name, False) for name in names})


NO_CA = x509.BasicConstraints(ca=False, path_length=None)
SIGNS, SIGNS_CERTIFICATES = usage(digital_signature=True), usage(key_cert_sign=True, crl_sign=True)


@dataclass(frozen=True)
class Form:
    """What a certificate says beside names and key. An extension is there where it is not None."""

    serial: int = 2
    not_before: datetime.datetime = START - 30 * DAY
    not_after: datetime.datetime = START + 335 * DAY
    constraints: x509.BasicConstraints | None = NO_CA
    key_usage: x509.KeyUsage | None = SIGNS
    extended: x509.ExtendedKeyUsage | None = None
    further: Sequence[tuple[x509.ExtensionType, bool]] = ()
    digest: hashes.HashAlgorithm = field(default_factory=hashes.SHA256)


LEAF = Form()
AUTHORITY = Form(
    serial=1,
    not_before=START - 3650 * DAY,
    not_after=START + 3650 * DAY,
    constraints=x509.BasicConstraints(ca=True, path_length=None),
    key_usage=SIGNS_CERTIFICATES,
)


def named(*common_names: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name) for name in common_names])


def certificate(
    form: Form, subject: x509.Name, key: CertificatePublicKeyTypes, issuer: x509.Name, issuer_key: CaKey
) -> x509.Certificate:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(form.serial)
    builder = builder.not_valid_before(form.not_before).not_valid_after(form.not_after)
    extensions = [(form.constraints, True), (form.key_usage, True), (form.extended, False), *form.further]
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical) if extension else builder
    if isinstance(issuer_key, Ed25519PrivateKey):
        return builder.sign(issuer_key, None)
    deterministic = True if isinstance(issuer_key, ec.EllipticCurvePrivateKey) else None
    return builder.sign(issuer_key, form.digest, ecdsa_deterministic=deterministic)


@dataclass
class Maker:
    """A maker. *issuer*: the CA above this one; None: it signs itself, and is what a policy names."""

    name: str = "Example Trackers"
    key: CaKey = None
    issuer: Maker | None = None
    form: Form = AUTHORITY
    certificate: x509.Certificate = field(init=False)

    def __post_init__(self) -> None:
        self.key = self.key or p256_key(f"maker {self.name}")
        above = self.issuer or self
        self.certificate = certificate(self.form, named(self.name), self.key.public_key(), named(above.name), above.key)

    def below(self, name: str, **changes: Any) -> Maker:
        """An intermediate CA that this one certifies."""
        return Maker(name, issuer=self, form=dataclasses.replace(AUTHORITY, **changes))

    @property
    def above(self) -> list[x509.Certificate]:
        """From this CA up to the one before the root."""
        return [self.certificate, *self.issuer.above] if self.issuer else []

    def certify(
        self,
        device: Device | CertificatePublicKeyTypes,
        *common_names: str,
        subject: x509.Name | None = None,
        issuer_name: str | None = None,
        **changes: Any,
    ) -> list[x509.Certificate]:
        """A chain for the signing key of a device, leaf first; *changes* replace parts of its form."""
        names = common_names or ((device.id,) if isinstance(device, Device) else ())
        key = load_der_public_key(device.key.spki) if isinstance(device, Device) else device
        form = dataclasses.replace(LEAF, **changes)
        leaf = certificate(
            form, named(*names) if subject is None else subject, key, named(issuer_name or self.name), self.key
        )
        return [leaf, *self.above]

    def revocations(
        self,
        *revoked: x509.Certificate,
        since: datetime.datetime = START,
        reason: x509.ReasonFlags | None = None,
        at: datetime.datetime = START,
        extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
    ) -> bytes:
        """A list of revoked certificates, DER, as of *at*; *since* and *reason*: of each of them."""
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.certificate.subject)
        builder = builder.last_update(at).next_update(at + DAY)
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        for found in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(found.serial_number).revocation_date(since)
            entry = entry.add_extension(x509.CRLReason(reason), critical=False) if reason else entry
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self.key, hashes.SHA256(), ecdsa_deterministic=True).public_bytes(Encoding.DER)

    def trust(self, hardware: bool = False) -> MakerTrust:
        """What a reader pins who trusts this maker."""
        return MakerTrust(self.name, self.certificate, hardware)

    def device(self, device: Device, hardware: bool = False) -> DeviceTrust:
        """What a reader pins who leaves the key of this device to the maker."""
        return DeviceTrust(device.id, None, device.bits, self.trust(hardware))


def der(chain: Sequence[x509.Certificate]) -> tuple[bytes, ...]:
    return tuple(found.public_bytes(Encoding.DER) for found in chain)


def line(device: Device | str, chain: Sequence[x509.Certificate]) -> CertificateLine:
    """The line of an evidence file that brings a chain."""
    return CertificateLine(device if isinstance(device, str) else device.id, der(chain))
