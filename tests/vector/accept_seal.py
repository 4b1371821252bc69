"""Accept vectors of a sealed log key and of a counter record; the TPM's own parts are filler."""

from dataclasses import replace

from sigillo.core.counter import CounterRecord, encode_counter_record
from sigillo.core.field import UINT64_MAX
from sigillo.core.mark import Checkpoint
from sigillo.core.note import LogKey
from sigillo.core.sealing import (
    BOOT_PCRS,
    MAX_APPROVALS,
    Approval,
    OwnerKey,
    SealedKey,
    approval_message,
    encode_sealed_key,
    pcr_policy,
    sealing_policy,
    sealing_template,
)
from sigillo.core.tpm import sized
from tests.vector.file import Value
from tests.vector.key import LOG, P256Key, filler

Vector = dict[str, Value]
OWNER = P256Key(filler("owner's approval key"))
LOG_KEY = LogKey("broker.example/log", LOG.public)
VALUES = tuple(filler(f"boot pcr {index}") for index in BOOT_PCRS)
RECORD = CounterRecord(2, Checkpoint(5, filler("root of 5")))


def owner_key(key: P256Key) -> OwnerKey:
    """Its public half."""
    numbers = key.private.public_key().public_numbers()
    return OwnerKey(numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big"))


def approval(values: tuple[bytes, ...] = VALUES, log_key: bytes = LOG.public, key: P256Key = OWNER) -> Approval:
    """Signed by *key*."""
    return Approval(values, key.sign(approval_message(values, log_key)))


def sealed() -> SealedKey:
    """A key that was sealed and approved once."""
    owner = owner_key(OWNER)
    public_bytes = sealing_template(owner, LOG.public)[:-2] + sized(filler("unique"))
    return SealedKey(LOG.public, owner, public_bytes, filler("private part", 160), (approval(),))


def sealed_fields(found: SealedKey, values: tuple[bytes, ...] = VALUES) -> Vector:
    """A file, and the values of the PCRs that it is read at."""
    return {"object": encode_sealed_key(found), "boot_values": b"".join(values)}


def sealed_keys() -> dict[str, Vector]:
    """vectors/sealed-key/accept."""
    once, updated = sealed(), (filler("update"), *VALUES[1:])
    many = [approval((filler(f"boot {number}"), *VALUES[1:])) for number in range(MAX_APPROVALS - 1)]
    made = {
        "first": (once, VALUES),
        "updated": (once.with_approval(approval(updated)), updated),
        "back-again": (once.with_approval(approval(updated)), VALUES),
        "most-approvals": (replace(once, approvals=(*many, approval())), VALUES),
    }
    return {
        name: sealed_fields(found, values)
        | {
            "owner_name": found.owner.name,
            "policy": sealing_policy(found.owner, found.log_key),
            "pcr_policy": pcr_policy(values),
        }
        for name, (found, values) in made.items()
    }


def counter_fields(data: bytes) -> Vector:
    """A record, and the log it has to be of."""
    return {"vkey": LOG_KEY.vkey, "object": data}


def counters() -> dict[str, Vector]:
    """vectors/counter/accept."""
    records = {
        "first": RECORD,
        "before-there-is-one": CounterRecord(0, Checkpoint()),
        "limits": CounterRecord(UINT64_MAX, Checkpoint(UINT64_MAX, b"\xff" * 32)),
    }
    return {
        name: counter_fields(encode_counter_record(record, LOG_KEY, LOG.sign))
        | {"value": record.value, "size": record.checkpoint.size, "root": record.checkpoint.root}
        for name, record in records.items()
    }


ACCEPT_SEAL = {"sealed-key": sealed_keys, "counter": counters}
