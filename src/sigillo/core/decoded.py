"""The lines of an evidence file with the objects in them decoded (spec/evidence.md). Nothing here is verified."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from cryptography import x509

from sigillo.core.attestation import AttestationEvidence, decode_attestation
from sigillo.core.bytes import object_hash
from sigillo.core.certificate import decode_chain
from sigillo.core.checkpoint import SignedCheckpoint, TreeHead
from sigillo.core.endorsement import SignedRegistration, decode_registration
from sigillo.core.entry import Kind, LogEntry
from sigillo.core.epoch import SignedEpochEnd, SignedStatement, decode_epoch_end, decode_statement
from sigillo.core.errors import AttestationError, DecodeError
from sigillo.core.event_log import EventLog, decode_event_log
from sigillo.core.evidence import decode_head_text, decode_lines, decode_note_text
from sigillo.core.evidence_line import (
    AttestationLine,
    BootLine,
    CertificateLine,
    CheckpointLine,
    ClosureLine,
    EndLine,
    EntryLine,
    EpochLine,
    HeadLine,
    HeadsLine,
    ImaLine,
    LaunchLine,
    ManifestLine,
    MessageLine,
    NumberedLine,
    RebuildLine,
    RegistrationLine,
    SharedLine,
    StopLine,
    TokenLine,
    Trailer,
)
from sigillo.core.heads import HeadProof, Heads, decode_head_proof, decode_heads
from sigillo.core.ima import Measurement, decode_measurements
from sigillo.core.launch import Closure, decode_closure, decode_launch_log
from sigillo.core.manifest import SignedManifest, decode_manifest
from sigillo.core.mark import SignedMark, decode_mark
from sigillo.core.merkle import decompose
from sigillo.core.rebuild import SignedRebuild, decode_rebuild
from sigillo.core.timestamp import Token, decode_token

D = TypeVar("D")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DecodedCertificate:
    """A certificate line with its chain decoded, leaf first. *number*, here and below: of the line in the file."""

    number: int
    device: str
    chain: tuple[x509.Certificate, ...]


@dataclass(frozen=True, slots=True)
class DecodedManifest:
    """A manifest line with the manifest decoded."""

    number: int
    manifest: SignedManifest


@dataclass(frozen=True, slots=True)
class DecodedRebuild:
    """A rebuild line with the statement decoded."""

    number: int
    rebuild: SignedRebuild


@dataclass(frozen=True, slots=True)
class DecodedRegistration:
    """A registration line with the registration decoded."""

    number: int
    registration: SignedRegistration


@dataclass(frozen=True, slots=True)
class DecodedClosure:
    """A closure line with the closure decoded."""

    number: int
    closure: Closure


@dataclass(frozen=True, slots=True)
class DecodedLaunchLog:
    """A launch line with the launch log decoded."""

    number: int
    line: LaunchLine
    log: EventLog


@dataclass(frozen=True, slots=True)
class DecodedBootLog:
    """A boot line with the boot's event log decoded."""

    number: int
    line: BootLine
    log: EventLog


@dataclass(frozen=True, slots=True)
class DecodedMeasurements:
    """An ima line with the measurement list decoded."""

    number: int
    line: ImaLine
    measurements: tuple[Measurement, ...]


@dataclass(frozen=True, slots=True)
class DecodedEpoch:
    """An epoch line with its statement decoded."""

    number: int
    line: EpochLine
    statement: SignedStatement


@dataclass(frozen=True, slots=True)
class DecodedMessage:
    """A message line with its mark decoded."""

    number: int
    line: MessageLine
    mark: SignedMark


@dataclass(frozen=True, slots=True)
class DecodedEnd:
    """An end line with the epoch end decoded."""

    number: int
    line: EndLine
    end: SignedEpochEnd


@dataclass(frozen=True, slots=True)
class DecodedHeads:
    """A heads line with the heads decoded."""

    number: int
    line: HeadsLine
    heads: Heads


@dataclass(frozen=True, slots=True)
class DecodedHead:
    """A head line with its proof decoded."""

    number: int
    line: HeadLine
    proof: HeadProof


@dataclass(frozen=True, slots=True)
class DecodedToken:
    """A token line with the token decoded, and the checkpoint that it is about."""

    number: int
    line: TokenLine
    token: Token
    checkpoint: SignedCheckpoint


@dataclass(frozen=True, slots=True)
class DecodedAttestation:
    """An attestation line with the attestation evidence decoded."""

    number: int
    line: AttestationLine
    evidence: AttestationEvidence


@dataclass(frozen=True, slots=True)
class DecodedCheckpoint:
    """A checkpoint line with its tree head decoded."""

    number: int
    line: CheckpointLine
    head: TreeHead


@dataclass(frozen=True, slots=True)
class DecodedTrailer:
    """The trailer, with its checkpoint decoded where there is one."""

    number: int
    line: Trailer
    checkpoint: SignedCheckpoint | None


Decoded = (
    DecodedCertificate
    | DecodedManifest
    | DecodedRebuild
    | DecodedRegistration
    | DecodedClosure
    | DecodedLaunchLog
    | DecodedBootLog
    | DecodedMeasurements
    | DecodedEpoch
    | DecodedMessage
    | DecodedEnd
    | DecodedHeads
    | DecodedHead
    | DecodedToken
    | DecodedAttestation
    | DecodedCheckpoint
    | DecodedTrailer
    | NumberedLine
)


_InLog = (
    DecodedEpoch
    | DecodedMessage
    | DecodedEnd
    | DecodedHeads
    | DecodedToken
    | DecodedAttestation
    | DecodedTrailer
    | NumberedLine
)
"""What may stand for an entry of the log, or goes over some."""


def decode_objects(lines: Iterable[bytes]) -> Iterator[Decoded]:
    """Decode the lines of an evidence file and the objects in them; header, stops and configuration come as they are.

    Raises DecodeError naming line and member.
    """
    return map(_decoded, decode_lines(lines))


def entry_of(decoded: Decoded, epoch: int) -> LogEntry | None:
    """The entry of the log that a line of this epoch stands for, by its object; None where it stands for none.

    A token or attestation line says itself of which epoch its entry is.
    """
    if isinstance(decoded, DecodedEpoch):
        return LogEntry(Kind.EPOCH_STATEMENT, epoch, 0, decoded.statement.epoch_id)
    if isinstance(decoded, DecodedMessage):
        return LogEntry(Kind.MARK, epoch, decoded.mark.mark.sequence, decoded.mark.object_hash)
    if isinstance(decoded, DecodedEnd):
        return LogEntry(Kind.EPOCH_END, epoch, decoded.end.end.last_sequence, decoded.end.object_hash)
    if isinstance(decoded, DecodedHeads):
        return LogEntry(Kind.HEADS, epoch, decoded.heads.last_sequence, decoded.heads.object_hash)
    if isinstance(decoded, DecodedToken):
        line = decoded.line
        return LogEntry(Kind.TOKEN, line.epoch, line.sequence, object_hash("token", line.token))
    if isinstance(decoded, DecodedAttestation):
        numbers = decoded.line.epoch, decoded.line.sequence
        return LogEntry(Kind.ATTESTATION_EVIDENCE, *numbers, decoded.evidence.object_hash)
    return None


def subtrees(decoded_lines: Iterable[Decoded]) -> Iterator[tuple[int, bytes]]:
    """Level and hash of the subtrees of the log that a file shows, left to right; none without a log proof."""
    number = position = 0
    for decoded in decoded_lines:
        if not isinstance(decoded, _InLog):
            continue
        if isinstance(decoded, DecodedEpoch):
            number = decoded.statement.statement.number
        entry, line, to = entry_of(decoded, number), decoded.line, None
        if isinstance(line, EntryLine):
            to = line.index
        elif isinstance(line, StopLine):
            to = line.size
        elif isinstance(decoded, DecodedTrailer) and decoded.checkpoint:
            to = decoded.checkpoint.head.size
        if to is None or not isinstance(line, EntryLine | StopLine | Trailer):
            continue
        yield from ((level, item) for (level, _), item in zip(decompose(position, to), line.skip, strict=True))
        position = to
        if entry:
            yield 0, entry.leaf_hash
            position += 1


def _decoded(numbered: NumberedLine) -> Decoded:
    number, line = numbered.number, numbered.line
    if isinstance(line, SharedLine):
        return _shared(number, line)
    if isinstance(line, EpochLine):
        return DecodedEpoch(number, line, _decode(decode_statement, line.statement, number, "statement"))
    if isinstance(line, MessageLine):
        return DecodedMessage(number, line, _decode(decode_mark, line.mark, number, "mark"))
    if isinstance(line, EndLine):
        return DecodedEnd(number, line, _decode(decode_epoch_end, line.end, number, "end"))
    if isinstance(line, HeadsLine):
        return DecodedHeads(number, line, _decode(decode_heads, line.heads, number, "heads"))
    if isinstance(line, HeadLine):
        return DecodedHead(number, line, _decode(decode_head_proof, line.proof, number, "proof"))
    if isinstance(line, TokenLine):
        token = _decode(decode_token, line.token, number, "token")
        return DecodedToken(number, line, token, decode_note_text(line.note, f"line {number}, note"))
    if isinstance(line, AttestationLine):
        return DecodedAttestation(number, line, _decode(decode_attestation, line.evidence, number, "evidence"))
    if isinstance(line, CheckpointLine):
        return DecodedCheckpoint(number, line, decode_head_text(line.note, f"line {number}, note"))
    if isinstance(line, Trailer):
        note = line.checkpoint
        where = f"line {number}, checkpoint"
        return DecodedTrailer(number, line, None if note is None else decode_note_text(note, where))
    return numbered


def _shared(number: int, line: SharedLine) -> Decoded:
    if isinstance(line, CertificateLine):
        return DecodedCertificate(number, line.device, _decode(decode_chain, line.chain, number, "chain"))
    if isinstance(line, ManifestLine):
        return DecodedManifest(number, _decode(decode_manifest, line.manifest.encode(), number, "manifest"))
    if isinstance(line, RebuildLine):
        return DecodedRebuild(number, _decode(decode_rebuild, line.statement.encode(), number, "statement"))
    if isinstance(line, RegistrationLine):
        return DecodedRegistration(number, _decode(decode_registration, line.registration, number, "registration"))
    if isinstance(line, ClosureLine):
        return DecodedClosure(number, _decode(decode_closure, line.closure, number, "closure"))
    if isinstance(line, LaunchLine):
        return DecodedLaunchLog(number, line, _decode(decode_launch_log, line.log, number, "log"))
    if isinstance(line, BootLine):
        return DecodedBootLog(number, line, _decode(decode_event_log, line.log, number, "log"))
    if isinstance(line, ImaLine):
        return DecodedMeasurements(number, line, _decode(decode_measurements, line.measurements, number, "list"))
    return NumberedLine(number, line)


def _decode(decode: Callable[[D], T], data: D, number: int, member: str) -> T:
    try:
        return decode(data)
    except (AttestationError, DecodeError) as error:  # a log may contradict itself
        raise DecodeError(f"line {number}, {member}", str(error)) from error
