"""Reject vectors of a sealed log key and of a counter record."""

from functools import partial
from typing import Any

import cbor2

from sigillo.core import cbor, cose
from sigillo.core.counter import encode_counter_record
from sigillo.core.sealing import BOOT_PCRS, MAX_APPROVALS, encode_sealed_key
from sigillo.core.tpm import ATTRIBUTES
from tests.vector import accept_seal
from tests.vector.accept_seal import LOG_KEY, RECORD, VALUES, Vector, approval, counter_fields
from tests.vector.key import LOG, Ed25519Key, P256Key, filler
from tests.vector.reject_cose import Raw, changed_cases, container_cases, payload_cases

OTHER = P256Key(filler("another owner"))


def sealed_keys() -> dict[str, Vector]:
    """vectors/sealed-key/reject."""
    good = encode_sealed_key(accept_seal.sealed())
    cases = _malformed(good) | _changed(good) | _malformed_approvals(good)
    made: dict[str, Vector] = {name: {"object": data, "reason": reason} for name, (data, reason) in cases.items()}
    for name, (data, reason) in _false_approvals(good).items():
        made[name] = {"object": data, "boot_values": b"".join(VALUES), "reason": reason}
    for index, number in enumerate(BOOT_PCRS):
        found = (*VALUES[:index], filler("another boot"), *VALUES[index + 1 :])
        made[f"pcr-{number}"] = {
            "object": good,
            "boot_values": b"".join(found),
            "reason": f"PCR {number} has a value that is not approved",
        }
    return made


def _malformed(good: bytes) -> dict[str, tuple[bytes, str]]:
    value = cbor2.loads(good)
    return {
        "empty": (b"", "nothing"),
        "cut": (good[:-1], "the last byte is missing"),
        "trailing-byte": (good + b"\0", "a byte after the map"),
        "array": (cbor2.dumps(list(value.values())), "an array in place of the map"),
        "unsorted": (cbor2.dumps({key: value[key] for key in reversed(value)}), "keys not in order"),
        "unknown-key": (cbor2.dumps({**value, 7: 0}), "key 7"),
        **{
            f"no-{key}": (cbor2.dumps({k: v for k, v in value.items() if k != key}), f"key {key} is missing")
            for key in value
        },
    }


def _changed(good: bytes) -> dict[str, tuple[bytes, str]]:
    value = cbor2.loads(good)
    public: bytes = value[4]
    attributes = int.from_bytes(public[4:8], "big")

    def put(key: int, changed: Any, reason: str) -> tuple[bytes, str]:
        return cbor.encode({**value, key: changed}), reason

    def with_attribute(name: str, reason: str) -> tuple[bytes, str]:
        bits = attributes ^ ATTRIBUTES[name]
        return put(4, public[:4] + bits.to_bytes(4, "big") + public[8:], reason)

    other = accept_seal.owner_key(OTHER)
    return {
        "version-2": put(1, 2, "version 2"),
        "log-key-short": put(2, LOG.public[:-1], "a log key of 31 bytes"),
        "log-key-other": put(2, filler("another log key"), "the policy is for another log"),
        "owner-other": put(3, other.x + other.y, "the policy is for another owner"),
        "owner-no-point": put(3, bytes(64), "the owner's key is no point of the curve"),
        "owner-short": put(3, value[3][:-1], "a coordinate is cut off"),
        "user-with-auth": with_attribute("userWithAuth", "an empty password does in place of the policy"),
        "dictionary-attack": with_attribute("noDA", "strangers can lock it out"),
        "not-fixed-tpm": with_attribute("fixedTPM", "it may leave the TPM"),
        "not-fixed-parent": with_attribute("fixedParent", "it may get another parent"),
        "admin-without-policy": with_attribute("adminWithPolicy", "its password can be changed without the policy"),
        "no-policy": put(4, public[:8] + b"\0\0" + public[42:], "no policy"),
        "object-long": put(4, public + b"\0", "a byte after the object"),
        "private-empty": put(5, b"", "no private part"),
        "private-long": put(5, bytes(1025), "a private part of 1025 bytes"),
    }


def _approved(good: bytes, approvals: list[Any], reason: str) -> tuple[bytes, str]:
    return cbor.encode({**cbor2.loads(good), 6: approvals}), reason


def _malformed_approvals(good: bytes) -> dict[str, tuple[bytes, str]]:
    ((values, signature),) = cbor2.loads(good)[6]
    put = partial(_approved, good)
    return {
        "no-approval": put([], "no approval"),
        "too-many-approvals": put([[values, signature]] * (MAX_APPROVALS + 1), "17 approvals"),
        "approval-alone": put([[values]], "an approval without a signature"),
        "eleven-values": put([[values[:-1], signature]], "eleven PCR values"),
        "value-short": put([[[*values[:-1], values[-1][:-1]], signature]], "a PCR value of 31 bytes"),
        "signature-short": put([[values, signature[:-1]]], "a signature of 63 bytes"),
    }


def _false_approvals(good: bytes) -> dict[str, tuple[bytes, str]]:
    ((values, signature),) = cbor2.loads(good)[6]
    put = partial(_approved, good)
    by_other, for_other = approval(key=OTHER).signature, approval(log_key=filler("another log key")).signature
    return {
        "signature-changed": put([[values, signature[:-1] + bytes([signature[-1] ^ 1])]], "the signature is changed"),
        "signature-zero": put([[values, bytes(64)]], "a signature of zeros"),
        "approved-by-another": put([[values, by_other]], "approved by another key"),
        "approved-for-another": put([[values, for_other]], "approved for another log"),
    }


def counters() -> dict[str, Vector]:
    """vectors/counter/reject."""
    value = {1: 1, 2: RECORD.value, 3: RECORD.checkpoint.size, 4: RECORD.checkpoint.root}
    raw = Raw(cose.COUNTER, LOG.sign, kid=LOG_KEY.key_id32, payload=cbor.encode(value))
    cases = container_cases(raw) | payload_cases(raw, (1, 2, 3, 4), 4, floats={2: "value", 3: "size"})
    cases |= changed_cases(
        raw,
        {
            "version-2": ({1: 2}, "version 2"),
            "value-negative": ({2: -1}, "a negative value"),
            "value-65-bits": ({2: 2**64}, "a value of 65 bits"),
            "size-negative": ({3: -1}, "a negative size"),
            "root-short": ({4: bytes(31)}, "a root of 31 bytes"),
            "root-of-nothing": ({3: 0}, "another root than that of a log without entries"),
        },
    )
    genuine = encode_counter_record(RECORD, LOG_KEY, LOG.sign)
    other = Ed25519Key(filler("another log"))
    false = {
        "signature-changed": (genuine[:-1] + bytes([genuine[-1] ^ 1]), "the signature is changed"),
        "signed-by-another": (encode_counter_record(RECORD, LOG_KEY, other.sign), "signed by another key"),
        "of-another-log": (
            Raw(cose.COUNTER, other.sign, kid=filler("another key id"), payload=raw.payload).build(),
            "of another log",
        ),
    }
    made: dict[str, Vector] = {name: {"object": data, "reason": reason} for name, (data, reason) in cases.items()}
    return made | {name: counter_fields(data) | {"reason": reason} for name, (data, reason) in false.items()}


REJECT_SEAL = {"sealed-key": sealed_keys, "counter": counters}
