"""What the log has so far, as far as it decides what may come next; and the check of each object against it (I1).

The writer, its restart and fsck all go through `History.admit`: so what is logged, and what is accepted as a log, is
one thing. Memory grows with the principals of the newest epoch, not with its marks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sigillo.core.bytes import object_hash
from sigillo.core.entry import Kind, LogEntry, encode_entry
from sigillo.core.epoch import SignedStatement, decode_epoch_end, decode_statement
from sigillo.core.errors import MerkleError
from sigillo.core.heads import HeadTable, decode_heads, encode_heads, head_of
from sigillo.core.mark import Checkpoint, SignedMark, decode_mark
from sigillo.core.note import LogKey
from sigillo.core.signature import verify_by_epoch_key, verify_countersignature, verify_own_signature
from sigillo.core.statement import EpochStatement, HowEnded
from sigillo.core.submitted import submitted_hash
from sigillo.log.error import Refusal
from sigillo.log.recent import Recent

RootAt = Callable[[int], bytes]
"""Root of the tree of this log at a size."""


@dataclass(frozen=True, slots=True)
class _Last:
    """The last mark of a principal, and its object hash."""

    signed: SignedMark
    object_hash: bytes


class History:
    """The newest epoch of the log: its statement, position, time, and last mark of each principal."""

    def __init__(self, key: LogKey, root_at: RootAt) -> None:
        """*key*: of the log; *root_at*: of the entries admitted so far."""
        self._key = key
        self._root_at = root_at
        self._named = Checkpoint()
        self.size = 0
        self.recent = Recent()
        self._statement: SignedStatement | None = None
        self._begin()

    def _begin(self) -> None:
        self.sequence = 0
        self.ended = False
        self.heads_sequence: int | None = None
        self._last_hash = self._epoch_id = b""
        self._time_ns = 0
        self._last: dict[str, _Last] = {}
        self._table: HeadTable | None = None

    @property
    def epoch(self) -> int:
        """Number of the newest epoch; 0: none."""
        return self._statement.statement.number if self._statement else 0

    @property
    def statement(self) -> SignedStatement:
        """Statement of the newest epoch. Raises Refusal where there is none."""
        if self._statement is None:
            raise Refusal("the log has no epoch yet")
        return self._statement

    @property
    def epoch_id(self) -> bytes:
        """Epoch id of the newest epoch."""
        return self._epoch_id

    @property
    def lacks_heads(self) -> bool:
        """Whether no heads are logged of the marks so far."""
        return self._statement is not None and self.heads_sequence != self.sequence

    def head_table(self) -> HeadTable:
        """Heads of the marks so far. Raises Refusal where there is no epoch."""
        if self._table is None or self._table.heads.last_sequence != self.sequence:
            heads = {principal: head_of(last.signed) for principal, last in self._last.items()}
            self._table = HeadTable(self.statement.epoch_id, self.sequence, heads)
        return self._table

    def admit(self, kind: Kind, data: bytes, *, verify: bool = True) -> bytes:
        """Take the next object; its entry, 45 bytes.

        *verify*: False for what this log has under a checkpoint of its own: then signatures, named checkpoints and the
        epoch before are not looked at. Raises Refusal, or the error of the check that failed.
        """
        if kind is Kind.MARK:
            hashed = self._mark(data, verify)
        elif kind is Kind.EPOCH_STATEMENT:
            hashed = self._new_epoch(data, verify)
        elif kind is Kind.EPOCH_END:
            hashed = self._end(data, verify)
        elif kind is Kind.HEADS:
            hashed = self._heads(data)
        elif kind is Kind.SEAL:
            raise Refusal("seals are not logged in this version")
        else:
            hashed = self._submitted(kind, data)
        entry = encode_entry(LogEntry(kind, self.statement.statement.number, self.sequence, hashed))
        self.recent.add(self.size, entry)
        self.size += 1
        return entry

    def _mark(self, data: bytes, verify: bool) -> bytes:
        signed = decode_mark(data)
        mark, statement = signed.mark, self._current()
        if verify:
            verify_by_epoch_key(signed, statement, self._epoch_id)
        elif signed.epoch_id != self._epoch_id:
            raise Refusal("it is of another epoch")
        if mark.sequence != self.sequence + 1:
            raise Refusal(f"mark {mark.sequence} does not follow {self.sequence}")
        if mark.time_ns < self._time_ns:
            raise Refusal("its time is before that of what precedes it")
        last = self._last.get(mark.principal)
        count, previous = (last.signed.mark.count, last.object_hash) if last else (0, self._epoch_id)
        if mark.count != count + 1 or mark.previous != previous:
            raise Refusal("it does not name its principal's mark before it")
        if verify:
            self._check_named(mark.checkpoint)
        hashed = signed.object_hash
        self._last[mark.principal] = _Last(signed, hashed)
        self.sequence, self._time_ns, self._last_hash = mark.sequence, mark.time_ns, hashed
        return hashed

    def _end(self, data: bytes, verify: bool) -> bytes:
        signed = decode_epoch_end(data)
        end, statement = signed.end, self._current()
        if verify:
            verify_by_epoch_key(signed, statement, self._epoch_id)
        elif signed.epoch_id != self._epoch_id:
            raise Refusal("it is of another epoch")
        if (end.last_sequence, end.last) != (self.sequence, self._last_hash):
            raise Refusal(f"the end covers {end.last_sequence}, the last mark is {self.sequence}, or another one")
        if end.time_ns < self._time_ns:
            raise Refusal("its time is before that of what precedes it")
        self.ended, self._time_ns = True, end.time_ns
        return signed.object_hash

    def _new_epoch(self, data: bytes, verify: bool) -> bytes:
        signed = decode_statement(data)
        if verify:
            statement = signed.statement
            verify_own_signature(signed)
            verify_countersignature(signed, self._key.public_key)
            if (statement.log_origin, statement.log_key_id) != (self._key.name, self._key.key_id32):
                raise Refusal("the statement names another log")
            if statement.number != self.epoch + 1:
                raise Refusal(f"it is of epoch {statement.number}, the log has {self.epoch}")
            self._check_previous(statement)
            self._check_named(statement.log_checkpoint)
        self._statement = signed
        self._begin()
        self._epoch_id = self._last_hash = signed.epoch_id
        self._time_ns = signed.statement.start_ns
        return self._epoch_id

    def _check_previous(self, statement: EpochStatement) -> None:
        """What a statement says of the epoch before is what the log has of it."""
        previous = statement.previous
        if previous is None:  # only epoch 1: its decoder sees to that
            return
        if (previous.epoch_id, previous.last_sequence) != (self._epoch_id, self.sequence):
            raise Refusal(
                f"the statement says that the epoch before ended with mark {previous.last_sequence}, the log has "
                f"{self.sequence}, or another epoch"
            )
        if (previous.ended is HowEnded.CLEAN) != self.ended:
            raise Refusal("the statement and the log differ in whether the epoch before ended cleanly")
        raised = previous.ended is HowEnded.LOGGED_UP_TO and previous.last_time_ns > self._time_ns
        if previous.last_time_ns != self._time_ns and not raised:
            raise Refusal("the statement gives another last time of the epoch before than the log")

    def _heads(self, data: bytes) -> bytes:
        heads = decode_heads(data)
        if data != encode_heads(self.head_table().heads):
            raise Refusal("the heads are not those of the marks before")
        self.heads_sequence = heads.last_sequence
        return object_hash("heads", data)

    def _submitted(self, kind: Kind, data: bytes) -> bytes:
        hashed = submitted_hash(kind, data)
        logged = self.recent.find(hashed, self.size)
        if logged is not None:
            raise Refusal(f"the object is logged already, as entry {logged}")
        return hashed

    def _current(self) -> EpochStatement:
        if self.ended:
            raise Refusal("the epoch has ended before it")
        return self.statement.statement

    def _check_named(self, named: Checkpoint) -> None:
        """A checkpoint that an object names is a prefix of this log, no longer than what precedes the object."""
        if named == self._named:
            return
        if named.size > self.size:
            raise Refusal(f"it names a checkpoint of size {named.size}, but only {self.size} entries precede it")
        try:
            found = self._root_at(named.size)
        except MerkleError:  # longer than what was ever signed
            found = b""
        if found != named.root:
            raise Refusal(f"it names a checkpoint of size {named.size} that is not of this log")
        self._named = named
