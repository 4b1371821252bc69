"""Seals a log key in a TPM, and gets it back after an approved boot (spec/sealing.md)."""

from __future__ import annotations

import hashlib
from contextlib import AbstractContextManager
from typing import Final

from sigillo.attestation.error import TpmError
from sigillo.attestation.tpm import OTHER_VALUE, PCR_CHANGED, RH_OWNER, Tpm
from sigillo.core.sealing import (
    BOOT_PCRS,
    Approval,
    OwnerKey,
    SealedKey,
    approval_message,
    pcr_digest,
    pcr_policy,
    policy_reference,
    sealing_template,
)
from sigillo.core.tpm import ATTRIBUTES, ECC, ECDSA_SCHEME, NULL, P256, SHA256, packed, sized

_TRIES: Final = 5
_STORAGE_ATTRIBUTES: Final = (
    "fixedTPM",
    "fixedParent",
    "sensitiveDataOrigin",
    "userWithAuth",
    "noDA",
    "restricted",
    "decrypt",
)
_AES: Final = 0x0006
_CFB: Final = 0x0043


def storage_template() -> bytes:
    """TPMT_PUBLIC of the parent: a P-256 storage key with AES-128, made anew each time from the owner's seed."""
    head = packed((ECC, 2), (SHA256, 2), (sum(ATTRIBUTES[name] for name in _STORAGE_ATTRIBUTES), 4), (0, 2))
    return head + packed((_AES, 2), (128, 2), (_CFB, 2), (NULL, 2), (P256, 2), (NULL, 2)) + sized(b"") + sized(b"")


def boot_values(tpm: Tpm) -> tuple[bytes, ...]:
    """The TPM's values of `BOOT_PCRS`, 32 bytes each. Raises TpmError."""
    return tpm.read_pcrs(BOOT_PCRS)


def seal(tpm: Tpm, secret: bytes, log_key: bytes, owner: OwnerKey, approval: Approval) -> SealedKey:
    """Seal *secret* (32 bytes), the private half of *log_key* (32 bytes). Raises TpmError."""
    with _parent(tpm) as (parent, _):
        public_bytes, private_bytes = tpm.seal(parent, sealing_template(owner, log_key), secret)
    return SealedKey(log_key, owner, public_bytes, private_bytes, (approval,))


def unseal(tpm: Tpm, sealed: SealedKey) -> bytes:
    """The secret, 32 bytes. A PCR that is extended meanwhile (IMA's, say) only makes it begin again.

    Raises AttestationError where the boot is not an approved one, TpmError.
    """
    for _ in range(_TRIES):
        approval = sealed.approved(boot_values(tpm))
        try:
            return unseal_by(tpm, sealed, approval)
        except TpmError as error:
            if error.code not in (PCR_CHANGED, OTHER_VALUE):
                raise
    raise TpmError(f"somebody extends the TPM's PCRs all the time: {_TRIES} attempts were cut off; try again")


def unseal_by(tpm: Tpm, sealed: SealedKey, approval: Approval) -> bytes:
    """The secret by one approval, once; whether that is good is for the TPM to say. Raises TpmError."""
    message = approval_message(approval.values, sealed.log_key)
    ticket = tpm.verify(sealed.owner.public_bytes, hashlib.sha256(message).digest(), _signature(approval.signature))
    policy, reference = pcr_policy(approval.values), policy_reference(sealed.log_key)
    with (
        _parent(tpm) as (parent, _),
        tpm.loaded(parent, sealed.public_bytes, sealed.private_bytes) as handle,
        tpm.policy_session() as session,
    ):
        tpm.policy_pcr(session, pcr_digest(approval.values), BOOT_PCRS)
        tpm.policy_authorize(session, policy, reference, sealed.owner.name, ticket)
        return tpm.unseal(handle, session)


def _parent(tpm: Tpm) -> AbstractContextManager[tuple[int, bytes]]:
    return tpm.primary(storage_template(), RH_OWNER)


def _signature(signature: bytes) -> bytes:
    """TPMT_SIGNATURE of r ‖ s."""
    return packed((ECDSA_SCHEME, 2), (SHA256, 2)) + sized(signature[:32]) + sized(signature[32:])
