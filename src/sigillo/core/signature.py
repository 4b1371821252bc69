"""Whose signature is on an object of an epoch: the epoch key's or the log key's (spec/epoch.md, spec/mark.md).

Each function raises SignatureError and returns nothing: what a failure means is for its caller to say, and what a
success proves is :mod:`sigillo.core.trusted`'s.
"""

from sigillo.core.cose import EpochObject, verify_ed25519
from sigillo.core.epoch import SignedStatement
from sigillo.core.errors import SignatureError
from sigillo.core.statement import EpochStatement


def verify_by_epoch_key(signed: EpochObject, statement: EpochStatement, epoch_id: bytes) -> None:
    """Verify a mark, epoch end or seal: its `kid` is *epoch_id* (32 bytes), its signature by the key of *statement*."""
    if signed.epoch_id != epoch_id:
        raise SignatureError("it is of another epoch")
    verify_ed25519(statement.epoch_key, signed.sign1.signature, signed.sign1.signed_bytes())


def verify_own_signature(signed: SignedStatement) -> None:
    """Verify that a statement is signed by the epoch key that it names."""
    verify_ed25519(signed.statement.epoch_key, signed.sign1.signature, signed.sign1.signed_bytes())


def verify_countersignature(signed: SignedStatement, log_public_key: bytes) -> None:
    """Verify that a statement has a countersignature and that it is by this log key (32 bytes)."""
    if signed.countersignature is None:
        raise SignatureError("it has no countersignature")
    verify_ed25519(log_public_key, signed.countersignature.signature, signed.countersigned_bytes())
