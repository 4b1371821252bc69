"""DSSE envelopes as Sigillo uses them: one Ed25519 signature, one type for each kind (spec/manifest.md, "Envelope")."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sigillo.core.bytes import base64_decode, base64_encode
from sigillo.core.canonical import canonical, canonical_object
from sigillo.core.cose import SIGNATURE_SIZE, verify_ed25519
from sigillo.core.device_key import DeviceKey
from sigillo.core.errors import DecodeError
from sigillo.core.field import array, byte_string, matching, members, text

MAX_ENVELOPE: Final = 1024 * 1024
_KEY_ID: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class DsseKey:
    """Public half of a builder's or rebuilder's key. `raw`: 32 bytes, Ed25519; short enough to be its own id."""

    raw: bytes

    @classmethod
    def from_spki(cls, spki: bytes, field_name: str = "key") -> DsseKey:
        """Key of a DER SubjectPublicKeyInfo. Raises DecodeError for another kind, or a key that may not be used."""
        found = DeviceKey.from_spki(spki, field_name)
        if found.kind != "ed25519":
            raise DecodeError(field_name, "is not an Ed25519 key")
        return cls(spki[-32:])

    @property
    def spki(self) -> bytes:
        """DER SubjectPublicKeyInfo."""
        key = Ed25519PublicKey.from_public_bytes(self.raw)
        return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the SubjectPublicKeyInfo, lower-case hex: what people compare over another channel."""
        return hashlib.sha256(self.spki).hexdigest()


@dataclass(frozen=True, slots=True)
class Envelope:
    """A decoded envelope, not verified. *kind*: as in its type; *key*: that it names; *data*: all of it, as read."""

    kind: str
    payload: bytes
    key: DsseKey
    signature: bytes = field(repr=False)
    data: bytes = field(repr=False)

    @property
    def sha256(self) -> bytes:
        """SHA-256 of the file, 32 bytes: what other objects name it by."""
        return hashlib.sha256(self.data).digest()


def payload_type(kind: str) -> str:
    """The media type that is signed with the payload."""
    return f"application/vnd.sigillo.{kind}+json"


def signed_bytes(kind: str, payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding: what the signature is over."""
    named = payload_type(kind).encode("ascii")
    return b"DSSEv1 %d %s %d %s" % (len(named), named, len(payload), payload)


def encode_envelope(kind: str, payload: bytes, key: DsseKey, sign: Callable[[bytes], bytes]) -> bytes:
    """The file. *sign* gets the bytes to sign and returns 64. Raises DecodeError for one that would not be read."""
    signature = byte_string(sign(signed_bytes(kind, payload)), "signature", SIGNATURE_SIZE)
    value = {
        "payload": base64_encode(payload),
        "payloadType": payload_type(kind),
        "signatures": [{"keyid": key.raw.hex(), "sig": base64_encode(signature)}],
    }
    data = canonical(value) + b"\n"
    decode_envelope(kind, data)
    return data


def decode_envelope(kind: str, data: bytes) -> Envelope:
    """Decode a file that must be of this *kind*. Raises DecodeError; nothing is verified."""
    if len(data) > MAX_ENVELOPE:
        raise DecodeError(kind, f"is larger than {MAX_ENVELOPE} bytes")
    if not data.endswith(b"\n"):
        raise DecodeError(kind, "does not end with a line feed: cut off, or another kind of file")
    value = members(canonical_object(data[:-1], kind), kind, "payload", "payloadType", "signatures")
    if value["payloadType"] != payload_type(kind):
        raise DecodeError("payloadType", f"is not {payload_type(kind)}")
    signature = members(array(value["signatures"], "signatures", 1)[0], "signature", "keyid", "sig")
    return Envelope(
        kind,
        base64_decode(text(value["payload"], "payload", high=MAX_ENVELOPE), "payload"),
        DsseKey(bytes.fromhex(matching(signature["keyid"], "keyid", _KEY_ID, "a key in 64 lower-case hex digits"))),
        byte_string(base64_decode(text(signature["sig"], "sig"), "sig"), "sig", SIGNATURE_SIZE),
        data,
    )


def verify_envelope(envelope: Envelope) -> None:
    """Verify that the key which it names signed it; whose key that is, is for the caller. Raises SignatureError."""
    verify_ed25519(envelope.key.raw, envelope.signature, signed_bytes(envelope.kind, envelope.payload))
