"""The signed bytes of an evidence file, written out so that stock tools can verify them without Sigillo.

Each signature becomes one exhibit: the bytes that are signed, the signature as OpenSSL reads it, and the public key
where it is known. An epoch key comes from the file; the log key and the device keys are the reader's, from a policy.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sigillo.core.device_key import der_signature
from sigillo.core.errors import DecodeError
from sigillo.core.message import decode_device_message
from sigillo.core.policy import Policy
from sigillo.core.reading import Reading
from sigillo.core.verify import DecodedEpoch, DecodedMessage, decode_objects

_ED25519_SPKI = bytes.fromhex("302a300506032b6570032100")  # RFC 8410 section 4, up to the key
README = """\
What is here, for each signature in the evidence file (the number is that of its line there):

  NAME.tbs       the bytes that are signed
  NAME.sig       the signature: Ed25519 as it is, ECDSA P-256 as DER (64 bytes as sent where the key is not known)
  NAME.pub.pem   the public key, where it is known
  NAME.cose      the whole COSE object, where there is one

Epoch keys are those that the file itself names: they count for no more than the countersignature of the statement that
names them. The log key and the keys of the devices come from the policy that was given; without one they are absent.

  sh commands.sh     runs every line of commands.sh; OpenSSL 3.0 or later; stops at the first signature that is wrong

A P-256 signature needs -digest sha256; an Ed25519 one must not have it.
"""


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One signature. *files*: suffix with its dot → content; *command*: a shell line, or a comment why not."""

    name: str
    files: dict[str, bytes]
    command: str


def exhibits(lines: Iterable[bytes], policy: Policy | None) -> Iterator[Exhibit]:
    """The signatures of an evidence file (lines without LF), in its order; a stream. Raises DecodeError."""
    epoch_key = b""
    for decoded in decode_objects(lines):
        if isinstance(decoded, DecodedEpoch):
            epoch_key = decoded.statement.statement.epoch_key
            yield from _of_epoch(decoded, policy)
        elif isinstance(decoded, DecodedMessage):
            sign1 = decoded.mark.sign1
            yield _ed25519(
                f"{decoded.number:06d}-mark", sign1.signed_bytes(), sign1.signature, epoch_key, decoded.line.mark
            )
            yield _of_device(decoded, policy)


def _of_epoch(decoded: DecodedEpoch, policy: Policy | None) -> Iterator[Exhibit]:
    name, signed = f"{decoded.number:06d}", decoded.statement
    statement, sign1 = signed.statement, signed.sign1
    whole = sign1.encode()
    yield _ed25519(f"{name}-statement", sign1.signed_bytes(), sign1.signature, statement.epoch_key, whole)
    if signed.countersignature:
        operator = policy.operator(signed.countersignature.key_id) if policy else None
        log_key = operator.log_key.public_key if operator else None
        signature = signed.countersignature.signature
        yield _ed25519(f"{name}-countersignature", signed.countersigned_bytes(), signature, log_key)
    if decoded.end:
        end = decoded.end.sign1
        yield _ed25519(f"{name}-end", end.signed_bytes(), end.signature, statement.epoch_key, end.encode())


def _of_device(decoded: DecodedMessage, policy: Policy | None) -> Exhibit:
    name, line = f"{decoded.number:06d}-device", decoded.line
    try:
        message = decode_device_message(line.payload, line.topic)
    except DecodeError:
        return Exhibit(name, {}, f"# {name}: the payload is no signed device message")
    device = policy.device(decoded.mark.mark.principal) if policy else None
    files = {".tbs": message.signed_bytes, ".sig": message.signature}
    if isinstance(message, Reading):
        files[".cose"] = line.payload
    if device and device.key.kind == "p256":
        files[".sig"] = der_signature(message.signature)
        return _exhibit(name, files, device.key.spki, digest=" -digest sha256")
    return _exhibit(name, files, device.key.spki if device else None)


def _ed25519(name: str, signed: bytes, signature: bytes, key: bytes | None, whole: bytes | None = None) -> Exhibit:
    files = {".tbs": signed, ".sig": signature}
    if whole is not None:
        files[".cose"] = whole
    return _exhibit(name, files, None if key is None else _ED25519_SPKI + key)


def _exhibit(name: str, files: dict[str, bytes], spki: bytes | None, digest: str = "") -> Exhibit:
    if spki is None:
        return Exhibit(name, files, f"# {name}: the key is not in the file, and no policy that has it was given")
    key = f"-pubin -inkey {name}.pub.pem"
    command = f"openssl pkeyutl -verify {key} -rawin{digest} -in {name}.tbs -sigfile {name}.sig"
    return Exhibit(name, {**files, ".pub.pem": pem(spki)}, command)


def pem(spki: bytes) -> bytes:
    """A DER SubjectPublicKeyInfo as PEM (RFC 7468 section 13)."""
    text = base64.b64encode(spki).decode()
    body = "\n".join(text[at : at + 64] for at in range(0, len(text), 64))
    return f"-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n".encode()
