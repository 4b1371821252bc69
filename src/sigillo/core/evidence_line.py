"""The lines of an evidence file, typed, and the order of those that all epochs share (spec/evidence.md)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

Skip = tuple[bytes, ...]
"""Hashes of the cover of the log's entries between two lines, which the file does not show (spec/log.md)."""


@dataclass(frozen=True, slots=True)
class Header:
    """The first line. *log*: the lines are a streamed proof of one log, and stand in its order."""

    log: bool = False
    kind: Literal["header"] = "header"


@dataclass(frozen=True, slots=True)
class CertificateLine:
    """A certificate of a device's signing key: a chain of DER certificates, its own first, without its maker's CA."""

    device: str
    chain: tuple[bytes, ...]
    kind: Literal["certificate"] = "certificate"


@dataclass(frozen=True, slots=True)
class ManifestLine:
    """A build manifest (text of its file)."""

    manifest: str
    kind: Literal["manifest"] = "manifest"


@dataclass(frozen=True, slots=True)
class RebuildLine:
    """A rebuild statement (text of its file) about a manifest above it."""

    statement: str
    kind: Literal["rebuild"] = "rebuild"


@dataclass(frozen=True, slots=True)
class RegistrationLine:
    """A registrar's statement whose TPM an attestation key is in (object of spec/endorsement.md)."""

    registration: bytes
    kind: Literal["registration"] = "registration"


@dataclass(frozen=True, slots=True)
class ClosureLine:
    """What a launch was made of (object of spec/launch.md)."""

    closure: bytes
    kind: Literal["closure"] = "closure"


@dataclass(frozen=True, slots=True)
class ConfigurationLine:
    """A file of a configuration tree that is text; *name* as in a closure."""

    name: str
    text: str
    kind: Literal["configuration"] = "configuration"


@dataclass(frozen=True, slots=True)
class LaunchLine:
    """A launch log: every launch since a reset of the TPM (spec/launch.md)."""

    log: bytes
    kind: Literal["launch"] = "launch"


@dataclass(frozen=True, slots=True)
class BootLine:
    """The event log of a boot, as firmware and kernel hand it out (spec/event-log.md)."""

    log: bytes
    kind: Literal["boot"] = "boot"


@dataclass(frozen=True, slots=True)
class ImaLine:
    """What Linux has measured in a boot, up to some moment (spec/ima.md)."""

    measurements: bytes
    kind: Literal["ima"] = "ima"


@dataclass(frozen=True, slots=True)
class EpochLine:
    """An epoch's countersigned statement (tagged COSE_Sign1). *index*: of its entry, where the file has a log proof."""

    statement: bytes
    index: int | None = None
    skip: Skip = ()
    kind: Literal["epoch"] = "epoch"


@dataclass(frozen=True, slots=True)
class MessageLine:
    """A message: topic and payload as delivered, and its tagged time mark with the salt.

    Without a payload it is a mark that is admitted, not held: nobody kept the message.
    """

    topic: str
    payload: bytes | None
    mark: bytes
    index: int | None = None
    skip: Skip = ()
    kind: Literal["message"] = "message"


@dataclass(frozen=True, slots=True)
class EndLine:
    """The end of the epoch above it (tagged COSE_Sign1)."""

    end: bytes
    index: int | None = None
    skip: Skip = ()
    kind: Literal["end"] = "end"


@dataclass(frozen=True, slots=True)
class HeadsLine:
    """A heads object of the epoch above it; only where the file has a log proof."""

    heads: bytes
    index: int | None
    skip: Skip = ()
    kind: Literal["heads"] = "heads"


@dataclass(frozen=True, slots=True)
class HeadLine:
    """A head proof of one principal under the heads above it. It stands for no entry of the log."""

    principal: str
    proof: bytes
    kind: Literal["head"] = "head"


@dataclass(frozen=True, slots=True)
class TokenLine:
    """A time-stamp token (DER) over a signed note of the log (text). *chain*: DER certificates that the token lacks.

    *epoch* and *sequence* are those of its entry: the file may show neither. *crls*: DER revocation lists.
    """

    token: bytes
    note: str
    chain: tuple[bytes, ...]
    epoch: int
    sequence: int
    index: int | None
    skip: Skip = ()
    crls: tuple[bytes, ...] = ()
    kind: Literal["token"] = "token"


@dataclass(frozen=True, slots=True)
class AttestationLine:
    """Attestation evidence (object of spec/attestation.md). *epoch* and *sequence*: as of a token line."""

    evidence: bytes
    epoch: int
    sequence: int
    index: int | None
    skip: Skip = ()
    kind: Literal["attestation"] = "attestation"


@dataclass(frozen=True, slots=True)
class StopLine:
    """The log had this root (32 bytes) when it had this size: a checkpoint that a line below names."""

    size: int
    root: bytes
    skip: Skip = ()
    kind: Literal["stop"] = "stop"


@dataclass(frozen=True, slots=True)
class CheckpointLine:
    """Text of a checkpoint's note, without signatures: what a beacon is the hash of. Below the stop of its size."""

    note: str
    kind: Literal["checkpoint"] = "checkpoint"


@dataclass(frozen=True, slots=True)
class Trailer:
    """The last line: how many epoch, message and certificate lines the file has, and the log's signed checkpoint."""

    epochs: int
    messages: int
    certificates: int = 0
    checkpoint: str | None = None
    skip: Skip = ()
    kind: Literal["trailer"] = "trailer"


SharedLine = (
    CertificateLine
    | ManifestLine
    | RebuildLine
    | RegistrationLine
    | ClosureLine
    | ConfigurationLine
    | LaunchLine
    | BootLine
    | ImaLine
)
"""A part that all epochs below share; the kinds stand in this order."""

EntryLine = EpochLine | MessageLine | EndLine | HeadsLine | TokenLine | AttestationLine
"""A line that stands for an entry of the log."""

Line = Header | SharedLine | EntryLine | HeadLine | StopLine | CheckpointLine | Trailer


@dataclass(frozen=True, slots=True)
class NumberedLine:
    """A line and its number in the file, from 1."""

    number: int
    line: Line


def shared_order(line: SharedLine) -> tuple[Any, ...]:
    """What lines of one kind ascend by: their members, as bytes."""
    members = (getattr(line, field.name) for field in fields(line) if field.name != "kind")
    return tuple(member.encode() if isinstance(member, str) else member for member in members)
