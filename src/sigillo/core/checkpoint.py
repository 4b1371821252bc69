"""Signed checkpoint of a log: C2SP tlog-checkpoint (spec/log.md).

The text of the note is a *tree head*. A mark or an epoch statement names its size and root only: that is
`sigillo.core.mark.Checkpoint`, here `TreeHead.checkpoint`.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from sigillo.core.bytes import EMPTY_ROOT, base64_decode, base64_encode
from sigillo.core.errors import DecodeError, SignatureError
from sigillo.core.field import byte_string, decimal
from sigillo.core.mark import Checkpoint
from sigillo.core.note import LogKey, Note, check_name, decode_note, encode_note, sign_note, verify_note


@dataclass(frozen=True, slots=True)
class TreeHead:
    """Origin of a log, size and root (32 bytes) of its tree, extension lines (opaque, kept)."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    @property
    def checkpoint(self) -> Checkpoint:
        """Size and root, as marks and statements name them."""
        return Checkpoint(self.size, self.root)


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A decoded checkpoint, not verified: the note, and the tree head that is its text."""

    note: Note
    head: TreeHead

    @property
    def beacon_hash(self) -> bytes:
        """SHA-256 of the note's text, 32 bytes: cosignatures do not change it (spec/log.md, "Beacon")."""
        return hashlib.sha256(self.note.text.encode("utf-8")).digest()


def encode_tree_head(head: TreeHead) -> str:
    """Text of the note. Raises DecodeError for one that would not be decoded to itself."""
    lines = (head.origin, str(head.size), base64_encode(head.root), *head.extensions)
    encoded = "".join(f"{line}\n" for line in lines)
    if decode_tree_head(encoded) != head:
        raise DecodeError("checkpoint", "would be read as another one")
    return encoded


def decode_tree_head(text: str) -> TreeHead:
    """Decode the text of a checkpoint's note. Raises DecodeError for anything that spec/log.md does not allow."""
    *lines, last = text.split("\n")
    if last or len(lines) < 3 or "" in lines:
        raise DecodeError("checkpoint", "is not three or more lines, each with something on it")
    origin, size_text, root_text, *extensions = lines
    size = decimal(size_text, "checkpoint size")
    root = byte_string(base64_decode(root_text, "checkpoint root"), "checkpoint root")
    if size == 0 and root != EMPTY_ROOT:
        raise DecodeError("checkpoint", "has size 0 and a root that is not SHA-256('')")
    return TreeHead(check_name(origin, "checkpoint origin"), size, root, tuple(extensions))


def encode_checkpoint(signed: SignedCheckpoint) -> bytes:
    """The signed note as it is served. Raises DecodeError."""
    return encode_note(signed.note)


def decode_checkpoint(data: bytes) -> SignedCheckpoint:
    """Decode a signed checkpoint. Raises DecodeError."""
    note = decode_note(data)
    return SignedCheckpoint(note, decode_tree_head(note.text))


def sign_checkpoint(head: TreeHead, key: LogKey, sign: Callable[[bytes], bytes]) -> SignedCheckpoint:
    """A checkpoint of the log whose key this is; *sign* as in `sign_note`. Raises DecodeError."""
    if head.origin != key.name:
        raise DecodeError("checkpoint origin", f"is {head.origin!r}, not the name of the key, {key.name!r}")
    return SignedCheckpoint(sign_note(encode_tree_head(head), key, sign), head)


def verify_checkpoint(signed: SignedCheckpoint, key: LogKey) -> TreeHead:
    """Tree head of a checkpoint that this log key signed for the log of its own name. Raises SignatureError."""
    if signed.head.origin != key.name:
        raise SignatureError(f"the checkpoint is of the log {signed.head.origin!r}, not {key.name!r}")
    verify_note(signed.note, key)
    return signed.head
