"""The launch log on disk, and the PCR that it has to lead to (spec/launch.md).

Each event is on disk before it is extended, so that no PCR value is ever without its log: after a crash the log has at
most its last event too many, which shows in the PCR. A PCR that the log does not explain is somebody else's doing, and
then nothing is measured until the TPM's next reset.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sigillo import disk
from sigillo.attestation.error import TpmError
from sigillo.attestation.tpm import Tpm
from sigillo.core.errors import AttestationError, DecodeError
from sigillo.core.event_log import LoggedEvent, encode_event_log, replay
from sigillo.core.launch import LaunchLogEvent, decode_launch_log, encode_launch_event
from sigillo.core.quote import LAUNCH_PCR

_REMEDY: Final = "restart the machine (a reset of the TPM) to measure again"


class LaunchLog:
    """The log of every launch since the TPM's reset; one writer. Raises TpmError, OSError."""

    def __init__(self, path: Path, tpm: Tpm, events: Sequence[LoggedEvent]) -> None:
        self._path, self._tpm, self._events = path, tpm, tuple(events)

    @classmethod
    def open(cls, path: Path, tpm: Tpm, before: Sequence[LoggedEvent] = ()) -> LaunchLog:
        """The log at *path*, made to agree with the TPM; after a reset empty, and the one before it in `launches/`.

        *before*: what the boot log has of the PCR, with which the log of each reset begins.
        """
        written = _read(path)
        value = _value(tpm)
        for events in (written, written[:-1], tuple(before)):
            if replay(events)[LAUNCH_PCR] == value and events[: len(before)] == tuple(before):
                if written and events not in (written, written[:-1]):
                    _put_by(path)
                return cls(path, tpm, events)
        raise _foreign(path)

    @property
    def log_bytes(self) -> bytes:
        """The log as it is handed out."""
        return encode_event_log(self._events)

    def append(self, event: LaunchLogEvent) -> None:
        """Log an event and extend the PCR with it; on return both are done, and agree."""
        logged = encode_launch_event(event)
        self._events = (*self._events, logged)
        disk.replace(self._path, self.log_bytes, disk.PUBLIC)
        self._tpm.extend(LAUNCH_PCR, logged.digest)
        if _value(self._tpm) != replay(self._events)[LAUNCH_PCR]:
            raise _foreign(self._path)


def _read(path: Path) -> tuple[LoggedEvent, ...]:
    try:
        return decode_launch_log(path.read_bytes()).events
    except FileNotFoundError:
        return ()
    except (AttestationError, DecodeError) as error:
        raise TpmError(f"{path}: {error}; put it back from your backup, or remove it and {_REMEDY}") from error


def _put_by(path: Path) -> None:
    """Evidence of the epochs in it needs it for ever."""
    kept = path.parent / "launches" / f"{hashlib.sha256(path.read_bytes()).hexdigest()}.log"
    kept.parent.mkdir(mode=0o755, exist_ok=True)
    path.replace(kept)
    disk.sync_folder(kept.parent)
    disk.sync_folder(path.parent)


def _foreign(path: Path) -> TpmError:
    return TpmError(f"PCR {LAUNCH_PCR} has a value that {path} does not lead to: somebody else extends it; {_REMEDY}")


def _value(tpm: Tpm) -> bytes:
    (value,) = tpm.read_pcrs([LAUNCH_PCR])
    return value
