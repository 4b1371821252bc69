"""The long-lived log key (Ed25519), made once: it countersigns every epoch statement, and a policy pins it.

It lies in a file, or sealed in a TPM (spec/sealing.md): then it is in the memory of who signs, and nowhere else.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from sigillo import disk
from sigillo.attestation.error import TpmError
from sigillo.attestation.link import open_link
from sigillo.attestation.seal import seal, unseal
from sigillo.attestation.tpm import Tpm
from sigillo.broker.error import BrokerError
from sigillo.core.errors import AttestationError, DecodeError
from sigillo.core.note import LogKey
from sigillo.core.sealing import Approval, OwnerKey, SealedKey, decode_sealed_key, encode_sealed_key
from sigillo.x509 import private_pem

PLAIN: Final = "log.key.pem"
SEALED: Final = "log.key.sealed"
_VKEY: Final = "log.vkey"
_TIMEOUT_S: Final = 10.0


class SigningLogKey:
    """A log key with its private half. `public` is what others know of it."""

    def __init__(self, key: Ed25519PrivateKey, origin: str) -> None:
        self._key = key
        self.public = LogKey(origin, key.public_key().public_bytes_raw())

    @classmethod
    def open(cls, folder: Path, origin: str, tpm: str = "") -> SigningLogKey:
        """The key in *folder*, or sealed there in the TPM at *tpm*; made (0600), with its vkey, where there is none.

        Raises BrokerError where the file is no such key, or open to others, or the vkey beside it names another, or the
        TPM does not give it up; OSError.
        """
        path, vkey_path = folder / PLAIN, folder / _VKEY
        if (folder / SEALED).exists():
            opened = cls(_unsealed(folder, tpm), origin)
        else:
            if not path.exists():
                if vkey_path.exists():
                    raise BrokerError(
                        f"{path}: is gone, but {vkey_path.name} is there; put the key back from your backup. A new one "
                        "would break every policy that pins this operator"
                    )
                disk.create(path, private_pem(Ed25519PrivateKey.generate()), disk.PRIVATE)
            if path.stat().st_mode & 0o077:
                raise BrokerError(f"{path}: others may read or write it; forbid that: chmod 600 {path}")
            opened = cls(_load(path), origin)
        if not vkey_path.exists():
            disk.replace(vkey_path, f"{opened.public.vkey}\n".encode(), disk.PUBLIC)
        elif vkey_path.read_text("utf-8", "replace").strip() != opened.public.vkey:
            raise BrokerError(f"{vkey_path}: is not of the log key here under the origin {origin}; name was changed?")
        return opened

    def sign(self, message: bytes) -> bytes:
        """Ed25519 signature, 64 bytes."""
        return self._key.sign(message)


def read_sealed_key(folder: Path) -> SealedKey:
    """The sealed key in *folder* (`DIR/log`), not verified. Raises BrokerError where it cannot be read, OSError."""
    path = folder / SEALED
    try:
        return decode_sealed_key(path.read_bytes())
    except DecodeError as error:
        raise BrokerError(f"{path}: {error}; put the file back from your backup") from None


def write_sealed_key(folder: Path, sealed: SealedKey) -> None:
    """Keep a sealed key in *folder*; on return it is on disk. It is no secret: only the TPM opens it."""
    disk.replace(folder / SEALED, encode_sealed_key(sealed), disk.PUBLIC)


def seal_log_key(folder: Path, tpm: Tpm, owner: OwnerKey, approval: Approval) -> SealedKey:
    """Seal the key that lies in *folder*, and remove its file once the TPM has given the key back from what is on disk.

    After a run that was cut off it does all of it again. Raises BrokerError where there is none, TpmError,
    AttestationError, OSError; the file is still there then.
    """
    plain, path = folder / PLAIN, folder / SEALED
    if not plain.exists():
        reason = "is sealed already" if path.exists() else "there is no log key yet; start `sigillo up` once"
        raise BrokerError(f"{plain}: {reason}")
    key = _load(plain)
    sealed = seal(tpm, key.private_bytes_raw(), key.public_key().public_bytes_raw(), owner, approval)
    write_sealed_key(folder, sealed)
    try:
        sealed = read_sealed_key(folder)
        if unseal(tpm, sealed) != key.private_bytes_raw():
            raise BrokerError(f"{path}: is another key than {plain.name}")
    except (BrokerError, TpmError, AttestationError):
        path.unlink()  # the plain one is still there
        raise
    plain.unlink()
    disk.sync_folder(folder)
    return sealed


def _unsealed(folder: Path, tpm: str) -> Ed25519PrivateKey:
    path, plain = folder / SEALED, folder / PLAIN
    directory = folder.parent
    if plain.exists():
        raise BrokerError(
            f"{plain}: lies beside its sealed form, which protects nothing then; finish the sealing: "
            f"sigillo tpm seal {directory} --owner-key FILE"
        )
    if not tpm:
        raise BrokerError(f"{path}: is sealed in a TPM, and sigillo.toml names none; set tpm there")
    sealed = read_sealed_key(folder)
    try:
        link = open_link(Path(tpm), _TIMEOUT_S)
        try:
            seed = unseal(Tpm(link), sealed)
        finally:
            link.close()
        key = Ed25519PrivateKey.from_private_bytes(seed)
    except AttestationError as error:
        raise BrokerError(
            f"{path}: {error}. If the change is yours, have the owner approve it: "
            f"sigillo tpm approve {directory} --owner-key FILE"
        ) from None
    except (TpmError, ValueError) as error:
        raise BrokerError(f"{path}: the TPM does not give the log key up: {error}") from None
    if key.public_key().public_bytes_raw() != sealed.log_key:
        raise BrokerError(f"{path}: holds another key than it says; put the file back from your backup")
    return key


def _load(path: Path) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError) as error:
        raise BrokerError(f"{path}: cannot be read ({error}); put the right file back from your backup") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise BrokerError(f"{path}: is no Ed25519 key; put the right file back from your backup")
    return key
