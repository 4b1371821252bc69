"""The registrar: sees for itself that an AK is in the TPM of an EK, signs that, and remembers (spec/endorsement.md).

Its memory is what it has signed: one registration a file. An identity belongs to the EK that it was first registered
with and an EK to its identity (identity take-over by re-registration: Keylime CVE-2023-38201, CVE-2025-13609).
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from sigillo import disk
from sigillo.attestation.credential import protect
from sigillo.attestation.error import RegistrationError
from sigillo.attestation.waiting import Waiting
from sigillo.core.certificate import decode_certificate
from sigillo.core.endorsement import (
    Endorsement,
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
from sigillo.core.registration_exchange import NUMBER_SIZE, SECRET_SIZE, Credential, Pending
from sigillo.core.tpm import decode_attestation_key
from sigillo.x509 import private_pem

PUBLIC_KEY: Final = "registrar.pub.pem"
_KEY: Final = "registrar.key.pem"
_LOCK_WAIT_S: Final = 10.0


class Registrar:
    """A registrar with its key and memory in a folder. Raises RegistrationError where it refuses; OSError."""

    def __init__(self, folder: Path, roots: Sequence[EndorsementRoot], now: Callable[[], int] = time.time_ns) -> None:
        """*folder* is made where it is not there; *roots*: makers of TPMs that it believes; *now*: Unix time in ns."""
        folder.mkdir(mode=0o755, exist_ok=True)
        self._folder, self._roots, self._now = folder, roots, now
        self._key = _open_key(folder / _KEY)
        self._waiting = Waiting(folder / "pending")

    @classmethod
    def make(cls, folder: Path) -> Registrar:
        """A new one, with its public key in a file for policies. Raises RegistrationError where there is one."""
        if (folder / _KEY).exists():
            raise RegistrationError(f"{folder}: is a registrar already; its public key is in {folder / PUBLIC_KEY}")
        made = cls(folder, [])
        pem = made._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        disk.replace(folder / PUBLIC_KEY, pem, disk.PUBLIC)
        return made

    @classmethod
    def open(cls, folder: Path, roots: Sequence[EndorsementRoot] = ()) -> Registrar:
        """One that is there. Raises RegistrationError where there is none."""
        if not (folder / _KEY).exists():
            raise RegistrationError(f"{folder}: is no registrar; make one with `sigillo registrar new {folder}`")
        return cls(folder, roots)

    @property
    def public_key(self) -> bytes:
        """Ed25519, 32 bytes: what a policy pins."""
        return self._key.public_key().public_bytes_raw()

    def challenge(self, identity: str, key_bytes: bytes, chain: Sequence[bytes]) -> Credential:
        """Challenge who wants to be registered as *identity*, with this AK (TPMT_PUBLIC) and EK certificates (DER)."""
        with self._locked():
            return self._challenge(identity, key_bytes, tuple(chain))

    def register(self, number: bytes, secret: bytes) -> bytes:
        """The registration, once the TPM has given the secret of a challenge back. A challenge is answered once."""
        with self._locked():
            found = self._waiting.take(number, self._now())
            if found is None or not hmac.compare_digest(hashlib.sha256(secret).digest(), found.secret_hash):
                raise RegistrationError(
                    "the TPM did not prove that the key is in it: another secret, or no such challenge (any more); "
                    "begin again with a new challenge"
                )
            registration = Registration(self._now(), found.identity, found.key, found.chain)
            self._check_memory(registration)
            signed = encode_registration(registration, self.public_key, self._key.sign)
            disk.replace(self._file(registration.identity), signed, disk.PUBLIC)
            return signed

    def endorsement(self, chain: Sequence[bytes]) -> Endorsement:
        """The EK that these certificates (DER) are of, by a maker that is believed here, valid now."""
        reasons = []
        for root in self._roots:
            try:
                endorsement = verify_endorsement(chain, root)
            except AttestationError as error:
                reasons.append(f"{root.name}: {error.reason}")
                continue
            except DecodeError as error:
                raise RegistrationError(f"the EK cannot be registered: {error}") from error
            invalid = endorsement.invalid_at(self._now())
            if invalid is None:
                return endorsement
            reasons.append(f"{root.name}: {invalid.name} is not valid now")
        raise RegistrationError(f"no maker that is believed here certifies the EK ({'; '.join(reasons) or 'none is'})")

    def _challenge(self, identity: str, key_bytes: bytes, chain: tuple[bytes, ...]) -> Credential:
        secret, number = secrets.token_bytes(SECRET_SIZE), secrets.token_bytes(NUMBER_SIZE)
        try:
            registration = Registration(self._now(), identity, decode_attestation_key(key_bytes), chain)
            self.endorsement(chain)
            self._check_memory(registration)
            ek, key = endorsement_key(decode_certificate(chain[0])), registration.key
            secret_hash = hashlib.sha256(secret).digest()
            self._waiting.put(Pending(number, registration.time_ns, secret_hash, identity, key, chain))
        except DecodeError as error:
            raise RegistrationError(f"{identity}: cannot be registered: {error}") from error
        return Credential(number, key.name, *protect(ek, key.name, secret))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Alone with the folder: what was free a moment ago is free still."""
        descriptor = disk.open_folder(self._folder)
        try:
            disk.lock(descriptor, _LOCK_WAIT_S)
            yield
        except BlockingIOError:
            raise RegistrationError(f"{self._folder}: another process is using this registrar; try again") from None
        finally:
            os.close(descriptor)

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
