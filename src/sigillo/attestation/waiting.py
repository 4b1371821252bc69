"""Credentials that a registrar has given out and that are not answered yet: one file each, for a day at most.

A file has the hash of the secret and not the secret: who reads it cannot answer. Under the registrar's lock only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sigillo import disk
from sigillo.core.errors import DecodeError
from sigillo.core.registration_exchange import MAX_BYTES, Pending, decode_pending, encode_pending

LIFETIME_NS: Final = 24 * 3600 * 10**9
MAX_WAITING: Final = 256


class Waiting:
    """The files of a folder (0700), which is made where it is not there. Every method raises OSError."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, pending: Pending) -> None:
        """Keep one more; what is over its time goes, and the oldest where there are too many. Raises DecodeError."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        disk.sweep(self._folder, "")
        left = self._sweep(pending.time_ns)
        for older in left[: len(left) - MAX_WAITING + 1]:
            self._path(older.number).unlink()
        disk.create(self._path(pending.number), encode_pending(pending), disk.PRIVATE)

    def take(self, number: bytes, now_ns: int) -> Pending | None:
        """The credential of this number, which is gone then; None where there is none, or its time is over."""
        found = next((pending for pending in self._sweep(now_ns) if pending.number == number), None)
        if found is not None:
            self._path(number).unlink()
            disk.sync_folder(self._folder)
        return found

    def _sweep(self, now_ns: int) -> list[Pending]:
        """Remove those whose time is over, and what is none; the others, oldest first."""
        left = []
        for path in sorted(self._folder.glob("*.cbor")):
            pending = _read(path)
            if pending is None or not 0 <= now_ns - pending.time_ns <= LIFETIME_NS:
                path.unlink()
            else:
                left.append(pending)
        return sorted(left, key=lambda pending: pending.time_ns)

    def _path(self, number: bytes) -> Path:
        return self._folder / f"{number.hex()}.cbor"


def _read(path: Path) -> Pending | None:
    """A damaged file is no loss: the operator asks again."""
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    try:
        pending = decode_pending(data)
    except DecodeError:
        return None
    return pending if path.name == f"{pending.number.hex()}.cbor" else None
