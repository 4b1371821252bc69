"""A witness in memory: cosigns honestly what it is shown, or what a test says. Always the same bytes."""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sigillo.core.checkpoint import SignedCheckpoint, decode_checkpoint
from sigillo.core.cosignature import WitnessKey, WitnessKeyType, sign_cosignature
from sigillo.core.note import Note, encode_note
from sigillo.core.policy import WitnessTrust

from .broker import START_NS
from .device import ed25519_key


@dataclass
class Witness:
    """*operator*: who runs it."""

    name: str
    operator: str = "Example University"
    private: Ed25519PrivateKey = field(init=False)
    key: WitnessKey = field(init=False)

    def __post_init__(self) -> None:
        self.private = ed25519_key(f"witness {self.name}")
        public = self.private.public_key().public_bytes_raw()
        self.key = WitnessKey(f"{self.name}.example", WitnessKeyType.ED25519, public)

    @property
    def trust(self) -> WitnessTrust:
        """What a reader pins who trusts this witness."""
        return WitnessTrust(self.key, self.operator, self.name)

    def cosign(self, note: str) -> str:
        """The signed note with a cosignature more."""
        signed: SignedCheckpoint = decode_checkpoint(note.encode())
        line = sign_cosignature(signed.note, self.key, START_NS // 10**9, self.private.sign)
        return encode_note(Note(signed.note.text, (*signed.note.signatures, line))).decode()
