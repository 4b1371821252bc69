"""TPM 2.0 structures, as far as spec/quote.md reads them (TCG TPM 2.0 Library, part 2). Big-endian, every byte read.

Decoding gives no trust. An attestation key has exactly one form here, so what is not of that form is no such key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicNumbers
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from sigillo.core.errors import AttestationError, DecodeError
from sigillo.core.field import byte_string, integer

GENERATED: Final = 0xFF544347
"""TPM_GENERATED_VALUE: a restricted key signs nothing with these bytes in front but what the TPM itself has made."""
ATTEST_QUOTE: Final = 0x8018
RH_ENDORSEMENT: Final = 0x4000000B
ECC: Final = 0x0023
SHA256: Final = 0x000B
NULL: Final = 0x0010
ECDSA_SCHEME: Final = 0x0018
P256: Final = 0x0003

ATTRIBUTES: Final = {
    "fixedTPM": 0x0000_0002,
    "stClear": 0x0000_0004,
    "fixedParent": 0x0000_0010,
    "sensitiveDataOrigin": 0x0000_0020,
    "userWithAuth": 0x0000_0040,
    "adminWithPolicy": 0x0000_0080,
    "noDA": 0x0000_0400,
    "encryptedDuplication": 0x0000_0800,
    "restricted": 0x0001_0000,
    "decrypt": 0x0002_0000,
    "sign": 0x0004_0000,
    "x509sign": 0x0008_0000,
}
"""TPMA_OBJECT."""
KEY_ATTRIBUTES: Final = frozenset(
    {"fixedTPM", "fixedParent", "sensitiveDataOrigin", "userWithAuth", "noDA", "restricted", "sign"}
)
"""Exactly what an attestation key has."""

SELECT_SIZE: Final = 3
PCRS: Final = 8 * SELECT_SIZE
_COORDINATE: Final = 32
_MAX_EXTRA: Final = 64


class Cursor:
    """Reads a structure from its start to its end. Every method raises DecodeError where the bytes end too early."""

    def __init__(self, data: bytes, field: str) -> None:
        self._data, self._at, self._field = data, 0, field

    def take(self, size: int) -> bytes:
        """The next *size* bytes."""
        if size > len(self._data) - self._at:
            raise DecodeError(self._field, f"is cut off at byte {len(self._data)}")
        self._at += size
        return self._data[self._at - size : self._at]

    def number(self, size: int) -> int:
        """An unsigned integer of *size* bytes."""
        return int.from_bytes(self.take(size), "big")

    def sized(self) -> bytes:
        """A TPM2B: two bytes of length, and as many bytes."""
        return self.take(self.number(2))

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(len(self._data) - self._at)

    def expect(self, size: int, value: int, name: str) -> None:
        """An unsigned integer that has to be *value*."""
        found = self.number(size)
        if found != value:
            raise DecodeError(self._field, f"{name} is {found:#x}, not {value:#x}")

    def end(self) -> None:
        """Refuse bytes that nobody has read."""
        if self._at != len(self._data):
            raise DecodeError(self._field, f"has {len(self._data) - self._at} bytes after its end")


@dataclass(frozen=True, slots=True)
class AttestationKey:
    """The public half of an AK; `public_bytes` is its TPMT_PUBLIC, *x* and *y* are 32 bytes each."""

    public_bytes: bytes
    x: bytes
    y: bytes

    @property
    def name(self) -> bytes:
        """TPM name: algorithm ‖ SHA-256(TPMT_PUBLIC), 34 bytes. What epoch statements and policies name it by."""
        return object_name(self.public_bytes)

    @property
    def qualified_name(self) -> bytes:
        """Name of a primary key of the endorsement hierarchy, 34 bytes: of a key elsewhere it is another."""
        return object_name(RH_ENDORSEMENT.to_bytes(4, "big") + self.name)

    def verify(self, signature_bytes: bytes, message: bytes) -> None:
        """Verify a TPMT_SIGNATURE. Raises DecodeError where it is none by such a key, AttestationError."""
        der = encode_dss_signature(*decode_signature(signature_bytes))
        x, y = int.from_bytes(self.x, "big"), int.from_bytes(self.y, "big")
        key = EllipticCurvePublicNumbers(x, y, SECP256R1()).public_key()
        try:
            key.verify(der, message, ECDSA(hashes.SHA256()))
        except InvalidSignature:
            raise AttestationError("the signature does not verify under the attestation key") from None


@dataclass(frozen=True, slots=True)
class ClockInfo:
    """TPMS_CLOCK_INFO: *clock_ms* of running time, never back; *safe*: not behind what it said before a power cut."""

    clock_ms: int
    reset_count: int
    restart_count: int
    safe: bool


@dataclass(frozen=True, slots=True)
class Attest:
    """A TPMS_ATTEST of a quote: who signed (qualified name), for which data, when, over which PCRs of SHA-256."""

    signer: bytes
    extra: bytes
    clock: ClockInfo
    firmware: int
    selection: tuple[int, ...]
    digest: bytes


def decode_attestation_key(public_bytes: bytes) -> AttestationKey:
    """Decode a TPMT_PUBLIC. Raises DecodeError unless it has exactly the form of an AK and a point of the curve."""
    cursor = Cursor(public_bytes, "attestation key")
    cursor.expect(2, ECC, "type")
    cursor.expect(2, SHA256, "name algorithm")
    _check_attributes(cursor.number(4))
    cursor.expect(2, 0, "length of the policy")
    cursor.expect(2, NULL, "symmetric algorithm")
    cursor.expect(2, ECDSA_SCHEME, "scheme")
    cursor.expect(2, SHA256, "hash of the scheme")
    cursor.expect(2, P256, "curve")
    cursor.expect(2, NULL, "key derivation")
    x, y = byte_string(cursor.sized(), "x"), byte_string(cursor.sized(), "y")
    cursor.end()
    try:
        EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), SECP256R1()).public_key()
    except ValueError:
        raise DecodeError("attestation key", "is not a point of P-256") from None
    return AttestationKey(public_bytes, x, y)


def encode_attestation_key(x: bytes, y: bytes) -> bytes:
    """TPMT_PUBLIC of an AK. With empty coordinates it is the template that a TPM makes one from."""
    attributes = sum(ATTRIBUTES[name] for name in KEY_ATTRIBUTES)
    head = packed((ECC, 2), (SHA256, 2), (attributes, 4), (0, 2), (NULL, 2), (ECDSA_SCHEME, 2), (SHA256, 2))
    return head + packed((P256, 2), (NULL, 2)) + sized(x) + sized(y)


def decode_signature(signature_bytes: bytes) -> tuple[int, int]:
    """r and s of a TPMT_SIGNATURE. Raises DecodeError unless it is ECDSA with SHA-256 and of P-256's size."""
    cursor = Cursor(signature_bytes, "quote signature")
    cursor.expect(2, ECDSA_SCHEME, "algorithm")
    cursor.expect(2, SHA256, "hash")
    r, s = (byte_string(cursor.sized(), f"{name} of the signature", 1, _COORDINATE) for name in "rs")
    cursor.end()
    return int.from_bytes(r, "big"), int.from_bytes(s, "big")


def decode_attest(attest_bytes: bytes) -> Attest:
    """Decode a TPMS_ATTEST. Raises DecodeError unless it is a quote of one or more PCRs of the SHA-256 bank alone."""
    cursor = Cursor(attest_bytes, "quote")
    cursor.expect(4, GENERATED, "magic")
    cursor.expect(2, ATTEST_QUOTE, "type")
    signer = byte_string(cursor.sized(), "qualified signer", 34)
    extra = byte_string(cursor.sized(), "qualifying data", 0, _MAX_EXTRA)
    clock = ClockInfo(
        cursor.number(8), cursor.number(4), cursor.number(4), bool(integer(cursor.number(1), "safe", 0, 1))
    )
    firmware = cursor.number(8)
    cursor.expect(4, 1, "number of PCR banks")
    cursor.expect(2, SHA256, "PCR bank")
    cursor.expect(1, SELECT_SIZE, "size of the PCR selection")
    bits = int.from_bytes(cursor.take(SELECT_SIZE), "little")
    digest = byte_string(cursor.sized(), "PCR digest")
    cursor.end()
    selection = tuple(index for index in range(PCRS) if bits >> index & 1)
    if not selection:
        raise DecodeError("quote", "selects no PCR")
    return Attest(signer, extra, clock, firmware, selection, digest)


def encode_selection(indices: Iterable[int]) -> bytes:
    """TPML_PCR_SELECTION of PCRs of the SHA-256 bank."""
    bits = sum(1 << index for index in set(indices))
    return packed((1, 4), (SHA256, 2), (SELECT_SIZE, 1)) + bits.to_bytes(SELECT_SIZE, "little")


def sized(data: bytes) -> bytes:
    """A TPM2B."""
    return len(data).to_bytes(2, "big") + data


def packed(*numbers: tuple[int, int]) -> bytes:
    """Unsigned integers one after the other, each as (value, size in bytes)."""
    return b"".join(value.to_bytes(size, "big") for value, size in numbers)


def object_name(data: bytes) -> bytes:
    """TPM name of an object with this TPMT_PUBLIC: algorithm ‖ SHA-256, 34 bytes."""
    return SHA256.to_bytes(2, "big") + hashlib.sha256(data).digest()


def _check_attributes(found: int) -> None:
    for name, bit in ATTRIBUTES.items():
        if bool(found & bit) != (name in KEY_ATTRIBUTES):
            has = "has" if found & bit else "lacks"
            raise DecodeError("attestation key", f"{has} the attribute {name}")
    if found & ~sum(ATTRIBUTES.values()):
        raise DecodeError("attestation key", f"has attributes that nobody knows: {found:#x}")
