"""X.509 certificates of signing keys, under the CA of whoever made the device: spec/certificate.md (RFC 5280).

`decode_…` imply no trust. :func:`verify_chain` works from the CA down: no key does any work before it is certified.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, SECP521R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, SignatureAlgorithmOID

from sigillo.core.device_key import DeviceKey
from sigillo.core.errors import DecodeError, SignatureError

MAX_CHAIN: Final = 4
MAX_CERTIFICATE: Final = 8192
_LENGTH = rb"(?:[\x00-\x7f]|\x81.|\x82..)"
_VERSION_3 = rb"\xa0\x03\x02\x01\x02"
_SERIAL = rb"\x02(?!\x01\x00)[\x01-\x14][\x00-\x7f]"  # positive and of at most 20 bytes, RFC 5280 section 4.1.2.2
_HEAD = re.compile(rb"\x30" + _LENGTH + rb"\x30" + _LENGTH + _VERSION_3 + _SERIAL, re.DOTALL)
ALGORITHMS = frozenset(
    {
        SignatureAlgorithmOID.ECDSA_WITH_SHA256,
        SignatureAlgorithmOID.ECDSA_WITH_SHA384,
        SignatureAlgorithmOID.ECDSA_WITH_SHA512,
        SignatureAlgorithmOID.RSA_WITH_SHA256,
        SignatureAlgorithmOID.RSA_WITH_SHA384,
        SignatureAlgorithmOID.RSA_WITH_SHA512,
        SignatureAlgorithmOID.ED25519,
    }
)
_UNDERSTOOD = frozenset({x509.BasicConstraints.oid, x509.KeyUsage.oid})
_LEAF_CRITICAL = frozenset({x509.ExtendedKeyUsage.oid})
_ID_KP_DOCUMENT_SIGNING = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.36")  # RFC 9336
_SIGNING_USES = frozenset({ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE, _ID_KP_DOCUMENT_SIGNING})
UNREADABLE = (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, UnsupportedAlgorithm)
_UNIX = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MICROSECOND = datetime.timedelta(microseconds=1)

T = TypeVar("T", bound=x509.ExtensionType)
Judged = TypeVar("Judged")


@dataclass(frozen=True, slots=True)
class Validity:
    """When one certificate of a chain is valid: *from_ns* ≤ t ≤ *to_ns*, ns of Unix time. *name*: for people."""

    name: str
    from_ns: int
    to_ns: int


@dataclass(frozen=True, slots=True)
class CertifiedKey:
    """The key that a chain certifies, and when each of its certificates, the CA's last, is valid."""

    key: DeviceKey
    validities: tuple[Validity, ...]

    def invalid_at(self, time_ns: int) -> Validity | None:
        """A certificate that is not valid at this time (ns of Unix time), or None."""
        return next((found for found in self.validities if not found.from_ns <= time_ns <= found.to_ns), None)


def decode_certificate(der: bytes) -> x509.Certificate:
    """One certificate. Raises DecodeError unless it is X.509 v3, DER that re-encodes to itself, at most 8192 bytes."""
    if len(der) > MAX_CERTIFICATE:
        raise DecodeError("certificate", f"is larger than {MAX_CERTIFICATE} bytes")
    if not _HEAD.match(der):  # before the parser, which would only warn
        raise DecodeError("certificate", "is not X.509 version 3 in DER with a positive serial number")
    try:
        certificate = x509.load_der_x509_certificate(der)
    except UNREADABLE:
        raise DecodeError("certificate", "is not an X.509 certificate in DER") from None
    if certificate.public_bytes(Encoding.DER) != der:
        raise DecodeError("certificate", "is not DER: it does not re-encode to itself")
    return certificate


def decode_chain(chain: Sequence[bytes]) -> tuple[x509.Certificate, ...]:
    """The certificates of a chain, leaf first. Raises DecodeError."""
    return tuple(decode_certificate(der) for der in chain)


def decode_authority(der: bytes) -> x509.Certificate:
    """The certificate of a maker's CA, of the form that spec/certificate.md asks of one. Raises DecodeError."""
    certificate = decode_certificate(der)
    try:
        _check_authority(certificate, below=0)
        _check_form(certificate)
    except SignatureError as error:
        raise DecodeError("certificate", error.reason) from error
    return certificate


def verify_chain(chain: Sequence[x509.Certificate], ca: x509.Certificate, device_id: str) -> CertifiedKey:
    """Verify that *ca* certifies a signing key of this device, by *chain* (leaf first); times are not judged here.

    Raises SignatureError that says which certificate and why.
    """
    path = tuple(takewhile(lambda certificate: certificate != ca, chain))
    if not path:
        raise SignatureError("the certificate is the maker's CA itself")
    return check_chain((*path, ca), device_id)


def check_chain(chain: Sequence[x509.Certificate], device_id: str) -> CertifiedKey:
    """All of :func:`verify_chain` that can be said without the CA. Raises SignatureError."""
    key = verify_path(chain, lambda leaf: _leaf_key(leaf, device_id))
    return CertifiedKey(key, tuple(validity(certificate) for certificate in chain))


def verify_path(
    path: Sequence[x509.Certificate],
    judge_leaf: Callable[[x509.Certificate], Judged],
    leaf_critical: frozenset[x509.ObjectIdentifier] = _LEAF_CRITICAL,
) -> Judged:
    """Verify that each certificate of *path* (leaf first, what is trusted last) is certified by the next.

    *leaf_critical*: critical extensions that *judge_leaf* understands. Returns what that does, which raises
    SignatureError like this; times are not judged.
    """
    if len(path) > MAX_CHAIN + 1:
        raise SignatureError(f"the chain has more than {MAX_CHAIN} certificates")
    for depth in reversed(range(len(path))):
        certificate = path[depth]
        try:
            if depth + 1 < len(path):
                _check_issued(certificate, path[depth + 1])
            _check_form(certificate, frozenset() if depth else leaf_critical)
            if depth:
                _check_authority(certificate, below=depth - 1)
            else:
                judged = judge_leaf(certificate)
        except SignatureError as error:
            raise SignatureError(f"{name_of(certificate)} {error.reason}") from error
    return judged


def is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether *issuer*, whatever it may do, signed this certificate."""
    try:
        _check_issued(certificate, issuer)
    except SignatureError:
        return False
    return True


def signing_key(certificate: x509.Certificate) -> DeviceKey:
    """The key in a certificate, whoever made that. Raises SignatureError unless it is a P-256 or Ed25519 key."""
    key = public_key(certificate)
    try:
        return DeviceKey.from_spki(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    except DecodeError as error:
        raise SignatureError(f"has a key that {error.reason}") from error


def validity(certificate: x509.Certificate) -> Validity:
    """When a certificate is valid."""
    from_ns, to_ns = map(unix_ns, (certificate.not_valid_before_utc, certificate.not_valid_after_utc))
    return Validity(name_of(certificate), from_ns, to_ns)


def unix_ns(moment: datetime.datetime) -> int:
    """Of a moment in UTC, ns of Unix time."""
    return (moment - _UNIX) // _MICROSECOND * 1000


def find_extension(certificate: x509.Certificate, kind: type[T]) -> T | None:
    """The extension of this kind, or None. Raises SignatureError where the extensions cannot be read."""
    try:
        return _extensions(certificate).get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def public_key(certificate: x509.Certificate) -> CertificatePublicKeyTypes:
    """The key in a certificate, of any kind. Raises SignatureError where it cannot be read."""
    try:
        return certificate.public_key()
    except UNREADABLE:
        raise SignatureError("has a key that cannot be read") from None


def name_of(certificate: x509.Certificate) -> str:
    """What a certificate is called in what is said to people."""
    return f"the certificate with serial number {certificate.serial_number:x}"


def _check_issued(certificate: x509.Certificate, issuer: x509.Certificate) -> None:
    key_id = find_extension(certificate, x509.AuthorityKeyIdentifier)
    issuer_id = find_extension(issuer, x509.SubjectKeyIdentifier)
    if key_id and key_id.key_identifier and issuer_id and key_id.key_identifier != issuer_id.digest:
        raise SignatureError("names another issuer's key (authority key identifier)")
    if certificate.signature_algorithm_oid not in ALGORITHMS:
        raise SignatureError(f"is signed with another algorithm ({certificate.signature_algorithm_oid.dotted_string})")
    try:
        certificate.verify_directly_issued_by(issuer)
    except InvalidSignature:
        raise SignatureError("is not signed by the key of its issuer") from None
    except (*UNREADABLE, TypeError):
        raise SignatureError("was not issued by the next one, or the maker's CA") from None


def _check_form(certificate: x509.Certificate, critical: frozenset[x509.ObjectIdentifier] = frozenset()) -> None:
    """What holds for every certificate, whatever it is for. *critical*: understood beside what always is."""
    for extension in _extensions(certificate):
        if extension.oid == x509.NameConstraints.oid:
            raise SignatureError("has name constraints, which are not understood here")
        if extension.critical and extension.oid not in _UNDERSTOOD | critical:
            raise SignatureError(f"has a critical extension that is not understood ({extension.oid.dotted_string})")


def _check_authority(certificate: x509.Certificate, below: int) -> None:
    """It may certify others, with *below* intermediates under it."""
    constraints = find_extension(certificate, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        raise SignatureError("is not a CA's (basic constraints)")
    if constraints.path_length is not None and constraints.path_length < below:
        raise SignatureError(f"allows {constraints.path_length} intermediates under it, and there are {below}")
    usage = find_extension(certificate, x509.KeyUsage)
    if usage is None or not usage.key_cert_sign:
        raise SignatureError("is not for signing certificates (key usage)")
    key = public_key(certificate)
    if not isinstance(key, Ed25519PublicKey) and not _is_strong(key):
        raise SignatureError("has a key of a kind or size that is not accepted of a CA")


def _is_strong(key: CertificatePublicKeyTypes) -> bool:
    """Whether it is P-256, P-384, P-521, or RSA of 2048 to 4096 bits."""
    if isinstance(key, EllipticCurvePublicKey):
        return isinstance(key.curve, SECP256R1 | SECP384R1 | SECP521R1)
    return isinstance(key, RSAPublicKey) and 2048 <= key.key_size <= 4096


def _leaf_key(certificate: x509.Certificate, device_id: str) -> DeviceKey:
    """The signing key of this device, in a certificate that is for nothing else."""
    if _is_authority(certificate):
        raise SignatureError("is a CA's (basic constraints), not a device's")
    usage = find_extension(certificate, x509.KeyUsage)
    if usage is None or not usage.digital_signature or usage.key_cert_sign:
        raise SignatureError("is not for signatures, or not for them alone (key usage)")
    uses = find_extension(certificate, x509.ExtendedKeyUsage)
    if uses is not None and not _SIGNING_USES & set(uses):
        raise SignatureError("is for something else than signing data (extended key usage)")
    names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    if len(names) != 1:
        raise SignatureError(f"has {len(names)} common names (CN), and must have one")
    if names[0].value != device_id:
        raise SignatureError(f'is of "{names[0].value!s}", not of device "{device_id}"')
    return signing_key(certificate)


def judge_time_stamper(certificate: x509.Certificate) -> None:
    """Raises SignatureError unless a certificate is for time stamps and nothing else (spec/timestamp.md)."""
    if _is_authority(certificate):
        raise SignatureError("is a CA's (basic constraints), not that of a time-stamp authority's key")
    usage = find_extension(certificate, x509.KeyUsage)
    if usage and not (usage.digital_signature or usage.content_commitment):
        raise SignatureError("is not for signatures (key usage)")
    if usage and (usage.key_cert_sign or usage.crl_sign):
        raise SignatureError("is not for signatures alone (key usage)")
    uses = [found for found in _extensions(certificate) if found.oid == x509.ExtendedKeyUsage.oid]
    if not uses or not uses[0].critical or list(uses[0].value) != [ExtendedKeyUsageOID.TIME_STAMPING]:
        raise SignatureError("is not for time stamps alone: its extended key usage must be that, and critical")
    if not _is_strong(public_key(certificate)):
        raise SignatureError("has a key of a kind or size that is not accepted of a time-stamp authority")


def _is_authority(certificate: x509.Certificate) -> bool:
    constraints = find_extension(certificate, x509.BasicConstraints)
    return constraints is not None and constraints.ca


def _extensions(certificate: x509.Certificate) -> x509.Extensions:
    try:
        return certificate.extensions
    except UNREADABLE:
        raise SignatureError("has an extension that cannot be read, or one twice") from None
