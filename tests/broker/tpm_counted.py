"""A log that a real software TPM counts, without a broker."""

from __future__ import annotations

import shutil
from pathlib import Path

from sigillo.attestation import software_tpm
from sigillo.attestation.counter import NvCounter
from sigillo.broker.counted import CountedLog
from sigillo.broker.log_key import SigningLogKey
from sigillo.core.checkpoint import SignedCheckpoint

from ..log.operator import Operator


class Counted:
    """An operator's log and what counts it; the TPM has to run."""

    def __init__(self, folder: Path, tpm: Path) -> None:
        self.folder = folder
        self.operator = Operator(folder / "operator").create()
        broker = self.operator.broker
        self._key = SigningLogKey(broker.log_private, broker.log_key.name)
        self.counter = NvCounter(software_tpm.socket_of(tpm), broker.log_key.key_id32)

    def run(self, *, dies: bool = False) -> SignedCheckpoint:
        """As the log's process does: W1, all there is to log, the counter; unless it *dies* before the end."""
        counted = CountedLog(self.operator.log, self._key, self.counter)
        with self.operator.open(check_counter=counted.check) as log:
            counted.turn(log.epoch, log.checkpoint.head.checkpoint)
            while log.round():
                counted.turn(log.epoch, log.checkpoint.head.checkpoint)
            counted.turn(log.epoch, log.checkpoint.head.checkpoint, ending=not dies)
            return log.checkpoint

    def grow(self, marks: int) -> int:
        """So many marks more, in the first epoch; the size of the log then."""
        if self.operator.broker.epoch is None:
            self.operator.start()
        self.operator.mark(marks)
        return self.run().head.size

    def copy(self, name: str = "backup") -> Path:
        """A copy of the whole folder, made now."""
        return Path(shutil.copytree(self.operator.folder, self.folder / name))

    def put_back(self, copy: Path) -> None:
        """What was there is gone."""
        shutil.rmtree(self.operator.folder)
        shutil.copytree(copy, self.operator.folder)

    @property
    def record(self) -> Path:
        return self.operator.log / "counter"

    @property
    def checkpoint(self) -> bytes:
        return (self.operator.log / "public" / "checkpoint").read_bytes()
