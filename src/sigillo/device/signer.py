"""Who signs: an interface that a file fills, or a token (`pkcs11_signer`)."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sigillo.core.device_key import DeviceKey, raw_signature
from sigillo.device.key import SigningKey, load_signing_key, public_half


class Signer(Protocol):
    """Signs for one device; the private key need not be readable."""

    @property
    def public_key(self) -> DeviceKey:
        """The key under which the signatures verify."""
        ...

    def sign(self, message: bytes) -> bytes:
        """64 bytes over *message*: ECDSA P-256 with SHA-256 as r ‖ s, or Ed25519 (spec/datagram.md)."""
        ...


class FileSigner:
    """Signs with a private key that was read from a file."""

    def __init__(self, key: SigningKey) -> None:
        self._key = key
        self.public_key = public_half(key)

    @classmethod
    def load(cls, path: Path) -> FileSigner:
        """Signer of a PKCS#8 PEM file. Raises DeviceError."""
        return cls(load_signing_key(path))

    def sign(self, message: bytes) -> bytes:
        """64 bytes over *message*, as `Signer` says."""
        if isinstance(self._key, Ed25519PrivateKey):
            return self._key.sign(message)
        return raw_signature(self._key.sign(message, ECDSA(hashes.SHA256())))
