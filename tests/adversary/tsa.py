"""A time-stamp authority in memory: its CA, its key, tokens that are honest unless a test says how to lie.

It writes DER with an encoder of its own and always the same bytes (RFC 6979), so vectors are made from it too.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from sigillo.core.timestamp import TsaTrust

from .device import p256_key
from .maker import START, Maker, der

POLICY = "1.3.6.1.4.1.99999.2.1"
TIME = START + datetime.timedelta(seconds=30)
SHA1, SHA256, SHA384 = "1.3.14.3.2.26", "2.16.840.1.101.3.4.2.1", "2.16.840.1.101.3.4.2.2"
ECDSA_SHA256, ECDSA_SHA384, RSA_ENCRYPTION = "1.2.840.10045.4.3.2", "1.2.840.10045.4.3.3", "1.2.840.113549.1.1.1"
SIGNED_DATA, TST_INFO, DATA = "1.2.840.113549.1.7.2", "1.2.840.113549.1.9.16.1.4", "1.2.840.113549.1.7.1"
CONTENT_TYPE, MESSAGE_DIGEST = "1.2.840.113549.1.9.3", "1.2.840.113549.1.9.4"
ESS, ESS_V2 = "1.2.840.113549.1.9.16.2.12", "1.2.840.113549.1.9.16.2.47"
STAMPS = (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), True)


def element(tag: int, *contents: bytes) -> bytes:
    content = b"".join(contents)
    size = len(content)
    if size < 128:
        return bytes([tag, size]) + content
    length = size.to_bytes(1 if size < 256 else 2 if size < 65536 else 3, "big")
    return bytes([tag, 128 + len(length)]) + length + content


def sequence(*contents: bytes) -> bytes:
    return element(0x30, *contents)


def set_of(*contents: bytes, tag: int = 0x31) -> bytes:
    return element(tag, *sorted(contents))


def integer(value: int, tag: int = 2) -> bytes:
    return element(tag, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def octets(content: bytes) -> bytes:
    return element(4, content)


def oid(dotted: str) -> bytes:
    first, second, *rest = map(int, dotted.split("."))
    content = b""
    for number in (40 * first + second, *rest):
        low = bytes([number & 127])
        while number := number >> 7:
            low = bytes([number & 127 | 128]) + low
        content += low
    return element(6, content)


def algorithm(dotted: str, parameters: bytes = b"") -> bytes:
    return sequence(oid(dotted), parameters)


def accuracy(seconds: int = 0, millis: int = 0, micros: int = 0) -> bytes:
    parts = ((2, seconds), (0x80, millis), (0x81, micros))
    return sequence(*(integer(value, tag) for tag, value in parts if value))


def attribute(kind: str, *values: bytes) -> bytes:
    return sequence(oid(kind), set_of(*values))


@dataclass(frozen=True)
class Form:
    """What a token says. A part that is None is worked out as RFC 3161 asks."""

    time: bytes = b"20261118110715.5Z"
    version: int = 1
    policy: str = POLICY
    imprint_algorithm: bytes = field(default_factory=lambda: algorithm(SHA256))
    imprint: bytes | None = None
    serial: bytes = field(default_factory=lambda: integer(7))
    accuracy: bytes = field(default_factory=lambda: accuracy(1, 500, 100))
    ordering: bytes = b""
    nonce: int | None = None
    extra: bytes = b""
    info: bytes | None = None
    digest: str = SHA256
    digests: Sequence[bytes] | None = None
    signature_algorithm: str | None = None
    content_type: str = TST_INFO
    signed_content_type: str = TST_INFO
    message_digest: bytes | None = None
    ess: Sequence[bytes] | None = None
    attributes: Sequence[bytes] = ()
    unsigned: bytes = b""
    certificates: Sequence[bytes] | None = None
    lists: bytes = b""
    signers: int = 1
    cms_version: int = 3
    signer_version: int = 1
    outer: str = SIGNED_DATA


@dataclass
class Tsa:
    """*root*: the CA that a reader trusts; *maker*: the one that certifies this authority, the root or one below it."""

    name: str = "Example Time"
    maker: Maker | None = None
    key: Any = None
    form: dict[str, Any] = field(default_factory=dict)
    root: Maker = field(init=False)
    chain: list[x509.Certificate] = field(init=False)

    def __post_init__(self) -> None:
        self.maker = self.maker or Maker(f"{self.name} Root")
        self.root = self.maker
        while self.root.issuer:
            self.root = self.root.issuer
        self.key = self.key or p256_key(f"tsa {self.name}")
        form = {"serial": 11, "further": [STAMPS]} | self.form
        self.chain = self.maker.certify(self.key.public_key(), self.name, **form)

    @property
    def certificate(self) -> bytes:
        return der(self.chain)[0]

    def trust(self, *policies: str) -> TsaTrust:
        """What a reader pins who trusts this authority."""
        return TsaTrust(self.name, der([self.root.certificate]), policies or (POLICY,))

    def stamp(self, message: bytes, **lies: Any) -> bytes:
        """A token over *message*; *lies* replace parts of its form."""
        form = replace(Form(), **lies)
        info = _info(form, message) if form.info is None else form.info
        signers = [self._signer(form, info, number) for number in range(form.signers)]
        certificates = der(self.chain) if form.certificates is None else form.certificates
        embedded = element(0xA0, *sorted(certificates)) if certificates else b""
        digests = [algorithm(form.digest)] if form.digests is None else form.digests
        signed = sequence(
            integer(form.cms_version),
            set_of(*digests),
            sequence(oid(form.content_type), element(0xA0, octets(info))),
            embedded,
            form.lists,
            set_of(*signers),
        )
        return sequence(oid(form.outer), element(0xA0, signed))

    def _signer(self, form: Form, info: bytes, number: int) -> bytes:
        digest = {SHA256: hashes.SHA256(), SHA384: hashes.SHA384()}.get(form.digest, hashes.SHA1())
        hashed = hashlib.new(digest.name, info).digest() if form.message_digest is None else form.message_digest
        ess = [ess_v2(self.certificate)] if form.ess is None else form.ess
        attributes = [
            attribute(CONTENT_TYPE, oid(form.signed_content_type)),
            attribute(MESSAGE_DIGEST, octets(hashed)),
            *ess,
            *form.attributes,
        ]
        signed = set_of(*attributes)
        is_rsa = isinstance(self.key, rsa.RSAPrivateKey)
        if is_rsa:
            signature = self.key.sign(signed, padding.PKCS1v15(), digest)
        else:
            signature = self.key.sign(signed, ec.ECDSA(digest, deterministic_signing=True))
        named = {SHA384: ECDSA_SHA384}.get(form.digest, ECDSA_SHA256)
        chosen = form.signature_algorithm or (RSA_ENCRYPTION if is_rsa else named)
        leaf = self.chain[0]
        return sequence(
            integer(form.signer_version),
            sequence(leaf.issuer.public_bytes(), integer(leaf.serial_number)),
            algorithm(form.digest),
            b"\xa0" + signed[1:],
            algorithm(chosen, b"\x05\x00" if is_rsa else b""),
            octets(signature),
            form.unsigned if number == 0 else element(0xA1, attribute("1.2.3", integer(number))),
        )


def ess_v2(certificate: bytes, name: str = "sha256", dotted: str | None = None) -> bytes:
    """The attribute signing certificate v2."""
    chosen = algorithm(dotted) if dotted else b""
    return attribute(ESS_V2, sequence(sequence(sequence(chosen, octets(hashlib.new(name, certificate).digest())))))


def ess_v1(certificate: bytes) -> bytes:
    """The older attribute, with SHA-1."""
    return attribute(ESS, sequence(sequence(sequence(octets(hashlib.sha1(certificate).digest())))))


def _info(form: Form, message: bytes) -> bytes:
    imprint = hashlib.sha256(message).digest() if form.imprint is None else form.imprint
    return sequence(
        integer(form.version),
        oid(form.policy),
        sequence(form.imprint_algorithm, octets(imprint)),
        form.serial,
        element(0x18, form.time),
        form.accuracy,
        form.ordering,
        b"" if form.nonce is None else integer(form.nonce),
        form.extra,
    )
