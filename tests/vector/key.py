"""Fixed keys for vectors and tests: never used for anything else."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sigillo.core.device_key import DeviceKey, raw_signature

Sign = Callable[[bytes], bytes]


def filler(name: str, size: int = 32) -> bytes:
    """Bytes that look random and are the same each time."""
    return hashlib.shake_256(f"sigillo vector {name}".encode()).digest(size)


def digests(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """SHA-256 of each file's content, by name."""
    return {name: hashlib.sha256(content).digest() for name, content in files.items()}


@dataclass(frozen=True)
class Ed25519Key:
    """An Ed25519 key of a 32-byte seed."""

    seed: bytes

    @property
    def private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)

    @property
    def public(self) -> bytes:
        return self.private.public_key().public_bytes_raw()

    @property
    def device_key(self) -> DeviceKey:
        spki = self.private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return DeviceKey.from_spki(spki)

    def sign(self, message: bytes) -> bytes:
        return self.private.sign(message)


@dataclass(frozen=True)
class P256Key:
    """A P-256 key of a 32-byte secret; signatures r ‖ s by RFC 6979, so the same each time."""

    secret: bytes

    @property
    def private(self) -> ec.EllipticCurvePrivateKey:
        return ec.derive_private_key(int.from_bytes(self.secret, "big") >> 1, ec.SECP256R1())

    @property
    def device_key(self) -> DeviceKey:
        spki = self.private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return DeviceKey.from_spki(spki)

    def sign(self, message: bytes) -> bytes:
        return raw_signature(self.private.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True)))


EPOCH = Ed25519Key(filler("epoch key"))
LOG = Ed25519Key(filler("log key"))
TRACKER_P256 = P256Key(filler("tracker p256"))
TRACKER_ED25519 = Ed25519Key(filler("tracker ed25519"))
TOKEN = Ed25519Key(filler("token key"))
SALT_KEY = filler("salt key")


@dataclass(frozen=True)
class MlDsa44Key:
    """An ML-DSA-44 key of a 32-byte seed. OpenSSL's signatures have randomness in them: no two are the same."""

    seed: bytes

    @property
    def private(self) -> MLDSA44PrivateKey:
        return MLDSA44PrivateKey.from_seed_bytes(self.seed)

    @property
    def public(self) -> bytes:
        return self.private.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        return self.private.sign(message)


WITNESS = Ed25519Key(filler("witness key"))
WITNESS_ML_DSA_44 = MlDsa44Key(filler("witness ml-dsa-44 key"))
