"""The log key in a TPM, which gives it up after an approved boot only: spec/sealing.md. Policies, approvals, the file.

Computed as a TPM does it (TCG TPM 2.0 Library, part 3: PolicyPCR, PolicyAuthorize), so that an approval can be made and
checked anywhere. What is decoded here is not trusted: it is the TPM that refuses.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicNumbers
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from sigillo.core import cbor
from sigillo.core.bytes import object_hash
from sigillo.core.cose import SIGNATURE_SIZE
from sigillo.core.errors import AttestationError, DecodeError
from sigillo.core.field import HASH_SIZE, array, byte_string, integer, numbered_map
from sigillo.core.tpm import (
    ATTRIBUTES,
    ECC,
    ECDSA_SCHEME,
    NULL,
    P256,
    SHA256,
    encode_selection,
    object_name,
    packed,
    sized,
)

BOOT_PCRS: Final = (*range(10), 12, 14)
"""What a machine is booted with; of the SHA-256 bank."""
MAX_APPROVALS: Final = 16
VERSION: Final = 1
_FIELD: Final = "sealed key"
_POLICY_PCR: Final = 0x17F
_POLICY_AUTHORIZE: Final = 0x16A
_KEYED_HASH: Final = 0x0008
_SEALED_ATTRIBUTES: Final = frozenset({"fixedTPM", "fixedParent", "adminWithPolicy", "noDA"})
"""Not userWithAuth: with it an empty password would do in place of the policy."""
_COORDINATE: Final = 32
_MAX_PRIVATE: Final = 1024


@dataclass(frozen=True, slots=True)
class OwnerKey:
    """The public half of the owner's approval key, a point of P-256; *x*, *y*: 32 bytes each. Raises DecodeError."""

    x: bytes
    y: bytes

    def __post_init__(self) -> None:
        try:
            self._numbers().public_key()
        except ValueError:
            raise DecodeError(f"{_FIELD}, owner key", "is not a point of P-256") from None

    @property
    def public_bytes(self) -> bytes:
        """TPMT_PUBLIC: a key that only signs."""
        head = packed((ECC, 2), (SHA256, 2), (ATTRIBUTES["sign"], 4), (0, 2))
        parameters = packed((NULL, 2), (ECDSA_SCHEME, 2), (SHA256, 2), (P256, 2), (NULL, 2))
        return head + parameters + sized(self.x) + sized(self.y)

    @property
    def name(self) -> bytes:
        """TPM name, 34 bytes."""
        return object_name(self.public_bytes)

    def verify(self, signature: bytes, message: bytes) -> None:
        """Verify r ‖ s, 64 bytes, by ECDSA with SHA-256. Raises AttestationError."""
        r, s = (int.from_bytes(part, "big") for part in (signature[:_COORDINATE], signature[_COORDINATE:]))
        try:
            self._numbers().public_key().verify(encode_dss_signature(r, s), message, ECDSA(hashes.SHA256()))
        except InvalidSignature:
            raise AttestationError("the approval is not signed by the owner's key") from None

    def _numbers(self) -> EllipticCurvePublicNumbers:
        return EllipticCurvePublicNumbers(int.from_bytes(self.x, "big"), int.from_bytes(self.y, "big"), SECP256R1())


@dataclass(frozen=True, slots=True)
class Approval:
    """The owner's word for one boot: *values* of `BOOT_PCRS`, 32 bytes each, and a *signature* r ‖ s, 64 bytes."""

    values: tuple[bytes, ...]
    signature: bytes


@dataclass(frozen=True, slots=True)
class SealedKey:
    """A log key as it lies on disk. *log_key*: its public half, Ed25519, 32 bytes; *public_bytes*, *private_bytes*:
    TPMT_PUBLIC and the content of TPM2B_PRIVATE of the sealed object; *approvals*, the newest last.
    """

    log_key: bytes
    owner: OwnerKey
    public_bytes: bytes
    private_bytes: bytes
    approvals: tuple[Approval, ...]

    def approved(self, values: Sequence[bytes]) -> Approval:
        """The approval of these values of `BOOT_PCRS`, verified.

        Raises AttestationError that names the PCRs which differ from the newest approval, or whose signature is wrong.
        """
        for approval in self.approvals:
            if approval.values == tuple(values):
                self.owner.verify(approval.signature, approval_message(approval.values, self.log_key))
                return approval
        changed = ", ".join(map(str, self.changed(values)))
        raise AttestationError(f"its owner has not approved how this machine was booted (changed: PCR {changed})")

    def changed(self, values: Sequence[bytes]) -> tuple[int, ...]:
        """The PCRs whose value is another than in the newest approval; none where these values are approved."""
        if any(approval.values == tuple(values) for approval in self.approvals):
            return ()
        pairs = zip(BOOT_PCRS, self.approvals[-1].values, values, strict=True)
        return tuple(index for index, before, now in pairs if before != now)

    def with_approval(self, approval: Approval) -> SealedKey:
        """The same key with one approval more, which MUST verify; the oldest goes where there are too many.

        Raises AttestationError.
        """
        self.owner.verify(approval.signature, approval_message(approval.values, self.log_key))
        return replace(self, approvals=(*self.approvals, approval)[-MAX_APPROVALS:])


def policy_reference(log_key: bytes) -> bytes:
    """What ties approvals to one log, 32 bytes; *log_key*: Ed25519 public key, 32 bytes."""
    return object_hash("sealed-key", log_key)


def pcr_digest(values: Sequence[bytes]) -> bytes:
    """SHA-256 over values of `BOOT_PCRS`, in order."""
    return hashlib.sha256(b"".join(values)).digest()


def pcr_policy(values: Sequence[bytes]) -> bytes:
    """Policy digest of PolicyPCR over these values of `BOOT_PCRS`, 32 bytes."""
    command = packed((_POLICY_PCR, 4)) + encode_selection(BOOT_PCRS)
    return hashlib.sha256(bytes(HASH_SIZE) + command + pcr_digest(values)).digest()


def sealing_policy(owner: OwnerKey, log_key: bytes) -> bytes:
    """Policy digest of PolicyAuthorize by the owner for this log, 32 bytes: the sealed object's."""
    by_owner = hashlib.sha256(bytes(HASH_SIZE) + packed((_POLICY_AUTHORIZE, 4)) + owner.name).digest()
    return hashlib.sha256(by_owner + policy_reference(log_key)).digest()


def approval_message(values: Sequence[bytes], log_key: bytes) -> bytes:
    """What the owner signs, 64 bytes: policy of the values ‖ reference of the log."""
    return pcr_policy(values) + policy_reference(log_key)


def sealing_template(owner: OwnerKey, log_key: bytes) -> bytes:
    """TPMT_PUBLIC to seal with: what a TPM makes of it differs in the last field alone."""
    attributes = sum(ATTRIBUTES[name] for name in _SEALED_ATTRIBUTES)
    return _sealed_head(attributes, sealing_policy(owner, log_key)) + sized(b"")


def encode_sealed_key(sealed: SealedKey) -> bytes:
    """The file's bytes. Raises DecodeError where it is none."""
    return cbor.encode(
        {
            1: VERSION,
            2: sealed.log_key,
            3: sealed.owner.x + sealed.owner.y,
            4: sealed.public_bytes,
            5: sealed.private_bytes,
            6: [[list(approval.values), approval.signature] for approval in sealed.approvals],
        },
        _FIELD,
    )


def decode_sealed_key(data: bytes) -> SealedKey:
    """Decode the file; no signature is verified. Raises DecodeError, also where the object has another policy than
    this owner's for this log, or may be used without a policy.
    """
    value = numbered_map(cbor.decode(data, _FIELD), _FIELD, frozenset(range(1, 7)))
    integer(value[1], f"{_FIELD}, version", VERSION, VERSION)
    log_key = byte_string(value[2], f"{_FIELD}, log key", HASH_SIZE)
    point = byte_string(value[3], f"{_FIELD}, owner key", 2 * _COORDINATE)
    owner = OwnerKey(point[:_COORDINATE], point[_COORDINATE:])
    template = sealing_template(owner, log_key)
    public_bytes = byte_string(value[4], f"{_FIELD}, object", len(template) + HASH_SIZE)
    if public_bytes[: len(template)] != template[:-2] + packed((HASH_SIZE, 2)):
        raise DecodeError(f"{_FIELD}, object", "is not sealed under the policy of this owner for this log")
    private_bytes = byte_string(value[5], f"{_FIELD}, private part", 1, _MAX_PRIVATE)
    approvals = tuple(_approval(item) for item in array(value[6], f"{_FIELD}, approvals"))
    if not 0 < len(approvals) <= MAX_APPROVALS:
        raise DecodeError(f"{_FIELD}, approvals", f"are {len(approvals)}, not 1…{MAX_APPROVALS}")
    return SealedKey(log_key, owner, public_bytes, private_bytes, approvals)


def _approval(value: object) -> Approval:
    field = f"{_FIELD}, approval"
    parts = array(value, field, 2)
    values = tuple(
        byte_string(item, f"{field}, PCR value", HASH_SIZE) for item in array(parts[0], field, len(BOOT_PCRS))
    )
    return Approval(values, byte_string(parts[1], f"{field}, signature", SIGNATURE_SIZE))


def _sealed_head(attributes: int, policy: bytes) -> bytes:
    head = packed((_KEYED_HASH, 2), (SHA256, 2), (attributes, 4))
    return head + sized(policy) + packed((NULL, 2))
