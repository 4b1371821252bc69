"""Accusation: two validly signed objects that contradict each other (spec/accusation.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sigillo.core.bytes import base64url_encode
from sigillo.core.canonical import canonical, canonical_object
from sigillo.core.checkpoint import TreeHead, decode_checkpoint, verify_checkpoint
from sigillo.core.entry import Kind, LogEntry, decode_entry
from sigillo.core.epoch import decode_epoch_end, decode_statement
from sigillo.core.errors import AccusationError, DecodeError, MerkleError, SignatureError, VerificationError
from sigillo.core.evidence_codec import Members
from sigillo.core.heads import Head, decode_head_proof, decode_heads, verify_head_proof
from sigillo.core.line import MAX_LINE
from sigillo.core.mark import Checkpoint, SignedMark, decode_mark
from sigillo.core.merkle import CompactRange, verify_inclusion
from sigillo.core.policy import Policy
from sigillo.core.signature import verify_by_epoch_key
from sigillo.core.statement import HowEnded
from sigillo.core.step import check_log_key, check_statement
from sigillo.core.trusted import VerifiedStatement

FORMAT: Final = "sigillo-accusation"
VERSION: Final = 1
_NOTES: Final = {("checkpoints", "first"), ("checkpoints", "second")}
MEMBERS: Final[Mapping[str, tuple[str, ...]]] = {
    "marks": ("statement", "first", "second"),
    "statements": ("first", "second"),
    "end": ("statement", "end", "mark"),
    "checkpoints": ("first", "second", "prefix", "rest"),
    "mark-checkpoint": ("statement", "mark", "checkpoint", "prefix", "rest"),
    "statement-checkpoint": ("statement", "checkpoint", "prefix", "rest"),
    "mark-next": ("statement", "mark", "next"),
    "mark-entry": ("statement", "mark", "checkpoint", "index", "entry", "path"),
    "mark-gap": ("statement", "mark", "checkpoint", "index", "entry", "path", "after", "after_path"),
    "mark-heads": ("statement", "mark", "checkpoint", "index", "heads", "path", "proof"),
}
"""By kind, its members."""

_HASHES: Final = frozenset({"prefix", "rest", "path", "after_path"})


@dataclass(frozen=True, slots=True)
class Accusation:
    """A kind of ``MEMBERS`` and its objects by member: bytes (a checkpoint as UTF-8), not decoded and not verified.

    *hashes*: lists of 32 bytes, by member; *index*: of the entry, where the kind has one.
    """

    kind: str
    objects: Mapping[str, bytes]
    hashes: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict)
    index: int = 0


def encode_accusation(accusation: Accusation) -> bytes:
    """The line, with its LF. Raises DecodeError for one that would not be read."""
    value: dict[str, Any] = {"format": FORMAT, "version": VERSION, "kind": accusation.kind}
    for member in MEMBERS[accusation.kind]:
        if member in _HASHES:
            value[member] = [base64url_encode(item) for item in accusation.hashes[member]]
        elif member == "index":
            value[member] = accusation.index
        elif _is_note(accusation.kind, member):
            value[member] = accusation.objects[member].decode("utf-8")
        else:
            value[member] = base64url_encode(accusation.objects[member])
    data = canonical(value) + b"\n"
    decode_accusation(data)
    return data


def decode_accusation(data: bytes) -> Accusation:
    """Decode an accusation file, and the form of its line; the objects are for `prove`. Raises DecodeError."""
    if len(data) > MAX_LINE or not data.endswith(b"\n"):
        raise DecodeError("accusation", f"is not one line of at most {MAX_LINE} bytes with its line feed")
    value = canonical_object(data[:-1], "accusation")
    fields = Members(value, "accusation")
    kind = value.get("kind")
    if not isinstance(kind, str) or kind not in MEMBERS:
        fields.refuse("kind", f"must be one of {', '.join(MEMBERS)}")
    members = MEMBERS[kind]
    fields.exactly({"format", "version", "kind", *members})
    if fields.text("format") != FORMAT or fields.integer("version") != VERSION:
        fields.refuse("format", f'this program reads format "{FORMAT}" version {VERSION}')
    objects = {
        member: fields.text(member).encode("utf-8") if _is_note(kind, member) else fields.binary(member)
        for member in members
        if member not in _HASHES and member != "index"
    }
    hashes = {member: fields.hashes(member) for member in members if member in _HASHES}
    return Accusation(kind, objects, hashes, fields.integer("index") if "index" in members else 0)


def is_accusation(data: bytes) -> bool:
    """Whether the first bytes of a file, up to the longest accusation and one more, claim to be one."""
    one_line = len(data) <= MAX_LINE and data.find(b"\n") in (-1, len(data) - 1)
    return one_line and b'"format":"sigillo-accusation"' in data


def _is_note(kind: str, member: str) -> bool:
    return member == "checkpoint" or (kind, member) in _NOTES


def prove(accusation: Accusation, policy: Policy) -> str:
    """Who misbehaved, and how, in one sentence.

    Raises AccusationError where the objects are not signed by who the policy says, or do not contradict each other.
    """
    try:
        return _PROOFS[accusation.kind](accusation, policy)
    except DecodeError as error:
        raise AccusationError(str(error)) from error
    except (SignatureError, MerkleError, VerificationError) as error:
        raise AccusationError(error.reason) from error


def _marks(accusation: Accusation, policy: Policy) -> str:
    verified = _statement(accusation.objects["statement"], policy)
    first, second = (_mark(accusation.objects[member], verified) for member in ("first", "second"))
    _require(first.mark.sequence == second.mark.sequence, "the two marks have different sequences")
    _require(first.object_hash != second.object_hash, "the two marks are one")
    return f"{_who(verified)}: two marks with sequence {first.mark.sequence} of epoch {_number(verified)}"


def _statements(accusation: Accusation, policy: Policy) -> str:
    first, second = (_statement(accusation.objects[member], policy) for member in ("first", "second"))
    _require(first.operator == second.operator, "the two statements are of two operators")
    _require(_number(first) == _number(second), "the two statements have different numbers")
    _require(first.own.epoch_id != second.own.epoch_id, "the two statements are one")
    return f"{_who(first)}: two statements of epoch {_number(first)}"


def _end(accusation: Accusation, policy: Policy) -> str:
    verified = _statement(accusation.objects["statement"], policy)
    signed = decode_epoch_end(accusation.objects["end"])
    _require(signed.epoch_id == verified.own.epoch_id, "the end is of another epoch")
    verify_by_epoch_key(signed, verified.own.statement, verified.own.epoch_id)
    mark, end = _mark(accusation.objects["mark"], verified), signed.end
    other_last = mark.mark.sequence == end.last_sequence and mark.object_hash != end.last
    _require(mark.mark.sequence > end.last_sequence or other_last, "the end covers the mark")
    ended = f"epoch {_number(verified)} ended with sequence {end.last_sequence}"
    return f"{_who(verified)}: {ended}, and there is {'another' if other_last else 'a'} mark {mark.mark.sequence}"


def _checkpoints(accusation: Accusation, policy: Policy) -> str:
    first, second = (_head(accusation.objects[member], policy) for member in ("first", "second"))
    _require(first.origin == second.origin, "the checkpoints are of two logs")
    _no_prefix(first.checkpoint, second, accusation)
    return f'whoever holds the key of log "{first.origin}": two histories, of size {first.size} and {second.size}'


def _mark_checkpoint(accusation: Accusation, policy: Policy) -> str:
    verified = _statement(accusation.objects["statement"], policy)
    mark = _mark(accusation.objects["mark"], verified).mark
    return _named(accusation, policy, verified, f"mark {mark.sequence} of epoch {_number(verified)}", mark.checkpoint)


def _statement_checkpoint(accusation: Accusation, policy: Policy) -> str:
    verified = _statement(accusation.objects["statement"], policy)
    named = verified.own.statement.log_checkpoint
    return _named(accusation, policy, verified, f"the statement of epoch {_number(verified)}", named)


def _named(accusation: Accusation, policy: Policy, verified: VerifiedStatement, what: str, named: Checkpoint) -> str:
    head = _head(accusation.objects["checkpoint"], policy)
    _require(head.origin == verified.operator.log_key.name, "the checkpoint is of another operator's log")
    _no_prefix(named, head, accusation)
    history = f"a history of size {named.size}, and the log's, of size {head.size}, is another"
    return f"{_who(verified)}: {what} names {history}"


def _mark_next(accusation: Accusation, policy: Policy) -> str:
    verified = _statement(accusation.objects["statement"], policy)
    following = _statement(accusation.objects["next"], policy)
    mark, previous = _mark(accusation.objects["mark"], verified).mark, following.own.statement.previous
    _require(following.operator == verified.operator, "the next statement is of another operator")
    _require(previous is not None and previous.epoch_id == verified.own.epoch_id, "the next statement follows another")
    assert previous
    _require(previous.ended is not HowEnded.LOGGED_UP_TO, "the next statement says that later marks may exist")
    _require(mark.sequence > previous.last_sequence, "the next statement covers the mark")
    ended = f"epoch {_number(verified)} ended with mark {previous.last_sequence}"
    return f"{_who(verified)}: the next statement says that {ended}, and there is a mark {mark.sequence}"


def _mark_entry(accusation: Accusation, policy: Policy) -> str:
    verified, signed, head = _mark_and_head(accusation, policy)
    entry = decode_entry(accusation.objects["entry"])
    place = (Kind.MARK, _number(verified), signed.mark.sequence)
    _require((entry.kind, entry.epoch, entry.sequence) == place, "the entry is not that of a mark with its number")
    _require(entry.object_hash != signed.object_hash, "the mark is logged")
    _included(accusation, head, entry)
    what = f"mark {signed.mark.sequence} of epoch {_number(verified)}"
    return f"{_who(verified)}: entry {accusation.index} of the log is another {what}"


def _mark_gap(accusation: Accusation, policy: Policy) -> str:
    verified, signed, head = _mark_and_head(accusation, policy)
    before, after = (decode_entry(accusation.objects[member]) for member in ("entry", "after"))
    place = _number(verified), signed.mark.sequence
    _require((before.epoch, before.sequence) < place, "the first entry does not come before the mark")
    _require(after.epoch == place[0], "the second entry is of another epoch")
    _require(after.sequence >= place[1], "the second entry comes before the mark")
    _require(after.kind is not Kind.MARK or after.sequence > place[1], "the second entry is a mark with that number")
    _included(accusation, head, before)
    _included(accusation, head, after, 1, "after_path")
    what = f"mark {place[1]} of epoch {place[0]}, though the epoch goes on there"
    return f"{_who(verified)}: entries {accusation.index} and {accusation.index + 1} of the log leave out {what}"


def _mark_heads(accusation: Accusation, policy: Policy) -> str:
    verified, signed, log_head = _mark_and_head(accusation, policy)
    heads, mark = decode_heads(accusation.objects["heads"]), signed.mark
    _require(heads.epoch_id == verified.own.epoch_id, "the heads are of another epoch")
    _require(mark.sequence <= heads.last_sequence, "the heads do not reach the mark")
    _included(accusation, log_head, LogEntry(Kind.HEADS, _number(verified), heads.last_sequence, heads.object_hash))
    head = verify_head_proof(decode_head_proof(accusation.objects["proof"]), heads, mark.principal)
    _require(denies(head, signed), "the heads admit the mark")
    denied = f"mark {mark.sequence} of epoch {_number(verified)}, which precedes them"
    return f"{_who(verified)}: the heads in entry {accusation.index} of the log deny {denied}"


def denies(head: Head | None, signed: SignedMark) -> bool:
    """Whether this principal's head, or its absence, contradicts a mark among those that the heads cover."""
    if head is None:
        return True
    mark = signed.mark
    if (head.count, head.last_sequence, head.last_mark) == (mark.count, mark.sequence, signed.object_hash):
        return False
    return head.count <= mark.count or head.last_sequence <= mark.sequence


_PROOFS: Final[Mapping[str, Callable[[Accusation, Policy], str]]] = {
    "marks": _marks,
    "statements": _statements,
    "end": _end,
    "checkpoints": _checkpoints,
    "mark-checkpoint": _mark_checkpoint,
    "statement-checkpoint": _statement_checkpoint,
    "mark-next": _mark_next,
    "mark-entry": _mark_entry,
    "mark-gap": _mark_gap,
    "mark-heads": _mark_heads,
}


def _statement(data: bytes, policy: Policy) -> VerifiedStatement:
    """Steps 2 and 3."""
    signed = decode_statement(data)
    return check_log_key(signed, check_statement(signed), policy)


def _mark(data: bytes, verified: VerifiedStatement) -> SignedMark:
    signed = decode_mark(data)
    _require(signed.epoch_id == verified.own.epoch_id, "a mark is of another epoch")
    verify_by_epoch_key(signed, verified.own.statement, verified.own.epoch_id)
    return signed


def _mark_and_head(accusation: Accusation, policy: Policy) -> tuple[VerifiedStatement, SignedMark, TreeHead]:
    """The mark, and a checkpoint of the log of its operator."""
    verified = _statement(accusation.objects["statement"], policy)
    signed = _mark(accusation.objects["mark"], verified)
    head = _head(accusation.objects["checkpoint"], policy)
    _require(head.origin == verified.operator.log_key.name, "the checkpoint is of another operator's log")
    return verified, signed, head


def _included(accusation: Accusation, head: TreeHead, entry: LogEntry, after: int = 0, path: str = "path") -> None:
    verify_inclusion(entry.leaf_hash, accusation.index + after, head.size, accusation.hashes[path], head.root)


def _head(data: bytes, policy: Policy) -> TreeHead:
    signed = decode_checkpoint(data)
    for operator in policy.operators:
        if operator.log_key.name == signed.head.origin:
            return verify_checkpoint(signed, operator.log_key)
    raise AccusationError(f'the policy pins no key for log "{signed.head.origin}"')


def _no_prefix(smaller: Checkpoint, larger: TreeHead, accusation: Accusation) -> None:
    """The tree of *smaller* is no prefix of *larger*'s: the hashes lead to the larger root, and not to the smaller."""
    size = smaller.size
    if size == larger.size:
        _require(not any(accusation.hashes.values()), "hashes where the sizes are equal")
        _require(smaller.root != larger.root, "the two checkpoints are one")
        return
    _require(1 <= size <= larger.size, f"a checkpoint of size {size} says nothing about one of size {larger.size}")
    whole = CompactRange(0, size, accusation.hashes["prefix"])
    root = whole.root()
    whole.merge(CompactRange(size, larger.size, accusation.hashes["rest"]))
    _require(whole.root() == larger.root, "the hashes do not lead to the root of the larger checkpoint")
    _require(root != smaller.root, "the smaller checkpoint is a prefix of the larger")


def _who(verified: VerifiedStatement) -> str:
    return f'operator "{verified.operator.name}"'


def _number(verified: VerifiedStatement) -> int:
    return verified.own.statement.number


def _require(condition: bool, reason: str) -> None:
    if not condition:
        raise AccusationError(reason)
