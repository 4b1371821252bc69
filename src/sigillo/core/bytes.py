"""Byte strings that all formats share: base64, domains, object hash (spec/encoding.md)."""

import base64
import hashlib
from typing import Final

from sigillo.core.errors import DecodeError

EMPTY_ROOT: Final = hashlib.sha256(b"").digest()
"""Root of the empty Merkle tree (RFC 9162 section 2.1.1), 32 bytes: "no checkpoint seen"."""

DOMAINS: Final = frozenset(
    {
        "mark",
        "batch-mark",
        "seal",
        "epoch-statement",
        "epoch-end",
        "heads",
        "attestation-evidence",
        "key-change",
        "token",
        "payload",
        "configuration",
        "heads-leaf",
        "heads-value",
        "heads-blind",
        "quote",
        "closure",
        "registration",
        "sealed-key",
        "counter",
    }
)


def domain(name: str) -> bytes:
    """Domain prefix of a hash (spec/encoding.md, "Domains").

    Raises ValueError for a name that the spec does not list: that is a mistake in the program, not in its input.
    """
    if name not in DOMAINS:
        raise ValueError(f"no such domain: {name}")
    return f"sigillo/v1/{name}\n".encode("ascii")


def object_hash(kind: str, data: bytes) -> bytes:
    """SHA-256(domain(kind) ‖ u64 length ‖ data), 32 bytes (spec/encoding.md, "Object hash").

    For COSE objects use `Sign1.object_hash`, which leaves the unprotected header out.
    """
    return hashlib.sha256(hashed_bytes(kind, data)).digest()


def hashed_bytes(kind: str, data: bytes) -> bytes:
    """What the object hash is the SHA-256 of."""
    return domain(kind) + len(data).to_bytes(8, "big") + data


def base64url_encode(data: bytes) -> str:
    """Base64url without padding (RFC 4648 section 5)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def base64url_decode(text: str, field: str = "base64url") -> bytes:
    """Bytes of unpadded base64url text.

    Raises DecodeError, naming `field`, for text that is not exactly the encoding of the bytes it decodes to
    (padding, white space, the other alphabet, unused bits that are not zero).
    """
    try:
        data = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise DecodeError(field, "is not base64url without padding") from None
    if base64url_encode(data) != text:
        raise DecodeError(field, "is not the canonical base64url of its bytes")
    return data


def base64_encode(data: bytes) -> str:
    """Base64 with padding (RFC 4648 section 4): what the C2SP formats use."""
    return base64.b64encode(data).decode("ascii")


def base64_decode(text: str, field: str = "base64") -> bytes:
    """Bytes of padded base64 text.

    Raises DecodeError, naming `field`, for text that is not exactly the encoding of the bytes it decodes to.
    """
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except ValueError:
        raise DecodeError(field, "is not base64") from None
    if base64_encode(data) != text:
        raise DecodeError(field, "is not the canonical base64 of its bytes")
    return data
