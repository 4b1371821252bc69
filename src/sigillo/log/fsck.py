"""Check a whole log against itself, from its raw files: spec/log-storage.md, "fsck". The numbers are the spec's.

It writes nothing. It reads up to the size of the checkpoint that it read first, so a writer may live beside it. What it
leaves out it says.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from sigillo import disk
from sigillo.core.checkpoint import SignedCheckpoint, decode_checkpoint, verify_checkpoint
from sigillo.core.entry import Kind, decode_entry
from sigillo.core.epoch import decode_statement
from sigillo.core.errors import DecodeError, MerkleError, SigilloError, SignatureError
from sigillo.core.heads import encode_heads
from sigillo.core.mark import decode_mark
from sigillo.core.merkle import leaf_hash, subtree_root, tree_root
from sigillo.core.note import LogKey
from sigillo.core.spool import Record as SpoolRecord
from sigillo.core.tile import ENTRIES, WIDTH, Tile, node_reader, tile_in_tree, tiles
from sigillo.log.anchor_check import check_anchors
from sigillo.log.cosigned import COSIGNED, read_cosigned
from sigillo.log.cursor import SpoolCursor
from sigillo.log.error import LogError, Refusal, naming
from sigillo.log.history import History
from sigillo.log.public import CHECKPOINT, PublicLog
from sigillo.log.recent import Recent
from sigillo.log.record import SEGMENT_ENTRIES, Record
from sigillo.log.store import StoreReader
from sigillo.log.tile_file import TileFiles
from sigillo.log.tree import Tree

_AFTER_END: Final = frozenset({Kind.HEADS, Kind.TOKEN, Kind.ATTESTATION_EVIDENCE, Kind.KEY_CHANGE})
_REMEDY: Final = "name the folder of an operator, in which there is log/"
_MOVES: Final = (
    "a log is running here, so what lies behind its checkpoint moves: records and tiles there, and the spool, were not "
    "looked at; stop it (sigillo up) to have them checked"
)
_NOT_KEPT: Final = (
    "the objects of the entries before {} are not kept (keep_entries): nothing of them was checked but the entries, "
    "nor, in the epoch where the store begins, the heads and the first link of each principal's chain"
)
_STEP: Final = 4096
"""Entries between two reports of progress."""


class Fault(LogError):
    """The first fault of a log, by file and entry. *check*: its number in the spec."""

    def __init__(self, check: int, place: str, reason: str) -> None:
        super().__init__(f"{place}: {reason}")
        self.check, self.place, self.reason = check, place, reason


@dataclass(frozen=True, slots=True)
class Progress:
    """Check *check* has come to entry *done* of *size*."""

    check: int
    done: int
    size: int


@dataclass(frozen=True, slots=True)
class NotChecked:
    """What these checks, by number, did not look at, and why."""

    checks: tuple[int, ...]
    reason: str


def fsck(folder: Path, key: LogKey) -> Iterator[Progress | NotChecked]:
    """Check `DIR` = *folder* with its `log/`, `spool/` and `epochs/`, under this log key.

    Yields where it is, and what it leaves out; ends where all is well. Raises Fault for the first fault, LogError where
    a file cannot be read.
    """
    yield from _Check(folder, key).run()


class _Check:
    def __init__(self, folder: Path, key: LogKey) -> None:
        self._folder, self._key = folder, key
        self._log = folder / "log"
        self._public = self._log / "public"
        self._files = TileFiles(self._public)
        self._order = _Order()
        self._tokens: dict[int, bytes] = {}

    def run(self) -> Iterator[Progress | NotChecked]:
        with ExitStack() as resources, naming(self._log, _REMEDY):
            alone = self._lock(resources)
            self._head = self._checkpoint().head
            yield from self._tiles()
            self._tree = Tree(self._public, self._head.size, self._head.root)
            resources.callback(self._tree.close)
            self._cosigned()
            self._history = History(self._key, self._tree.root_at)
            yield from self._store()
            self._statements()
            self._anchors()
            if alone:
                self._behind()
                self._spool()
            else:
                self._grown()
                yield NotChecked((6, 7), _MOVES)

    def _lock(self, resources: ExitStack) -> bool:
        """Whether no writer lives, and none will until this is done."""
        descriptor = disk.open_folder(self._log)
        resources.callback(os.close, descriptor)
        try:
            disk.lock(descriptor, 0)
        except BlockingIOError:
            return False
        return True

    def _checkpoint(self) -> SignedCheckpoint:
        """1."""
        path = self._public / CHECKPOINT
        data = path.read_bytes()
        try:
            signed = decode_checkpoint(data)
            verify_checkpoint(signed, self._key)
        except SigilloError as error:
            raise Fault(1, str(path), str(error)) from None
        return signed

    def _cosigned(self) -> None:
        """1, of what witnesses have cosigned; a larger one than the checkpoint is for the witnesses to tell (W0)."""
        path = self._public / COSIGNED
        try:
            signed = read_cosigned(self._log)
            if signed is None or verify_checkpoint(signed, self._key).size > self._head.size:
                return
        except (LogError, SignatureError) as error:
            raise Fault(1, str(path), str(error)) from None
        if self._tree.root_at(signed.head.size) != signed.head.root:
            raise Fault(1, str(path), f"its tree, of size {signed.head.size}, is no prefix of the log")

    def _tiles(self) -> Iterator[Progress]:
        """2 and 3, in one pass over the bundles; the tiles of higher levels follow."""
        size = self._head.size
        for tile in tiles(size):
            if tile.level == ENTRIES:
                self._bundle(tile)
                if tile.index % (_STEP // WIDTH) == 0:
                    yield Progress(2, min(tile.index * WIDTH, size), size)
            elif tile.level > 0:
                self._upper(tile)
        try:
            root = tree_root(size, node_reader(size, self._tile))
        except MerkleError as error:
            raise Fault(2, str(self._public), error.reason) from None
        if root != self._head.root:
            raise Fault(2, str(self._public / CHECKPOINT), f"its root is not that of the tiles at size {size}")

    def _bundle(self, bundle: Tile) -> None:
        """Every leaf is the hash of the entry in its bundle; the entries are in order."""
        tile = Tile(0, bundle.index, bundle.width)
        try:
            entries = self._files.bundle(bundle)
        except LogError as error:
            raise Fault(2, str(self._files.path(bundle)), _reason(error)) from None
        leaves = self._tile(tile)
        for at, (entry, leaf) in enumerate(zip(entries, leaves, strict=True)):
            index = bundle.index * WIDTH + at
            if leaf_hash(entry) != leaf:
                raise Fault(2, str(self._files.path(tile)), f"entry {index}: its leaf is not the hash of the entry")
            if entry[0] == Kind.TOKEN:
                self._tokens[index] = entry[13:]
            try:
                self._order.follow(index, entry)
            except SigilloError as error:
                raise Fault(3, str(self._files.path(bundle)), f"entry {index}: {error}") from None

    def _upper(self, tile: Tile) -> None:
        """Every hash of a higher level is the root of the tile below."""
        for at, expected in enumerate(self._tile(tile)):
            below = Tile(tile.level - 1, tile.index * WIDTH + at)
            if subtree_root(self._tile(below)) != expected:
                raise Fault(2, str(self._files.path(tile)), f"hash {at} is not the root of {below.path}")

    def _tile(self, tile: Tile) -> list[bytes]:
        try:
            return self._files.tile(tile)
        except LogError as error:
            raise Fault(2, str(self._files.path(tile)), _reason(error)) from None

    def _store(self) -> Iterator[Progress | NotChecked]:
        """4 and 5."""
        size = self._head.size
        folder = self._log / "store"
        try:
            self._reader = StoreReader(folder, self._key.key_id32)
        except LogError as error:
            raise Fault(4, str(folder), str(error)) from None
        first = self._reader.first_kept
        if first:
            self._enter(first)
            yield NotChecked((4,), _NOT_KEPT.format(first))
        for segment in range(self._reader.segments.start, -(-size // SEGMENT_ENTRIES)):
            yield from self._segment(segment, min(size - segment * SEGMENT_ENTRIES, SEGMENT_ENTRIES))

    def _enter(self, first: int) -> None:
        """Retention has deleted what is before entry *first*: the epoch there is known by its stored statement."""
        public = PublicLog(self._public)
        kept = first < self._head.size and public.entry(first - 1)
        if not kept or public.find(Kind.EPOCH_STATEMENT, kept.epoch + 1, 0) is None:
            newest = public.entry(self._head.size - 1).epoch
            raise Fault(4, str(self._reader.folder), f"does not hold all of epoch {newest}, the newest")
        path = self._folder / "epochs" / f"{kept.epoch:010}.cose"
        begin, mark, end = (
            public.find(kind, kept.epoch, sequence)
            for kind, sequence in (
                (Kind.EPOCH_STATEMENT, 0),
                (Kind.MARK, kept.sequence),
                (Kind.EPOCH_END, kept.sequence),
            )
        )
        try:
            statement = path.read_bytes()
            if begin is None or decode_statement(statement).epoch_id != public.entry(begin).object_hash:
                raise Refusal("is not the statement that is logged")
            last = public.entry(begin if mark is None else mark).object_hash
            ended = end is not None and end < first
            self._history.enter(statement, kept.sequence, last, ended=ended, size=first)
        except FileNotFoundError:
            raise Fault(7, str(path), f"is missing, and the store begins inside epoch {kept.epoch}") from None
        except SigilloError as error:
            raise Fault(7, str(path), str(error)) from None

    def _segment(self, segment: int, count: int) -> Iterator[Progress]:
        """The first *count* records of a segment, found without its index file, which is compared."""
        index = segment * SEGMENT_ENTRIES
        path, index_path = self._reader.objects_path(segment), self._reader.index_path(segment)
        if segment not in self._reader.segments:
            raise Fault(4, str(path), f"entry {index}: is missing")
        offsets = index_path.read_bytes() if index_path.exists() else b""
        for at, record in enumerate(self._reader.scan(segment, count)):
            if record.entry != self._entry(record.index):
                raise Fault(4, str(path), f"entry {record.index}: is not the one of the bundle")
            self._admit(4, path, record)
            if offsets[8 * at : 8 * at + 8] != record.offset.to_bytes(8, "big"):
                raise Fault(5, str(index_path), f"entry {record.index}: its offset is not right")
            index += 1
            if index % _STEP == 0:
                yield Progress(4, index, self._head.size)
        if index < segment * SEGMENT_ENTRIES + count:
            raise Fault(4, str(path), f"entry {index}: its record is missing or does not hold")

    def _admit(self, check: int, path: Path, record: Record) -> None:
        """The object is the one of the entry, and follows what precedes it."""
        try:
            if self._history.admit(decode_entry(record.entry).kind, record.object_bytes) != record.entry:
                raise Refusal("its object is not the one of the entry")
        except SigilloError as error:
            raise Fault(check, str(path), f"entry {record.index}: {error}") from None

    def _entry(self, index: int) -> bytes:
        return self._files.bundle(tile_in_tree(ENTRIES, index // WIDTH, self._head.size))[index % WIDTH]

    def _grown(self) -> None:
        """1: the newest checkpoint of a living log is of the same history."""
        head = self._checkpoint().head
        try:
            same = tree_root(self._head.size, TileFiles(self._public).reader(head.size)) == self._head.root
        except (MerkleError, LogError) as error:
            raise Fault(1, str(self._public / CHECKPOINT), str(error)) from None
        if not same or head.size < self._head.size:
            what = f"its history of size {head.size} is not that of size {self._head.size} gone on"
            raise Fault(1, str(self._public / CHECKPOINT), what)

    def _behind(self) -> None:
        """6: records and tiles that a crash left behind the checkpoint agree with each other."""
        index = self._head.size
        while index // SEGMENT_ENTRIES in self._reader.segments:
            segment, skipped = divmod(index, SEGMENT_ENTRIES)
            for record in islice(self._reader.scan(segment), skipped, None):
                self._admit(6, self._reader.objects_path(segment), record)
                self._tree.append(record.entry)
                index += 1
            if index < (segment + 1) * SEGMENT_ENTRIES:
                break
        for tile, data in self._tree.contents():
            path = self._files.path(tile)
            if path.exists() and path.read_bytes() != data:
                raise Fault(6, str(path), "is not what the records behind the checkpoint give")

    def _statements(self) -> None:
        """7: every stored statement but the newest is logged."""
        folder = self._folder / "epochs"
        public = PublicLog(self._public)
        numbers = sorted(int(path.stem) for path in folder.glob("[0-9]" * 10 + ".cose"))
        for number in numbers:
            path = folder / f"{number:010}.cose"
            index = public.find(Kind.EPOCH_STATEMENT, number, 0)
            if index is None:
                if number != numbers[-1] or number > self._history.epoch + 1:
                    raise Fault(7, str(path), f"the statement of epoch {number} is not logged")
                continue
            try:
                epoch_id = decode_statement(path.read_bytes()).epoch_id
            except DecodeError as error:
                raise Fault(7, str(path), str(error)) from None
            if public.entry(index).object_hash != epoch_id:
                raise Fault(7, str(path), f"is not the statement that is logged as entry {index}")

    def _anchors(self) -> None:
        """8."""
        check_anchors(
            self._log,
            self._key,
            size=self._head.size,
            tokens=self._tokens,
            root_at=self._tree.root_at,
            fault=lambda path, reason: Fault(8, path, reason),
        )

    def _spool(self) -> None:
        """7: the spool of the newest epoch logged; and the statement that comes next, with its spool."""
        history = self._history
        self._spooled()
        path = self._folder / "epochs" / f"{history.epoch + 1:010}.cose"
        if not path.exists():
            return
        try:
            if history.lacks_heads:
                history.admit(Kind.HEADS, encode_heads(history.head_table().heads))
            history.admit(Kind.EPOCH_STATEMENT, path.read_bytes())
        except SigilloError as error:
            raise Fault(7, str(path), str(error)) from None
        self._spooled()

    def _spooled(self) -> None:
        """What follows in the spool follows without hole; what is logged of it is the same there."""
        history = self._history
        if history.epoch == 0:
            return
        folder = self._folder / "spool" / f"{history.epoch:010}"
        cursor = SpoolCursor(folder, history.epoch, history.epoch_id, lambda: history.sequence + 1)
        public = PublicLog(self._public)
        records = cursor.records()
        while (record := _next(records)) is not None:
            place = cursor.place
            try:
                if record.kind is Kind.EPOCH_STATEMENT:
                    continue
                if record.kind is Kind.MARK and record.sequence <= history.sequence:
                    index = public.find(Kind.MARK, history.epoch, record.sequence)
                    logged = index is None or public.entry(index).object_hash
                    if index is not None and decode_mark(record.object_bytes).object_hash != logged:
                        raise Refusal(f"mark {record.sequence} is another one than entry {index}")
                elif not history.ended:
                    history.admit(record.kind, record.object_bytes)
            except SigilloError as error:
                raise Fault(7, place, str(error)) from None


class _Order:
    """3: the order of the entries, by themselves."""

    def __init__(self) -> None:
        self._epoch = self._sequence = 0
        self._ended = False
        self._heads: int | None = None
        self._recent = Recent()

    def follow(self, index: int, entry_bytes: bytes) -> None:
        """Take the next entry. Raises Refusal where it may not come here, DecodeError."""
        entry = decode_entry(entry_bytes)
        if entry.kind is Kind.EPOCH_STATEMENT:
            if entry.epoch != self._epoch + 1:
                raise Refusal(f"the statement of epoch {entry.epoch} comes after epoch {self._epoch}")
            self._epoch, self._sequence, self._ended, self._heads = entry.epoch, 0, False, None
            return
        if entry.epoch != self._epoch:
            raise Refusal(f"epoch {entry.epoch}, in epoch {self._epoch}")
        if self._ended and entry.kind not in _AFTER_END:
            raise Refusal(f"{entry.kind.name} after the end of the epoch")
        if entry.sequence != self._sequence + (entry.kind is Kind.MARK):
            raise Refusal(f"{entry.kind.name} {entry.sequence} comes after mark {self._sequence}")
        if entry.kind is Kind.HEADS:
            if self._heads == entry.sequence:
                raise Refusal("the heads are there twice")
            self._heads = entry.sequence
        logged = self._recent.find(entry.object_hash, index)
        if logged is not None:
            raise Refusal(f"its object is that of entry {logged}")
        self._recent.add(index, entry_bytes)
        self._sequence = entry.sequence
        self._ended = self._ended or entry.kind is Kind.EPOCH_END


def _next(records: Iterator[SpoolRecord]) -> SpoolRecord | None:
    """The next record that holds. A torn tail is no fault: what is before it stands."""
    try:
        return next(records, None)
    except (Refusal, DecodeError):
        return None


def _reason(error: LogError) -> str:
    """What is wrong, without the path before it."""
    return str(error).partition(": ")[2]
