"""The measured launch: what the launcher writes into the TPM before the broker starts, and before it listens.

It says what it is about to start, from the hashes that the plan holds, and what the process then was that it started;
both are its own word (spec/launch.md). Nothing of it is taken back: a launch that failed stays in the log until the
TPM's reset.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from sigillo.attestation.attester import Attester
from sigillo.attestation.launch_log import LaunchLog
from sigillo.attestation.link import open_link
from sigillo.attestation.tpm import Tpm
from sigillo.broker.folder import OperatorFolder
from sigillo.broker.launch_record import keep_parts
from sigillo.broker.mapped import check_mapped
from sigillo.broker.process_state import ProcessView
from sigillo.core.attestation import encode_attestation
from sigillo.core.entry import Kind
from sigillo.core.event_log import LoggedEvent
from sigillo.core.launch import Closure, EpochEvent, LaunchEvent
from sigillo.core.mark import Checkpoint
from sigillo.core.quote import Subject
from sigillo.core.statement import Attester as StatedAttester
from sigillo.core.statement import AttesterKind
from sigillo.log.incoming import submit

_TIMEOUT_S: Final = 10.0
"""For each command: the plugin waits for GO meanwhile."""


class MeasuredLaunch:
    """One launch of what *closure* names, measured into the TPM at a path. Raises TpmError, OSError."""

    def __init__(self, folder: OperatorFolder, tpm: Path, closure: Closure, before: Sequence[LoggedEvent] = ()) -> None:
        """*before*: what the boot has measured into the launches' PCR."""
        opened = Tpm(open_link(tpm, _TIMEOUT_S))
        self._folder, self._closure = folder, closure
        self._process: ProcessView | None = None
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

    def begin(self, number: int, command: Sequence[str], texts: Mapping[str, str]) -> None:
        """Measure what is about to be started for epoch *number*; its environment is empty.

        Keeps the closure, and the *texts* of configuration files that may be shown, by name.
        """
        keep_parts(self._folder, self._closure, texts)
        self._log.append(LaunchEvent(number, self._closure.object_hash, tuple(command)))

    def watch(self, end: socket.socket, patience_s: float) -> None:
        """Take hold of the broker's process, which *end* shows, before it is given anything to state.

        Raises BrokerError where there is none.
        """
        self._process = ProcessView.receive(end, patience_s)

    def state(self, epoch_id: bytes, newest: Checkpoint) -> None:
        """Measure the epoch that the broker has stated, and its process, and submit its first quote, before it listens:
        no mark is then without a quote before it. *newest*: the log's, durable.

        Raises BrokerError where the process has mapped what was not measured; LogError too.
        """
        assert self._process is not None, "watch comes first"
        check_mapped(self._process.mappings(), self._closure, self._folder.path)
        self._log.append(EpochEvent(epoch_id, self._process.state()))
        evidence = self._attester.quote(Subject(epoch_id, newest))
        submit(self._folder.log, Kind.ATTESTATION_EVIDENCE, encode_attestation(evidence))
