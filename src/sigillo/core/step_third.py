"""Steps 17 to 20 of spec/verification.md: what third parties say of a log and of the marks in it.

Each is one function that raises VerificationError, as in :mod:`sigillo.core.step`; when they run is
:mod:`sigillo.core.third`'s.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from sigillo.core.bracket import Anchor, Beacon, Bound
from sigillo.core.certificate import CertifiedKey
from sigillo.core.checkpoint import SignedCheckpoint, verify_checkpoint
from sigillo.core.cosignature import verify_cosignature
from sigillo.core.decoded import DecodedToken
from sigillo.core.errors import SignatureError, VerificationError
from sigillo.core.inclusion import Stops
from sigillo.core.policy import OperatorTrust, Policy, WitnessTrust
from sigillo.core.timestamp import StrangerError, TsaTrust, VerifiedToken, verify_token

_LAST_SECOND = 253_402_300_799  # of the year 9999


def check_note(decoded: DecodedToken, stops: Stops) -> None:
    """Step 17: the token is about this note, and the note about this log."""
    head, token = decoded.checkpoint.head, decoded.token
    if token.imprint != hashlib.sha256(decoded.line.note.encode("utf-8")).digest():
        raise VerificationError(17, "the token is about another note than the one beside it")
    stop = stops.at(head.size)
    if head.size and stop is None:
        raise VerificationError(17, f"the file does not stop at size {head.size}, which the token is about")
    if stop and stop.root != head.root:
        raise VerificationError(
            17, f"the token is about a checkpoint of size {head.size} with another root than the log"
        )


def check_note_key(checkpoint: SignedCheckpoint, policy: Policy) -> None:
    """Step 17: the log key that the policy pins for its origin signed the token's note."""
    operator = policy.operator_of(checkpoint.head.origin)
    if operator is None:
        raise VerificationError(
            17, f'the token is about a checkpoint of the log "{checkpoint.head.origin}", not trusted'
        )
    try:
        verify_checkpoint(checkpoint, operator.log_key)
    except SignatureError as error:
        raise VerificationError(17, f"the token is about a note that the log did not sign: {error.reason}") from error


def trusted_token(decoded: DecodedToken, tsas: Sequence[TsaTrust]) -> VerifiedToken | str:
    """The token, as made by the first TSA under which it verifies; or why by none, its own one first."""
    message, reason, own = decoded.line.note.encode("utf-8"), "the policy names no TSA", ""
    for tsa in tsas:
        try:
            return verify_token(decoded.line.token, message, tsa, decoded.line.chain, decoded.line.crls)
        except StrangerError as error:
            reason = error.reason
        except SignatureError as error:
            own = own or error.reason
    return own or reason


def check_agreement(anchor: Anchor, inside: Anchor | None) -> None:
    """Step 17: the token is not from before another one that is inside its checkpoint."""
    if inside and anchor.not_after_ns < inside.not_before_ns:
        earlier = f'TSA "{inside.tsa}" made the token at entry {inside.index} not before {moment(inside.not_before_ns)}'
        later = f'TSA "{anchor.tsa}" says that a checkpoint with it inside was there by {moment(anchor.not_after_ns)}'
        raise VerificationError(17, f"{later}, but {earlier}: one of them lied, or its clock was wrong")


def check_not_before(time_ns: int, error_ns: int, lower: Bound, what: str) -> None:
    """Step 18: a mark's time is not below a lower bound. *what* was before the mark."""
    if time_ns + error_ns < lower.time_ns:
        bound = f"{moment(lower.time_ns)}, by {named(lower)}"
        raise VerificationError(18, f"the mark says {moment(time_ns)}, and {what} not before {bound}: backdated")


def check_not_after(latest_ns: int, upper: Bound) -> None:
    """Step 18: a mark's time, less its error, is not above the upper bound."""
    if latest_ns > upper.time_ns:
        bound = f"{moment(upper.time_ns)}, by {named(upper)}"
        raise VerificationError(18, f"the mark says {moment(latest_ns)} or later, and was there by {bound}: postdated")


def check_width(lower: Bound, upper: Bound, widest_ns: int) -> None:
    """Step 18: the bounds of a mark are in order, and as close as the policy asks."""
    width_ns = upper.time_ns - lower.time_ns
    if width_ns < 0:
        bounds = f"{moment(lower.time_ns)}, by {named(lower)}, and {moment(upper.time_ns)}, by {named(upper)}"
        raise VerificationError(18, f"the bounds contradict each other: not before {bounds}")
    if width_ns > widest_ns:
        limit = f"the policy's anchors.max_bracket, {widest_ns} ns"
        raise VerificationError(18, f"the bracket, {width_ns} ns, is wider than {limit}")


def check_certified(candidates: Sequence[CertifiedKey], time_ns: int, device: str, of: str) -> None:
    """Step 9: one of the certificates that have the device's key is valid at this time. *of*: what that is of."""
    invalid = [certified.invalid_at(time_ns) for certified in candidates]
    if invalid and all(invalid):
        last = next(found for found in reversed(invalid) if found)
        window = f"{last.name} is valid from {moment(last.from_ns)} to {moment(last.to_ns)}"
        by = f'not signed by the key of device "{device}"'
        raise VerificationError(9, f"{by}: {window}, and {of} {moment(time_ns)}")


def cosigners(
    checkpoint: SignedCheckpoint, witnesses: Sequence[WitnessTrust], operator: OperatorTrust
) -> tuple[list[WitnessTrust], list[WitnessTrust]]:
    """Step 19: the witnesses that cosigned: those that count, and those that are the operator.

    A signature by a witness's key that does not verify fails.
    """
    counted: list[WitnessTrust] = []
    own: list[WitnessTrust] = []
    for witness in witnesses:
        if checkpoint.note.signature_of(witness.key.name, witness.key.note_key_id) is None:
            continue
        try:
            verify_cosignature(checkpoint.note, witness.key)
        except SignatureError as error:
            raise VerificationError(19, f'witness "{witness.name}": {error.reason}') from error
        (counted if witness.counts_for(operator) else own).append(witness)
    return counted, own


def check_beacon(beacon: bytes, shown: Mapping[bytes, Beacon]) -> Beacon:
    """Step 20: the device has signed a checkpoint that the log had before the mark."""
    found = shown.get(beacon)
    if found is None:
        raise VerificationError(
            20, f"the beacon {beacon.hex()} is of no checkpoint shown above: the log never had it, or only later"
        )
    return found


def named(bound: Bound) -> str:
    """What a bound rests on, for people."""
    return " and ".join(bound.liars)


def moment(time_ns: int) -> str:
    """Unix time in ns as UTC, in milliseconds (cut)."""
    seconds = min(time_ns // 10**9, _LAST_SECOND)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{time_ns % 10**9 // 10**6:03d}Z"
