"""Epoch statement with its countersignature, epoch end, seal, and the configuration tree hash: spec/epoch.md.

Decoding gives no trust; verification is `sigillo.core.verify`'s. The statement's payload is `sigillo.core.statement`'s.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from sigillo.core import cbor, cose
from sigillo.core.bytes import domain
from sigillo.core.errors import DecodeError
from sigillo.core.field import array, byte_string, choice, integer, numbered_map
from sigillo.core.mark import Clock, clock_value, decode_clock
from sigillo.core.statement import VERSION, EpochStatement, decode_statement_payload, statement_payload

_PAYLOAD: Final = "epoch statement payload"


@dataclass(frozen=True, slots=True)
class Countersignature:
    """The log key's countersignature. `key_id` is SHA-256 of the log key's 32 bytes."""

    protected_bytes: bytes
    key_id: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class SignedStatement:
    """A decoded statement, not verified."""

    statement: EpochStatement
    sign1: cose.Sign1
    countersignature: Countersignature | None

    @property
    def epoch_id(self) -> bytes:
        """Object hash of the statement, 32 bytes; the countersignature does not change it."""
        return self.sign1.object_hash

    def countersigned_bytes(self) -> bytes:
        """The Countersign_structure. Raises DecodeError where there is no countersignature."""
        if self.countersignature is None:
            raise DecodeError("epoch-statement", "has no countersignature")
        own = self.countersignature.protected_bytes
        return cose.countersigned_bytes(self.sign1.protected_bytes, own, self.sign1.payload, self.sign1.signature)


class EndReason(IntEnum):
    """Why an epoch ended."""

    STOP = 1
    RELOAD = 2
    LAUNCHER_GONE = 3
    CLOCK_RECOVERY = 4
    FAILURE = 5


@dataclass(frozen=True, slots=True)
class EpochEnd:
    """Payload of an epoch end. `last`: object hash of the last mark, or the epoch id, 32 bytes."""

    last_sequence: int
    time_ns: int
    clock: Clock
    reason: EndReason
    last: bytes


@dataclass(frozen=True, slots=True)
class SignedEpochEnd(cose.EpochObject):
    """A decoded epoch end, not verified."""

    end: EpochEnd


@dataclass(frozen=True, slots=True)
class Seal:
    """Payload of a seal: root (32 bytes, RFC 9162) over the log entries of every sequence first…last."""

    first_sequence: int
    last_sequence: int
    root: bytes


@dataclass(frozen=True, slots=True)
class SignedSeal(cose.EpochObject):
    """A decoded seal, not verified."""

    seal: Seal


def decode_statement(data: bytes) -> SignedStatement:
    """Decode a tagged statement, with or without its countersignature. Raises DecodeError; nothing is verified."""
    sign1 = cose.decode_sign1(data, cose.EPOCH_STATEMENT)
    statement = decode_statement_payload(cbor.decode(sign1.payload, _PAYLOAD))
    countersignature = None
    if cose.COUNTERSIGNATURE in sign1.unprotected:
        countersignature = _countersignature(sign1.unprotected[cose.COUNTERSIGNATURE])
    return SignedStatement(statement, sign1, countersignature)


def encode_statement(statement: EpochStatement, sign: Callable[[bytes], bytes]) -> bytes:
    """Make a tagged statement without countersignature; `sign` gets the Sig_structure and returns 64 bytes.

    Raises DecodeError where a field is outside the format.
    """
    payload = cbor.encode(statement_payload(statement), _PAYLOAD)
    return cose.encode_sign1(cose.EPOCH_STATEMENT, payload, sign)


def countersign(statement_bytes: bytes, log_key_id: bytes, sign: Callable[[bytes], bytes]) -> bytes:
    """Add the log key's countersignature to a tagged statement that has none.

    `sign` gets the Countersign_structure and returns the log key's 64-byte signature. Raises DecodeError.
    """
    signed = decode_statement(statement_bytes)
    if signed.countersignature is not None:
        raise DecodeError("epoch-statement", "has a countersignature already")
    body = signed.sign1
    own = cbor.encode({cose.ALG: cose.ED25519, cose.KID: byte_string(log_key_id, "log key id")})
    signature = sign(cose.countersigned_bytes(body.protected_bytes, own, body.payload, body.signature))
    unprotected: dict[int, object] = {cose.COUNTERSIGNATURE: [own, {}, signature]}
    whole = cose.Sign1(body.form, body.protected_bytes, body.protected, unprotected, body.payload, body.signature)
    encoded = whole.encode()
    decode_statement(encoded)
    return encoded


def decode_epoch_end(data: bytes) -> SignedEpochEnd:
    """Decode a tagged epoch end. Raises DecodeError; nothing is verified."""
    sign1 = cose.decode_sign1(data, cose.EPOCH_END)
    end = _epoch_end(cbor.decode(sign1.payload, "epoch end payload"))
    if end.last_sequence == 0 and end.last != sign1.kid:
        raise DecodeError("last", "is not the epoch id though no mark was made")
    return SignedEpochEnd(sign1, end)


def encode_epoch_end(end: EpochEnd, epoch_id: bytes, sign: Callable[[bytes], bytes]) -> bytes:
    """Make a tagged epoch end; `sign` gets the Sig_structure and returns 64 bytes. Raises DecodeError."""
    clock = clock_value(end.clock)
    payload = {1: VERSION, 2: end.last_sequence, 3: end.time_ns, 4: clock, 5: int(end.reason), 6: end.last}
    encoded = cose.encode_sign1(cose.EPOCH_END, cbor.encode(payload, "epoch end payload"), sign, kid=epoch_id)
    decode_epoch_end(encoded)
    return encoded


def decode_seal(data: bytes) -> SignedSeal:
    """Decode a tagged seal. Raises DecodeError; nothing is verified."""
    sign1 = cose.decode_sign1(data, cose.SEAL)
    payload = numbered_map(cbor.decode(sign1.payload, "seal payload"), "seal", range(1, 5))
    integer(payload[1], "version", VERSION, VERSION)
    first = integer(payload[2], "first sequence", 1)
    seal = Seal(first, integer(payload[3], "last sequence", first), byte_string(payload[4], "root"))
    return SignedSeal(sign1, seal)


def encode_seal(seal: Seal, epoch_id: bytes, sign: Callable[[bytes], bytes]) -> bytes:
    """Make a tagged seal; `sign` gets the Sig_structure and returns 64 bytes. Raises DecodeError."""
    payload = {1: VERSION, 2: seal.first_sequence, 3: seal.last_sequence, 4: seal.root}
    encoded = cose.encode_sign1(cose.SEAL, cbor.encode(payload, "seal payload"), sign, kid=epoch_id)
    decode_seal(encoded)
    return encoded


def configuration_hash(digests: Mapping[str, bytes]) -> bytes:
    """Configuration tree hash, 32 bytes: relative path → SHA-256 of the content (of a private key: of its DER
    SubjectPublicKeyInfo)."""
    tree = hashlib.sha256(domain("configuration") + len(digests).to_bytes(8, "big"))
    for name, digest in sorted((name.encode("utf-8"), digest) for name, digest in digests.items()):
        tree.update(len(name).to_bytes(8, "big") + name + digest)
    return tree.digest()


def _countersignature(value: object) -> Countersignature:
    field = "countersignature"
    protected, unprotected, signature = array(value, field, 3)
    protected_bytes = byte_string(protected, f"{field} protected header", 0, 255)
    header = numbered_map(cbor.decode(protected_bytes, field), f"{field} protected header", (cose.ALG, cose.KID))
    integer(header[cose.ALG], f"{field} alg", cose.ED25519, cose.ED25519)
    numbered_map(unprotected, f"{field} unprotected header", ())
    key_id = byte_string(header[cose.KID], f"{field} kid")
    return Countersignature(protected_bytes, key_id, byte_string(signature, field, cose.SIGNATURE_SIZE))


def _epoch_end(value: object) -> EpochEnd:
    payload = numbered_map(value, "epoch end", range(1, 7))
    integer(payload[1], "version", VERSION, VERSION)
    return EpochEnd(
        integer(payload[2], "last sequence"),
        integer(payload[3], "time"),
        decode_clock(payload[4]),
        choice(payload[5], "reason", EndReason),
        byte_string(payload[6], "last"),
    )
