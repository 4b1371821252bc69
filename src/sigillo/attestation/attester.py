"""The attester: one TPM's EK and AK, and quotes that it has verified itself before anybody else sees them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sigillo.attestation.error import TpmError
from sigillo.attestation.tpm import Tpm
from sigillo.core.attestation import AttestationEvidence
from sigillo.core.errors import AttestationError, DecodeError
from sigillo.core.quote import SELECTION, Subject, verify_quote
from sigillo.core.tpm import AttestationKey, decode_attestation_key, encode_attestation_key

KEY_HANDLE: Final = 0x8101_5301
"""Where the AK is kept: among the persistent handles of the endorsement hierarchy."""
EK_HANDLE: Final = 0x8101_0001
EK_CERTIFICATE: Final = 0x01C0_0002
"""NV index of the certificate for the RSA 2048 EK (TCG EK Credential Profile, section 2.2.1.4)."""
_EK_POLICY: Final = bytes.fromhex("837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa")
_EK_TEMPLATE: Final = (
    bytes.fromhex("0001000b000300b20020") + _EK_POLICY + bytes.fromhex("000600800043001008000000000001 00") + bytes(256)
)
"""Template L-1 (section B.3.3)."""
_TRIES: Final = 5


class Attester:
    """Uses one TPM. Raises TpmError where that does not do its part."""

    def __init__(self, tpm: Tpm, key: AttestationKey) -> None:
        self._tpm, self.key = tpm, key

    @classmethod
    def open(cls, tpm: Tpm) -> Attester:
        """The attester with the TPM's AK; made and kept where there is none yet. It is the same after a reset."""
        public_bytes = tpm.read_public(KEY_HANDLE)
        if public_bytes is None:
            with tpm.primary(encode_attestation_key(b"", b"")) as (handle, public_bytes):
                tpm.persist(handle, KEY_HANDLE)
        try:
            return cls(tpm, decode_attestation_key(public_bytes))
        except DecodeError as error:
            raise TpmError(f"the TPM has another key at {KEY_HANDLE:#x}, where the AK belongs: {error}") from error

    def endorsement_certificate(self) -> bytes:
        """The certificate (DER) that the TPM's maker has put into it for its EK."""
        data = self._tpm.read_nv(EK_CERTIFICATE)
        if not data:
            raise TpmError("the TPM holds no certificate for an RSA EK: get it from its maker")
        return data

    def activate(self, credential: bytes, encrypted_seed: bytes) -> bytes:
        """The secret of a registrar's challenge: shows that AK and EK are in this TPM."""
        with self._endorsement_key() as handle:
            return self._tpm.activate_credential(KEY_HANDLE, handle, credential, encrypted_seed)

    def quote(self, subject: Subject) -> AttestationEvidence:
        """A quote for *subject*, verified."""
        for _ in range(_TRIES):
            pcrs = self._tpm.read_pcrs(SELECTION)
            attest_bytes, signature_bytes = self._tpm.quote(KEY_HANDLE, subject.qualifying_data, SELECTION)
            try:
                verify_quote(self.key, attest_bytes, signature_bytes, subject, pcrs)
            except (AttestationError, DecodeError) as error:
                reason = error  # a PCR may have been extended in between
                continue
            return AttestationEvidence(subject, self.key.public_bytes, attest_bytes, signature_bytes, pcrs)
        raise TpmError(f"the TPM's quote does not verify: {reason}")

    @contextmanager
    def _endorsement_key(self) -> Iterator[int]:
        if self._tpm.read_public(EK_HANDLE) is not None:
            yield EK_HANDLE
            return
        with self._tpm.primary(_EK_TEMPLATE) as (handle, _):
            yield handle
