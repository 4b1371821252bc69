"""Enrolling a device with an operator: its signing key is pinned, its TLS certificate issued or accepted."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from sigillo import disk
from sigillo.core.certificate import check_chain
from sigillo.core.device_key import DeviceKey
from sigillo.core.errors import SignatureError
from sigillo.device.error import DeviceError
from sigillo.device.identity import check_device_id
from sigillo.device.key import Chain, load_certificate, load_chain, load_csr
from sigillo.device.registry import Registry, certificate_id
from sigillo.x509 import spki_of

Issue = Callable[[bytes, str], bytes]
"""The operator's CA: certificate request (PEM) and device id in, client certificate (PEM, CN = the id) out."""

CLIENT_AUTHORITIES = Path("conf/tls/ca.cert.pem")
"""Under the operator folder: the certificates under which the broker accepts clients."""


@dataclass(frozen=True)
class Application:
    """What a device brings: any of its signing key, and a request for a TLS certificate or the one it has."""

    device_id: str
    signing: DeviceKey | None = None
    csr: Path | None = None
    certificate: Path | None = None
    issuer: Path | None = None
    """The CA certificate that `certificate` was issued by, where the operator agrees to trust it."""
    signing_certificate: Path | None = None
    """What its maker certified of its signing key: the certificate, and those above it."""


@dataclass(frozen=True)
class Enrolled:
    """What the operator now has on file.

    `certificate`: PEM, or None where the application had none. `notes`: consequences that the operator must hear of.
    """

    device_id: str
    fingerprint: str | None
    certificate: bytes | None
    certificate_file: Path
    notes: tuple[str, ...]


def enrol(operator: Path, application: Application, issue: Issue, *, replace: bool, now: datetime.datetime) -> Enrolled:
    """Check an application, then carry it out; nothing is written before every check has passed.

    *now* (with time zone): when a certificate that the device brings must be valid. Raises DeviceError, OSError, and
    what *issue* raises.
    """
    device_id = check_device_id(application.device_id)
    registry = Registry(operator)
    chain = load_chain(application.signing_certificate) if application.signing_certificate else None
    signing = application.signing if chain is None else _certified(chain, application)
    with registry.locked():
        request = load_csr(application.csr) if application.csr else None
        brought = _checked_certificate(application.certificate, device_id, now) if application.certificate else None
        holder = request or brought
        tls_spki = spki_of(holder.public_key()) if holder else None
        registry.check(device_id, signing, tls_spki, replace=replace)
        if chain is not None:
            registry.check_chain(device_id, chain)
        notes = _replaced(registry.certificate_file(device_id), tls_spki) if replace else []
        certificate = None
        if request:
            certificate = issue(request.public_bytes(Encoding.PEM), device_id)
        elif brought:
            anchor = _new_anchor(operator, brought, application)
            if anchor is not None:
                notes.append(_trust(operator / CLIENT_AUTHORITIES, anchor, brought))
            certificate = brought.public_bytes(Encoding.PEM)
        registry.store(device_id, signing, certificate, chain)
    notes += _certified_when(chain, now) if chain else []
    fingerprint = signing.fingerprint if signing else None
    return Enrolled(device_id, fingerprint, certificate, registry.certificate_file(device_id), tuple(notes))


def _certified(chain: Chain, application: Application) -> DeviceKey:
    """The signing key that a maker certified, once all has been checked that needs no CA: that is the reader's."""
    path = application.signing_certificate
    try:
        certified = check_chain(chain, application.device_id).key
    except SignatureError as error:
        raise DeviceError(
            f"{path}: {error.reason}; have the maker certify signing.csr.pem (spec/certificate.md)"
        ) from None
    if application.signing not in (None, certified):
        raise DeviceError(
            f"{path}: is for another key than the device's signing key, {application.signing.fingerprint}"
        )
    return certified


def _certified_when(chain: Chain, now: datetime.datetime) -> list[str]:
    first, last = chain[0].not_valid_before_utc, chain[0].not_valid_after_utc
    if first <= now <= last:
        return [f"Evidence brings the certificate of its signing key, which is valid until {last:%Y-%m-%d}."]
    return [
        f"The certificate of its signing key is valid from {first:%Y-%m-%d} to {last:%Y-%m-%d}, not now: it covers "
        "messages that are marked then, and no others."
    ]


def _replaced(file: Path, tls_spki: bytes | None) -> list[str]:
    """What remains of the TLS certificate in *file* once another key takes its place."""
    if tls_spki is None or not file.exists():
        return []
    before = load_certificate(file)
    if spki_of(before.public_key()) == tls_spki:
        return []
    until = before.not_valid_after_utc
    return [
        f"The certificate that this replaces opens connections until {until:%Y-%m-%d}: the broker reads no revocation "
        "list. Messages signed with another key than the one that a policy pins do not verify, whoever sends them."
    ]


def _checked_certificate(path: Path, device_id: str, now: datetime.datetime) -> x509.Certificate:
    certificate = load_certificate(path)
    if (name := certificate_id(certificate, str(path))) != device_id:
        raise DeviceError(f"{path}: its CN is {name!a}, not {device_id!a}; the broker would know the device as that")
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise DeviceError(
            f"{path}: is valid from {certificate.not_valid_before_utc:%Y-%m-%d} to "
            f"{certificate.not_valid_after_utc:%Y-%m-%d}, not now; have it issued again, or use --csr"
        )
    try:
        uses = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return certificate
    except ValueError as error:
        raise DeviceError(f"{path}: has an extension that cannot be read ({error})") from None
    if ExtendedKeyUsageOID.CLIENT_AUTH not in uses:
        raise DeviceError(f"{path}: is not for TLS clients (extended key usage); use --csr")
    return certificate


def _new_anchor(operator: Path, certificate: x509.Certificate, application: Application) -> x509.Certificate | None:
    """What the broker has to trust besides the operator's own CA for this certificate; None: nothing."""
    if _issued(certificate, load_certificate(operator / "authority" / "ca.cert.pem")):
        return None
    if application.issuer is not None:
        issuer = load_certificate(application.issuer)
        if not (_certifies(issuer) and _issued(certificate, issuer)):
            raise DeviceError(f"{application.issuer}: is not the CA that issued {application.certificate}")
        return issuer
    if not _issued(certificate, certificate):
        raise DeviceError(
            f"{application.certificate}: was not issued by this operator's CA. Enrol the device with --csr; or, to "
            "trust everybody whom its CA certifies, name that CA with --issuer."
        )
    if _certifies(certificate):
        raise DeviceError(
            f"{application.certificate}: signs itself and may certify others under any name (no basicConstraints "
            "CA:FALSE). Enrol the device with --csr; or, if that is meant, name it with --issuer too."
        )
    return certificate


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _certifies(certificate: x509.Certificate) -> bool:
    """Whether OpenSSL might take this certificate as a CA; one without basicConstraints it might (old versions, v1)."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return True


def _trust(file: Path, anchor: x509.Certificate, certificate: x509.Certificate) -> str:
    """Append *anchor* to the broker's client CAs unless it is there; what that means, for the operator to read."""
    try:
        before = file.read_bytes()
        known = x509.load_pem_x509_certificates(before)
    except (OSError, ValueError) as error:
        raise DeviceError(f"{file}: is not a list of CA certificates ({error}); run `sigillo up` once first") from None
    if anchor not in known:
        separator = b"" if before.endswith(b"\n") else b"\n"
        disk.replace(file, before + separator + anchor.public_bytes(Encoding.PEM), disk.PUBLIC)
    if anchor == certificate:
        meaning = "It certifies nobody else."
    else:
        meaning = "EVERYBODY whom that CA certifies can now connect, each under the CN it gives them: any device's too."
    return (
        f"{file} now trusts {anchor.subject.rfc4514_string()!a}. {meaning} Restart `sigillo up`; the "
        "configuration hash changes, so hand out published/operator.toml again."
    )
