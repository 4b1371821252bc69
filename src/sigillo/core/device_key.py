"""Public keys of devices: ECDSA P-256 (the ATECC608's) and Ed25519, as SubjectPublicKeyInfo (spec/datagram.md)."""

import hashlib
from dataclasses import dataclass
from typing import Final, Literal

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from sigillo.core.cose import ED25519, ESP256, SIGNATURE_SIZE, check_ed25519_key, verify_ed25519
from sigillo.core.errors import DecodeError, SignatureError

Kind = Literal["p256", "ed25519"]
_COORDINATE: Final = 32


@dataclass(frozen=True, slots=True)
class DeviceKey:
    """A device's public key, pinned by its DER SubjectPublicKeyInfo."""

    kind: Kind
    spki: bytes

    @classmethod
    def from_spki(cls, spki: bytes, field: str = "device key") -> "DeviceKey":
        """Key of a DER SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7).

        Raises DecodeError, naming `field`, for another kind of key, a DER that is not the usual encoding of its key,
        or an Ed25519 key of small order or not canonical.
        """
        try:
            key = load_der_public_key(spki)
        except (ValueError, UnsupportedAlgorithm):
            raise DecodeError(field, "is not the DER of a public key") from None
        kind: Kind
        if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
            kind = "p256"
        elif isinstance(key, Ed25519PublicKey):
            kind = "ed25519"
            try:
                check_ed25519_key(key.public_bytes_raw())
            except SignatureError as error:
                raise DecodeError(field, error.reason) from None
        else:
            raise DecodeError(field, "is neither a P-256 nor an Ed25519 key")
        if key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) != spki:
            raise DecodeError(field, "is not the usual encoding of its key: its fingerprint would be another")
        return cls(kind, spki)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the SubjectPublicKeyInfo, lower-case hex: what people compare over another channel."""
        return hashlib.sha256(self.spki).hexdigest()

    @property
    def algorithm(self) -> int:
        """COSE algorithm of this key's signatures."""
        return ESP256 if self.kind == "p256" else ED25519

    def verify(self, signature: bytes, message: bytes) -> None:
        """Verify a 64-byte signature (r ‖ s, or Ed25519) over the message. Raises SignatureError."""
        key = load_der_public_key(self.spki)
        if isinstance(key, Ed25519PublicKey):
            verify_ed25519(key.public_bytes_raw(), signature, message)
        elif isinstance(key, EllipticCurvePublicKey):
            try:
                key.verify(der_signature(signature), message, ECDSA(hashes.SHA256()))
            except InvalidSignature:
                raise SignatureError("the ECDSA signature does not verify") from None
        else:
            raise SignatureError("neither a P-256 nor an Ed25519 key")


def raw_signature(der: bytes) -> bytes:
    """r ‖ s, 32 bytes each, of a DER ECDSA-Sig-Value (RFC 3279 section 2.2.3). Raises SignatureError."""
    try:
        r, s = decode_dss_signature(der)
        return r.to_bytes(_COORDINATE, "big") + s.to_bytes(_COORDINATE, "big")
    except (ValueError, OverflowError):
        raise SignatureError("not a DER signature of a P-256 key") from None


def der_signature(raw: bytes) -> bytes:
    """DER ECDSA-Sig-Value of r ‖ s, as stock tools want it. Raises SignatureError unless it is 64 bytes long."""
    if len(raw) != SIGNATURE_SIZE:
        raise SignatureError("a P-256 signature r ‖ s is 64 bytes long")
    return encode_dss_signature(int.from_bytes(raw[:_COORDINATE], "big"), int.from_bytes(raw[_COORDINATE:], "big"))
