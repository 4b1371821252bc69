"""Errors of the log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sigillo.core.errors import SigilloError

RESTORED = (
    "no crash leaves this: the disk, a hand, or a copy of some files. Keep the folder as evidence, and begin a new log "
    "with a new origin: one that was restored never signs under its old name"
)
STOPPED = "the log has stopped and signs nothing; see to the disk, then start it again: it goes on from what it wrote"


class LogError(SigilloError):
    """The log cannot be read or must not be written; the text names the file and says what to do."""


class Refusal(SigilloError):
    """An object does not follow what the log has; who read the object says where it was."""


class RolledBack(Refusal):
    """What this log's own objects name is not in it: to sign on would be a second history."""


class NotKept(LogError):
    """Retention has deleted the object of an entry."""


class MissingFile(LogError):
    """A file that the log's size requires is not there."""


@contextmanager
def naming(path: Path, remedy: str) -> Iterator[None]:
    """Turn an OSError into a LogError that names its file, else *path*."""
    try:
        yield
    except OSError as error:
        raise LogError(f"{error.filename or path}: {error.strerror or error}; {remedy}") from error
