"""C2SP signed note, and the log key as its verifier key (vkey): spec/log.md, spec/policy.md.

text, which ends with a line feed
                                            (an empty line)
— name base64(key id, 4 bytes ‖ signature)  (one line or more)
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sigillo.core.bytes import base64_decode, base64_encode
from sigillo.core.cose import SIGNATURE_SIZE, check_ed25519_key, verify_ed25519
from sigillo.core.errors import DecodeError, SignatureError
from sigillo.core.field import byte_string, text

_ED25519: Final = b"\x01"
_VKEY: Final = re.compile(r"([^+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+={0,2})")
MAX_NAME: Final = 255
MAX_NOTE: Final = 128 * 1024
"""Bytes of the largest note: room for 16 post-quantum signatures and more."""

MAX_SIGNATURES: Final = 64
_DASH: Final = "\u2014 "
_FORBIDDEN: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")


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
        name, raw = decode_vkey(vkey, field)
        if raw[:1] != _ED25519 or len(raw) != 33:
            raise DecodeError(field, "is not of an Ed25519 key (33 bytes, type 1)")
        try:
            return cls(name, raw[1:])
        except DecodeError as error:
            raise DecodeError(field, error.reason) from None

    @property
    def key_id32(self) -> bytes:
        """SHA-256 of the public key, 32 bytes: the log key id of an epoch statement (spec/epoch.md)."""
        return hashlib.sha256(self.public_key).digest()

    @property
    def note_key_id(self) -> bytes:
        """First 4 bytes of SHA-256(name ‖ LF ‖ 0x01 ‖ key): the key id of signed notes."""
        return key_id(self.name, _ED25519 + self.public_key)

    @property
    def vkey(self) -> str:
        """The C2SP text form."""
        return encode_vkey(self.name, _ED25519 + self.public_key)


def key_id(name: str, typed_key: bytes) -> bytes:
    """First 4 bytes of SHA-256(name ‖ LF ‖ *typed_key*), which is type ‖ public key: the key id of signed notes."""
    return hashlib.sha256(name.encode("utf-8") + b"\n" + typed_key).digest()[:4]


def encode_vkey(name: str, typed_key: bytes) -> str:
    """Verifier key of a name and type ‖ public key: name+key id in hex+base64."""
    return f"{name}+{key_id(name, typed_key).hex()}+{base64_encode(typed_key)}"


def decode_vkey(vkey: str, field: str) -> tuple[str, bytes]:
    """Name, and type ‖ public key, of a verifier key. Raises DecodeError, naming *field*, for anything else."""
    match = _VKEY.fullmatch(vkey)
    if not match:
        raise DecodeError(field, "is not a vkey: name+8 hex digits+base64")
    name, typed_key = check_name(match[1], field), base64_decode(match[3], field)
    if key_id(name, typed_key).hex() != match[2]:
        raise DecodeError(field, f"its digits are not those of its name and key, {key_id(name, typed_key).hex()}")
    return name, typed_key


def check_name(name: object, field: str) -> str:
    """A key name or origin: 1…255 bytes, no white space, control character or plus sign. Raises DecodeError."""
    checked = text(name, field, 1, MAX_NAME)
    if any(character == "+" or character.isspace() or not character.isprintable() for character in checked):
        raise DecodeError(field, "holds white space, a control character or a plus sign")
    return checked


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """A signature line: name of the key, key id of 4 bytes, then what the type of the key makes of the rest."""

    name: str
    key_id: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Note:
    """A note, not verified. *text* ends with LF and is what is signed, as UTF-8."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def signature_of(self, name: str, key_id: bytes) -> bytes | None:
        """Signature by the key of this name and key id, or None."""
        found = (item.signature for item in self.signatures if (item.name, item.key_id) == (name, key_id))
        return next(found, None)


def encode_note(note: Note) -> bytes:
    """The note as it is stored and served. Raises DecodeError for one that would not be decoded to itself."""
    lines = (f"{_DASH}{item.name} {base64_encode(item.key_id + item.signature)}\n" for item in note.signatures)
    data = _utf8(f"{note.text}\n{''.join(lines)}")
    if decode_note(data) != note:
        raise DecodeError("note", "would be read as another one")
    return data


def decode_note(data: bytes) -> Note:
    """Decode a signed note. Raises DecodeError for anything that spec/log.md does not allow."""
    if len(data) > MAX_NOTE:
        raise DecodeError("note", f"is longer than {MAX_NOTE} bytes")
    try:
        whole = data.decode("utf-8")
    except UnicodeDecodeError:
        raise DecodeError("note", "is not UTF-8") from None
    if _FORBIDDEN.search(whole):
        raise DecodeError("note", "holds a control character other than a line feed")
    body, blank, signature_lines = whole.rpartition("\n\n")
    if not blank or not signature_lines.endswith("\n"):
        raise DecodeError("note", "is not a text, an empty line and signature lines")
    lines = signature_lines[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise DecodeError("note", f"has more than {MAX_SIGNATURES} signatures")
    signatures = tuple(_signature(line) for line in lines)
    if len({(item.name, item.key_id) for item in signatures}) != len(signatures):
        raise DecodeError("note signature", "is the second one of its key")
    return Note(f"{body}\n", signatures)


def sign_note(note_text: str, key: LogKey, sign: Callable[[bytes], bytes]) -> Note:
    """The note with one signature. *sign* gets the text as UTF-8 and returns 64 bytes. Raises DecodeError."""
    unsigned = Note(note_text, (NoteSignature(key.name, key.note_key_id, bytes(SIGNATURE_SIZE)),))
    encode_note(unsigned)  # nothing is signed that cannot be a note
    signature = byte_string(sign(_utf8(note_text)), "note signature", SIGNATURE_SIZE)
    return Note(note_text, (NoteSignature(key.name, key.note_key_id, signature),))


def verify_note(note: Note, key: LogKey) -> str:
    """Text of a note that this key signed; other keys' signatures are ignored. Raises SignatureError."""
    signature = note.signature_of(key.name, key.note_key_id)
    if signature is None:
        raise SignatureError(f"the note has no signature by {key.name} with key id {key.note_key_id.hex()}")
    verify_ed25519(key.public_key, signature, note.text.encode("utf-8"))
    return note.text


def _utf8(value: str) -> bytes:
    try:
        return value.encode("utf-8")
    except UnicodeEncodeError:
        raise DecodeError("note", "holds a surrogate, which UTF-8 cannot encode") from None


def _signature(line: str) -> NoteSignature:
    field = "note signature"
    name, space, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not space:
        raise DecodeError(field, "is not a line of dash, name and base64")
    raw = byte_string(base64_decode(encoded, field), field, 5, MAX_NOTE)
    return NoteSignature(check_name(name, "note key name"), raw[:4], raw[4:])
