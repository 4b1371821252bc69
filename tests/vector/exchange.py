"""vectors/registration-exchange: the files between operator and registrar, and how this implementation reads them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import cbor2

from sigillo.core import registration_exchange as exchange
from sigillo.core.tpm import sized
from tests.vector import accept_tpm
from tests.vector.file import Value
from tests.vector.key import filler

Vector = dict[str, Value]
NUMBER, SECRET = filler("number")[:16], filler("secret")
REGISTRATION = accept_tpm.registration()
KEY, CHAIN = REGISTRATION.key, REGISTRATION.chain
CREDENTIAL = exchange.Credential(NUMBER, KEY.name, sized(68 * b"\x01"), sized(256 * b"\x02"))
PENDING = exchange.Pending(
    NUMBER, REGISTRATION.time_ns, hashlib.sha256(SECRET).digest(), REGISTRATION.identity, KEY, CHAIN
)
GOOD = {
    "request": exchange.encode_request(exchange.RegistrationRequest(KEY, CHAIN)),
    "credential": exchange.encode_credential(CREDENTIAL),
    "answer": exchange.encode_answer(exchange.Answer(NUMBER, SECRET)),
    "pending": exchange.encode_pending(PENDING),
}
FIELDS: dict[str, Vector] = {
    "request": {"key_name": KEY.name, "certificates": len(CHAIN)},
    "credential": {"number": NUMBER, "key_name": KEY.name},
    "answer": {"number": NUMBER, "secret": SECRET},
    "pending": {"number": NUMBER, "time": REGISTRATION.time_ns, "known_as": REGISTRATION.identity},
}
_READ: dict[str, tuple[Callable[[bytes], Any], Callable[[Any], bytes]]] = {
    "request": (exchange.decode_request, exchange.encode_request),
    "credential": (exchange.decode_credential, exchange.encode_credential),
    "answer": (exchange.decode_answer, exchange.encode_answer),
    "pending": (exchange.decode_pending, exchange.encode_pending),
}


def accepted() -> dict[str, Vector]:
    """vectors/registration-exchange/accept."""
    return {kind: {"kind": kind, "object": data, **FIELDS[kind]} for kind, data in GOOD.items()}


def rejected() -> dict[str, Vector]:
    """vectors/registration-exchange/reject."""
    made: dict[str, Vector] = {}
    for kind, data in GOOD.items():
        for name, (changed, reason) in (_any(kind, data) | _of(kind)).items():
            made[f"{kind}-{name}"] = {"kind": kind, "object": changed, "reason": reason}
    return made


def _any(kind: str, data: bytes) -> dict[str, tuple[bytes, str]]:
    """What may be wrong with each of them."""
    values = cbor2.loads(data)
    other = "request" if kind != "request" else "answer"
    return {
        "empty": (b"", "nothing"),
        "cut": (data[:-1], "the last byte is missing"),
        "trailing-byte": (data + b"\0", "a byte after the end"),
        "array": (cbor2.dumps(list(values.values())), "an array"),
        "unsorted": (cbor2.dumps(dict(reversed(values.items()))), "keys not in order"),
        "indefinite": (b"\xbf" + data[1:] + b"\xff", "a map of indefinite length"),
        "version-2": (cbor2.dumps({**values, 1: 2}), "version 2"),
        "version-true": (cbor2.dumps({**values, 1: True}), "the version is no integer"),
        "another-kind": (cbor2.dumps({**values, 2: f"registration-{other}"}), "the name of another kind"),
        "of-another-kind": (GOOD[other], "another kind of file"),
        "unknown-key": (cbor2.dumps({**values, 9: 0}), "unknown key 9"),
        "key-missing": (cbor2.dumps({key: value for key, value in values.items() if key != 3}), "no key 3"),
        "too-long": (data + bytes(65_536), "more than 65536 bytes"),
    }


def _of(kind: str) -> dict[str, tuple[bytes, str]]:
    """What may be wrong with one of them."""
    values = cbor2.loads(GOOD[kind])

    def put(key: int, value: object, reason: str) -> tuple[bytes, str]:
        return cbor2.dumps({**values, key: value}), reason

    lengths = {
        "request": {},
        "credential": {"number": (3, 16), "name": (4, 34), "object": (5, 70), "seed": (6, 258)},
        "answer": {"number": (3, 16), "secret": (4, 32)},
        "pending": {"number": (3, 16), "hash": (5, 32)},
    }[kind]
    made = {
        f"{name}-{changed}": put(key, bytes(changed), f"{changed} bytes and not {size}")
        for name, (key, size) in lengths.items()
        for changed in (0, size - 1, size + 1)
    }
    if kind in {"request", "pending"}:
        at = {"request": 3, "pending": 7}[kind]
        made["key-cut"] = put(at, KEY.public_bytes[:-1], "the attestation key is cut off")
        made["no-certificate"] = put(at + 1, [], "no certificate")
        made["five-certificates"] = put(at + 1, 5 * [CHAIN[0]], "five certificates")
        made["certificate-text"] = put(at + 1, ["x"], "a certificate that is text")
        made["certificate-empty"] = put(at + 1, [b""], "a certificate without a byte")
    if kind == "pending":
        made["time-negative"] = put(4, -1, "a negative time")
        made["identity-empty"] = put(6, "", "no identity")
        made["identity-nul"] = put(6, "a\0b", "U+0000 in the identity")
        made["identity-long"] = put(6, "x" * 256, "an identity of 256 bytes")
    return made


def read(fields: dict[str, str]) -> None:
    """Raises DecodeError, or compares."""
    decode, encode = _READ[fields["kind"]]
    data = bytes.fromhex(fields["object"])
    found = decode(data)
    assert encode(found) == data
    key = getattr(found, "key", None)
    shown = {
        "key_name": key.name if key else getattr(found, "key_name", b""),
        "number": getattr(found, "number", b""),
        "secret": getattr(found, "secret", b""),
    }
    for name, value in shown.items():
        assert fields.get(name, value.hex()) == value.hex()
    assert int(fields.get("certificates", 2)) == len(getattr(found, "chain", CHAIN))
    assert fields.get("known_as", "") == getattr(found, "identity", "")
    assert int(fields.get("time", 0)) == getattr(found, "time_ns", 0)
