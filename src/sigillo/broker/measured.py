"""The measured launch: what the launcher writes into the TPM before the broker starts, and before it listens.

It says what it is about to start, from the hashes that the plan holds; that it starts just that is its own word
(spec/launch.md). Nothing of it is taken back: a launch that failed stays in the log until the TPM's reset.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sigillo import disk
from sigillo.attestation.attester import Attester
from sigillo.attestation.launch_log import LaunchLog
from sigillo.attestation.link import open_link
from sigillo.attestation.tpm import Tpm
from sigillo.broker.folder import OperatorFolder
from sigillo.core.attestation import encode_attestation
from sigillo.core.entry import Kind
from sigillo.core.event_log import LoggedEvent
from sigillo.core.launch import Closure, EpochEvent, LaunchEvent, encode_closure
from sigillo.core.mark import Checkpoint
from sigillo.core.quote import Subject
from sigillo.core.statement import Attester as StatedAttester
from sigillo.core.statement import AttesterKind
from sigillo.log.incoming import submit

_TIMEOUT_S: Final = 10.0
"""For each command: the plugin waits for GO meanwhile."""


class MeasuredLaunch:
    """One launch, measured into the TPM at a path. Raises TpmError, OSError."""

    def __init__(self, folder: OperatorFolder, tpm: Path, before: Sequence[LoggedEvent] = ()) -> None:
        """*before*: what the boot has measured into the launches' PCR."""
        opened = Tpm(open_link(tpm, _TIMEOUT_S))
        self._folder = folder
        self._attester = Attester.open(opened)
        self._log = LaunchLog.open(folder.launch_log, opened, before)

    @property
    def key_name(self) -> bytes:
        """TPM name of the attestation key, 34 bytes."""
        return self._attester.key.name

    @property
    def attester(self) -> StatedAttester:
        """What the epoch statement names."""
        return StatedAttester(AttesterKind.TPM, self.key_name)

    def begin(self, number: int, closure: Closure, command: Sequence[str]) -> None:
        """Measure what is about to be started for epoch *number*; its environment is empty. Keeps the closure."""
        path = self._folder.closures / f"{closure.object_hash.hex()}.cbor"
        disk.replace(path, encode_closure(closure), disk.PUBLIC)
        self._log.append(LaunchEvent(number, closure.object_hash, tuple(command)))

    def state(self, epoch_id: bytes, newest: Checkpoint) -> None:
        """Measure the epoch that the broker has stated, and submit its first quote, before it listens: no mark is then
        without a quote before it. *newest*: the log's, durable. Raises LogError too."""
        self._log.append(EpochEvent(epoch_id))
        evidence = self._attester.quote(Subject(epoch_id, newest))
        submit(self._folder.log, Kind.ATTESTATION_EVIDENCE, encode_attestation(evidence))
