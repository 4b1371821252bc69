"""The one process that writes the log: start and rounds as in spec/log-storage.md, "Steps". Each step is named.

Storage contract, in short: the store decides the order (I3), tiles only say what the store says (T4), a signature comes
last (C2), and what is handed out is durable (C5). Whatever fails, nothing is tried again: the log stops, and its next
start goes on from the disk.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final

from sigillo import disk
from sigillo.core.bytes import EMPTY_ROOT
from sigillo.core.checkpoint import (
    SignedCheckpoint,
    TreeHead,
    decode_checkpoint,
    encode_checkpoint,
    sign_checkpoint,
    verify_checkpoint,
)
from sigillo.core.entry import Kind, decode_entry
from sigillo.core.errors import DecodeError, SigilloError, SignatureError
from sigillo.core.mark import Checkpoint
from sigillo.core.note import LogKey
from sigillo.core.tile import WIDTH
from sigillo.log.error import RESTORED, STOPPED, LogError, naming
from sigillo.log.history import History, RootAt
from sigillo.log.matched import matched
from sigillo.log.public import CHECKPOINT, PublicLog
from sigillo.log.recent import REACH
from sigillo.log.record import Record
from sigillo.log.resume import read_point, restore, write_point
from sigillo.log.source import Source
from sigillo.log.store import Store
from sigillo.log.tree import Tree

MAX_ROUND: Final = 16_384
"""Entries of one round: what is in memory until they are on disk."""

STOPPED_FOR_EVER: Final = "stopped"
"""File of a log that never signs again: why."""

Sign = Callable[[bytes], bytes]
BeforeSigning = Callable[[SignedCheckpoint, int], str | None]
"""W0: gets the present checkpoint, durable, and the size of the store; returns why this log may never sign again."""

CheckCounter = Callable[[Checkpoint, RootAt], None]
"""W1: gets the present checkpoint, durable, and roots of the store's tree; raises where the log is an old copy."""


def create_log(folder: Path, key: LogKey, sign: Sign) -> None:
    """Begin a log in *folder* (`DIR/log`): a signed checkpoint of size 0, and an empty store.

    Raises LogError where there is a log, or a part of one: from its first checkpoint on, a missing one is no new log.
    """
    public, store = folder / "public", folder / "store"
    with naming(folder, "give the log a folder that it may write"):
        if any(path.exists() for path in (public / CHECKPOINT, public / "tile", *store.glob("*.objects"))):
            raise LogError(f"{folder}: there is a log here, or a part of one; {RESTORED}")
        public.mkdir(mode=0o755, exist_ok=True)
        store.mkdir(mode=0o700, exist_ok=True)
        disk.sync_folder(folder)
        signed = sign_checkpoint(TreeHead(key.name, 0, EMPTY_ROOT), key, sign)
        disk.replace(public / CHECKPOINT, encode_checkpoint(signed), disk.PUBLIC)


class Log:
    """A log that is open to be written. After a LogError of `round` it writes and signs nothing more."""

    def __init__(self, folder: Path, key: LogKey, sign: Sign) -> None:
        """Use `open`."""
        self._folder, self._key, self._sign = folder, key, sign
        self._public = folder / "public"
        self._resources = ExitStack()
        self._stopped = False
        self._keep_entries = self._point = 0
        self._checkpoint_bytes = b""
        self._history: History
        self._checkpoint: SignedCheckpoint
        self._tree: Tree
        self._store: Store
        self._source: Source

    @classmethod
    def open(
        cls,
        folder: Path,
        key: LogKey,
        sign: Sign,
        *,
        spool: Path,
        epochs: Path,
        keep_entries: int = 0,
        heads_interval_s: float = 60.0,
        now: Callable[[], float] = time.monotonic,
        before_signing: BeforeSigning | None = None,
        check_counter: CheckCounter | None = None,
    ) -> Log:
        """Take the log's lock, find what a crash left, and finish the last round.

        Args:
            folder: `DIR/log`.
            key: the log key; its name is the origin.
            sign: Ed25519 signature of the log key, 64 bytes.
            spool: `DIR/spool`.
            epochs: `DIR/epochs`.
            keep_entries: of so many newest entries at least the objects are kept; 0: of all.
            heads_interval_s: between two heads entries while marks come.
            now: monotonic seconds.
            before_signing: asks the witnesses; without one nobody is asked.
            check_counter: compares with a TPM's counter; without one nothing is.

        Raises:
            LogError: names the file and says what to do; what *check_counter* raises.
        """
        log = cls(folder, key, sign)
        log._keep_entries = keep_entries
        try:
            with naming(folder, STOPPED):
                log._lock()
                log._recover()
                if check_counter:
                    disk.sync_folder(log._public)  # as in _ask
                    check_counter(log._checkpoint.head.checkpoint, log._tree.root_at)  # W1
                if before_signing:
                    log._ask(before_signing, log._history.size)
                log._source = Source(folder, spool, epochs, log._history, heads_interval_s=heads_interval_s, now=now)
                log._publish(first=True)
        except BaseException:
            log.close()
            raise
        return log

    def __enter__(self) -> Log:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the lock go. What is durable is durable already."""
        self._stopped = True
        self._resources.close()

    @property
    def checkpoint(self) -> SignedCheckpoint:
        """The newest checkpoint; it is durable."""
        return self._checkpoint

    @property
    def epoch(self) -> int:
        """Number of the newest epoch logged; 0: none."""
        return self._history.epoch

    @property
    def findings(self) -> list[str]:
        """What did not hold in a spool or in `incoming/`, for the operator; each is given once."""
        return self._source.findings()

    def round(self) -> SignedCheckpoint | None:
        """Log what has come, at most 16,384 entries: the new checkpoint, durable; None where nothing had come.

        Raises LogError, and then this log is of no more use: close it, and open it again when the cause is gone.
        """
        if self._stopped:
            raise LogError(f"{self._folder}: {STOPPED}")
        self._stopped = True  # until this round has gone well
        with naming(self._folder, STOPPED):
            items = self._source.take(MAX_ROUND)  # I0 I1
            signed = None
            if items:
                self._store.append(items)  # S1 S2 I2 I3
                for entry, _ in items:
                    self._tree.append(entry)
                signed = self._publish()
        self._stopped = False
        return signed

    def _lock(self) -> None:
        """W0."""
        descriptor = disk.open_folder(self._folder)
        self._resources.callback(os.close, descriptor)
        try:
            disk.lock(descriptor, 0)
        except BlockingIOError:
            raise LogError(f"{self._folder}: another process writes this log; stop that one first") from None
        stopped = self._folder / STOPPED_FOR_EVER
        if stopped.exists():
            raise LogError(f"{stopped}: {stopped.read_text('utf-8', 'replace').strip()}")

    def _ask(self, before_signing: BeforeSigning, store_size: int) -> None:
        """W0, once the store is known: who saw more than it holds ends this log for ever."""
        disk.sync_folder(self._public)  # what is handed out is durable, also where a crash came before C5
        reason = before_signing(self._checkpoint, store_size)
        if reason:
            disk.replace(self._folder / STOPPED_FOR_EVER, f"{reason}\n".encode(), disk.PUBLIC)
            raise LogError(f"{self._folder / STOPPED_FOR_EVER}: {reason}")

    def _recover(self) -> None:
        """R1 to R3."""
        self._read_checkpoint()
        size = self._checkpoint.head.size
        disk.sweep(self._public, "")
        self._tree = Tree(self._public, size, self._checkpoint.head.root)
        self._resources.callback(self._tree.close)
        store = self._folder / "store"
        if not store.is_dir():
            raise LogError(f"{store}: is missing; {RESTORED}")
        self._store = Store(store, self._key.key_id32)
        self._resources.callback(self._store.close)
        tail = self._store.recover(size)  # R2
        self._compare_last_bundle(size)
        self._history = History(self._key, self._tree.root_at)
        self._resume(self._history, size)
        for record in tail:
            self._admit(self._history, record, verify=True)
            self._tree.append(record.entry)
        self._store.rewrite(size, tail)  # R3
        self._store.flush()  # I3

    def _read_checkpoint(self) -> None:
        """R1."""
        path = self._public / CHECKPOINT
        try:
            self._checkpoint_bytes = path.read_bytes()
            self._checkpoint = decode_checkpoint(self._checkpoint_bytes)
            verify_checkpoint(self._checkpoint, self._key)
        except FileNotFoundError:
            raise LogError(f"{path}: is missing; {RESTORED}") from None
        except (DecodeError, SignatureError) as error:
            raise LogError(f"{path}: {error}; {RESTORED}") from None

    def _compare_last_bundle(self, size: int) -> None:
        """R2: the entries of the last bundle are those of the store's records."""
        begin = max(max(size - 1, 0) // WIDTH * WIDTH, self._store.first_kept)
        for _ in matched(self._store, PublicLog(self._public), begin, size):
            pass

    def _resume(self, history: History, size: int) -> None:
        """R2: the newest epoch under the checkpoint: its statement, position, and last marks.

        From the resume point on where it holds, else all of it is read again.
        """
        if size == 0:
            return
        public = PublicLog(self._public)
        epoch = public.entry(size - 1).epoch
        begin = public.find(Kind.EPOCH_STATEMENT, epoch, 0)
        if begin is None:
            raise LogError(f"{self._public}: epoch {epoch} has no statement in the log; {RESTORED}")
        if begin < self._store.first_kept:
            path = self._store.objects_path(self._store.segment_of(begin))
            raise LogError(f"{path}: is missing, and holds a part of epoch {epoch}, the newest; {RESTORED}")
        point = read_point(self._store.folder)
        if not (point and begin < point.heads < size and restore(history, point, self._store, public)):
            history.size = begin
        reached = max(history.size - REACH, 0)
        history.recent.extend(reached, public.entry_bytes(reached, history.size))
        for record in self._store.iterate(history.size, size):
            self._admit(history, record, verify=False)

    def _admit(self, history: History, record: Record, *, verify: bool) -> None:
        """R2: a record of the store, as in I1 where *verify*."""
        try:
            kind = decode_entry(record.entry).kind
            entry = history.admit(kind, record.object_bytes, verify=verify)
            if entry != record.entry:
                raise DecodeError("entry", "is not that of the object beside it")
        except LogError:
            raise
        except SigilloError as error:
            path = self._store.objects_path(self._store.segment_of(record.index))
            raise LogError(f"{path}: entry {record.index}, at byte {record.offset}: {error}; {RESTORED}") from None

    def _publish(self, *, first: bool = False) -> SignedCheckpoint:
        """T1 to D2, over all that the store has."""
        old_size = self._tree.size
        self._tree.write()  # T1 T2 T3 T4
        signed = self._next_checkpoint(first)
        data = encode_checkpoint(signed)
        disk.replace(self._public / CHECKPOINT, data, disk.PUBLIC)  # C3 C4 C5
        self._checkpoint, self._checkpoint_bytes = signed, data  # C6: who asks gets it from now on
        self._source.drop_covered()  # D1
        self._tree.drop_partial(old_size)  # D2
        self._forget()  # D3
        self._note_point()
        return signed

    def _forget(self) -> None:
        """D3: delete the segments of the store that are not to be kept; none of the newest epoch."""
        if self._keep_entries:
            end = min(self._history.begin, self._checkpoint.head.size - self._keep_entries)
            while (self._store.segments.start + 1) * self._store.segment_entries <= end:
                self._store.drop_lowest()

    def _note_point(self) -> None:
        """Renew the resume point where heads are logged of all marks so far."""
        history = self._history
        if not history.lacks_heads and history.heads_index != self._point:
            write_point(self._store.folder, history.heads_index, history.last_marks())
            self._point = history.heads_index

    def _next_checkpoint(self, first: bool) -> SignedCheckpoint:
        """C1, C2."""
        path = self._public / CHECKPOINT
        if path.read_bytes() != self._checkpoint_bytes:  # C1
            raise LogError(f"{path}: another hand has changed it; {RESTORED}")
        before = self._checkpoint.head
        size = self._tree.size
        root = self._tree.root_on_disk(size)
        if root != self._tree.root:
            raise LogError(f"{self._public / 'tile'}: what was written is read back as something else; {RESTORED}")
        if size < before.size or (size == before.size and (not first or root != before.root)):
            raise LogError(f"{path}: has size {before.size}, the tree now {size}; {RESTORED}")
        return sign_checkpoint(TreeHead(self._key.name, size, root), self._key, self._sign)  # C2
