"""Cosignature of a witness on a checkpoint: C2SP tlog-cosignature, types 0x04 and 0x06 (spec/cosignature.md)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

from sigillo.core.checkpoint import decode_tree_head
from sigillo.core.cose import check_ed25519_key, verify_ed25519
from sigillo.core.errors import DecodeError, SignatureError
from sigillo.core.field import byte_string, integer
from sigillo.core.note import Note, NoteSignature, check_name, decode_vkey, encode_vkey, key_id

TIME_MAX: Final = 2**63 - 1
_TIME_SIZE: Final = 8
_LABEL: Final = b"subtree/v1\n\0"


class WitnessKeyType(IntEnum):
    """Signature type of a witness key."""

    ED25519 = 0x04
    ML_DSA_44 = 0x06


_KEY_SIZES: Final = {WitnessKeyType.ED25519: 32, WitnessKeyType.ML_DSA_44: 1312}
_SIGNATURE_SIZES: Final = {WitnessKeyType.ED25519: 64, WitnessKeyType.ML_DSA_44: 2420}


@dataclass(frozen=True, slots=True)
class WitnessKey:
    """Public half of a witness's key: 32 bytes (Ed25519) or 1,312 (ML-DSA-44).

    Raises DecodeError where made with a name that a signed note cannot carry, or a key that may not be used.
    """

    name: str
    type: WitnessKeyType
    public_key: bytes

    def __post_init__(self) -> None:
        check_name(self.name, "witness key name")
        byte_string(self.public_key, "witness key", _KEY_SIZES[self.type])
        if self.type is WitnessKeyType.ED25519:
            try:
                check_ed25519_key(self.public_key)
            except SignatureError as error:
                raise DecodeError("witness key", error.reason) from None

    @classmethod
    def from_vkey(cls, vkey: str, field: str = "witness key") -> WitnessKey:
        """Key of `name+8 hex digits+base64(type ‖ key)`. Raises DecodeError, naming *field*, for anything else."""
        name, typed_key = decode_vkey(vkey, field)
        if typed_key[0] not in set(WitnessKeyType):
            raise DecodeError(field, "is not of a witness's key (type 4, Ed25519, or 6, ML-DSA-44)")
        try:
            return cls(name, WitnessKeyType(typed_key[0]), typed_key[1:])
        except DecodeError as error:
            raise DecodeError(field, error.reason) from None

    @property
    def note_key_id(self) -> bytes:
        """Key id of signed notes, 4 bytes."""
        return key_id(self.name, self._typed_key)

    @property
    def vkey(self) -> str:
        """The C2SP text form."""
        return encode_vkey(self.name, self._typed_key)

    @property
    def _typed_key(self) -> bytes:
        return bytes([self.type]) + self.public_key


@dataclass(frozen=True, slots=True)
class Cosignature:
    """A cosignature that was verified. *time_s*: when the witness signed, by its own clock, seconds since 1970."""

    key: WitnessKey
    time_s: int


def cosigned_bytes(note_text: str, key: WitnessKey, time_s: int) -> bytes:
    """What the witness signs. Raises DecodeError where the text is no checkpoint's, or the time is out of range."""
    head = decode_tree_head(note_text)
    integer(time_s, "cosignature time", 1, TIME_MAX)
    if key.type is WitnessKeyType.ED25519:
        return f"cosignature/v1\ntime {time_s}\n{note_text}".encode()
    name, origin = key.name.encode(), head.origin.encode()
    parts = (_LABEL, bytes([len(name)]), name, _u64(time_s), bytes([len(origin)]), origin, _u64(0), _u64(head.size))
    return b"".join(parts) + head.root


def sign_cosignature(note: Note, key: WitnessKey, time_s: int, sign: Callable[[bytes], bytes]) -> NoteSignature:
    """The signature line to add to the note of a checkpoint; *sign* gets the message and returns the raw signature.

    Raises DecodeError where the note is no checkpoint.
    """
    signature = sign(cosigned_bytes(note.text, key, time_s))
    raw = _u64(time_s) + byte_string(signature, "cosignature", _SIGNATURE_SIZES[key.type])
    return NoteSignature(key.name, key.note_key_id, raw)


def verify_cosignature(note: Note, key: WitnessKey) -> Cosignature:
    """This key's cosignature on the checkpoint that the note is; other lines are ignored.

    It says nothing of the log's own signature. Raises SignatureError.
    """
    raw = note.signature_of(key.name, key.note_key_id)
    if raw is None:
        raise SignatureError(f"the checkpoint has no cosignature by {key.name} with key id {key.note_key_id.hex()}")
    if len(raw) != _TIME_SIZE + _SIGNATURE_SIZES[key.type]:
        raise SignatureError(f"the cosignature by {key.name} has another length than its type")
    time_s = int.from_bytes(raw[:_TIME_SIZE], "big")
    try:
        message = cosigned_bytes(note.text, key, time_s)
    except DecodeError as error:
        raise SignatureError(f"the cosignature by {key.name}: {error}") from None
    if key.type is WitnessKeyType.ED25519:
        verify_ed25519(key.public_key, raw[_TIME_SIZE:], message)
    else:
        _verify_ml_dsa_44(key.public_key, raw[_TIME_SIZE:], message)
    return Cosignature(key, time_s)


def _verify_ml_dsa_44(public_key: bytes, signature: bytes, message: bytes) -> None:
    """FIPS 204, pure, with an empty context."""
    try:
        MLDSA44PublicKey.from_public_bytes(public_key).verify(signature, message)
    except UnsupportedAlgorithm:
        raise SignatureError("cryptography was built with a library that has no ML-DSA-44: install its wheel") from None
    except InvalidSignature:
        raise SignatureError("the ML-DSA-44 signature does not verify") from None


def _u64(value: int) -> bytes:
    return value.to_bytes(8, "big")
