"""Files that are there whole or not at all, also after a power cut.

Durability: both functions return only once content *and* name are on disk (`fsync` of the file, then of its folder).
A crash before that leaves the old state, or a stray `.new-…` file that nobody reads (see `sweep`).
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

PRIVATE = 0o600
PUBLIC = 0o644
_STRAY = ".new-"


def create(path: Path, data: bytes, mode: int) -> None:
    """Write a file that must not exist yet (O_EXCL, no symbolic link followed).

    *mode*: permission bits, set whatever the umask. Raises FileExistsError, OSError.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        os.fchmod(descriptor, mode)
        write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_folder(path.parent)


def replace(path: Path, data: bytes, mode: int) -> None:
    """Write a file, or replace it in one step: a reader sees the old content or the new, never a part.

    *mode*: permission bits, set whatever the umask. Raises OSError.
    """
    fresh = path.with_name(f"{_STRAY}{path.name}-{secrets.token_hex(8)}")
    try:
        create(fresh, data, mode)
        os.replace(fresh, path)
    except OSError:
        with suppress(OSError):
            fresh.unlink()
        raise
    sync_folder(path.parent)


def sweep(folder: Path, name: str) -> None:
    """Remove what interrupted `replace` calls left of files whose name starts with *name*; only under their lock."""
    for stray in folder.glob(f"{_STRAY}{name}*"):
        stray.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make the names in *folder* durable. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of *data*, unbuffered. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
