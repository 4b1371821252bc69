"""What a witness remembers of each log: the newest checkpoint that it cosigned (spec/witness.md, "Memory").

Durability: what `keep` was given is on disk, content and name, once it has returned. A write that failed is never tried
again: nobody knows what the disk has.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sigillo import disk
from sigillo.core.checkpoint import SignedCheckpoint, decode_checkpoint, encode_checkpoint
from sigillo.core.cosignature import Cosignature, WitnessKey, verify_cosignature
from sigillo.core.errors import DecodeError, SignatureError
from sigillo.core.note import LogKey
from sigillo.witness.error import WitnessFolderError

LOST: Final = (
    "a witness that has forgotten what it cosigned may cosign a second history. Keep the folder, and begin a new "
    "witness in another one, with a new key"
)
_MAX_LOGS: Final = 1024


class Memory:
    """The files of one witness, in a folder whose lock the caller holds."""

    def __init__(self, folder: Path, key: WitnessKey) -> None:
        """Raises WitnessFolderError where a file is missing or is not what this witness wrote, OSError."""
        self._folder, self._key = folder, key
        self._seen: dict[str, tuple[SignedCheckpoint, Cosignature]] = {}
        for path in (folder / "seen", folder / "accusations"):
            path.mkdir(mode=0o700, exist_ok=True)
            disk.sweep(path, "")
        disk.sync_folder(folder)
        self._logs = self._read_logs()
        for origin in {log.name for log in self._logs}:
            self._load(origin)

    @property
    def logs(self) -> Mapping[str, tuple[LogKey, ...]]:
        """The keys that it follows, by origin."""
        return {log.name: tuple(key for key in self._logs if key.name == log.name) for log in self._logs}

    def follow(self, log: LogKey) -> bool:
        """Follow a log from now on; whether it was not followed before. Raises OSError."""
        if log in self._logs:
            return False
        path = self._seen_path(log.name)
        if not path.exists():
            disk.create(path, b"", disk.PRIVATE)
        self._load(log.name)
        self._logs = (*self._logs, log)
        disk.replace(self._folder / "logs", "".join(f"{key.vkey}\n" for key in self._logs).encode(), disk.PUBLIC)
        return True

    def newest(self, origin: str) -> tuple[SignedCheckpoint, Cosignature] | None:
        """The newest checkpoint of this log that was cosigned here, and the cosignature; None where there is none."""
        return self._seen.get(origin)

    def keep(self, signed: SignedCheckpoint) -> None:
        """Remember a checkpoint that has this witness's cosignature. Raises OSError."""
        cosignature = verify_cosignature(signed.note, self._key)
        disk.replace(self._seen_path(signed.head.origin), encode_checkpoint(signed), disk.PRIVATE)
        self._seen[signed.head.origin] = signed, cosignature

    def accuse(self, origin: str, accusation: bytes) -> Path | None:
        """Keep proof against a log, the first one; None where there is one already. Raises OSError."""
        path = self._folder / "accusations" / f"{_name(origin)}.json"
        if path.exists():
            return None
        disk.create(path, accusation, disk.PUBLIC)
        return path

    def _read_logs(self) -> tuple[LogKey, ...]:
        path = self._folder / "logs"
        if not path.exists():
            return ()
        lines = path.read_text("utf-8", "replace").splitlines()
        if len(lines) > _MAX_LOGS:
            raise WitnessFolderError(f"{path}: names more than {_MAX_LOGS} logs; take some out")
        try:
            return tuple(LogKey.from_vkey(line, f"line {number}") for number, line in enumerate(lines, 1))
        except DecodeError as error:
            raise WitnessFolderError(f"{path}: {error}; mend the line: one vkey of a log each") from None

    def _load(self, origin: str) -> None:
        path = self._seen_path(origin)
        try:
            data = path.read_bytes()
            if data:
                signed = decode_checkpoint(data)
                if signed.head.origin != origin:
                    raise SignatureError(f"it is of the log {signed.head.origin}")
                self._seen[origin] = signed, verify_cosignature(signed.note, self._key)
        except FileNotFoundError:
            raise WitnessFolderError(f"{path}: is missing, though {origin} is followed; {LOST}") from None
        except (DecodeError, SignatureError) as error:
            raise WitnessFolderError(f"{path}: {error}; {LOST}") from None

    def _seen_path(self, origin: str) -> Path:
        return self._folder / "seen" / _name(origin)


def _name(origin: str) -> str:
    return hashlib.sha256(origin.encode("utf-8")).hexdigest()
