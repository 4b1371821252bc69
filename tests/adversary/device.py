"""A tracker in memory: fixed keys, its own counter, both forms of message."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sigillo.core.datagram import encode_datagram
from sigillo.core.device_key import DeviceKey, raw_signature
from sigillo.core.policy import DeviceTrust
from sigillo.core.reading import encode_reading

_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def ed25519_key(seed: str) -> Ed25519PrivateKey:
    """A key that anybody can make again from the name of its seed."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(seed.encode()).digest())


def p256_key(seed: str) -> ec.EllipticCurvePrivateKey:
    number = int.from_bytes(hashlib.sha256(seed.encode()).digest(), "big") % (_P256_ORDER - 1) + 1
    return ec.derive_private_key(number, ec.SECP256R1())


@dataclass
class Device:
    """A tracker. *number* is the sequence number that it used last; signatures are deterministic (RFC 6979, 8032)."""

    id: str
    kind: Literal["p256", "ed25519"] = "ed25519"
    bits: int = 64
    number: int = 0
    seed: str = ""
    sign: Callable[[bytes], bytes] = field(init=False)
    key: DeviceKey = field(init=False)

    def __post_init__(self) -> None:
        seed = self.seed or f"device {self.id}"
        if self.kind == "ed25519":
            ed25519 = ed25519_key(seed)
            self.sign, public = ed25519.sign, ed25519.public_key()
            spki = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        else:
            p256 = p256_key(seed)
            algorithm = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
            self.sign = lambda data: raw_signature(p256.sign(data, algorithm))
            spki = p256.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.key = DeviceKey.from_spki(spki)

    @property
    def topic(self) -> str:
        return f"braid/agent/{self.id}/shadow/reported/"

    @property
    def trust(self) -> DeviceTrust:
        return DeviceTrust(self.id, self.key, self.bits)

    def datagram(self, ts: int = 1_790_000_000, beacon: bytes | None = None, **body: object) -> bytes:
        return encode_datagram(ts=ts, ver=self._next(), body=body or {"TEMP": 13.5}, sign=self.sign, beacon=beacon)

    def reading(self, topic: str | None = None, device_id: str | None = None, ts: int = 1_790_000_000) -> bytes:
        return encode_reading(
            topic=topic or self.topic,
            device_id=device_id or self.id,
            algorithm=self.key.algorithm,
            ts=ts,
            ver=self._next(),
            body={"TEMP": 13.5},
            sign=self.sign,
        )

    def _next(self) -> int:
        self.number = (self.number + 1) % 2**self.bits
        return self.number
