"""An exhibit: the files of one signature, and the command with which a stock tool verifies it (RFC 7468, RFC 8410)."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.hazmat.primitives.serialization import Encoding

from sigillo.core.certificate import decode_certificate

_ED25519_SPKI = bytes.fromhex("302a300506032b6570032100")  # RFC 8410 section 4, up to the key
_P256_SPKI = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004")  # RFC 5480, up to x ‖ y


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One signature, or what one is about. *files*: suffix with its dot → content; *command*: a shell line, or a
    comment why there is none; *tpm_command*: one for tpm2-tools, or "".
    """

    name: str
    files: dict[str, bytes]
    command: str
    tpm_command: str = ""


def ed25519_exhibit(
    name: str, signed: bytes, signature: bytes, key: bytes | None, whole: bytes | None = None
) -> Exhibit:
    """An Ed25519 signature; *key*: 32 bytes, None where it is not known; *whole*: the COSE object, where it is one."""
    files = {".tbs": signed, ".sig": signature}
    if whole is not None:
        files[".cose"] = whole
    return key_exhibit(name, files, None if key is None else _ED25519_SPKI + key)


def key_exhibit(name: str, files: dict[str, bytes], spki: bytes | None, digest: str = "") -> Exhibit:
    """A signature in *files* under the key of this DER SubjectPublicKeyInfo; *digest*: the option for P-256."""
    if spki is None:
        return Exhibit(name, files, f"# {name}: the key is not in the file, and no policy that has it was given")
    key = f"-pubin -inkey {name}.pub.pem"
    command = f"openssl pkeyutl -verify {key} -rawin{digest} -in {name}.tbs -sigfile {name}.sig"
    return Exhibit(name, {**files, ".pub.pem": pem(spki)}, command)


def p256_spki(x: bytes, y: bytes) -> bytes:
    """DER SubjectPublicKeyInfo of a point of P-256, 32 bytes each (RFC 5480 section 2)."""
    return _P256_SPKI + x + y


def pem(spki: bytes) -> bytes:
    """A DER SubjectPublicKeyInfo as PEM (RFC 7468 section 13)."""
    text = base64.b64encode(spki).decode()
    body = "\n".join(text[at : at + 64] for at in range(0, len(text), 64))
    return f"-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n".encode()


def pems(certificates: Iterable[bytes]) -> bytes:
    """DER certificates as PEM, one after the other. Raises DecodeError."""
    return b"".join(decode_certificate(found).public_bytes(Encoding.PEM) for found in certificates)
