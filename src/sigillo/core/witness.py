"""C2SP tlog-witness without I/O: the request, what a witness decides, the answer and its reading (spec/witness.md)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sigillo.core.bytes import base64_decode, base64_encode
from sigillo.core.checkpoint import SignedCheckpoint, decode_checkpoint, encode_checkpoint, verify_checkpoint
from sigillo.core.cosignature import WitnessKey, verify_cosignature
from sigillo.core.errors import DecodeError, MerkleError, SigilloError, SignatureError
from sigillo.core.field import byte_string, decimal
from sigillo.core.mark import Checkpoint
from sigillo.core.merkle import verify_consistency
from sigillo.core.note import MAX_NOTE, LogKey, Note, NoteSignature, decode_note, encode_note

PATH: Final = "/add-checkpoint"
MAX_PROOF: Final = 63
"""Lines of the longest proof."""

MAX_REQUEST: Final = MAX_NOTE + 4096
"""Bytes of the largest request: the largest note, the longest proof."""

OK: Final = 200
BAD_REQUEST: Final = 400
FORBIDDEN: Final = 403
NOT_FOUND: Final = 404
CONFLICT: Final = 409
UNPROCESSABLE: Final = 422
UNAVAILABLE: Final = 503
TEXT: Final = "text/plain; charset=utf-8"
SIZE: Final = "text/x.tlog.size"


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """A decoded request, not verified. *proof*: at most 63 hashes of 32 bytes, from *old_size* to the checkpoint."""

    old_size: int
    proof: tuple[bytes, ...]
    checkpoint: SignedCheckpoint


@dataclass(frozen=True, slots=True)
class Answer:
    """What a witness answers over HTTP."""

    status: int
    body: bytes
    content_type: str = TEXT


class Refused(SigilloError):
    """A witness does not cosign. *answer*: what it says instead; *forked*: one key signed two roots for one size."""

    def __init__(self, status: int, reason: str, *, size: int | None = None, forked: bool = False) -> None:
        super().__init__(reason)
        self.forked = forked
        self.answer = Answer(status, f"{reason}\n".encode()) if size is None else Answer(status, b"%d\n" % size, SIZE)


def encode_add_checkpoint(request: AddCheckpoint) -> bytes:
    """The body of the request. Raises DecodeError for one that would not be decoded to itself."""
    lines = (f"old {request.old_size}", *map(base64_encode, request.proof))
    data = "".join(f"{line}\n" for line in lines).encode("ascii") + b"\n" + encode_checkpoint(request.checkpoint)
    if decode_add_checkpoint(data) != request:
        raise DecodeError("request", "would be read as another one")
    return data


def decode_add_checkpoint(data: bytes) -> AddCheckpoint:
    """Decode the body of a request. Raises DecodeError for anything that spec/witness.md does not allow."""
    if len(data) > MAX_REQUEST:
        raise DecodeError("request", f"is longer than {MAX_REQUEST} bytes")
    head, blank, checkpoint = data.partition(b"\n\n")
    if not blank or not head.isascii():
        raise DecodeError("request", "is not ASCII lines, an empty line and a checkpoint")
    first, *lines = head.decode("ascii").split("\n")
    if not first.startswith("old "):
        raise DecodeError("request", "does not begin with the old size")
    old_size = decimal(first.removeprefix("old "), "old size")
    if len(lines) > MAX_PROOF:
        raise DecodeError("consistency proof", f"has more than {MAX_PROOF} hashes")
    proof = tuple(byte_string(base64_decode(line, "consistency proof"), "consistency proof") for line in lines)
    return AddCheckpoint(old_size, proof, decode_checkpoint(checkpoint))


def decide(request: AddCheckpoint, keys: Iterable[LogKey], newest: Checkpoint) -> None:
    """Return where the checkpoint may be cosigned: one of *keys* signed it, and it continues *newest*.

    *keys*: those that the witness follows for the request's origin. *newest*: what it cosigned last for that origin, of
    size 0 where nothing. Raises Refused.
    """
    head = signed_by_one(request.checkpoint, keys).head
    if request.old_size > head.size:
        raise Refused(BAD_REQUEST, f"old size {request.old_size} is larger than the checkpoint's, {head.size}")
    if request.old_size != newest.size:
        raise Refused(CONFLICT, f"the newest cosigned checkpoint has size {newest.size}", size=newest.size)
    if head.size == newest.size and head.root != newest.root:
        raise Refused(CONFLICT, f"another root was cosigned for size {head.size}", size=newest.size, forked=True)
    try:
        verify_consistency(newest.size, newest.root, head.size, head.root, request.proof)
    except MerkleError as error:
        raise Refused(UNPROCESSABLE, error.reason) from None


def signed_by_one(signed: SignedCheckpoint, keys: Iterable[LogKey]) -> SignedCheckpoint:
    """The checkpoint with the one signature that counts: that of the first of *keys* that signed it. Raises Refused."""
    followed = list(keys)
    if not followed:
        raise Refused(NOT_FOUND, "a log of this origin is not followed here")
    for key in followed:
        try:
            verify_checkpoint(signed, key)
        except SignatureError:
            continue
        own = [item for item in signed.note.signatures if (item.name, item.key_id) == (key.name, key.note_key_id)]
        return SignedCheckpoint(Note(signed.note.text, tuple(own)), signed.head)
    raise Refused(FORBIDDEN, "no key that is followed for this origin has signed the checkpoint")


def encode_lines(lines: Iterable[NoteSignature]) -> bytes:
    """Signature lines as the body of an answer 200. Raises DecodeError."""
    bare = Note("\n", tuple(lines))
    return encode_note(bare).removeprefix(b"\n\n")


def read_lines(body: bytes, note: Note, key: WitnessKey) -> NoteSignature:
    """The line of this witness in the body of an answer 200, verified over *note*; other lines are dropped.

    Raises DecodeError, SignatureError.
    """
    answered = decode_note(note.text.encode("utf-8") + b"\n" + body)
    if answered.text != note.text:
        raise DecodeError("answer", "is more than signature lines")
    verify_cosignature(answered, key)
    [line] = [item for item in answered.signatures if (item.name, item.key_id) == (key.name, key.note_key_id)]
    return line


def read_size(answer: Answer) -> int:
    """The size in an answer 409. Raises DecodeError."""
    if answer.content_type != SIZE or not answer.body.endswith(b"\n") or not answer.body.isascii():
        raise DecodeError("answer", f"is not a size, a line feed and the type {SIZE}")
    return decimal(answer.body[:-1].decode("ascii"), "size of the witness")
