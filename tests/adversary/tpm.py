"""A TPM in memory whose every answer may be a lie: well signed, and different from an honest one in what a test says.

No chip signs most of these: a restricted key would refuse. Whoever has the private half of an AK can.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from sigillo.core.attestation import AttestationEvidence
from sigillo.core.device_key import der_signature
from sigillo.core.quote import SELECTION, Subject
from sigillo.core.tpm import ATTRIBUTES, KEY_ATTRIBUTES, AttestationKey, decode_attestation_key, sized
from tests.vector.key import P256Key, filler

ZERO = bytes(32)
AK = P256Key(filler("attestation key"))


@dataclass(frozen=True)
class RawKey:
    """TPMT_PUBLIC, field by field."""

    x: bytes
    y: bytes
    key_type: int = 0x0023
    name_algorithm: int = 0x000B
    attributes: int = sum(ATTRIBUTES[name] for name in KEY_ATTRIBUTES)
    policy: bytes = b""
    symmetric: int = 0x0010
    scheme: bytes = bytes.fromhex("0018000b")
    curve: int = 0x0003
    kdf: int = 0x0010

    def encode(self) -> bytes:
        head = _u(self.key_type, 2) + _u(self.name_algorithm, 2) + _u(self.attributes, 4) + sized(self.policy)
        parameters = _u(self.symmetric, 2) + self.scheme + _u(self.curve, 2) + _u(self.kdf, 2)
        return head + parameters + sized(self.x) + sized(self.y)


@dataclass(frozen=True)
class RawAttest:
    """TPMS_ATTEST of a quote, field by field. *banks*: (algorithm, bits of the selection)."""

    signer: bytes
    extra: bytes
    digest: bytes
    magic: int = 0xFF544347
    attest_type: int = 0x8018
    clock: int = 10_000
    resets: int = 7
    restarts: int = 0
    safe: int = 1
    firmware: int = 0x2019_1023_0016_3636
    banks: Sequence[tuple[int, bytes]] = ((0x000B, b"\xff\x7f\x00"),)

    def encode(self) -> bytes:
        head = _u(self.magic, 4) + _u(self.attest_type, 2) + sized(self.signer) + sized(self.extra)
        clock = _u(self.clock, 8) + _u(self.resets, 4) + _u(self.restarts, 4) + _u(self.safe, 1) + _u(self.firmware, 8)
        banks = b"".join(_u(algorithm, 2) + _u(len(bits), 1) + bits for algorithm, bits in self.banks)
        return head + clock + _u(len(self.banks), 4) + banks + sized(self.digest)


@dataclass
class LyingTpm:
    """An AK, its PCRs and a clock that goes on by a second with each quote."""

    private: P256Key = AK
    pcrs: dict[int, bytes] = field(default_factory=dict)
    clock: int = 10_000
    resets: int = 7
    key_changes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def raw_key(self) -> RawKey:
        numbers = self.private.private.public_key().public_numbers()
        raw = RawKey(numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big"))
        return dataclasses.replace(raw, **self.key_changes)

    @property
    def key(self) -> AttestationKey:
        return decode_attestation_key(self.raw_key.encode())

    def extend(self, index: int, digests: Iterable[bytes]) -> None:
        for digest in digests:
            self.pcrs[index] = hashlib.sha256(self.pcrs.get(index, ZERO) + digest).digest()

    def values(self) -> tuple[bytes, ...]:
        return tuple(self.pcrs.get(index, ZERO) for index in SELECTION)

    def quote(self, subject: Subject, **lies: Any) -> AttestationEvidence:
        """Evidence about *subject*, honest but for *lies*: fields of the attest."""
        self.clock += 1000
        public_bytes = self.raw_key.encode()
        name = _name(public_bytes)
        truth = RawAttest(
            signer=_name(b"\x40\x00\x00\x0b" + name),
            extra=subject.qualifying_data,
            digest=hashlib.sha256(b"".join(self.values())).digest(),
            clock=self.clock,
            resets=self.resets,
        )
        attest_bytes = dataclasses.replace(truth, **lies).encode()
        return AttestationEvidence(subject, public_bytes, attest_bytes, self.sign(attest_bytes), self.values())

    def sign(self, message: bytes) -> bytes:
        """TPMT_SIGNATURE over anything, as an unrestricted key would make it."""
        r, s = decode_dss_signature(der_signature(self.private.sign(message)))
        return bytes.fromhex("0018000b") + sized(r.to_bytes(32, "big")) + sized(s.to_bytes(32, "big"))


def _u(value: int, size: int) -> bytes:
    return value.to_bytes(size, "big")


def _name(data: bytes) -> bytes:
    return b"\0\x0b" + hashlib.sha256(data).digest()
