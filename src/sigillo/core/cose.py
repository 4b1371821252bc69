"""COSE_Sign1 (RFC 9052 section 4.2) as Sigillo uses it: spec/encoding.md, "COSE".

One table says for each kind of object what its headers hold; whatever differs from it is refused while decoding, so an
object of one kind never passes as another. Signing is the caller's: this module makes the bytes to sign.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sigillo.core import cbor
from sigillo.core.bytes import hashed_bytes
from sigillo.core.errors import DecodeError, SignatureError
from sigillo.core.field import array, byte_string, integer, numbered_map, text

ALG: Final = 1
KID: Final = 4
COUNTERSIGNATURE: Final = 11
TYP: Final = 16
SALT: Final = -65537

ED25519: Final = -19
"""RFC 9864; the deprecated -8 (EdDSA) is refused."""
ESP256: Final = -9
"""ECDSA on P-256 with SHA-256, RFC 9864; the deprecated -7 (ES256) is refused."""

SIGNATURE_SIZE: Final = 64
TAG_BYTES: Final = b"\xd2"
"""Tag 18, the first byte of every COSE_Sign1 that stands alone."""

MAX_KID: Final = 65_535


@dataclass(frozen=True, slots=True)
class Form:
    """What the headers of one kind of object hold. `kid`: (shortest, longest) in bytes, or None where there is none."""

    kind: str
    algorithms: frozenset[int]
    kid: tuple[int, int] | None
    unprotected: frozenset[int] = frozenset()

    @property
    def typ(self) -> str:
        """Media type in label 16 (RFC 9596)."""
        return f"application/vnd.sigillo.{self.kind}+cose"

    @property
    def labels(self) -> frozenset[int]:
        """Exactly the labels of the protected header."""
        return frozenset({TYP} | ({ALG} if self.algorithms else set()) | ({KID} if self.kid else set()))


_BY_EPOCH_KEY: Final = frozenset({ED25519})
MARK: Final = Form("mark", _BY_EPOCH_KEY, (32, 32), frozenset({SALT}))
BATCH_MARK: Final = Form("batch-mark", frozenset(), (32, 32), frozenset({SALT}))
EPOCH_STATEMENT: Final = Form("epoch-statement", _BY_EPOCH_KEY, None, frozenset({COUNTERSIGNATURE}))
EPOCH_END: Final = Form("epoch-end", _BY_EPOCH_KEY, (32, 32))
SEAL: Final = Form("seal", _BY_EPOCH_KEY, (32, 32))
READING: Final = Form("reading", frozenset({ED25519, ESP256}), (1, MAX_KID))
REGISTRATION: Final = Form("registration", frozenset({ED25519}), (32, 32))
COUNTER: Final = Form("counter", frozenset({ED25519}), (32, 32))


@dataclass(frozen=True, slots=True)
class Sign1:
    """A COSE_Sign1 of a known form. `signature` is 64 bytes; it is empty in a batch mark, which is not signed."""

    form: Form
    protected_bytes: bytes
    protected: Mapping[int, object]
    unprotected: Mapping[int, object]
    payload: bytes
    signature: bytes = field(repr=False)

    @property
    def kid(self) -> bytes:
        """Key id, or empty bytes where the form has none."""
        return byte_string(self.protected.get(KID, b""), "kid", 0, MAX_KID)

    @property
    def object_hash(self) -> bytes:
        """32 bytes, over the untagged array with an empty unprotected map (spec/encoding.md, "Object hash")."""
        return hashlib.sha256(self.hashed_bytes()).digest()

    def hashed_bytes(self) -> bytes:
        """What the object hash is the SHA-256 of."""
        bare = cbor.encode([self.protected_bytes, {}, self.payload, *self._signature()])
        return hashed_bytes(self.form.kind, bare)

    def signed_bytes(self, external_aad: bytes = b"") -> bytes:
        """The Sig_structure that the signature is over."""
        return signed_bytes(self.protected_bytes, self.payload, external_aad)

    def encode(self) -> bytes:
        """The object as it stands alone: tagged; a batch mark untagged."""
        encoded = cbor.encode([self.protected_bytes, dict(self.unprotected), self.payload, *self._signature()])
        return TAG_BYTES + encoded if self.form.algorithms else encoded

    def _signature(self) -> list[bytes]:
        return [self.signature] if self.form.algorithms else []


@dataclass(frozen=True, slots=True)
class EpochObject:
    """A decoded object that names its epoch: a mark, a batch mark, an epoch end or a seal. Not verified."""

    sign1: Sign1

    @property
    def epoch_id(self) -> bytes:
        """Its `kid`: the object hash of the epoch's statement, 32 bytes."""
        return self.sign1.kid

    @property
    def object_hash(self) -> bytes:
        """Its object hash, 32 bytes: what a principal's next mark, or the log, names it by."""
        return self.sign1.object_hash


def signed_bytes(protected_bytes: bytes, payload: bytes, external_aad: bytes = b"") -> bytes:
    """Sig_structure of a COSE_Sign1 (RFC 9052 section 4.4)."""
    return cbor.encode(["Signature1", protected_bytes, external_aad, payload])


def countersigned_bytes(body_protected: bytes, own_protected: bytes, payload: bytes, signature: bytes) -> bytes:
    """Countersign_structure of a version 2 countersignature over a COSE_Sign1 (RFC 9338 section 3.3)."""
    return cbor.encode(["CounterSignatureV2", body_protected, own_protected, b"", payload, [signature]])


def decode_sign1(data: bytes, form: Form) -> Sign1:
    """Decode an object of the given form; no trust: the signature is not looked at.

    Raises DecodeError for anything but exactly this form: another `typ` or algorithm, a label too many or too few,
    bytes that are not deterministic CBOR.
    """
    tagged = bool(form.algorithms)
    if tagged:
        if data[:1] != TAG_BYTES:
            raise DecodeError(form.kind, "is not a COSE_Sign1 with tag 18")
        data = data[1:]
    parts = array(cbor.decode(data, form.kind), form.kind, 4 if tagged else 3)
    protected_bytes = byte_string(parts[0], f"{form.kind} protected header", 0, len(data))
    payload = byte_string(parts[2], f"{form.kind} payload", 0, len(data))
    signature = byte_string(parts[3], f"{form.kind} signature", SIGNATURE_SIZE) if tagged else b""
    protected = _decode_protected(protected_bytes, form)
    unprotected = numbered_map(parts[1], f"{form.kind} unprotected header", (), form.unprotected)
    return Sign1(form, protected_bytes, protected, unprotected, payload, signature)


def encode_sign1(
    form: Form,
    payload: bytes,
    sign: Callable[[bytes], bytes] | None = None,
    *,
    algorithm: int = ED25519,
    kid: bytes | None = None,
    unprotected: Mapping[int, object] | None = None,
    external_aad: bytes = b"",
) -> bytes:
    """Make an object of the given form. `sign` gets the Sig_structure and returns the 64-byte signature; None only for
    the form that is not signed. Raises DecodeError where the result would not decode as this form."""
    header: dict[int, object] = {TYP: form.typ}
    if form.algorithms:
        header[ALG] = algorithm
    if kid is not None:
        header[KID] = kid
    protected_bytes = cbor.encode(header, f"{form.kind} protected header")
    signature = sign(signed_bytes(protected_bytes, payload, external_aad)) if sign else b""
    encoded = Sign1(form, protected_bytes, header, dict(unprotected or {}), payload, signature).encode()
    decode_sign1(encoded, form)
    return encoded


def verify_ed25519(public_key: bytes, signature: bytes, message: bytes) -> None:
    """Verify as RFC 8032 section 5.1.7 with S < L, without cofactor. Raises SignatureError.

    Keys of small order and non-canonical keys are refused: under those a signature need not bind message or key
    (Chalkias, Garillot, Nikolaenko: "Taming the many EdDSAs").
    """
    check_ed25519_key(public_key)
    if len(signature) != SIGNATURE_SIZE:
        raise SignatureError("an Ed25519 signature is 64 bytes long")
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except InvalidSignature:
        raise SignatureError("the Ed25519 signature does not verify") from None


def check_ed25519_key(public_key: bytes) -> None:
    """Refuse (SignatureError) a public key that is not 32 bytes, not canonical or of small order."""
    if len(public_key) != 32:
        raise SignatureError("an Ed25519 public key is 32 bytes long")
    y = int.from_bytes(public_key, "little") & ((1 << 255) - 1)
    if y >= _FIELD_PRIME:
        raise SignatureError("the Ed25519 public key is not canonical")
    if y in _SMALL_ORDER:
        raise SignatureError("the Ed25519 public key is of small order")


_FIELD_PRIME: Final = 2**255 - 19
_ORDER_8: Final = int.from_bytes(
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"
)
_SMALL_ORDER: Final = frozenset({0, 1, _FIELD_PRIME - 1, _ORDER_8, _FIELD_PRIME - _ORDER_8})
"""The y of all eight points whose order divides 8, for either sign of x (table 1 of "Taming the many EdDSAs")."""


@lru_cache(16)
def _decode_protected(protected_bytes: bytes, form: Form) -> Mapping[int, object]:
    """The header as a map that nobody changes: all marks of an epoch have the same, so it is decoded once."""
    name = f"{form.kind} protected header"
    value = cbor.decode(protected_bytes, name)
    if isinstance(value, dict) and value.get(TYP) != form.typ:
        raise DecodeError(name, f"typ is {value.get(TYP)!r}, not {form.typ!r}")
    header = numbered_map(value, name, form.labels)
    text(header[TYP], name)
    if form.algorithms and integer(header[ALG], f"{name} alg", -(2**63), 2**63 - 1) not in form.algorithms:
        raise DecodeError(name, f"algorithm {header[ALG]} is not used here")
    if form.kid:
        byte_string(header[KID], f"{name} kid", *form.kid)
    return MappingProxyType(header)
