"""TPM quotes: spec/quote.md. What a TPM says about its PCRs, its clock and its resets, for data that it was given."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sigillo.core.bytes import domain
from sigillo.core.errors import AttestationError, DecodeError
from sigillo.core.field import byte_string
from sigillo.core.mark import Checkpoint
from sigillo.core.tpm import AttestationKey, ClockInfo, decode_attest

SELECTION: Final = tuple(range(15))
"""The PCRs of every quote: 0 to 14, of the SHA-256 bank. 15 and above belong to others, or can be reset."""
LAUNCH_PCR: Final = 13
NONCE_SIZE: Final = 32
_PERIODIC, _CHALLENGED = b"\x01", b"\x02"


@dataclass(frozen=True, slots=True)
class Subject:
    """What a quote is about: an epoch of the broker and the log's newest checkpoint; in an answer, the *nonce* too."""

    epoch_id: bytes
    checkpoint: Checkpoint
    nonce: bytes | None = None

    @property
    def qualified_bytes(self) -> bytes:
        """What the qualifying data are the SHA-256 of."""
        fields = [self.epoch_id, self.checkpoint.size.to_bytes(8, "big"), self.checkpoint.root]
        kind = _PERIODIC
        if self.nonce is not None:
            kind, fields = _CHALLENGED, [*fields, byte_string(self.nonce, "nonce", NONCE_SIZE)]
        prefixed = b"".join(len(field).to_bytes(8, "big") + field for field in fields)
        return domain("quote") + kind + prefixed

    @property
    def qualifying_data(self) -> bytes:
        """32 bytes, which the TPM signs with the quote."""
        return hashlib.sha256(self.qualified_bytes).digest()


@dataclass(frozen=True, slots=True)
class Quote:
    """A quote whose signature and PCR values hold: made by *key* for *subject*; *pcrs*: 32 bytes each, 0 to 14."""

    key: AttestationKey
    subject: Subject
    clock: ClockInfo
    firmware: int
    pcrs: tuple[bytes, ...]

    @property
    def launch_pcr(self) -> bytes:
        """Value of the PCR that the launches of the broker are measured into, 32 bytes."""
        return self.pcrs[LAUNCH_PCR]


def verify_quote(
    key: AttestationKey, attest_bytes: bytes, signature_bytes: bytes, subject: Subject, pcrs: Sequence[bytes]
) -> Quote:
    """Verify that the TPM of *key* quoted exactly these values of PCR 0 to 14 for *subject*.

    Whose TPM it is, and that it is one, is the endorsement's. Raises DecodeError for bytes that are no such quote,
    AttestationError for one by another key, for other data or over other values.
    """
    key.verify(signature_bytes, attest_bytes)
    attest = decode_attest(attest_bytes)
    if attest.signer != key.qualified_name:
        raise AttestationError("the attestation key is not a primary key of the endorsement hierarchy")
    if attest.extra != subject.qualifying_data:
        raise AttestationError("the quote is for other data: another epoch, checkpoint or nonce")
    if attest.selection != SELECTION:
        raise AttestationError("the quote selects other PCRs than 0 to 14")
    values = tuple(byte_string(value, "PCR value") for value in pcrs)
    if len(values) != len(SELECTION):
        raise DecodeError("PCR values", f"are {len(values)}, not {len(SELECTION)}")
    if attest.digest != hashlib.sha256(b"".join(values)).digest():
        raise AttestationError("the PCR values are not those of the quote")
    return Quote(key, subject, attest.clock, attest.firmware, values)


def check_follows(earlier: Quote, later: Quote) -> None:
    """Raise AttestationError unless nothing happened between two quotes of an epoch: the same TPM, not reset nor
    suspended, nothing launched, its clock going on. Within one millisecond a TPM can make several quotes."""
    if later.key.name != earlier.key.name:
        raise AttestationError("the two quotes are by different attestation keys")
    if later.subject.epoch_id != earlier.subject.epoch_id:
        raise AttestationError("the two quotes are of different epochs")
    before, after = earlier.clock, later.clock
    if (after.reset_count, after.restart_count) != (before.reset_count, before.restart_count):
        raise AttestationError("the TPM was reset or restarted between the two quotes, or is an older state of itself")
    if after.clock_ms < before.clock_ms or (after.clock_ms == before.clock_ms and later.subject == earlier.subject):
        raise AttestationError(
            "the TPM's clock did not go on between the two quotes: an older state of it, or a repeat"
        )
    if later.firmware != earlier.firmware:
        raise AttestationError("the TPM's firmware changed between the two quotes")
    if later.launch_pcr != earlier.launch_pcr:
        raise AttestationError("something was launched between the two quotes")
