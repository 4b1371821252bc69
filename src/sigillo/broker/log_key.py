"""The long-lived log key (Ed25519), made once: it countersigns every epoch statement, and a policy pins it."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from sigillo import disk
from sigillo.broker.error import BrokerError
from sigillo.core.note import LogKey
from sigillo.x509 import private_pem


class SigningLogKey:
    """A log key with its private half. `public` is what others know of it."""

    def __init__(self, key: Ed25519PrivateKey, origin: str) -> None:
        self._key = key
        self.public = LogKey(origin, key.public_key().public_bytes_raw())

    @classmethod
    def open(cls, folder: Path, origin: str) -> SigningLogKey:
        """The key in *folder*; made there (0600), with its vkey, where there is none.

        Raises BrokerError where the file is no such key, or open to others, or the vkey beside it names another;
        OSError.
        """
        path, vkey_path = folder / "log.key.pem", folder / "log.vkey"
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
            raise BrokerError(
                f"{vkey_path}: is not of the key in {path.name} under the origin {origin}; name was changed?"
            )
        return opened

    def sign(self, message: bytes) -> bytes:
        """Ed25519 signature, 64 bytes."""
        return self._key.sign(message)


def _load(path: Path) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError) as error:
        raise BrokerError(f"{path}: cannot be read ({error}); put the right file back from your backup") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise BrokerError(f"{path}: is no Ed25519 key; put the right file back from your backup")
    return key
