"""The witness's key: made once, in a file of its own."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from sigillo import disk
from sigillo.core.cosignature import WitnessKey, WitnessKeyType
from sigillo.core.errors import DecodeError
from sigillo.core.note import check_name
from sigillo.witness.error import WitnessFolderError
from sigillo.x509 import private_pem

KEY_TYPES = {"ed25519": WitnessKeyType.ED25519, "ml-dsa-44": WitnessKeyType.ML_DSA_44}
_GONE = "put it back from your backup, or begin a new witness in another folder: logs and policies pin its key"


class SigningWitnessKey:
    """A witness's key with its private half. `public` is what others know of it."""

    def __init__(self, key: Ed25519PrivateKey | MLDSA44PrivateKey, name: str) -> None:
        kind = WitnessKeyType.ED25519 if isinstance(key, Ed25519PrivateKey) else WitnessKeyType.ML_DSA_44
        self._key = key
        self.public = WitnessKey(name, kind, key.public_key().public_bytes_raw())

    @classmethod
    def open(cls, folder: Path, name: str | None, kind: WitnessKeyType | None) -> SigningWitnessKey:
        """The key in *folder*; made there (0600), with its vkey, where there is none.

        *name*, *kind*: what the options say; needed (the kind: Ed25519) only where the key is to be made, and must not
        contradict one that is there. Raises WitnessFolderError, OSError.
        """
        path, vkey_path = folder / "witness.key.pem", folder / "witness.vkey"
        known = _read_vkey(vkey_path)
        if not path.exists():
            if known:
                raise WitnessFolderError(f"{path}: is gone; {_GONE}")
            if name is None:
                raise WitnessFolderError(f"{folder}: has no witness's key yet; say --name, the name of this witness")
            check_name(name, "--name")  # before anything is made
            made = Ed25519PrivateKey if kind in (None, WitnessKeyType.ED25519) else MLDSA44PrivateKey
            disk.create(path, private_pem(made.generate()), disk.PRIVATE)
        if path.stat().st_mode & 0o077:
            raise WitnessFolderError(f"{path}: others may read or write it; forbid that: chmod 600 {path}")
        chosen = name or (known.name if known else None)
        if chosen is None:
            raise WitnessFolderError(f"{vkey_path}: is not there; say --name, the name that this key had")
        opened = cls(_load(path), chosen)
        if known and opened.public != known:
            raise WitnessFolderError(f"{vkey_path}: is of another key or name ({known.name}) than {path.name}; {_GONE}")
        if kind not in (None, opened.public.type):
            raise WitnessFolderError(f"{path}: is a key of another type than --key-type says; leave the option out")
        if not known:
            disk.replace(vkey_path, f"{opened.public.vkey}\n".encode(), disk.PUBLIC)
        return opened

    def sign(self, message: bytes) -> bytes:
        """Raw signature: 64 bytes (Ed25519) or 2,420 (ML-DSA-44)."""
        return self._key.sign(message)


def _read_vkey(path: Path) -> WitnessKey | None:
    if not path.exists():
        return None
    try:
        return WitnessKey.from_vkey(path.read_text("utf-8", "replace").strip())
    except DecodeError as error:
        raise WitnessFolderError(f"{path}: {error}; {_GONE}") from None


def _load(path: Path) -> Ed25519PrivateKey | MLDSA44PrivateKey:
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError) as error:
        raise WitnessFolderError(f"{path}: cannot be read ({error}); {_GONE}") from None
    if not isinstance(key, Ed25519PrivateKey | MLDSA44PrivateKey):
        raise WitnessFolderError(f"{path}: is no Ed25519 or ML-DSA-44 key; {_GONE}")
    return key
