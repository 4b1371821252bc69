"""RFC 3161 time-stamp tokens over a signed note: spec/timestamp.md.

`decode_token` implies no trust. `verify_token` finds the path from the signing certificate to a root of *this*
authority, certificate by certificate, and only then gives the signature to rfc3161-client, with that path and nothing
else: what the library would take from the token by itself never counts.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from rfc3161_client import VerificationError, VerifierBuilder, decode_timestamp_response

from sigillo.core import der
from sigillo.core.certificate import (
    MAX_CERTIFICATE,
    MAX_CHAIN,
    decode_authority,
    decode_certificate,
    is_issued_by,
    judge_time_stamper,
    validity,
    verify_path,
)
from sigillo.core.der import Element, Reader
from sigillo.core.errors import DecodeError, SignatureError
from sigillo.core.field import text
from sigillo.core.revocation import MAX_CRLS, decode_crl, judge_revocation

MAX_TOKEN: Final = 32 * 1024
MAX_CERTIFICATES: Final = 8
"""Certificates in a token, and as many beside it."""
MAX_ROOTS: Final = 16
MAX_POLICIES: Final = 16
DEFAULT_ACCURACY_NS: Final = 10**9
"""Where a token states none."""
MAX_ACCURACY_S: Final = 86_400

_FIELD: Final = "time-stamp token"
_SIGNED_DATA: Final = "1.2.840.113549.1.7.2"
_TST_INFO: Final = "1.2.840.113549.1.9.16.1.4"
_CONTENT_TYPE: Final = "1.2.840.113549.1.9.3"
_MESSAGE_DIGEST: Final = "1.2.840.113549.1.9.4"
_SIGNING_CERTIFICATE: Final = "1.2.840.113549.1.9.16.2.12"
_SIGNING_CERTIFICATE_V2: Final = "1.2.840.113549.1.9.16.2.47"
_SHA256: Final = "2.16.840.1.101.3.4.2.1"
_HASHES: Final = {_SHA256: "sha256", "2.16.840.1.101.3.4.2.2": "sha384", "2.16.840.1.101.3.4.2.3": "sha512"}
_RSA: Final = "1.2.840.113549.1.1.1"
_SIGNATURES: Final = {
    "1.2.840.113549.1.1.11": "sha256",  # RSA, PKCS#1 v1.5
    "1.2.840.113549.1.1.12": "sha384",
    "1.2.840.113549.1.1.13": "sha512",
    "1.2.840.10045.4.3.2": "sha256",  # ECDSA
    "1.2.840.10045.4.3.3": "sha384",
    "1.2.840.10045.4.3.4": "sha512",
}
_OID: Final = re.compile(r"[0-2](\.(0|[1-9][0-9]{0,38})){1,30}")
_SIGNED_DATA_DER: Final = bytes.fromhex("06092a864886f70d010702")
_GRANTED: Final = der.encode(der.SEQUENCE, b"\x02\x01\x00")


class StrangerError(SignatureError):
    """A token is of another authority than the one that is asked about."""


@dataclass(frozen=True, slots=True)
class TsaTrust:
    """A time-stamp authority that a reader trusts: what it is called, its root certificates (DER), its policies (OID).

    *crls*: revocation lists (DER) of its CAs that the reader has. Raises DecodeError where made with a root that is not
    a self-signed CA's, without a root or policy, or with a list that is none.
    """

    name: str
    roots: tuple[bytes, ...]
    policies: tuple[str, ...]
    crls: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        text(self.name, "tsa name", 1, 255)
        _check_listed(self.roots, "tsa roots", MAX_ROOTS)
        _check_listed(self.policies, "tsa policies", MAX_POLICIES)
        for root in self.roots:
            certificate = decode_authority(root)
            if not is_issued_by(certificate, certificate):
                raise DecodeError("tsa roots", "has a certificate that is not signed by its own key")
        for policy in self.policies:
            if not _OID.fullmatch(policy):
                raise DecodeError("tsa policies", f"{policy[:80]!r} is no object identifier in numbers and dots")
        if len(self.crls) > MAX_CRLS:
            raise DecodeError("tsa crls", f"has more than {MAX_CRLS} revocation lists")
        for crl in self.crls:
            decode_crl(crl)


@dataclass(frozen=True, slots=True)
class Token:
    """What a token says. `imprint`: SHA-256 of what it is about; `accuracy_ns`: the default where not stated."""

    gen_time_ns: int
    accuracy_ns: int
    accuracy_stated: bool
    policy: str
    serial: int
    imprint: bytes
    nonce: int | None
    ordering: bool

    @property
    def not_before_ns(self) -> int:
        """It was made not before this time, if its authority tells the truth."""
        return self.gen_time_ns - self.accuracy_ns

    @property
    def not_after_ns(self) -> int:
        """What it is about existed not later than this time, if its authority tells the truth."""
        return self.gen_time_ns + self.accuracy_ns


@dataclass(frozen=True, slots=True)
class VerifiedToken(Token):
    """A token that verified. `tsa`: name of the authority; `expires_ns`: the end of the path's first to end.

    `revocation_ns`: as of when no certificate of its path was revoked; None where one of them has no list.
    """

    tsa: str
    expires_ns: int
    revocation_ns: int | None


@dataclass(frozen=True, slots=True)
class _Signer:
    """The one SignerInfo of a token, as far as it is looked at here."""

    issuer: bytes
    serial: int
    digest: str
    attributes: dict[str, bytes]
    signed: bytes
    """The SignerInfo without its unsigned attributes."""


@dataclass(frozen=True, slots=True)
class _Parts:
    """A token in its parts: those of the signed data that are put together again, in order; certificates; signer."""

    token: Token
    content: bytes
    head: bytes
    certificates: tuple[bytes, ...]
    signer: _Signer


def decode_token(data: bytes) -> Token:
    """Decode a DER TimeStampToken. Raises DecodeError for anything that spec/timestamp.md does not allow."""
    return _decode(data).token


def token_certificates(data: bytes) -> tuple[bytes, ...]:
    """The certificates (DER) in a token, as they came. Raises DecodeError."""
    return _decode(data).certificates


def verify_token(
    data: bytes, message: bytes, trust: TsaTrust, chain: Sequence[bytes] = (), crls: Sequence[bytes] = ()
) -> VerifiedToken:
    """Verify that this authority made this token over *message*.

    *chain*: certificates (DER) besides those in the token, trusted no more than they; *crls*: revocation lists (DER)
    besides the reader's. The certificates are judged at the token's own time. Raises SignatureError.
    """
    try:
        parts = _decode(data)
    except DecodeError as error:
        raise SignatureError(f"the token cannot be read: {error}") from error
    token = parts.token
    if token.imprint != hashlib.sha256(message).digest():
        raise SignatureError("the token is about something else")
    if token.policy not in trust.policies:
        raise SignatureError(f"the token is under the policy {token.policy}, which is none trusted of {trust.name}")
    path = _path(parts, trust, chain)
    try:
        verify_path(path, judge_time_stamper)
    except SignatureError as error:
        raise SignatureError(f"{trust.name}: {error.reason}") from error
    validities = [validity(certificate) for certificate in path]
    for valid in validities:
        if not valid.from_ns <= token.gen_time_ns <= valid.to_ns:
            raise SignatureError(f"{trust.name}: {valid.name} was not valid at the token's time")
    _verify_signature(parts, path, message)
    if len(crls) > MAX_CRLS:
        raise SignatureError(f"more than {MAX_CRLS} revocation lists come with the token")
    expires_ns = min(valid.to_ns for valid in validities)
    revocation_ns = _revocation(path, (*trust.crls, *crls), token.gen_time_ns, trust.name)
    return VerifiedToken(
        token.gen_time_ns,
        token.accuracy_ns,
        token.accuracy_stated,
        token.policy,
        token.serial,
        token.imprint,
        token.nonce,
        token.ordering,
        trust.name,
        expires_ns,
        revocation_ns,
    )


def _check_listed(values: Sequence[object], field: str, high: int) -> None:
    if not 1 <= len(values) <= high or len(set(values)) != len(values):
        raise DecodeError(field, f"has not 1 to {high} values, each once")


# Decoding


def _decode(data: bytes) -> _Parts:
    if len(data) > MAX_TOKEN:
        raise DecodeError(_FIELD, f"is larger than {MAX_TOKEN} bytes")
    reader = Reader(data, _FIELD)
    info = reader.within(der.SEQUENCE)
    reader.end()
    _expect(info.oid(), _SIGNED_DATA, "is not CMS signed data")
    explicit = info.within(der.CONSTRUCTED)
    info.end()
    signed = explicit.within(der.SEQUENCE)
    explicit.end()
    _expect(signed.integer(), 3, "is not of version 3 of CMS signed data")
    digests = signed.next(der.SET)
    encapsulated = signed.next(der.SEQUENCE)
    certificates = _certificates(signed)
    signed.optional(der.CONSTRUCTED + 1)  # revocation lists: not signed, not looked at
    signers = signed.set_of(der.SET, 1)
    signed.end()
    if not signers:
        raise DecodeError(_FIELD, "has no signer")
    content = _content(encapsulated)
    signer = _signer(signers[0])
    if signer.digest not in _digests(digests):
        raise DecodeError(_FIELD, "does not list the hash of its signer")
    _expect(signer.attributes.get(_MESSAGE_DIGEST), _octets(_hash(signer.digest, content)), "signs another content")
    head = b"".join((b"\x02\x01\x03", digests.whole, encapsulated.whole))
    return _Parts(_tst_info(content), content, head, certificates, signer)


def _certificates(signed: Reader) -> tuple[bytes, ...]:
    """The certificates, in any order: that of a SET is not kept by everybody, and nothing signs it."""
    found = signed.optional(der.CONSTRUCTED)
    reader = Reader(found.content if found else b"", "time-stamp token certificates")
    certificates: list[bytes] = []
    while reader:
        if len(certificates) == MAX_CERTIFICATES:
            raise DecodeError(_FIELD, f"has more than {MAX_CERTIFICATES} certificates")
        certificate = reader.next(der.SEQUENCE).whole
        if len(certificate) > MAX_CERTIFICATE:
            raise DecodeError(_FIELD, f"has a certificate of more than {MAX_CERTIFICATE} bytes")
        certificates.append(certificate)
    return tuple(certificates)


def _content(encapsulated: Element) -> bytes:
    reader = Reader(encapsulated.content, _FIELD)
    _expect(reader.oid(), _TST_INFO, "is not about a TSTInfo")
    explicit = reader.within(der.CONSTRUCTED)
    reader.end()
    content = explicit.next(der.OCTET_STRING).content
    explicit.end()
    return content


def _digests(digests: Element) -> set[str]:
    listed = Reader(digests.whole, _FIELD).set_of(der.SET, len(_HASHES))
    return {_algorithm(Reader(item.whole, _FIELD)) for item in listed}


def _signer(element: Element) -> _Signer:
    field = "time-stamp token signer"
    info = Reader(element.whole, field)
    reader = info.within(der.SEQUENCE)
    info.end()
    begin = reader.next(der.INTEGER)
    _expect(begin.content, b"\x01", "is not named by issuer and serial number")
    sid = reader.next(der.SEQUENCE)
    digest = reader.next(der.SEQUENCE)
    attributes = reader.next(der.CONSTRUCTED)
    algorithm = reader.next(der.SEQUENCE)
    signature = reader.next(der.OCTET_STRING)
    reader.optional(der.CONSTRUCTED + 1)  # unsigned attributes: not looked at
    reader.end()
    names = Reader(sid.content, field)
    issuer, serial = names.next(der.SEQUENCE).whole, names.integer()
    names.end()
    digest_oid, signature_oid = (_algorithm(Reader(item.whole, field)) for item in (digest, algorithm))
    if digest_oid not in _HASHES or (signature_oid != _RSA and _SIGNATURES.get(signature_oid) != _HASHES[digest_oid]):
        raise DecodeError(field, "is of an algorithm that is not accepted, or of two that do not belong together")
    parts = (begin, sid, digest, attributes, algorithm, signature)
    whole = der.encode(der.SEQUENCE, *(part.whole for part in parts))
    return _Signer(issuer, serial, digest_oid, _attributes(attributes), whole)


def _attributes(element: Element) -> dict[str, bytes]:
    """Signed attributes by type, each with its one value as encoded."""
    field = "time-stamp token attribute"
    found: dict[str, bytes] = {}
    for item in Reader(element.whole, field).set_of(der.CONSTRUCTED, 16):
        whole = Reader(item.whole, field)
        reader = whole.within(der.SEQUENCE)
        kind = reader.oid()
        values = reader.set_of(der.SET, 16)
        reader.end()
        if kind in found or len(values) != 1:
            raise DecodeError(field, f"{kind} is there twice, or has not one value")
        found[kind] = values[0].whole
    content_type = Reader(found.get(_CONTENT_TYPE, b""), field)
    _expect(content_type.oid(), _TST_INFO, "names another type of content")
    content_type.end()
    return found


def _tst_info(content: bytes) -> Token:
    field = "time-stamp token info"
    whole = Reader(content, field)
    reader = whole.within(der.SEQUENCE)
    whole.end()
    _expect(reader.integer(), 1, "is not of version 1", field)
    policy = reader.oid()
    imprint = reader.within(der.SEQUENCE)
    _expect(_algorithm(imprint), _SHA256, "has an imprint that is not of SHA-256", field)
    hashed = imprint.next(der.OCTET_STRING).content
    imprint.end()
    _expect(len(hashed), 32, "has an imprint that is not 32 bytes long", field)
    serial = reader.integer()
    gen_time_ns = reader.time_ns()
    accuracy_ns = _accuracy(reader)
    ordering = reader.true()
    nonce = reader.integer(max_size=32) if reader.has(der.INTEGER) else None
    reader.optional(der.CONSTRUCTED)  # the authority's name: its certificate says that
    _refuse_critical(reader.optional(der.CONSTRUCTED + 1), field)
    reader.end()
    stated = accuracy_ns is not None
    accuracy = DEFAULT_ACCURACY_NS if accuracy_ns is None else accuracy_ns
    return Token(gen_time_ns, accuracy, stated, policy, serial, hashed, nonce, ordering)


def _accuracy(info: Reader) -> int | None:
    """In ns; None where nothing is stated."""
    found = info.optional(der.SEQUENCE)
    if not found or not found.content:
        return None
    reader = Reader(found.content, "time-stamp token accuracy")
    units = ((der.INTEGER, 10**9, MAX_ACCURACY_S), (der.PRIMITIVE, 10**6, 999), (der.PRIMITIVE + 1, 10**3, 999))
    total = 0
    for tag, unit_ns, high in units:
        value = reader.integer(tag) if reader.has(tag) else 0
        if value > high:
            raise DecodeError("time-stamp token accuracy", f"{value} is more than {high}")
        total += value * unit_ns
    reader.end()
    return total


def _refuse_critical(extensions: Element | None, field: str) -> None:
    reader = Reader(extensions.content if extensions else b"", field)
    while reader:
        extension = reader.within(der.SEQUENCE)
        kind = extension.oid()
        if extension.true():
            raise DecodeError(field, f"has a critical extension that is not understood ({kind})")
        extension.next(der.OCTET_STRING)
        extension.end()


def _algorithm(reader: Reader) -> str:
    """An algorithm without parameters, or with NULL for them."""
    inner = reader.within(der.SEQUENCE)
    found = inner.oid()
    null = inner.optional(der.NULL)
    inner.end()
    if null and null.content:
        raise DecodeError(_FIELD, "has a NULL with content")
    return found


def _expect(found: object, expected: object, reason: str, field: str = _FIELD) -> None:
    if found != expected:
        raise DecodeError(field, reason)


def _octets(content: bytes) -> bytes:
    return der.encode(der.OCTET_STRING, content)


def _hash(oid: str, data: bytes) -> bytes:
    return hashlib.new(_HASHES[oid], data).digest()


# Verification


def _path(parts: _Parts, trust: TsaTrust, chain: Sequence[bytes]) -> list[x509.Certificate]:
    """From the signing certificate to a root of this authority, the shortest. Raises SignatureError."""
    if len(chain) > MAX_CERTIFICATES:
        raise SignatureError(f"more than {MAX_CERTIFICATES} certificates come with the token")
    found = [certificate for item in dict.fromkeys((*parts.certificates, *chain)) if (certificate := _readable(item))]
    signer = _signing_certificate(parts.signer, found)
    roots = [decode_certificate(root) for root in trust.roots]
    rest = [certificate for certificate in found if certificate not in roots]
    paths = [[root] for root in roots]
    for _ in range(MAX_CHAIN):
        longer = []
        for path in paths:
            for certificate in [item for item in rest if is_issued_by(item, path[0])]:
                rest.remove(certificate)
                longer.append([certificate, *path])
        for path in longer:
            if path[0] == signer:
                return path
        paths = longer
    raise StrangerError(f"no chain leads from the token's signer to a root of {trust.name}")


def _readable(data: bytes) -> x509.Certificate | None:
    """A certificate; None for what is none that could count."""
    try:
        return decode_certificate(data)
    except DecodeError:
        return None


def _signing_certificate(signer: _Signer, found: Sequence[x509.Certificate]) -> x509.Certificate:
    """The one that the signer names by issuer, serial number and, signed, by its hash."""
    named = [item for item in found if (_issuer(item), item.serial_number) == (signer.issuer, signer.serial)]
    if len(named) != 1:
        raise SignatureError(f"{len(named)} certificates are what the token names as its signer's")
    try:
        _check_ess(signer.attributes, named[0].public_bytes(Encoding.DER))
    except DecodeError as error:
        raise SignatureError(f"the token does not sign which certificate is its signer's: {error}") from error
    return named[0]


def _check_ess(attributes: dict[str, bytes], certificate: bytes) -> None:
    """The first ESSCertID or ESSCertIDv2 of each of the two attributes that is there is of this certificate.

    Raises DecodeError, SignatureError.
    """
    field = "signing certificate"
    named = [kind for kind in (_SIGNING_CERTIFICATE, _SIGNING_CERTIFICATE_V2) if kind in attributes]
    if not named:
        raise DecodeError(field, "is missing")
    for kind in named:
        reader = Reader(attributes[kind], field).within(der.SEQUENCE).within(der.SEQUENCE).within(der.SEQUENCE)
        name = "sha1" if kind == _SIGNING_CERTIFICATE else "sha256"
        if kind == _SIGNING_CERTIFICATE_V2 and reader.has(der.SEQUENCE):
            name = _HASHES.get(_algorithm(reader), "")
        if not name:
            raise DecodeError(field, "is named by a hash that is not accepted")
        if reader.next(der.OCTET_STRING).content != hashlib.new(name, certificate, usedforsecurity=False).digest():
            raise SignatureError("the certificate is not the one whose hash the token has signed (ESSCertID)")


def _revocation(path: Sequence[x509.Certificate], crls: Iterable[bytes], time_ns: int, name: str) -> int | None:
    """As of when none of *path* was revoked, its root aside; None where that is not known. Raises SignatureError."""
    lists = [crl for item in dict.fromkeys(crls) if (crl := _readable_crl(item)) is not None]  # an empty one is false
    try:
        said = [judge_revocation(certificate, issuer, lists, time_ns) for certificate, issuer in pairwise(path)]
    except SignatureError as error:
        raise SignatureError(f"{name}: {error.reason}") from error
    known = [at_ns for at_ns in said if at_ns is not None]
    return min(known, default=None) if len(known) == len(said) else None


def _readable_crl(data: bytes) -> x509.CertificateRevocationList | None:
    """A revocation list; None for what is none that could count."""
    try:
        return decode_crl(data)
    except DecodeError:
        return None


def _issuer(certificate: x509.Certificate) -> bytes:
    """The issuer's name, as encoded in the certificate."""
    reader = Reader(certificate.tbs_certificate_bytes, "certificate").within(der.SEQUENCE)
    for tag in (der.CONSTRUCTED, der.INTEGER, der.SEQUENCE):  # version, serial number, algorithm
        reader.next(tag)
    return reader.next(der.SEQUENCE).whole


def _verify_signature(parts: _Parts, path: Sequence[x509.Certificate], message: bytes) -> None:
    """The signature, by rfc3161-client, of the token put together again with the certificates of *path* alone."""
    *certificates, root = path
    signed = der.encode(
        der.SEQUENCE,
        parts.head,
        der.encode_set_of(der.CONSTRUCTED, *(item.public_bytes(Encoding.DER) for item in certificates)),
        der.encode(der.SET, parts.signer.signed),
    )
    explicit = der.encode(der.CONSTRUCTED, signed)
    token = der.encode(der.SEQUENCE, _SIGNED_DATA_DER, explicit)
    try:
        response = decode_timestamp_response(der.encode(der.SEQUENCE, _GRANTED, token))
        VerifierBuilder(roots=[root]).build().verify_message(response, message)
    except (VerificationError, ValueError) as error:
        raise SignatureError(f"the token's signature does not verify ({error})") from error
