"""Asks the witnesses: at a start what they have seen (W0 of spec/log-storage.md), then in rounds for cosignatures.

The rounds are a process beside the log's, which nothing waits for; each witness has a thread, so that one that is slow
holds up nobody else (spec/witness.md, "The log's side").
"""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TypeAlias

from sigillo import disk
from sigillo.broker.error import BrokerError
from sigillo.broker.event import Event, EventName, Report, cut
from sigillo.broker.folder import OperatorFolder
from sigillo.broker.settings import Settings
from sigillo.core.checkpoint import SignedCheckpoint, verify_checkpoint
from sigillo.core.cosignature import WitnessKey
from sigillo.core.errors import SigilloError
from sigillo.core.merkle import consistency_proof
from sigillo.core.note import LogKey, Note, NoteSignature
from sigillo.log.cosigned import Cosigned
from sigillo.log.public import PublicLog
from sigillo.log.reader import read_vkey
from sigillo.log.submission import (
    PATIENCE_S,
    Prove,
    WitnessAddress,
    WitnessAhead,
    WitnessError,
    WitnessForked,
    cosign,
)

_LAST_S = 5.0
"""For the last round, when everything is being stopped."""

_RESTORED = (
    "a log that was put back from a backup never signs under its old name. Keep the folder as evidence, and begin a "
    "new log with another --name. Only if you know that it was never put back, and that witness lies: take it out of "
    "sigillo.toml, and remove this file"
)

Result: TypeAlias = NoteSignature | BaseException


@dataclass(slots=True)
class Asked:
    """One witness, asked from a thread of its own; *known*: the size that it has, as far as known."""

    address: WitnessAddress
    known: int = 0
    busy: bool = False
    jobs: SimpleQueue[SignedCheckpoint] = field(default_factory=SimpleQueue)


Answers: TypeAlias = "SimpleQueue[tuple[Asked, SignedCheckpoint, Result] | None]"


def start_asking(asked: Asked, public: Path, answers: Answers) -> None:
    """A thread that asks this witness about each checkpoint of its jobs, and puts what came of it into *answers*."""

    def run() -> None:
        while True:
            signed = asked.jobs.get()
            try:
                result: Result = cosign(asked.address, signed, asked.known, _prover(public))
                asked.known = signed.head.size
            except BaseException as error:  # noqa: BLE001  # for the main thread to judge
                result = error
            answers.put((asked, signed, result))

    threading.Thread(target=run, daemon=True).start()


def _prover(public: Path) -> Prove:
    log = PublicLog(public)
    return lambda old, new: consistency_proof(old, new, log.read)


def own_line_only(signed: SignedCheckpoint, key: LogKey) -> SignedCheckpoint:
    """The checkpoint as the log signed it. Raises SignatureError."""
    verify_checkpoint(signed, key)
    own = [item for item in signed.note.signatures if (item.name, item.key_id) == (key.name, key.note_key_id)]
    return SignedCheckpoint(Note(signed.note.text, tuple(own)), signed.head)


class Voices:
    """Reports what each witness does when it begins, and when it changes."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._said: dict[WitnessKey, str] = {}

    def tell(self, witness: WitnessAddress, result: Result) -> None:
        """Raises what is no failure of a witness or of a file."""
        if not isinstance(result, NoteSignature | SigilloError | OSError):
            raise result
        kind = "cosigns" if isinstance(result, NoteSignature) else getattr(result, "kind", "unasked")
        if self._said.get(witness.key) == kind:
            return
        self._said[witness.key] = kind
        reason = "" if isinstance(result, NoteSignature) else cut(str(result))
        fields = {"witness": witness.key.name, "state": kind, "reason": reason}
        self._report(Event(EventName.WITNESS, fields))


def ask_before_signing(
    signed: SignedCheckpoint, store_size: int, public: Path, settings: Settings, report: Report
) -> str | None:
    """W0: why this log may never sign again, None where no witness says so.

    Raises BrokerError where the settings demand more answers than came.
    """
    answers: Answers = SimpleQueue()
    voices = Voices(report)
    waiting = [Asked(address, signed.head.size) for address in settings.witness]
    for asked in waiting:
        start_asking(asked, public, answers)
        asked.jobs.put(signed)
    answered = 0
    deadline = time.monotonic() + PATIENCE_S
    while waiting:
        try:
            answer = answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except Empty:
            break
        assert answer is not None
        asked, _, result = answer
        waiting.remove(asked)
        if isinstance(result, WitnessForked) or (isinstance(result, WitnessAhead) and result.size > store_size):
            return f"the witness {asked.address.key.name} {result}, and the store holds {store_size}; {_RESTORED}"
        has_answered = isinstance(result, NoteSignature | WitnessAhead)
        answered += has_answered
        if not has_answered:
            voices.tell(asked.address, result)
    for asked in waiting:
        voices.tell(asked.address, WitnessError("silent", f"does not answer at {asked.address.url}"))
    if settings.cosign_demand and answered < settings.cosign_quorum:
        raise BrokerError(
            f"{answered} of {settings.cosign_quorum} witnesses said what they have seen of this log, and cosign_demand "
            "in sigillo.toml asks for so many before a start; try again when they answer"
        )
    return None


def gather(folder: OperatorFolder, settings: Settings, report: Report) -> None:
    """Collect cosignatures until SIGTERM, and once more then. Reports `witness`, `cosigned`.

    Raises LogError, OSError.
    """
    answers: Answers = SimpleQueue()
    signal.signal(signal.SIGTERM, lambda _number, _frame: answers.put(None))
    Rounds(folder.log, read_vkey(folder.log), settings, report, answers).run()


class Rounds:
    """The rounds with the witnesses of one log."""

    def __init__(self, log: Path, key: LogKey, settings: Settings, report: Report, answers: Answers) -> None:
        self._log, self._key, self._settings, self._report = log, key, settings, report
        self._answers, self._voices = answers, Voices(report)
        keys = [address.key for address in settings.witness]
        self._cosigned = Cosigned(log, key, keys, settings.cosign_quorum)
        self._witnesses = [Asked(address, self._cosigned.size_of(address.key)) for address in settings.witness]
        for asked in self._witnesses:
            start_asking(asked, log / "public", answers)

    def run(self) -> None:
        """Until None is among the answers; then one round more, so that the log's end is cosigned too.

        That one is left out where the supervisor has died: a new one waits for the folder.
        """
        parent, stopping = os.getppid(), False
        while not stopping:
            self._begin()
            stopping = self._take(self._settings.cosign_interval, until_idle=False)
        if os.getppid() != parent:
            return
        self._take(_LAST_S, until_idle=True)
        self._begin()
        self._take(_LAST_S, until_idle=True)

    def _begin(self) -> None:
        """A round: the newest checkpoint, durable, to all witnesses that have not cosigned it and are not busy."""
        public = self._log / "public"
        signed = own_line_only(PublicLog(public).checkpoint(), self._key)
        disk.sync_folder(public)  # what is handed out is durable, and the log may not have come to C5
        for asked in self._witnesses:
            if not asked.busy and not self._cosigned.has(signed, asked.address.key):
                asked.busy = True
                asked.jobs.put(signed)

    def _take(self, patience_s: float, *, until_idle: bool) -> bool:
        """Take answers for so long; whether it is time to stop. *until_idle*: no longer than somebody is asked."""
        deadline = time.monotonic() + patience_s
        while not until_idle or any(asked.busy for asked in self._witnesses):
            try:
                answer = self._answers.get(timeout=max(0.0, deadline - time.monotonic()))
            except Empty:
                return False
            if answer is None:
                return True
            self._judge(*answer)
        return False

    def _judge(self, asked: Asked, signed: SignedCheckpoint, result: Result) -> None:
        asked.busy = False
        self._voices.tell(asked.address, result)
        if isinstance(result, NoteSignature):
            count = self._cosigned.add(signed, asked.address.key, result)
            if count is not None:
                fields = {"size": signed.head.size, "cosignatures": count, "quorum": self._settings.cosign_quorum}
                self._report(Event(EventName.COSIGNED, fields))
