"""What comes next in the log (I1): what was submitted, then the spool of the newest epoch, then the next statement."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from sigillo.core.entry import Kind
from sigillo.core.errors import SigilloError
from sigillo.core.heads import encode_heads
from sigillo.core.spool import Record
from sigillo.log.cursor import SpoolCursor
from sigillo.log.error import LogError, Refusal
from sigillo.log.history import History
from sigillo.log.incoming import Incoming
from sigillo.log.store import Item

_ALIVE: Final = (
    "the broker that wrote it lives: stop it, and keep the folder. What is logged stands; the next epoch says where "
    "this one ended"
)
_STATEMENT: Final = "put the right file back from your backup; where log and epochs were restored, begin a new log"


class Source:
    """Decides the next entries and their order; each is admitted to the history before it is given out."""

    def __init__(
        self,
        log: Path,
        spool: Path,
        epochs: Path,
        history: History,
        *,
        heads_interval_s: float,
        now: Callable[[], float],
    ) -> None:
        """*log*, *spool*, *epochs*: the folders of these names.

        *heads_interval_s*: between heads while marks come; *now*: monotonic seconds. Raises OSError.
        """
        self._spool, self._epochs, self._history = spool, epochs, history
        self._incoming = Incoming(log, lambda hashed: history.recent.find(hashed, history.size) is not None)
        self._interval_s, self._now = heads_interval_s, now
        self._heads_due = now() + heads_interval_s
        self._cursor: SpoolCursor | None = None
        self._closed = 0  # the epoch of which no more is believed
        self._droppable = True  # spools of earlier epochs may be there
        self._findings: list[str] = []

    def take(self, limit: int) -> list[Item]:
        """The next entries with their objects, at most *limit* and two more. Raises LogError: fatal."""
        items: list[Item] = []
        self._incoming.drop_logged()  # I0
        if self._history.epoch:
            for kind, data in self._incoming.take():
                self._admit(kind, data, items)
        while len(items) < limit:
            # looked for before the spool is read: once it is there, nothing more comes into that spool
            statement = self._next_statement()
            before = len(items)
            self._follow_spool(items, limit)
            if self._history.ended:
                self._add_heads(items)
            if len(items) == before:
                if statement is None:
                    break
                self._add_heads(items)
                self._add_statement(statement, items)
        if self._now() >= self._heads_due and self._history.sequence:
            self._add_heads(items)
        return items

    def findings(self) -> list[str]:
        """What did not hold, each given once."""
        found = [*self._findings, *self._incoming.findings]
        self._findings, self._incoming.findings = [], []
        return found

    def drop_covered(self) -> None:
        """D1: delete the spool segments whose every record is in the store and under a durable checkpoint."""
        try:
            if self._cursor:
                self._cursor.drop_passed()
            if self._droppable:
                for folder in self._spool.glob("[0-9]" * 10):
                    if int(folder.name) < self._history.epoch:
                        for path in folder.glob("*.spool"):
                            path.unlink(missing_ok=True)
                self._droppable = False
        except OSError as error:
            self._findings.append(f"{error.filename or self._spool}: a covered segment stays ({error.strerror})")

    def _next_statement(self) -> Path | None:
        path = self._epochs / f"{self._history.epoch + 1:010}.cose"
        return path if path.exists() else None

    def _follow_spool(self, items: list[Item], limit: int) -> None:
        """I1.2: what follows in the spool of the newest epoch logged."""
        history = self._history
        if history.epoch == 0 or history.ended or history.epoch == self._closed:
            return
        folder = self._spool / f"{history.epoch:010}"
        if self._cursor is None or self._cursor.folder != folder:
            self._cursor = SpoolCursor(folder, history.epoch, history.epoch_id, lambda: history.sequence + 1)
        cursor = self._cursor
        try:
            for record in cursor.records():
                if self._is_new(record):
                    if record.sequence != history.sequence + (record.kind is Kind.MARK):
                        raise Refusal(f"{record.kind.name} {record.sequence} does not follow {history.sequence}")
                    self._admit(record.kind, record.object_bytes, items)
                if record.kind is Kind.EPOCH_END or len(items) >= limit:
                    return
        except LogError:
            raise
        except SigilloError as error:
            if cursor.alive():
                raise LogError(f"{cursor.place}: {error}; {_ALIVE}") from None
            self._findings.append(f"{cursor.place}: epoch {history.epoch} is logged up to {history.sequence}: {error}")
            self._closed = history.epoch

    def _is_new(self, record: Record) -> bool:
        """Whether a record is behind the position; the statement came from the epoch store."""
        at = self._history.sequence
        if record.kind is Kind.EPOCH_STATEMENT or record.sequence < at:
            return False
        return record.kind is not Kind.MARK or record.sequence > at

    def _add_statement(self, path: Path, items: list[Item]) -> None:
        """I1.4: the next epoch."""
        try:
            self._admit(Kind.EPOCH_STATEMENT, path.read_bytes(), items)
        except SigilloError as error:
            raise LogError(f"{path}: {error}; {_STATEMENT}") from None
        self._droppable = True

    def _add_heads(self, items: list[Item]) -> None:
        """I1.3: the heads of the marks so far, unless they are logged."""
        if self._history.lacks_heads:
            self._admit(Kind.HEADS, encode_heads(self._history.head_table().heads), items)
            self._heads_due = self._now() + self._interval_s

    def _admit(self, kind: Kind, data: bytes, items: list[Item]) -> None:
        items.append((self._history.admit(kind, data), data))
