"""Asks a witness for its cosignature over HTTP (spec/witness.md, "The log's side")."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from sigillo.core.checkpoint import SignedCheckpoint
from sigillo.core.cosignature import WitnessKey
from sigillo.core.errors import DecodeError, SigilloError, SignatureError
from sigillo.core.note import MAX_NOTE, NoteSignature
from sigillo.core.witness import (
    CONFLICT,
    OK,
    PATH,
    TEXT,
    UNPROCESSABLE,
    AddCheckpoint,
    Answer,
    encode_add_checkpoint,
    read_lines,
    read_size,
)

PATIENCE_S = 15.0
"""Longest life of one request, whatever the witness sends meanwhile."""

_IDLE_S = 5.0
_MAX_REASON: Final = 200
Prove = Callable[[int, int], Sequence[bytes]]
"""Consistency proof between two sizes of the log."""


class WitnessError(SigilloError):
    """A witness gave no cosignature. *kind*: the same for the same trouble, whatever the numbers in its text."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


class WitnessAhead(WitnessError):
    """A witness claims a size that the checkpoint does not have."""

    def __init__(self, size: int, asked: int) -> None:
        super().__init__("ahead", f"says that it has cosigned {size} entries; this checkpoint has {asked}")
        self.size = size


class WitnessForked(WitnessError):
    """A witness says that it has cosigned another history."""

    def __init__(self, reason: str) -> None:
        super().__init__("forked", reason)


@dataclass(frozen=True, slots=True)
class WitnessAddress:
    """Where a witness answers (C2SP's submission prefix), and its key."""

    url: str
    key: WitnessKey


def cosign(address: WitnessAddress, signed: SignedCheckpoint, old_size: int, prove: Prove) -> NoteSignature:
    """The witness's cosignature of a checkpoint, verified. Where it names another size it is asked again from there.

    *old_size*: what it has, as far as known. Raises WitnessError, and what *prove* raises.
    """
    size = signed.head.size
    for _ in range(2):
        answer = post(address.url, encode_add_checkpoint(AddCheckpoint(old_size, tuple(prove(old_size, size)), signed)))
        if answer.status == OK:
            try:
                return read_lines(answer.body, signed.note, address.key)
            except (DecodeError, SignatureError) as error:
                raise WitnessError("malformed", f"answers with no cosignature of its own: {error}") from None
        if answer.status == UNPROCESSABLE:
            raise WitnessForked(f"refuses the proof from its size, {old_size}, to {size}: it has cosigned another tree")
        if answer.status != CONFLICT:
            raise WitnessError(f"status {answer.status}", f"refuses with status {answer.status}: {_text(answer.body)}")
        old_size = _another_size(answer, old_size, size)
    raise WitnessError("malformed", "names another size each time that it is asked")


def _another_size(answer: Answer, old_size: int, size: int) -> int:
    """From where the witness wants the proof."""
    try:
        claimed = read_size(answer)
    except DecodeError as error:
        raise WitnessError("malformed", f"answers 409 with no size: {error}") from None
    if claimed > size:
        raise WitnessAhead(claimed, size)
    if claimed == old_size == size:
        raise WitnessForked(f"has cosigned another root for size {size}")
    if claimed == old_size:
        raise WitnessError("malformed", f"answers 409 and names the size that it was asked from, {old_size}")
    return claimed


def post(url: str, body: bytes) -> Answer:
    """What the witness answers to add-checkpoint. Raises WitnessError where it does not, or not in time."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=_IDLE_S)
    too_long = threading.Timer(PATIENCE_S, _cut_off, (connection,))
    too_long.daemon = True
    too_long.start()
    try:
        connection.request("POST", parts.path.rstrip("/") + PATH, body, {"Content-Type": TEXT})
        response = connection.getresponse()
        content = response.read(MAX_NOTE + 1)
        content_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise WitnessError("silent", f"does not answer at {url}: {type(error).__name__} {error}") from None
    finally:
        too_long.cancel()
        connection.close()
    return Answer(response.status, content, content_type)


def _cut_off(connection: http.client.HTTPConnection) -> None:
    if connection.sock is not None:
        try:
            socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)  # below TLS, which another thread is reading
        except OSError:
            return  # gone already


def _text(body: bytes) -> str:
    return body[:_MAX_REASON].decode("utf-8", "replace").strip()
