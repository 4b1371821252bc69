"""The log key as a C2SP verifier key (vkey) of signed notes: spec/policy.md, https://c2sp.org/signed-note."""

import base64
import hashlib
import re
from dataclasses import dataclass
from typing import Final

from sigillo.core.cose import check_ed25519_key
from sigillo.core.errors import DecodeError, SignatureError
from sigillo.core.field import text

_ED25519: Final = b"\x01"
_VKEY: Final = re.compile(r"([^+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]{44})")
MAX_NAME: Final = 255


@dataclass(frozen=True, slots=True)
class LogKey:
    """Public half of a log key. `name` is the log's origin; `public_key` 32 bytes, Ed25519.

    Raises DecodeError where made with a name that a signed note cannot carry, or a key that may not be used.
    """

    name: str
    public_key: bytes

    def __post_init__(self) -> None:
        check_name(self.name, "log key name")
        try:
            check_ed25519_key(self.public_key)
        except SignatureError as error:
            raise DecodeError("log key", error.reason) from None

    @classmethod
    def from_vkey(cls, vkey: str, field: str = "log key") -> "LogKey":
        """Key of `name+8 hex digits+base64(0x01 ‖ key)`. Raises DecodeError, naming `field`, for anything else."""
        match = _VKEY.fullmatch(vkey)
        if not match:
            raise DecodeError(field, "is not a vkey: name+8 hex digits+base64 of 33 bytes")
        raw = base64.b64decode(match[3])
        if raw[:1] != _ED25519:
            raise DecodeError(field, "is not of an Ed25519 key (type 1)")
        try:
            key = cls(match[1], raw[1:])
        except DecodeError as error:
            raise DecodeError(field, error.reason) from None
        if key.vkey != vkey:
            raise DecodeError(field, f"its digits are not those of its name and key, {key.note_key_id.hex()}")
        return key

    @property
    def key_id32(self) -> bytes:
        """SHA-256 of the public key, 32 bytes: the log key id of an epoch statement (spec/epoch.md)."""
        return hashlib.sha256(self.public_key).digest()

    @property
    def note_key_id(self) -> bytes:
        """First 4 bytes of SHA-256(name ‖ LF ‖ 0x01 ‖ key): the key id of signed notes."""
        return hashlib.sha256(self.name.encode("utf-8") + b"\n" + _ED25519 + self.public_key).digest()[:4]

    @property
    def vkey(self) -> str:
        """The C2SP text form."""
        encoded = base64.b64encode(_ED25519 + self.public_key).decode("ascii")
        return f"{self.name}+{self.note_key_id.hex()}+{encoded}"


def check_name(name: object, field: str) -> str:
    """A key name or origin: 1…255 bytes, no white space, control character or plus sign. Raises DecodeError."""
    checked = text(name, field, 1, MAX_NAME)
    if any(character == "+" or character.isspace() or not character.isprintable() for character in checked):
        raise DecodeError(field, "holds white space, a control character or a plus sign")
    return checked
