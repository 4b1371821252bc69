"""The registrar: sees for itself that an AK is in the TPM of an EK, signs that, and remembers (spec/endorsement.md).

Its memory is what it has signed: one registration a file. An identity belongs to the EK that it was first registered
with and an EK to its identity (identity take-over by re-registration: Keylime CVE-2023-38201, CVE-2025-13609).
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from sigillo import disk
from sigillo.attestation.credential import SECRET_SIZE, protect
from sigillo.attestation.error import RegistrationError
from sigillo.core.certificate import decode_certificate
from sigillo.core.endorsement import (
    EndorsementRoot,
    Registration,
    decode_registration,
    encode_registration,
    endorsement_fingerprint,
    endorsement_key,
    verify_endorsement,
    verify_registration,
)
from sigillo.core.errors import AttestationError, DecodeError
from sigillo.core.tpm import decode_attestation_key
from sigillo.x509 import private_pem

_KEY: Final = "registrar.key.pem"
_MAX_PENDING: Final = 256


@dataclass(frozen=True, slots=True)
class Challenge:
    """What an attester has to answer: TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET; *number* names it."""

    number: bytes
    credential: bytes
    encrypted_seed: bytes


class Registrar:
    """A registrar with its key and memory in a folder. Raises RegistrationError where it refuses; OSError."""

    def __init__(self, folder: Path, roots: Sequence[EndorsementRoot], now: Callable[[], int] = time.time_ns) -> None:
        """*folder* is made where it is not there; *roots*: makers of TPMs that it believes; *now*: Unix time in ns."""
        folder.mkdir(mode=0o755, exist_ok=True)
        self._folder, self._roots, self._now = folder, roots, now
        self._key = _open_key(folder / _KEY)
        self._pending: OrderedDict[bytes, tuple[bytes, Registration]] = OrderedDict()

    @property
    def public_key(self) -> bytes:
        """Ed25519, 32 bytes: what a policy pins."""
        return self._key.public_key().public_bytes_raw()

    def challenge(self, identity: str, key_bytes: bytes, chain: Sequence[bytes]) -> Challenge:
        """Challenge who wants to be registered as *identity*, with this AK (TPMT_PUBLIC) and EK certificates (DER)."""
        try:
            registration = Registration(self._now(), identity, decode_attestation_key(key_bytes), tuple(chain))
            self._check_endorsement(registration)
            self._check_memory(registration)
            endorsement = endorsement_key(decode_certificate(chain[0]))
        except DecodeError as error:
            raise RegistrationError(f"{identity}: cannot be registered: {error}") from error
        secret, number = secrets.token_bytes(SECRET_SIZE), secrets.token_bytes(16)
        credential, encrypted_seed = protect(endorsement, registration.key.name, secret)
        self._pending[number] = (secret, registration)
        if len(self._pending) > _MAX_PENDING:
            self._pending.popitem(last=False)
        return Challenge(number, credential, encrypted_seed)

    def register(self, number: bytes, secret: bytes) -> bytes:
        """The registration, once the TPM has given the secret of a challenge back. A challenge is answered once."""
        expected, registration = self._pending.pop(number, (b"", None))
        if registration is None or not hmac.compare_digest(secret, expected):
            raise RegistrationError("the TPM did not prove that the key is in it: another secret, or no such challenge")
        self._check_memory(registration)
        registration = dataclasses.replace(registration, time_ns=self._now())
        signed = encode_registration(registration, self.public_key, self._key.sign)
        disk.replace(self._file(registration.identity), signed, disk.PUBLIC)
        return signed

    def _check_endorsement(self, registration: Registration) -> None:
        reasons = []
        for root in self._roots:
            try:
                endorsement = verify_endorsement(registration.chain, root)
            except AttestationError as error:
                reasons.append(f"{root.name}: {error.reason}")
                continue
            invalid = endorsement.invalid_at(registration.time_ns)
            if invalid is None:
                return
            reasons.append(f"{root.name}: {invalid.name} is not valid now")
        said = "; ".join(reasons)
        raise RegistrationError(f"{registration.identity}: no maker that is believed here certifies its EK ({said})")

    def _check_memory(self, wanted: Registration) -> None:
        mine = endorsement_fingerprint(decode_certificate(wanted.chain[0]))
        for known in self._remembered():
            theirs = endorsement_fingerprint(decode_certificate(known.chain[0]))
            if (known.identity == wanted.identity) != (theirs == mine):
                what = "another TPM" if known.identity == wanted.identity else "its TPM is another identity's"
                raise RegistrationError(
                    f"{wanted.identity}: is refused: {what}. Who owns the registrar may give the identity up: remove "
                    f"{self._file(known.identity)}"
                )

    def _remembered(self) -> Iterator[Registration]:
        for path in sorted(self._folder.glob("*.cose")):
            try:
                signed = decode_registration(path.read_bytes())
                verify_registration(signed, self.public_key, signed.registration.identity)
            except (AttestationError, DecodeError) as error:
                raise RegistrationError(f"{path}: {error}; put the file back from your backup") from error
            yield signed.registration

    def _file(self, identity: str) -> Path:
        return self._folder / f"{hashlib.sha256(identity.encode()).hexdigest()}.cose"


def _open_key(path: Path) -> Ed25519PrivateKey:
    if not path.exists():
        if any(path.parent.glob("*.cose")):
            raise RegistrationError(f"{path}: is gone, but registrations are there; put the key back from your backup")
        disk.create(path, private_pem(Ed25519PrivateKey.generate()), disk.PRIVATE)
    if path.stat().st_mode & 0o077:
        raise RegistrationError(f"{path}: others may read or write it; forbid that: chmod 600 {path}")
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError) as error:
        raise RegistrationError(f"{path}: cannot be read ({error}); put it back from your backup") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise RegistrationError(f"{path}: is no Ed25519 key; put the right one back from your backup")
    return key
