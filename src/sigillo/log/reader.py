"""The log with its mark store, read beside its writer: objects, proofs, and heads derived again from the marks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sigillo.core.checkpoint import SignedCheckpoint, verify_checkpoint
from sigillo.core.entry import Kind, decode_entry
from sigillo.core.errors import DecodeError, SigilloError, SignatureError
from sigillo.core.heads import HeadTable
from sigillo.core.merkle import inclusion_proof
from sigillo.core.note import LogKey
from sigillo.core.proof import EntryProof
from sigillo.log.cosigned import COSIGNED, read_cosigned
from sigillo.log.error import RESTORED, LogError, naming
from sigillo.log.history import History
from sigillo.log.matched import matched
from sigillo.log.public import CHECKPOINT, PublicLog
from sigillo.log.record import Record
from sigillo.log.resume import read_point, restore
from sigillo.log.store import StoreReader

VKEY = "log.vkey"
_REMEDY = "name the folder of an operator, in which there is log/"


class LogReader:
    """`DIR/log` up to a checkpoint whose signature is verified. Tiles and records are believed as they are."""

    def __init__(self, folder: Path, key: LogKey) -> None:
        """*folder*: `DIR/log`. Raises LogError."""
        self.folder = folder
        self.key = key
        self.public = PublicLog(folder / "public")
        self.checkpoint = self._checkpoint()
        with naming(folder / "store", _REMEDY):
            self._store = StoreReader(folder / "store", key.key_id32)

    def _checkpoint(self) -> SignedCheckpoint:
        return self._verified(self.public.checkpoint(), CHECKPOINT)

    def _verified(self, signed: SignedCheckpoint, file: str) -> SignedCheckpoint:
        try:
            verify_checkpoint(signed, self.key)
        except SignatureError as error:
            raise LogError(f"{self.folder / 'public' / file}: {error}; {RESTORED}") from None
        return signed

    def refresh(self) -> SignedCheckpoint:
        """Go on to the newest checkpoint. Raises LogError."""
        self.checkpoint = self._checkpoint()
        return self.checkpoint

    def go_to_cosigned(self) -> bool:
        """Go to the newest checkpoint that witnesses have cosigned; False where there is none. Raises LogError."""
        signed = read_cosigned(self.folder)
        if signed is None:
            return False
        self.checkpoint = self._verified(signed, COSIGNED)
        self.public.at(self.checkpoint)
        return True

    def record(self, index: int) -> Record:
        """Entry and object number *index*. Raises LogError."""
        return next(self.records(index, index + 1))

    def records(self, begin: int, end: int) -> Iterator[Record]:
        """Entries and objects begin … end - 1; each entry is the one of its bundle. Raises LogError."""
        return matched(self._store, self.public, begin, end)

    @property
    def first_kept(self) -> int:
        """The first entry whose object the store still has: retention deletes those before."""
        return self._store.first_kept

    def proof(self, index: int) -> EntryProof:
        """Proof that entry *index* is in the log under the checkpoint. Raises LogError, MerkleError."""
        path = inclusion_proof(index, self.checkpoint.head.size, self.public.read)
        return EntryProof(index, tuple(path), self.checkpoint)

    def head_table(self, index: int) -> HeadTable:
        """All heads that the heads entry *index* stands for, from the marks before it. Raises LogError.

        Where it is not the one of the resume point it reads the epoch's marks: seconds for each 10,000.
        """
        entry = self.public.entry(index)
        begin = self.public.find(Kind.EPOCH_STATEMENT, entry.epoch, 0)
        if entry.kind is not Kind.HEADS or begin is None:
            raise LogError(f"{self.folder}: entry {index} is of kind {entry.kind.name}, not HEADS")
        history = History(self.key, lambda size: b"")
        point = read_point(self._store.folder)
        if point and point.heads == index and restore(history, point, self._store, self.public):
            return history.head_table()
        history.size = begin
        for record in self.records(begin, index + 1):
            try:
                if history.admit(decode_entry(record.entry).kind, record.object_bytes, verify=False) != record.entry:
                    raise DecodeError("entry", "is not that of the object beside it")
            except SigilloError as error:
                raise LogError(f"{self._store.folder}: entry {record.index}: {error}; {RESTORED}") from None
        return history.head_table()


def read_vkey(folder: Path) -> LogKey:
    """The log key as `DIR/log/log.vkey` names it. Raises LogError."""
    path = folder / VKEY
    with naming(path, _REMEDY):
        text = path.read_text("utf-8", "replace")
    try:
        return LogKey.from_vkey(text.strip())
    except DecodeError as error:
        raise LogError(f"{path}: {error}; {_REMEDY}") from None
