"""The numbered steps of spec/verification.md, each one function that returns a proof or raises VerificationError.

The only module that makes the proofs of :mod:`sigillo.core.trusted`. How a file is walked through the steps, and what
a failure means for the rest of it, is :mod:`sigillo.core.verify`'s.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from cryptography import x509

from sigillo.core.certificate import CertifiedKey, verify_chain
from sigillo.core.checkpoint import SignedCheckpoint, verify_checkpoint
from sigillo.core.device_key import DeviceKey
from sigillo.core.entry import Kind
from sigillo.core.epoch import SignedEpochEnd, SignedStatement
from sigillo.core.errors import DecodeError, MerkleError, SignatureError, VerificationError
from sigillo.core.evidence_line import MessageLine
from sigillo.core.heads import HeadProof, Heads, verify_head_proof
from sigillo.core.history import Certificates, DeviceCounter, LastMark
from sigillo.core.inclusion import Logged, Stops
from sigillo.core.mark import Checkpoint, Clock, SignedMark, payload_commitment
from sigillo.core.marked_datagram import payload_as_received
from sigillo.core.message import DeviceMessage, decode_device_message
from sigillo.core.note import LogKey
from sigillo.core.policy import ClockTrust, DeviceTrust, Policy
from sigillo.core.reading import Reading
from sigillo.core.signature import verify_by_epoch_key, verify_countersignature, verify_own_signature
from sigillo.core.statement import HowEnded, Mode, OnBadClock, PrincipalSource
from sigillo.core.trusted import (
    MADE_BY_VERIFY,
    SelfSignedStatement,
    VerifiedCertificate,
    VerifiedEnd,
    VerifiedMark,
    VerifiedMessage,
    VerifiedStatement,
)
from sigillo.core.verdict import LEVELS

MAX_AHEAD_NS = 24 * 3600 * 10**9
BOUNDING_DAEMON = "chrony"
"""The one time daemon that keeps the kernel's error bound up to date (spec/mark.md, "Clock")."""
_DEVICE_TOPIC = re.compile(r"braid/agent/([^/]+)/shadow/reported/.*", re.DOTALL)


def check_statement(signed: SignedStatement) -> SelfSignedStatement:
    """Step 2: the statement is signed by the epoch key that it names."""
    try:
        verify_own_signature(signed)
    except SignatureError as error:
        raise VerificationError(2, f"the statement is not signed by the epoch key it names: {error.reason}") from error
    return SelfSignedStatement(signed.statement, signed.epoch_id, MADE_BY_VERIFY)


def check_log_key(signed: SignedStatement, own: SelfSignedStatement, policy: Policy) -> VerifiedStatement:
    """Step 3: a log key that the policy pins countersigned it, for the operator and origin that go with that key."""
    statement, countersignature = own.statement, signed.countersignature
    if countersignature is None:
        raise VerificationError(3, "the epoch statement is not countersigned")
    if countersignature.key_id != statement.log_key_id:
        raise VerificationError(3, "the countersignature is by another key than the log key that the statement names")
    operator = policy.operator(countersignature.key_id)
    if operator is None:
        raise VerificationError(
            3, f'the policy does not trust the log key {countersignature.key_id.hex()} of "{statement.operator}"'
        )
    try:
        verify_countersignature(signed, operator.log_key.public_key)
    except SignatureError as error:
        raise VerificationError(3, f"the countersignature of the log key is wrong: {error.reason}") from error
    if statement.operator != operator.name:
        raise VerificationError(3, f'the statement names operator "{statement.operator}", the policy "{operator.name}"')
    if statement.log_origin != operator.log_key.name:
        raise VerificationError(
            3, f'the statement names log origin "{statement.log_origin}", the policy "{operator.log_key.name}"'
        )
    return VerifiedStatement(own, operator, MADE_BY_VERIFY)


def check_end(signed: SignedEpochEnd, own: SelfSignedStatement) -> VerifiedEnd:
    """Step 4, first part: the end of the epoch is signed by its key, and not before its start."""
    if signed.epoch_id != own.epoch_id:
        raise VerificationError(4, "the epoch end is of another epoch")
    try:
        verify_by_epoch_key(signed, own.statement, own.epoch_id)
    except SignatureError as error:
        raise VerificationError(4, f"the epoch end is not signed by the epoch key: {error.reason}") from error
    if signed.end.time_ns < own.statement.start_ns:
        raise VerificationError(4, "the epoch ends before it starts")
    return VerifiedEnd(signed.end, MADE_BY_VERIFY)


def check_chain(
    own: SelfSignedStatement, before: SelfSignedStatement, end: VerifiedEnd | None, last: VerifiedMark | None
) -> None:
    """Step 4, second part: *own* follows the epoch *before*, with its end and last mark shown where there are any."""
    number, wanted = own.statement.number, before.statement.number + 1
    if number != wanted:
        raise VerificationError(4, f"epoch {number} stands where epoch {wanted} must be")
    previous = own.statement.previous
    if previous is None or previous.epoch_id != before.epoch_id:
        raise VerificationError(4, f"epoch {number} names another epoch before it than the one in the file")
    if own.statement.log_key_id != before.statement.log_key_id:
        raise VerificationError(4, f"epoch {number} names another log key than epoch {wanted - 1}")
    if last and (previous.last_sequence < last.mark.sequence or previous.last_time_ns < last.mark.time_ns):
        raise VerificationError(4, f"epoch {number} denies marks of epoch {wanted - 1} that the file shows")
    if previous.last_time_ns < before.statement.start_ns:
        raise VerificationError(4, f"epoch {number} says that epoch {wanted - 1} ended before it started")
    if end and previous.ended is not HowEnded.CLEAN:
        raise VerificationError(4, f"epoch {number} does not know the end of epoch {wanted - 1} that the file shows")
    if end and (previous.last_sequence, previous.last_time_ns) != (end.end.last_sequence, end.end.time_ns):
        raise VerificationError(4, f"epoch {number} and the end of epoch {wanted - 1} differ in last sequence or time")


def check_mark(signed: SignedMark, own: SelfSignedStatement) -> VerifiedMark:
    """Step 5: the mark is signed by the epoch key of its `kid`, on a filter of mode "each"."""
    if signed.epoch_id != own.epoch_id:
        raise VerificationError(5, "the mark is of another epoch than the one above it")
    try:
        verify_by_epoch_key(signed, own.statement, own.epoch_id)
    except SignatureError as error:
        raise VerificationError(5, f"the time mark is not signed by the epoch key: {error.reason}") from error
    topic = signed.mark.topic
    rule = own.statement.rule(topic)
    if rule is None:
        raise VerificationError(5, f'no filter of the epoch statement matches the marked topic "{topic}"')
    if rule.mode is not Mode.EACH:
        raise VerificationError(5, f'the filter "{rule.topic_filter}" is of mode batch, the mark is not')
    if signed.mark.before is not None and signed.mark.principal not in own.statement.bridge_principals:
        raise VerificationError(5, "the mark names a foreign mark of a principal that is no bridge by the statement")
    return VerifiedMark(signed.mark, rule.carrier, signed.object_hash, signed.salt, own, MADE_BY_VERIFY)


def check_binding(verified: VerifiedMark, line: MessageLine) -> bytes | None:
    """Step 6: the mark is about this topic and this payload. Returns the payload as the broker received it.

    None where the message is not held.
    """
    mark = verified.mark
    if line.topic != mark.topic:
        raise VerificationError(6, f'the topic is "{line.topic}", the mark is about "{mark.topic}"')
    if line.payload is None:
        return None
    if verified.salt is None:
        raise VerificationError(6, "the mark has no salt, so nothing shows that it is about this payload")
    if payload_commitment(verified.salt, line.payload) == mark.commitment:
        return line.payload
    token_key = verified.statement.statement.token_key
    try:
        received = payload_as_received(line.payload, line.mark, mark.time_ns, verified.carrier, token_key)
    except (DecodeError, SignatureError) as error:
        raise VerificationError(6, f"the broker's keys in the payload are not those of this mark: {error}") from error
    if payload_commitment(verified.salt, received) != mark.commitment:
        raise VerificationError(6, "the mark is not about this payload")
    return received


def check_order(
    verified: VerifiedMark, end: VerifiedEnd | None, before: VerifiedMark | None, last: LastMark | None, now_ns: int
) -> None:
    """Step 7: the mark comes after *before* (last shown of its epoch) and *last* (of its principal in this epoch)."""
    mark, own = verified.mark, verified.statement
    if before and mark.sequence <= before.mark.sequence:
        if mark.sequence == before.mark.sequence and verified.object_hash != before.object_hash:
            reason = f"two marks with sequence {mark.sequence}: this proves misbehaviour of whoever holds the epoch key"
            raise VerificationError(7, reason)
        raise VerificationError(7, f"sequence {mark.sequence} does not come after {before.mark.sequence}")
    if before and mark.time_ns < before.mark.time_ns:
        raise VerificationError(7, "the time runs backward between this mark and the one before it")
    if mark.time_ns < own.statement.start_ns:
        raise VerificationError(7, "the mark is from before the start of its epoch")
    if mark.time_ns > now_ns + MAX_AHEAD_NS:
        raise VerificationError(7, "the mark is from more than a day in the future")
    if end:
        raise VerificationError(7, f"the epoch had ended, with sequence {end.end.last_sequence}, before this mark")
    if last is None:
        if mark.count == 1 and mark.previous != own.epoch_id:
            raise VerificationError(7, "the principal's first mark does not start its chain at the epoch id")
        return
    if mark.count <= last.count:
        raise VerificationError(7, f"the principal's count {mark.count} does not come after {last.count}")
    if mark.count - last.count > mark.sequence - last.sequence:
        raise VerificationError(7, "the principal's count grows by more than the sequence")
    if mark.count == last.count + 1 and mark.previous != last.object_hash:
        raise VerificationError(7, "the mark does not name the principal's mark before it")


def check_last(end: VerifiedEnd, verified: VerifiedMark) -> None:
    """Step 7, at the end of an epoch: *verified*, the last mark shown of it, does not come after what the end says."""
    mark, last = verified.mark, end.end
    if mark.sequence > last.last_sequence or mark.time_ns > last.time_ns:
        raise VerificationError(
            7, f"the epoch had ended, with sequence {last.last_sequence}, before mark {mark.sequence}"
        )
    if mark.sequence == last.last_sequence and verified.object_hash != last.last:
        raise VerificationError(7, "the epoch end names another last mark")


def check_clock(verified: VerifiedMark, trust: ClockTrust) -> str | None:
    """Step 8: the clock state is one that the policy allows. Returns the permission that was needed, if any."""
    clock: Clock = verified.mark.clock
    statement = verified.statement.statement
    if clock.state == "bounded" and statement.clock_daemon != BOUNDING_DAEMON:
        daemon = statement.clock_daemon
        raise VerificationError(8, f'the mark quotes an error bound, which "{daemon}" does not keep up to date')
    if clock.state == "unsynchronised" and statement.on_bad_clock is OnBadClock.REFUSE:
        raise VerificationError(8, "the clock was unsynchronised, and the statement says that the broker refuses then")
    if clock.state == "unsynchronised":
        if not trust.allow_unsynchronised:
            raise VerificationError(8, "the clock was unsynchronised (policy: clock.allow_unsynchronised = false)")
        return "clock.allow_unsynchronised"
    if clock.bound_ns is None:
        if not trust.allow_unknown_bound:
            raise VerificationError(8, "the clock's error bound is unknown (policy: clock.allow_unknown_bound = false)")
        return "clock.allow_unknown_bound"
    if clock.bound_ns > trust.max_error_ns:
        limit = f"the policy's clock.max_error, {trust.max_error_ns} ns"
        raise VerificationError(8, f"the clock's error bound, {clock.bound_ns} ns, is larger than {limit}")
    return None


def check_certificate(chain: Sequence[x509.Certificate], device: DeviceTrust) -> VerifiedCertificate:
    """For step 9: the CA of the device's maker certifies a signing key of it. Each message judges whether in time."""
    assert device.maker  # only what the policy has under a maker comes here
    try:
        certified = verify_chain(chain, device.maker.ca, device.id)
    except SignatureError as error:
        reason = f'a certificate of device "{device.id}" does not count: {error.reason}'
        raise VerificationError(9, reason) from error
    return VerifiedCertificate(device, certified, MADE_BY_VERIFY)


def check_device(
    verified: VerifiedMark, received: bytes, policy: Policy, certificates: Certificates
) -> VerifiedMessage:
    """Step 9: device of the policy = principal of the mark = {ID} of the topic, and that device signed the payload.

    *received*: the payload that the mark is about, from step 6.
    """
    principal = verified.mark.principal
    if verified.statement.statement.principal_source is PrincipalSource.UNAUTHENTICATED:
        raise VerificationError(9, "the broker authenticated nobody (principal source: unauthenticated)")
    topic = verified.mark.topic
    match = _DEVICE_TOPIC.fullmatch(topic)
    if match is None:
        raise VerificationError(9, f'the topic "{topic}" names no device (braid/agent/{{ID}}/shadow/reported/…)')
    message = _decode_device_message(received, topic)
    if match[1] != principal:
        signer = _signer(message, policy.device(match[1]), certificates, verified.mark.time_ns)
        raise VerificationError(9, f'topic of "{match[1]}", delivered by "{principal}"{signer}')
    device = policy.device(principal)
    if device is None:
        raise VerificationError(9, f'the policy has no device "{principal}"')
    if isinstance(message, Reading) and message.device_id != principal:
        raise VerificationError(9, f'signed as "{message.device_id}", delivered by "{principal}"')
    try:
        certified = _verify_device_signature(message, device, certificates)
    except SignatureError as error:
        raise VerificationError(9, f'not signed by the key of device "{principal}": {error.reason}') from error
    content_hash = hashlib.sha256(message.signed_bytes).digest()
    clock = message.ts_ns, message.ts_resolution_ns
    return VerifiedMessage(
        verified, device, message.ver, content_hash, message.beacon, *clock, certified, MADE_BY_VERIFY
    )


def _decode_device_message(received: bytes, topic: str) -> DeviceMessage:
    try:
        return decode_device_message(received, topic)
    except DecodeError as error:
        raise VerificationError(9, f"the payload is no signed device message: {error}") from error


def _verify_device_signature(
    message: DeviceMessage, device: DeviceTrust, certificates: Certificates
) -> tuple[CertifiedKey, ...]:
    """The device's key signed the message: the pinned one, or one that its maker certifies, which is returned.

    Whether it is certified in time is for step 9's last part to say (`step_third.check_certified`).
    """
    if device.key is not None:
        _verify_under(device.key, message)
        return ()
    held = certificates.of(device.id)
    if not held:
        raise SignatureError(certificates.why_none(device.id))
    found = tuple(certificate.certified for certificate in held if _signed(certificate.certified.key, message))
    if not found:
        raise SignatureError(f"none of its {len(held)} certificate(s) that count has the key")
    return found


def _signed(key: DeviceKey, message: DeviceMessage) -> bool:
    try:
        _verify_under(key, message)
    except SignatureError:
        return False
    return True


def _verify_under(key: DeviceKey, message: DeviceMessage) -> None:
    if isinstance(message, Reading) and message.algorithm != key.algorithm:
        raise SignatureError("another algorithm than that of the device's key")
    key.verify(message.signature, message.signed_bytes)


def _signer(message: DeviceMessage, device: DeviceTrust | None, certificates: Certificates, time_ns: int) -> str:
    """Whether this device signed the message, for people."""
    if device is None:
        return ""
    try:
        certified = _verify_device_signature(message, device, certificates)
    except SignatureError:
        return ""
    in_time = not certified or any(found.invalid_at(time_ns) is None for found in certified)
    return f'; signed by "{device.id}"' if in_time else ""


def check_withheld(verified: VerifiedMark, last: LastMark | None) -> None:
    """Step 10: no mark of this principal is missing between *last* (of any epoch of the file) and this one."""
    mark, number = verified.mark, verified.statement.statement.number
    if last is None:
        return
    missing = mark.count - 1 - (last.count if last.epoch == number else 0)
    if missing:
        shown = f'of "{mark.principal}" before this one'
        raise VerificationError(10, f"{missing} marked message(s) {shown} are not in the file")


def check_held(verified: VerifiedMark) -> None:
    """Step 10, of a line without a payload: the broker admits the mark of a message that nobody kept. Always raises."""
    mark, number = verified.mark, verified.statement.statement.number
    where = f'mark {mark.sequence} of epoch {number}, of "{mark.principal}"'
    raise VerificationError(10, f"admitted, not held: {where}: the broker marked a message that nobody kept")


def check_lost(device: str, counter: DeviceCounter) -> None:
    """Step 11, at the end of the file: the device's own numbers have no gap."""
    if counter.lost:
        between = "between the first and the last shown"
        raise VerificationError(11, f'{counter.lost} number(s) of device "{device}" {between} are missing')


def check_number(message: VerifiedMessage, counter: DeviceCounter) -> str | None:
    """Step 11, for a message whose content was not shown before: takes its number. Returns a note, or None."""
    number, name = message.device_sequence, message.device.id
    if number >= 2**counter.bits:
        raise VerificationError(11, f'device "{name}" used number {number}, which {counter.bits} bits cannot count')
    found = counter.show(number)
    if found == "reused":
        raise VerificationError(11, f'device "{name}" used number {number} twice, for different content')
    if found == "untold":
        raise VerificationError(11, f'number {number} of device "{name}" comes too late to tell whether it was used')
    return f'reordering: number {number} of device "{name}" comes late' if found else None


def check_level(verified: VerifiedStatement, reached: str) -> None:
    """Step 13: what the evidence reaches of this epoch is the policy's level, or above."""
    statement, required = verified.own.statement, verified.operator.level
    if LEVELS.index(reached) < LEVELS.index(required):
        reaches = f'the evidence of epoch {statement.number} reaches level "{reached}"'
        raise VerificationError(13, f'{reaches}, the policy asks for "{required}"')


def check_checkpoint(signed: SignedCheckpoint, key: LogKey) -> None:
    """Step 14, of the trailer: the pinned log key signed this checkpoint of the log of its name."""
    try:
        verify_checkpoint(signed, key)
    except SignatureError as error:
        raise VerificationError(14, f"the log's checkpoint: {error.reason}") from error


def check_log_order(shown: Logged, before: Logged | None, last_sequence: int | None = None) -> None:
    """Step 15: the entry has room after the one shown *before* it for the marks between them.

    *last_sequence*: of a statement, what it says of the epoch before it.
    """
    if before is None:
        return
    entry, earlier = shown.entry, before.entry
    in_epoch = entry.epoch == earlier.epoch
    if Kind.TOKEN in (entry.kind, earlier.kind) and not in_epoch:
        if entry.epoch < earlier.epoch:
            reason = f"entry {shown.index}, of epoch {entry.epoch}, cannot come after entry {before.index}"
            raise VerificationError(15, f"{reason}, of epoch {earlier.epoch}")
        if entry.kind is not Kind.EPOCH_STATEMENT or entry.epoch != earlier.epoch + 1:
            return  # what the epochs between them had is not shown
    sequence = entry.sequence if in_epoch else last_sequence
    if sequence is None:  # step 4 fails: the statement knows no epoch before it
        return
    is_mark = entry.kind is Kind.MARK
    if sequence < earlier.sequence + is_mark or (in_epoch and earlier.kind is Kind.EPOCH_END and is_mark):
        reason = f"entry {shown.index} cannot come, with sequence {sequence}, after entry {before.index}"
        raise VerificationError(15, f"{reason}, with {earlier.sequence}")
    if in_epoch and earlier.kind is Kind.EPOCH_END and sequence != earlier.sequence:
        raise VerificationError(15, f"entry {shown.index} has another last sequence than the epoch's end before it")
    room = shown.index - before.index - (not is_mark)
    if sequence - earlier.sequence > room:
        marks = f"{sequence - earlier.sequence} marks after sequence {earlier.sequence}"
        raise VerificationError(15, f"{marks} cannot be between entries {before.index} and {shown.index}")


def check_named(checkpoint: Checkpoint, index: int, stops: Stops) -> None:
    """Step 15: as `check_prefix`, and not older than one that was named before."""
    size = checkpoint.size
    check_prefix(checkpoint, index, stops)
    if 0 < size < stops.named:
        newest = f"size {stops.named}, named before it"
        raise VerificationError(15, f"entry {index} names a checkpoint of size {size}, older than that of {newest}")
    stops.named = max(size, stops.named)


def check_prefix(checkpoint: Checkpoint, index: int, stops: Stops) -> None:
    """Step 15: the checkpoint that entry *index* names is a prefix of this log, and was there before the entry."""
    size = checkpoint.size
    if size == 0:
        return
    if size > index:
        raise VerificationError(15, f"entry {index} names a checkpoint of size {size}, which was not there yet")
    stop = stops.at(size)
    if stop is None:
        raise VerificationError(15, f"the file does not stop at size {size}, which entry {index} names")
    if stop.root != checkpoint.root:
        named = f"entry {index} names a checkpoint of size {size} with another root than this log had"
        raise VerificationError(15, f"{named}: this proves misbehaviour of whoever holds the log key")


def check_heads(heads: Heads, own: SelfSignedStatement) -> None:
    """Step 16: the heads are those of this epoch."""
    if heads.epoch_id != own.epoch_id:
        raise VerificationError(16, "the heads are of another epoch than the one above them")


def check_head(proof: HeadProof, heads: Heads, principal: str, last: LastMark | None) -> int:
    """Step 16: the log's head of this principal agrees with *last*, its last mark shown in this epoch, if any.

    Returns how many marks the log says there are after that one, up to the heads.
    """
    try:
        head = verify_head_proof(proof, heads, principal)
    except MerkleError as error:
        raise VerificationError(16, f'the head of "{principal}" is not under these heads: {error.reason}') from error
    shown, count = last.count if last else 0, head.count if head else 0
    if count < shown:
        denied = f'the log says that "{principal}" had {count} mark(s), and the file shows mark {shown} of it'
        raise VerificationError(16, f"{denied}: this proves misbehaviour of whoever holds the log key")
    if head and last and count == shown and (head.last_mark, head.last_sequence) != (last.object_hash, last.sequence):
        denied = f'the log names another last mark of "{principal}" than the file shows'
        raise VerificationError(16, f"{denied}: this proves misbehaviour of whoever holds the log key")
    return count - shown


def check_complete(missing: int, principal: str) -> None:
    """Step 16: nothing is missing between the last mark shown of this principal and the heads."""
    if missing:
        shown = f'of "{principal}" after the last one shown'
        raise VerificationError(16, f"{missing} marked message(s) {shown} are not in the file")
