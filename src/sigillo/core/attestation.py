"""Attestation evidence of a TPM: spec/attestation.md. The object of a log entry of kind 7; an answer to a challenge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sigillo.core import cbor
from sigillo.core.bytes import object_hash
from sigillo.core.errors import AttestationError, DecodeError
from sigillo.core.field import array, byte_string, integer, numbered_map
from sigillo.core.mark import decode_checkpoint
from sigillo.core.quote import NONCE_SIZE, SELECTION, Quote, Subject, check_follows, verify_quote
from sigillo.core.tpm import decode_attest, decode_attestation_key, decode_signature

VERSION: Final = 1
TPM: Final = 1
MAX_SIZE: Final = 4096
_NONCE: Final = 5
_KEYS: Final = (1, 2, 3, 4, 6, 7, 8, 9)


@dataclass(frozen=True, slots=True)
class AttestationEvidence:
    """A quote and what verifying it needs, not verified. *pcrs*: the values of PCR 0 to 14, 32 bytes each."""

    subject: Subject
    key_bytes: bytes
    attest_bytes: bytes
    signature_bytes: bytes
    pcrs: tuple[bytes, ...]

    @property
    def object_hash(self) -> bytes:
        """Object hash, 32 bytes, of the log entry."""
        return object_hash("attestation-evidence", encode_attestation(self))


def encode_attestation(evidence: AttestationEvidence) -> bytes:
    """The CBOR object. Raises DecodeError for fields that could not be decoded again."""
    subject = evidence.subject
    value: dict[int, object] = {
        1: VERSION,
        2: TPM,
        3: subject.epoch_id,
        4: [subject.checkpoint.size, subject.checkpoint.root],
        6: evidence.key_bytes,
        7: evidence.attest_bytes,
        8: evidence.signature_bytes,
        9: list(evidence.pcrs),
    }
    if subject.nonce is not None:
        value[_NONCE] = subject.nonce
    _evidence(value)
    return cbor.encode(value, "attestation evidence")


def decode_attestation(data: bytes) -> AttestationEvidence:
    """Decode the CBOR object. Raises DecodeError; no signature is looked at."""
    if len(data) > MAX_SIZE:
        raise DecodeError("attestation evidence", f"is longer than {MAX_SIZE} bytes")
    return _evidence(cbor.decode(data, "attestation evidence"))


def verify_periodic(evidence: AttestationEvidence, key_name: bytes) -> Quote:
    """Verify evidence from the log, by the key that the epoch statement names (*key_name*, 34 bytes).

    Raises AttestationError, also for an answer to a challenge: that proves nothing about any other moment.
    """
    if evidence.subject.nonce is not None:
        raise AttestationError("this is the answer to a challenge, not an entry of the log")
    return _verify(evidence, key_name)


def verify_answer(evidence: AttestationEvidence, key_name: bytes, nonce: bytes) -> Quote:
    """Verify the answer to a challenge with *nonce*, 32 fresh bytes of the challenger's. Raises AttestationError."""
    if evidence.subject.nonce != byte_string(nonce, "nonce", NONCE_SIZE):
        raise AttestationError("this does not answer the challenge: its nonce is another, or it has none")
    return _verify(evidence, key_name)


def attested_entries(opening_index: int, opening: Quote, closing: Quote) -> range:
    """Indices of the entries that lie between two quotes: logged after *opening* was, at *opening_index*, and before
    *closing* was made. Raises AttestationError where the two do not belong together."""
    check_follows(opening, closing)
    if opening.subject.checkpoint.size > opening_index:
        raise AttestationError("the opening quote is about a checkpoint that has its own entry in it")
    return range(opening_index + 1, closing.subject.checkpoint.size)


def _verify(evidence: AttestationEvidence, key_name: bytes) -> Quote:
    key = decode_attestation_key(evidence.key_bytes)
    if key.name != key_name:
        raise AttestationError("the attestation key is not the one that the epoch statement names")
    return verify_quote(key, evidence.attest_bytes, evidence.signature_bytes, evidence.subject, evidence.pcrs)


def _evidence(value: object) -> AttestationEvidence:
    values = numbered_map(value, "attestation evidence", _KEYS, (_NONCE,))
    integer(values[1], "version", VERSION, VERSION)
    integer(values[2], "kind", TPM, TPM)
    nonce = byte_string(values[_NONCE], "nonce", NONCE_SIZE) if _NONCE in values else None
    checkpoint = decode_checkpoint(values[4])
    key_bytes, attest_bytes, signature_bytes = (
        byte_string(values[key], name, 1, MAX_SIZE)
        for key, name in ((6, "attestation key"), (7, "quote"), (8, "quote signature"))
    )
    decode_attestation_key(key_bytes)
    decode_attest(attest_bytes)
    decode_signature(signature_bytes)
    return AttestationEvidence(
        Subject(byte_string(values[3], "epoch id"), checkpoint, nonce),
        key_bytes,
        attest_bytes,
        signature_bytes,
        tuple(byte_string(item, "PCR value") for item in array(values[9], "PCR values", len(SELECTION))),
    )
