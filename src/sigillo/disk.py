"""Files that are there whole or not at all, also after a power cut; and locks on files and folders.

Durability: what writes returns only once content *and* name are on disk (`fsync` of the file, then of its folder).
A crash before that leaves the old state, or a stray `.new-…` file that nobody reads (see `sweep`).

Mode: `create` and `replace` write the product's own files, whose permission bits are part of its promises, so they set
them whatever the umask. `writing` is for a file that a person asked for by name: there the umask decides.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

PRIVATE = 0o600
PUBLIC = 0o644
_STRAY = ".new-"
_LOCK_POLL_S = 0.05


def create(path: Path, data: bytes, mode: int) -> None:
    """Write a file that must not exist yet, not as a symbolic link either; a reader sees all of it or no file.

    *mode*: permission bits, set whatever the umask. Raises FileExistsError, OSError.
    """
    fresh = _fresh(path)
    try:
        _write(fresh, data, mode)
        os.link(fresh, path)  # unlike a rename it refuses a name that is taken
    except OSError as error:
        error.filename, error.filename2 = str(path), None  # what fails on a descriptor names no file
        raise
    finally:
        fresh.unlink(missing_ok=True)
    sync_folder(path.parent)


def replace(path: Path, data: bytes, mode: int) -> None:
    """Write a file, or replace it in one step: a reader sees the old content or the new, never a part.

    *mode*: permission bits, set whatever the umask. Raises OSError.
    """
    fresh = _fresh(path)
    try:
        _write(fresh, data, mode)
        os.replace(fresh, path)
    except OSError as error:
        with suppress(OSError):
            fresh.unlink()
        error.filename = str(path)
        raise
    sync_folder(path.parent)


@contextmanager
def writing(path: Path, *, replaces: bool) -> Iterator[BinaryIO]:
    """A file to write piece by piece; it gets its name only if the block ends well, else nothing of it is left.

    *replaces*: whether it takes the place of a file of that name. Mode: 0666 less the umask, whatever was there before.
    Raises FileExistsError where the name is taken and not *replaces*, OSError.
    """
    fresh = _fresh(path)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(descriptor)
        if replaces:
            os.replace(fresh, path)
        else:
            os.link(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)
    sync_folder(path.parent)


def sweep(folder: Path, name: str) -> None:
    """Remove what interrupted `replace` calls left of files whose name starts with *name*; only under their lock."""
    for stray in folder.glob(f"{_STRAY}{name}*"):
        stray.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make the names in *folder* durable. Raises OSError."""
    descriptor = open_folder(folder)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_folder(folder: Path) -> int:
    """A descriptor of a folder, to lock or to flush it; the caller's to close. Raises OSError."""
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def lock(descriptor: int, wait_s: float | None) -> None:
    """Take the exclusive `flock` of an open file or folder; it ends when the last copy of *descriptor* is closed.

    *wait_s*: how many seconds to wait for another holder; None: as long as it takes. Raises BlockingIOError where
    another has it still, OSError.
    """
    if wait_s is None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(_LOCK_POLL_S)


def is_locked(path: Path) -> bool:
    """Whether somebody holds the lock of a folder; it is taken for an instant to see. Raises OSError."""
    descriptor = open_folder(path)
    try:
        lock(descriptor, 0)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of *data*, unbuffered. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _write(path: Path, data: bytes, mode: int) -> None:
    """The file, with its content on disk; its name not yet."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        os.fchmod(descriptor, mode)
        write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _fresh(path: Path) -> Path:
    return path.with_name(f"{_STRAY}{path.name}-{secrets.token_hex(8)}")
