"""Trust as types: each of these values is a proof that a numbered step of spec/verification.md has passed.

Only verification can make them: a constructor call needs a token that only :mod:`sigillo.core.step`,
:mod:`sigillo.core.build_step` and :mod:`sigillo.core.verify` import (a test reads every import to keep it so), and
``dataclasses.replace`` needs it again.
"""

from __future__ import annotations

from dataclasses import InitVar, dataclass

from sigillo.core.certificate import CertifiedKey
from sigillo.core.dsse import DsseKey
from sigillo.core.epoch import EpochEnd
from sigillo.core.manifest import Role, SignedManifest
from sigillo.core.mark import Mark
from sigillo.core.policy import DeviceTrust, OperatorTrust
from sigillo.core.statement import Carrier, EpochStatement
from sigillo.core.verdict import Relaxation, Summary

MADE_BY_VERIFY = object()


class _MadeByVerify:
    """Refuses (TypeError) to be made without the token."""

    __slots__ = ()

    def __post_init__(self, token: object) -> None:
        if token is not MADE_BY_VERIFY:
            raise TypeError(f"only verification makes a {type(self).__name__}")


@dataclass(frozen=True, slots=True)
class SelfSignedStatement(_MadeByVerify):
    """Step 2 passed: the statement is signed by the epoch key that it names. Nobody vouches for that key yet."""

    statement: EpochStatement
    epoch_id: bytes
    token: InitVar[object]


@dataclass(frozen=True, slots=True)
class VerifiedStatement(_MadeByVerify):
    """Steps 2 and 3 passed: the log key that the policy pins for *operator* vouches for the statement."""

    own: SelfSignedStatement
    operator: OperatorTrust
    token: InitVar[object]


@dataclass(frozen=True, slots=True)
class SelfSignedManifest(_MadeByVerify):
    """Step 12, first part: the manifest is signed by the key that it names. Nobody vouches for that key yet."""

    signed: SignedManifest
    token: InitVar[object]

    @property
    def sha256(self) -> bytes:
        """The manifest hash, 32 bytes."""
        return self.signed.sha256

    @property
    def key(self) -> DsseKey:
        """The builder's."""
        return self.signed.envelope.key

    def output(self, role: Role) -> bytes | None:
        """SHA-256 of the executable or the plugin, where the manifest has one."""
        made = self.signed.manifest.part(role)
        return made[1].sha256 if made else None


@dataclass(frozen=True, slots=True)
class SelfSignedRebuild(_MadeByVerify):
    """Step 12, second part: the holder of *key* says that it made these outputs (SHA-256) of the manifest again."""

    key: DsseKey
    manifest_hash: bytes
    reproduced: frozenset[bytes]
    token: InitVar[object]


@dataclass(frozen=True, slots=True)
class VerifiedEnd(_MadeByVerify):
    """The epoch's own key signed this end of it (step 4)."""

    end: EpochEnd
    token: InitVar[object]


@dataclass(frozen=True, slots=True)
class VerifiedMark(_MadeByVerify):
    """Step 5 passed: the mark is signed by the epoch key of *statement*, on a filter of mode "each" and *carrier*."""

    mark: Mark
    carrier: Carrier
    object_hash: bytes
    salt: bytes | None
    statement: SelfSignedStatement
    token: InitVar[object]


@dataclass(frozen=True, slots=True)
class VerifiedCertificate(_MadeByVerify):
    """The CA of its maker certifies this key of *device* (step 9); whether in time is for each message to judge."""

    device: DeviceTrust
    certified: CertifiedKey
    token: InitVar[object]


@dataclass(frozen=True, slots=True)
class VerifiedMessage(_MadeByVerify):
    """Steps 5, 6 and 9 passed: *device* signed this message, and its mark is about exactly these bytes.

    *device_sequence*: the device's own counter; *content_hash*: SHA-256 of the bytes that the device signed; *beacon*:
    what the device says it has seen of the log, 32 bytes or None, not verified; *device_time_ns*: by its own clock, to
    *device_resolution_ns*; *certified*: its key as its maker certifies it, not yet judged in time; none where pinned.
    """

    mark: VerifiedMark
    device: DeviceTrust
    device_sequence: int
    content_hash: bytes
    beacon: bytes | None
    device_time_ns: int
    device_resolution_ns: int
    certified: tuple[CertifiedKey, ...]
    token: InitVar[object]


@dataclass(frozen=True, slots=True)
class VerifiedEvidence(_MadeByVerify):
    """Every step passed for every line of the file. *level*: what every epoch reaches.

    *relaxations*: permissions of the policy that this needed.
    """

    summary: Summary
    level: str
    relaxations: tuple[Relaxation, ...]
    token: InitVar[object]
