"""Marked messages in SQLite. Untrusted by design: marks are decoded, not verified, and whoever exports verifies.

A message is kept once per epoch id, sequence and object hash. The hash is part of the key because marks are not
verified here: a forged mark that came first (in a last will, which passes the plugin by) must not keep the real one
out.

Durability: what `add` has committed survives a power cut (WAL with synchronous = FULL); only then is it acknowledged.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from sigillo.archive.error import ArchiveError

_VERSION = 1
_MAX_INTEGER = 2**63 - 1
_SCHEMA = """
CREATE TABLE message (
    epoch_id BLOB NOT NULL, sequence INTEGER NOT NULL, object_hash BLOB NOT NULL,
    principal TEXT NOT NULL, time_ns INTEGER NOT NULL, topic TEXT NOT NULL, payload BLOB NOT NULL, mark BLOB NOT NULL,
    PRIMARY KEY (epoch_id, sequence, object_hash)
) WITHOUT ROWID;
CREATE INDEX message_of_principal ON message (principal, epoch_id, sequence);
CREATE TABLE aside (
    number INTEGER PRIMARY KEY, topic BLOB NOT NULL, payload BLOB NOT NULL, mark TEXT NOT NULL, reason TEXT NOT NULL
);
"""


@dataclass(frozen=True, slots=True)
class Message:
    """A message with its mark. `time_ns`: of the mark; `mark`: tagged object with its salt, as it came."""

    epoch_id: bytes
    sequence: int
    object_hash: bytes
    principal: str
    time_ns: int
    topic: str
    payload: bytes
    mark: bytes

    @property
    def storable(self) -> bool:
        """SQLite's integers have 63 bits, the format's 64; no honest broker comes near."""
        return self.sequence <= _MAX_INTEGER and self.time_ns <= _MAX_INTEGER


@dataclass(frozen=True, slots=True)
class Aside:
    """A message whose mark cannot be read: kept apart, for people. `topic` and `mark` as they came."""

    topic: bytes
    payload: bytes
    mark: str
    reason: str


class Store:
    """The archive's database. One writer; readers see what is committed."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @classmethod
    def open(cls, path: Path) -> Store:
        """Open for writing; made (0600) where there is none. Raises ArchiveError."""
        return cls(_connect(path, "rwc"))

    @classmethod
    def open_to_read(cls, path: Path) -> Store:
        """Open an existing database, not to change it. Raises ArchiveError."""
        return cls(_connect(path, "ro"))

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

    def add(self, messages: Iterable[Message], aside: Iterable[Aside]) -> int:
        """Commit a batch; returns how many messages are new. Raises ArchiveError."""
        rows = [
            (m.epoch_id, m.sequence, m.object_hash, m.principal, m.time_ns, m.topic, m.payload, m.mark)
            for m in messages
        ]
        others = [(item.topic, item.payload, item.mark, item.reason) for item in aside]
        try:
            with self._connection:
                cursor = self._connection.executemany("INSERT OR IGNORE INTO message VALUES (?,?,?,?,?,?,?,?)", rows)
                self._connection.executemany("INSERT INTO aside VALUES (NULL,?,?,?,?)", others)
        except sqlite3.Error as error:
            raise ArchiveError(f"the archive cannot be written: {error}") from None
        return max(cursor.rowcount, 0)

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Whatever is read within the block is what was committed at its first reading. Raises ArchiveError."""
        list(self._rows("BEGIN"))
        try:
            yield
        finally:
            self._connection.rollback()

    def principals(self) -> list[str]:
        """Every principal of which there is a message, in order."""
        return [row[0] for row in self._rows("SELECT DISTINCT principal FROM message ORDER BY principal")]

    def newest_marks(self, epoch_id: bytes) -> Iterator[bytes]:
        """The marks of an epoch, highest sequence first, not verified; read while they are iterated."""
        query = "SELECT mark FROM message WHERE epoch_id = ? ORDER BY sequence DESC"
        return (row[0] for row in self._rows(query, epoch_id))

    def messages(self, epoch_id: bytes, principals: Iterable[str], *, newest_first: bool = False) -> Iterator[Message]:
        """Messages of some principals in an epoch, in the order of their sequence; read while they are iterated."""
        names = list(principals)
        marks = ",".join("?" * len(names))
        order = "DESC" if newest_first else "ASC"
        query = (  # question marks and a constant are all that is put into it
            "SELECT epoch_id, sequence, object_hash, principal, time_ns, topic, payload, mark FROM message "  # noqa: S608
            f"WHERE epoch_id = ? AND principal IN ({marks}) ORDER BY sequence {order}, object_hash"
        )
        return (Message(*row) for row in self._rows(query, epoch_id, *names))

    def _rows(self, query: str, *values: object) -> Iterator[tuple[Any, ...]]:
        try:
            yield from self._connection.execute(query, values)
        except sqlite3.Error as error:
            raise ArchiveError(f"the archive cannot be read: {error}") from None


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=30)
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version == 0 and mode == "rwc":
            path.chmod(0o600)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")
        elif version != _VERSION:
            raise ArchiveError(f"{path}: has version {version}, this program reads {_VERSION}")
        connection.execute("PRAGMA synchronous = FULL")
    except sqlite3.Error as error:
        raise ArchiveError(f"{path}: cannot be opened ({error})") from None
    return connection
