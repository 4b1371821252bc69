"""The witness: one request after the other for each log, written down before it is answered (spec/witness.md)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from sigillo.core.accusation import Accusation, encode_accusation
from sigillo.core.checkpoint import SignedCheckpoint, encode_checkpoint
from sigillo.core.cosignature import sign_cosignature
from sigillo.core.errors import DecodeError
from sigillo.core.mark import Checkpoint
from sigillo.core.note import Note
from sigillo.core.witness import (
    BAD_REQUEST,
    CONFLICT,
    OK,
    UNAVAILABLE,
    AddCheckpoint,
    Answer,
    Refused,
    decide,
    decode_add_checkpoint,
    encode_lines,
    signed_by_one,
)
from sigillo.witness.key import SigningWitnessKey
from sigillo.witness.memory import Memory


@dataclass(frozen=True, slots=True)
class Said:
    """What the witness tells its operator. *name*: `cosigned`, `refused` or `forked`; *status*: what it answered."""

    name: str
    origin: str
    size: int
    status: int = OK
    reason: str = ""


class Witness:
    """Answers requests, from any thread. After an OSError it answers nothing more."""

    def __init__(
        self, key: SigningWitnessKey, memory: Memory, clock: Callable[[], float], tell: Callable[[Said], None]
    ) -> None:
        """*clock*: seconds since 1970. *tell*: called where a followed log got a cosignature, or was refused one."""
        self.key, self.memory = key, memory
        self._clock, self._tell = clock, tell
        self._guard = threading.Lock()
        self._broken = False

    def add_checkpoint(self, body: bytes) -> Answer:
        """The answer to a request. Raises OSError where it could not be written down: stop the witness then."""
        try:
            request = decode_add_checkpoint(body)
        except DecodeError as error:
            return Answer(BAD_REQUEST, f"{error}\n".encode())
        head = request.checkpoint.head
        try:
            with self._guard:
                answer = self._cosign(request)
        except Refused as refused:
            self._say_refused(refused, request.checkpoint)
            return refused.answer
        self._tell(Said("cosigned", head.origin, head.size))
        return answer

    def _cosign(self, request: AddCheckpoint) -> Answer:
        if self._broken:
            raise Refused(UNAVAILABLE, "what was cosigned could not be written down; this witness has stopped")
        origin = request.checkpoint.head.origin
        keys = self.memory.logs.get(origin, ())
        known = self.memory.newest(origin)
        newest = known[0].head.checkpoint if known else Checkpoint()
        try:
            decide(request, keys, newest)
        except Refused as refused:
            if refused.forked and known:
                self._accuse(known[0], signed_by_one(request.checkpoint, keys))
            raise
        now = int(self._clock())
        if known and now < known[1].time_s:
            raise Refused(UNAVAILABLE, "the clock of this witness is before its last cosignature")
        return self._write_down(signed_by_one(request.checkpoint, keys), now)

    def _write_down(self, signed: SignedCheckpoint, now: int) -> Answer:
        line = sign_cosignature(signed.note, self.key.public, now, self.key.sign)
        self._broken = True  # until it is on disk
        self.memory.keep(SignedCheckpoint(Note(signed.note.text, (*signed.note.signatures, line)), signed.head))
        self._broken = False
        return Answer(OK, encode_lines([line]))

    def _say_refused(self, refused: Refused, signed: SignedCheckpoint) -> None:
        """Strangers' logs are no news, nor is a size that a log has to ask for."""
        status = refused.answer.status
        if signed.head.origin in self.memory.logs and (refused.forked or status != CONFLICT):
            name = "forked" if refused.forked else "refused"
            self._tell(Said(name, signed.head.origin, signed.head.size, status, str(refused)))

    def _accuse(self, known: SignedCheckpoint, other: SignedCheckpoint) -> None:
        """Two roots of one size, both signed by the log: proof for everybody."""
        notes = {"first": encode_checkpoint(known), "second": encode_checkpoint(other)}
        self.memory.accuse(
            known.head.origin, encode_accusation(Accusation("checkpoints", notes, {"prefix": (), "rest": ()}))
        )
