"""Objects that other processes of the log key's user submit to the log, by files (spec/log-storage.md, "Incoming").

Storage contract: what `submit` has returned for is durable, and its file stays until its entry is under a durable
checkpoint (8). Whatever else lies in the folder stops nothing.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from sigillo import disk
from sigillo.core.entry import Kind
from sigillo.core.errors import DecodeError
from sigillo.core.submitted import SUBMITTED, submitted_hash
from sigillo.log.error import naming

FOLDER: Final = "incoming"
MAX_OBJECTS, MAX_BYTES = 256, 2**24
"""Of one round."""

_KINDS: Final = {form.name: kind for kind, form in SUBMITTED.items()}
_NAME: Final = re.compile(rf"({'|'.join(_KINDS)})-([0-9a-f]{{64}})")
_PATIENCE_S: Final = 10.0
_REMEDY: Final = "submit as the user of the log key, to a log that was started once; see to the disk"
_LEFT: Final = "it is not logged; take it away"


def submit(log_folder: Path, kind: Kind, object_bytes: bytes) -> None:
    """N1: hand an object to the log in *log_folder* (`DIR/log`); durable once this returns.

    The log need not run. Once the file is gone the object is logged. To submit it again does no harm.

    Args:
        log_folder: `DIR/log`.
        kind: token, attestation evidence or key change.
        object_bytes: as the table in the spec says.

    Raises:
        DecodeError: it is no object of this kind.
        LogError: the folder is not there, or cannot be written.
    """
    folder = log_folder / FOLDER
    path = folder / f"{SUBMITTED[kind].name}-{submitted_hash(kind, object_bytes).hex()}"
    with naming(folder, _REMEDY):
        descriptor = disk.open_folder(folder)
        try:
            disk.lock(descriptor, _PATIENCE_S)
            disk.sweep(folder, "")
            disk.replace(path, object_bytes, disk.PRIVATE)
        finally:
            os.close(descriptor)


class Incoming:
    """The folder, for the log."""

    def __init__(self, log_folder: Path, is_logged: Callable[[bytes], bool]) -> None:
        """*is_logged*: whether the log has an object, by its hash. Raises OSError."""
        self._folder = log_folder / FOLDER
        self._is_logged = is_logged
        self._noted: set[str] = set()  # files with a finding
        self.findings: list[str] = []
        if not self._folder.is_dir():
            self._folder.mkdir(mode=0o700)
            disk.sync_folder(log_folder)

    def drop_logged(self) -> None:
        """I0: delete the files whose objects are logged; all that is logged must be under a durable checkpoint."""
        dropped = False
        for path, _, object_hash in self._files():
            if self._is_logged(object_hash):
                try:
                    path.unlink()
                    dropped = True
                except OSError as error:
                    self._note(path, f"is logged, and its file stays ({error.strerror})")
        if dropped:
            disk.sync_folder(self._folder)

    def take(self) -> Iterator[tuple[Kind, bytes]]:
        """I1.1: the objects that have come and are not logged, up to the bounds of a round."""
        objects = size = 0
        for path, kind, object_hash in sorted(self._files(), key=_time):
            if self._is_logged(object_hash):
                continue
            try:
                data = _read(path, SUBMITTED[kind].limit)
                if submitted_hash(kind, data) != object_hash:
                    raise DecodeError(SUBMITTED[kind].name, "has another hash than its file's name")
            except (DecodeError, OSError) as error:
                self._note(path, f"{getattr(error, 'strerror', None) or error}; {_LEFT}")
                continue
            objects, size = objects + 1, size + len(data)
            if objects > MAX_OBJECTS or size > MAX_BYTES:
                return
            yield kind, data

    def _files(self) -> list[tuple[Path, Kind, bytes]]:
        """The files that have the name of an object; the others are findings."""
        found = []
        names = os.listdir(self._folder)
        self._noted.intersection_update(names)
        for name in names:
            if match := _NAME.fullmatch(name):
                found.append((self._folder / name, _KINDS[match[1]], bytes.fromhex(match[2])))
            elif not name.startswith(".new-"):
                self._note(self._folder / name, f"has no name of an object; {_LEFT}")
        return found

    def _note(self, path: Path, finding: str) -> None:
        if path.name not in self._noted:
            self._noted.add(path.name)
            self.findings.append(f"{path}: {finding}")


def _time(file: tuple[Path, Kind, bytes]) -> tuple[int, str]:
    """When the file was written, as far as that tells: the order of a round."""
    path = file[0]
    try:
        return path.lstat().st_mtime_ns, path.name
    except OSError:
        return 0, path.name


def _read(path: Path, limit: int) -> bytes:
    """A regular file, but one byte over *limit* at most. Raises OSError, DecodeError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise DecodeError("file", "is not a regular one")
        return file.read(limit + 1)
