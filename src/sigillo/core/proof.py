"""Proof for one entry, as text that verifies offline: c2sp.org/tlog-proof@v1 (spec/tlog-proof.md)."""

from dataclasses import dataclass
from typing import Final

from sigillo.core.bytes import base64_decode, base64_encode
from sigillo.core.checkpoint import SignedCheckpoint, TreeHead, decode_checkpoint, encode_checkpoint, verify_checkpoint
from sigillo.core.errors import DecodeError
from sigillo.core.field import byte_string, decimal
from sigillo.core.merkle import verify_inclusion
from sigillo.core.note import MAX_NOTE, LogKey

FIRST_LINE: Final = "c2sp.org/tlog-proof@v1"
MAX_PATH: Final = 64
"""Hashes of the longest path: a tree has less than 2^64 leaves."""

MAX_EXTRA: Final = 65_535
MAX_PROOF: Final = 2 * MAX_NOTE
"""Bytes of the largest proof: the largest note, the longest path, the longest extra data."""


@dataclass(frozen=True, slots=True)
class EntryProof:
    """A decoded proof, not verified. *path*: up to 64 hashes, from the sibling up. *extra* is signed by nobody."""

    index: int
    path: tuple[bytes, ...]
    checkpoint: SignedCheckpoint
    extra: bytes | None = None


def encode_proof(proof: EntryProof) -> bytes:
    """The text of the proof. Raises DecodeError for one that would not be decoded to itself."""
    extra = [] if proof.extra is None else [f"extra {base64_encode(proof.extra)}"]
    lines = [FIRST_LINE, *extra, f"index {proof.index}", *map(base64_encode, proof.path)]
    data = "".join(f"{line}\n" for line in lines).encode("ascii") + b"\n" + encode_checkpoint(proof.checkpoint)
    if decode_proof(data) != proof:
        raise DecodeError("proof", "would be read as another one")
    return data


def decode_proof(data: bytes) -> EntryProof:
    """Decode a proof. Raises DecodeError for anything that spec/tlog-proof.md does not allow."""
    if len(data) > MAX_PROOF:
        raise DecodeError("proof", f"is longer than {MAX_PROOF} bytes")
    head, blank, checkpoint = data.partition(b"\n\n")
    if not blank or not head.isascii():
        raise DecodeError("proof", "is not ASCII lines, an empty line and a checkpoint")
    first, *lines = head.decode("ascii").split("\n")
    if first != FIRST_LINE:
        raise DecodeError("proof", f"does not begin with {FIRST_LINE}")
    extra = _extra(lines.pop(0)) if lines and lines[0].startswith("extra ") else None
    if not lines or not lines[0].startswith("index "):
        raise DecodeError("proof", "has no index where it must be")
    index = decimal(lines[0].removeprefix("index "), "proof index")
    if len(lines) > MAX_PATH + 1:
        raise DecodeError("proof path", f"has more than {MAX_PATH} hashes")
    path = tuple(byte_string(base64_decode(line, "proof path"), "proof path") for line in lines[1:])
    return EntryProof(index, path, decode_checkpoint(checkpoint), extra)


def verify_proof(proof: EntryProof, leaf_hash: bytes, key: LogKey) -> TreeHead:
    """Tree head of this log key in which the entry of *leaf_hash* (32 bytes) is number `proof.index`.

    Raises SignatureError for the checkpoint, MerkleError for the path.
    """
    head = verify_checkpoint(proof.checkpoint, key)
    verify_inclusion(leaf_hash, proof.index, head.size, proof.path, head.root)
    return head


def _extra(line: str) -> bytes:
    return byte_string(base64_decode(line.removeprefix("extra "), "proof extra"), "proof extra", 1, MAX_EXTRA)
