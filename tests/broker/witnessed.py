"""A log with witnesses, and what its operator is told."""

from __future__ import annotations

import copy
import shutil
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from sigillo.broker.cosigner import Rounds, ask_before_signing
from sigillo.broker.event import Event, EventName
from sigillo.broker.settings import Settings
from sigillo.core.checkpoint import verify_checkpoint
from sigillo.core.cosignature import verify_cosignature
from sigillo.core.errors import SignatureError
from sigillo.core.note import Note
from sigillo.log.cosigned import read_cosigned
from sigillo.log.submission import WitnessAddress
from sigillo.log.writer import Log

from ..adversary.witness import Script, honest, lying
from ..log.operator import Operator

PATIENCE_S = 60.0


class Rig:
    """A log, its settings, and what the operator is told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.operator = Operator(folder / "operator").create()
        self.events: list[Event] = []
        self.stack = ExitStack()
        self.settings = Settings("localhost", "Example Broker")

    def honest(self, name: str = "w1") -> WitnessAddress:
        key = self.operator.broker.log_key
        return self.add(self.stack.enter_context(honest(self.folder / name, key, name=f"witness.example/{name}")))

    def lying(self, script: Script) -> WitnessAddress:
        return self.add(self.stack.enter_context(lying(script)))

    def add(self, address: WitnessAddress) -> WitnessAddress:
        self.settings = replace(self.settings, witness=(*self.settings.witness, address))
        return address

    def grow(self, marks: int) -> int:
        """So many marks more; the size of the log then."""
        if self.operator.broker.epoch is None:
            self.operator.start()
        self.operator.mark(marks)
        return self.operator.run().head.size

    def rounds(self) -> Rounds:
        return Rounds(self.operator.log, self.operator.broker.log_key, self.settings, self.events.append, SimpleQueue())

    def round(self, rounds: Rounds) -> None:
        """One, until all have answered."""
        rounds._begin()
        rounds._take(PATIENCE_S, until_idle=True)

    def open(self, **changes: Any) -> Log:
        """The log, with W0."""
        chosen = replace(self.settings, **changes)
        public = self.operator.log / "public"
        return self.operator.open(
            before_signing=lambda signed, size: ask_before_signing(signed, size, public, chosen, self.events.append)
        )

    def states(self) -> list[tuple[object, object]]:
        told = [event.fields for event in self.events if event.name is EventName.WITNESS]
        return [(fields["witness"], fields["state"]) for fields in told]

    def cosigned(self) -> tuple[int, list[str]]:
        """Size, and names of the witnesses whose cosignatures verify."""
        found = read_cosigned(self.operator.log)
        if found is None:
            return 0, []
        verify_checkpoint(found, self.operator.broker.log_key)
        names = [
            verify_cosignature(found.note, address.key).key.name
            for address in self.settings.witness
            if self._has(found.note, address)
        ]
        assert len(names) == len(found.note.signatures) - 1
        return found.head.size, names

    def _has(self, note: Note, address: WitnessAddress) -> bool:
        try:
            verify_cosignature(note, address.key)
        except SignatureError:
            return False
        return True


def restored(rig: Rig) -> None:
    """The operator as it was before 40 marks that a witness has seen."""
    rig.grow(10)
    rig.round(rig.rounds())
    before, backup = copy.deepcopy(rig.operator), rig.folder / "backup"
    shutil.copytree(rig.operator.folder, backup)
    rig.grow(40)
    rig.round(rig.rounds())
    shutil.rmtree(rig.operator.folder)
    backup.rename(rig.operator.folder)
    rig.operator = before
