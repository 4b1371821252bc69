"""The files by which an operator gets a registration from a registrar: spec/endorsement.md, "Exchange".

Decoding gives no trust. Who may be registered is the registrar's to say, and what came of it is signed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from sigillo.core import cbor
from sigillo.core.endorsement import decode_chain_field, decode_identity, decode_key_field
from sigillo.core.errors import DecodeError
from sigillo.core.field import HASH_SIZE, byte_string, integer, numbered_map
from sigillo.core.tpm import AttestationKey

VERSION: Final = 1
MAX_BYTES: Final = 64 * 1024
NUMBER_SIZE: Final = 16
SECRET_SIZE: Final = 32
_NAME_SIZE, _ID_OBJECT_SIZE, _SEED_SIZE = 34, 70, 258
_REQUEST, _CREDENTIAL, _ANSWER, _PENDING = (
    f"registration-{kind}" for kind in ("request", "credential", "answer", "pending")
)


@dataclass(frozen=True, slots=True)
class RegistrationRequest:
    """What an operator asks with: the AK of its TPM and the certificates of its EK (DER, its own first)."""

    key: AttestationKey
    chain: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Credential:
    """What the TPM has to open: TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET, for the AK of this TPM name (34 bytes).

    *number*: 16 bytes, what the answer names it by.
    """

    number: bytes
    key_name: bytes
    credential: bytes
    encrypted_seed: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """The secret, 32 bytes, that the TPM has given up for the credential of this number."""

    number: bytes
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Pending:
    """What a registrar keeps of a credential that it has made at *time_ns*, until it is answered."""

    number: bytes
    time_ns: int
    secret_hash: bytes
    identity: str
    key: AttestationKey
    chain: tuple[bytes, ...]


def encode_request(request: RegistrationRequest) -> bytes:
    """Raises DecodeError where it could not be read again."""
    return _encode(_REQUEST, [request.key.public_bytes, list(request.chain)])


def decode_request(data: bytes) -> RegistrationRequest:
    """Raises DecodeError."""
    key, chain = _decode(data, _REQUEST, 2)
    return RegistrationRequest(decode_key_field(key), decode_chain_field(chain))


def encode_credential(made: Credential) -> bytes:
    """Raises DecodeError where it could not be read again."""
    return _encode(_CREDENTIAL, [made.number, made.key_name, made.credential, made.encrypted_seed])


def decode_credential(data: bytes) -> Credential:
    """Raises DecodeError."""
    number, name, credential, seed = _decode(data, _CREDENTIAL, 4)
    return Credential(
        byte_string(number, "number", NUMBER_SIZE),
        byte_string(name, "key name", _NAME_SIZE),
        byte_string(credential, "credential", _ID_OBJECT_SIZE),
        byte_string(seed, "encrypted seed", _SEED_SIZE),
    )


def encode_answer(answer: Answer) -> bytes:
    """Raises DecodeError where it could not be read again."""
    return _encode(_ANSWER, [answer.number, answer.secret])


def decode_answer(data: bytes) -> Answer:
    """Raises DecodeError."""
    number, secret = _decode(data, _ANSWER, 2)
    return Answer(byte_string(number, "number", NUMBER_SIZE), byte_string(secret, "secret", SECRET_SIZE))


def encode_pending(pending: Pending) -> bytes:
    """Raises DecodeError where it could not be read again."""
    wanted = [pending.identity, pending.key.public_bytes, list(pending.chain)]
    return _encode(_PENDING, [pending.number, pending.time_ns, pending.secret_hash, *wanted])


def decode_pending(data: bytes) -> Pending:
    """Raises DecodeError."""
    number, time_ns, secret_hash, identity, key, chain = _decode(data, _PENDING, 6)
    return Pending(
        byte_string(number, "number", NUMBER_SIZE),
        integer(time_ns, "time"),
        byte_string(secret_hash, "hash of the secret", HASH_SIZE),
        decode_identity(identity),
        decode_key_field(key),
        decode_chain_field(chain),
    )


def _encode(kind: str, values: list[object]) -> bytes:
    data = cbor.encode({1: VERSION, 2: kind, **dict(enumerate(values, start=3))}, kind)
    _DECODERS[kind](data)
    return data


def _decode(data: bytes, kind: str, count: int) -> list[object]:
    if len(data) > MAX_BYTES:
        raise DecodeError(kind, f"is larger than {MAX_BYTES} bytes")
    decoded = cbor.decode(data, kind)
    if isinstance(decoded, dict) and decoded.get(2) != kind:
        raise DecodeError(kind, f"is another kind of file: {decoded.get(2)!r:.40}")
    values = numbered_map(decoded, kind, range(1, 3 + count))
    integer(values[1], "version", VERSION, VERSION)
    return [values[key] for key in range(3, 3 + count)]


_DECODERS: Final = {
    _REQUEST: decode_request,
    _CREDENTIAL: decode_credential,
    _ANSWER: decode_answer,
    _PENDING: decode_pending,
}
