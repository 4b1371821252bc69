"""Lists of revoked certificates (RFC 5280 section 5) of a time-stamp authority's CAs: spec/timestamp.md, "Revocation".

`decode_crl` implies no trust; `judge_revocation` takes only what the certificate's own issuer signed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding

from sigillo.core.certificate import ALGORITHMS, UNREADABLE, find_extension, name_of, public_key, unix_ns
from sigillo.core.errors import DecodeError, SignatureError

MAX_CRL: Final = 32 * 1024
MAX_CRLS: Final = 4
CRL_FIELD: Final = "revocation list"

_ONLY_SINCE: Final = frozenset(
    {
        x509.ReasonFlags.unspecified,
        x509.ReasonFlags.affiliation_changed,
        x509.ReasonFlags.superseded,
        x509.ReasonFlags.cessation_of_operation,
    }
)
"""Reasons that, where they are stated, leave older tokens valid (RFC 3161 section 4, 1)."""


def decode_crl(data: bytes) -> x509.CertificateRevocationList:
    """One whole list. Raises DecodeError unless it is DER that re-encodes to itself, without critical extensions."""
    if len(data) > MAX_CRL:
        raise DecodeError(CRL_FIELD, f"is larger than {MAX_CRL} bytes")
    try:
        crl = x509.load_der_x509_crl(data)
        extensions = [*crl.extensions, *(extension for entry in crl for extension in entry.extensions)]
        again = crl.public_bytes(Encoding.DER)
    except (*UNREADABLE, x509.InvalidVersion):
        raise DecodeError(CRL_FIELD, "is no list of revoked certificates in DER") from None
    if again != data:
        raise DecodeError(CRL_FIELD, "is not DER: it does not re-encode to itself")
    for extension in extensions:
        if extension.critical:  # a part of a list, or one about the certificates of others
            kind = extension.oid.dotted_string
            raise DecodeError(CRL_FIELD, f"has a critical extension that is not understood ({kind})")
    return crl


def judge_revocation(
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    crls: Iterable[x509.CertificateRevocationList],
    time_ns: int,
) -> int | None:
    """As of when (ns of Unix time) *issuer* says that what was signed at *time_ns* counts; None where it says nothing.

    Raises SignatureError where one of its lists has the certificate, for a reason that reaches this time.
    """
    said = [crl for crl in crls if is_signed_by(crl, issuer)]
    for entry in (entry for crl in said for entry in crl if entry.serial_number == certificate.serial_number):
        reason, since_ns = _reason(entry), unix_ns(entry.revocation_date_utc)
        if reason not in _ONLY_SINCE:
            words = "without a reason" if reason is None else f"for the reason {reason.value}"
            raise SignatureError(f"{name_of(certificate)} was revoked {words}: none of its tokens counts")
        if since_ns <= time_ns:
            raise SignatureError(f"{name_of(certificate)} had been revoked at the token's time ({reason.value})")
    return max((unix_ns(crl.last_update_utc) for crl in said), default=None)


def is_signed_by(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    """Whether *issuer* made this list, and may."""
    try:
        usage = find_extension(issuer, x509.KeyUsage)
        if crl.issuer != issuer.subject or usage is None or not usage.crl_sign:
            return False
        key = public_key(issuer)
        return crl.signature_algorithm_oid in ALGORITHMS and crl.is_signature_valid(key)  # type: ignore[arg-type]
    except (SignatureError, InvalidSignature, TypeError, *UNREADABLE):
        return False


def _reason(entry: x509.RevokedCertificate) -> x509.ReasonFlags | None:
    try:
        return entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    except x509.ExtensionNotFound:
        return None
