"""Credential protection (TCG TPM 2.0 Library, part 1, section 24): a secret that only one TPM gives up, for one key.

The secret is encrypted to the EK together with the *name* of the key that it is about; the TPM decrypts it only if it
has both.
"""

from __future__ import annotations

import secrets

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFHMAC, CounterLocation, Mode

try:
    from cryptography.hazmat.decrepit.ciphers.modes import CFB
except ImportError:
    from cryptography.hazmat.primitives.ciphers.modes import CFB

from sigillo.core.tpm import sized

_AES_KEY, _MAC_KEY = 16, 32


def protect(endorsement_key: RSAPublicKey, key_name: bytes, secret: bytes) -> tuple[bytes, bytes]:
    """TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET that hold *secret* for the key of this TPM name (34 bytes)."""
    seed = secrets.token_bytes(32)
    oaep = OAEP(MGF1(hashes.SHA256()), hashes.SHA256(), b"IDENTITY\0")
    encrypted_seed = endorsement_key.encrypt(seed, oaep)
    encryptor = Cipher(AES(_kdf_a(seed, b"STORAGE", key_name, _AES_KEY)), CFB(bytes(16))).encryptor()
    encrypted = encryptor.update(sized(secret)) + encryptor.finalize()
    mac = HMAC(_kdf_a(seed, b"INTEGRITY", b"", _MAC_KEY), hashes.SHA256())
    mac.update(encrypted + key_name)
    return sized(sized(mac.finalize()) + encrypted), sized(encrypted_seed)


def _kdf_a(seed: bytes, label: bytes, context: bytes, size: int) -> bytes:
    """KDFa with SHA-256 (part 1, section 11.4.10.2): SP 800-108 in counter mode, the label ending in a zero byte."""
    kdf = KBKDFHMAC(
        hashes.SHA256(),
        Mode.CounterMode,
        size,
        4,
        4,
        CounterLocation.BeforeFixed,
        None,
        None,
        _fixed(label, context, size),
    )
    return kdf.derive(seed)


def _fixed(label: bytes, context: bytes, size: int) -> bytes:
    return label + b"\0" + context + (8 * size).to_bytes(4, "big")
