"""The log of a build: every step, every command and what it said, in `build.log`; and one line a step for a person."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, BinaryIO

from sigillo.build.error import BuildError

_TAIL = 4096
_FULL = b"No space left on device"
_GRACE_S = 5
_INTERRUPTIONS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
Progress = Callable[[str], None]


class Journal:
    """Runs commands and keeps what they say. One at a time; a command never outlives the call that started it."""

    def __init__(self, path: Path, progress: Progress) -> None:
        self.path = path
        self.last_error = b""
        """The end of what the last command said, for who knows it better than `run`."""
        self._file: BinaryIO = path.open("xb")
        self._progress = progress
        self._started = time.monotonic()

    def step(self, title: str) -> None:
        """A new step begins; said to the person, too. Raises OSError."""
        self._write(f"\n== {title} ({time.monotonic() - self._started:.0f} s)\n".encode())
        self._progress(title)

    def note(self, text: str) -> None:
        """Something that a reader of the log has to know; said to the person, too. Raises OSError."""
        self._write(f"note: {text}\n".encode())
        self._progress(f"note: {text}")

    def run(
        self,
        command: Sequence[str | Path],
        remedy: str,
        *,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        output: Path | None = None,
    ) -> None:
        """Run a command, without input, its words logged; with *output*, its standard output goes to that file.

        Raises BuildError where it fails: which command, where its words are, and the *remedy*; OSError.
        """
        words = [str(word) for word in command]
        self._write(f"$ {' '.join(words)}\n".encode())
        start = self._file.tell()
        with output.open("wb") if output else os.fdopen(os.dup(self._file.fileno()), "wb") as out:
            code = _run(words, out, self._file, environment, folder)
        self._file.seek(0, os.SEEK_END)
        self.last_error = self._tail(start)
        if code != 0:
            self._fail(Path(words[0]).name, code, remedy)

    def close(self) -> None:
        """The log is complete. Raises OSError."""
        self._file.close()

    def _fail(self, name: str, code: int, remedy: str) -> None:
        if _FULL in self.last_error:
            raise BuildError(f"{name}: no space left on the disk; a build needs about 3 GB beside OUT and in TMPDIR")
        lines = [line for line in self.last_error.decode("utf-8", "replace").splitlines() if line.strip()]
        said = f": {lines[-1][:300]}" if lines else ""
        raise BuildError(f"{name} failed ({code}){said}; {remedy}")

    def _tail(self, start: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek(max(start, self._file.tell() - _TAIL))
            return file.read()

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._file.flush()


def _run(
    words: list[str], out: IO[bytes], error: IO[bytes], environment: Mapping[str, str] | None, folder: Path | None
) -> int:
    """Its exit code. Nothing may interrupt between its start and the moment from which an interruption ends it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _INTERRUPTIONS)
    try:
        child = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=error,
            env=environment,
            cwd=folder,
            start_new_session=True,
            preexec_fn=_open_to_interruption,  # noqa: PLW1509  # no threads here
        )
        return _wait(child)
    except FileNotFoundError:
        raise BuildError(f"{words[0]} is not installed; packages/ lists what a build needs") from None
    finally:
        _open_to_interruption()


def _wait(child: subprocess.Popen[bytes]) -> int:
    """Its exit code; where this program is interrupted, its whole process group is ended first."""
    try:
        _open_to_interruption()
        return child.wait()
    except BaseException:
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(child.pid, number)
                child.wait(_GRACE_S)
                break
            except subprocess.TimeoutExpired:
                continue
            except ProcessLookupError:
                break
        raise


def _open_to_interruption() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _INTERRUPTIONS)
