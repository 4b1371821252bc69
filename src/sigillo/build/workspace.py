"""A result that appears whole or not at all: made in a hidden folder beside it, renamed when everything is on disk."""

from __future__ import annotations

import os
import re
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from sigillo import disk
from sigillo.build.error import BuildError

PREFIX = ".sigillo-build-"
_PLAIN = re.compile(r"[A-Za-z0-9/._+-]+")


@contextmanager
def workspace(out: Path) -> Iterator[tuple[Path, Path]]:
    """(folder that becomes *out*, folder for what is thrown away). Whatever ends the block early leaves neither; a kill
    leaves one folder `.sigillo-build-NAME-…`, which nobody reads. Raises BuildError where *out* is there, OSError."""
    if out.exists() or out.is_symlink():
        raise BuildError(f"{out}: is there already; a build never writes into a folder, choose another")
    parent = out.parent.resolve()
    if not parent.is_dir():
        raise BuildError(f"{out.parent}: no such folder; make it first")
    if not _PLAIN.fullmatch(str(parent / out.name)):
        raise BuildError(f"{out}: apt reads its path; choose one of plain letters, digits, '.', '_', '+' and '-'")
    with _ending_well(), tempfile.TemporaryDirectory(prefix=f"{PREFIX}{out.name}-", dir=parent) as name:
        made, scratch = Path(name) / "made", Path(name) / "scratch"
        made.mkdir()
        scratch.mkdir()
        yield made, scratch
        for path in sorted(made.rglob("*")):
            _to_disk(path)
        made.chmod(0o755)
        disk.sync_folder(made)
        os.rename(made, parent / out.name)
        disk.sync_folder(parent)


@contextmanager
def _ending_well() -> Iterator[None]:
    """SIGTERM and SIGHUP end the block as Ctrl-C does, so that nothing is left."""

    def end(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _to_disk(path: Path) -> None:
    if path.is_dir():
        disk.sync_folder(path)
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
