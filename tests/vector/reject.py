"""Reject vectors of every format: an input and the reason, for people, why every reader must refuse it."""

from dataclasses import replace

import cbor2

from sigillo.core import cbor, cose
from sigillo.core.bytes import EMPTY_ROOT
from sigillo.core.mark import encode_mark_payload, mark_salt
from sigillo.core.statement import encode_statement_fields
from tests.vector import (
    accept_booted,
    add_checkpoint,
    challenge,
    cosign,
    exchange,
    reject_device,
    reject_marked,
    sample,
)
from tests.vector.file import Value
from tests.vector.key import EPOCH, LOG, SALT_KEY, filler
from tests.vector.reject_cose import Cases, Raw, changed_cases, container_cases, payload_cases
from tests.vector.reject_log import REJECT_LOG
from tests.vector.reject_seal import REJECT_SEAL
from tests.vector.reject_tpm import REJECT_TPM
from tests.vector.sample import EPOCH_ID, LOG_KEY

Vector = dict[str, Value]
CHECKPOINT_OTHER_ROOT = [0, filler("root")]


def _objects(cases: Cases, name: str = "object") -> dict[str, Vector]:
    return {case: {name: data, "reason": reason} for case, (data, reason) in cases.items()}


def raw_mark(form: cose.Form) -> Raw:
    """The sample mark in its parts."""
    payload = encode_mark_payload(sample.FIRST_MARK)
    salt = cbor2.dumps({cose.SALT: mark_salt(SALT_KEY, 1)})
    return Raw(form, EPOCH.sign, kid=EPOCH_ID, payload=payload, unprotected=salt)


def marks() -> dict[str, Vector]:
    """vectors/mark/reject."""
    return _marks(cose.MARK)


def batch_marks() -> dict[str, Vector]:
    """vectors/batch-mark/reject."""
    return _marks(cose.BATCH_MARK)


def _marks(form: cose.Form) -> dict[str, Vector]:
    good = raw_mark(form)
    numbers = {2: "sequence", 3: "time", 8: "qos", 11: "count"}
    cases = container_cases(good) | payload_cases(good, tuple(range(1, 14)), 15, floats=numbers)
    cases |= changed_cases(
        good,
        {
            "sequence-0": ({2: 0, 11: 0}, "sequence 0"),
            "sequence-negative": ({2: -1}, "sequence -1"),
            "time-negative": ({3: -1}, "time before 1970"),
            "clock-empty": ({4: []}, "clock without a state"),
            "clock-3": ({4: [3]}, "an unknown clock state"),
            "clock-number": ({4: 2}, "clock is not an array"),
            "clock-bound-missing": ({4: [2]}, "state 2 without a bound"),
            "clock-bound-extra": ({4: [1, 5]}, "state 1 with a bound"),
            "clock-bound-unsynchronised": ({4: [0, 5]}, "state 0 with a bound"),
            "clock-bound-negative": ({4: [2, -5]}, "a negative bound"),
            "clock-bound-float": ({4: [2, 5.0]}, "the bound is a float"),
            "clock-bound-null": ({4: [2, None]}, "the bound is null"),
            "clock-three": ({4: [2, 5, 5]}, "three items in clock"),
            "topic-empty": ({5: ""}, "an empty topic"),
            "topic-nul": ({5: "a\0b"}, "U+0000 in the topic"),
            "topic-bytes": ({5: b"topic"}, "the topic is a byte string"),
            "topic-long": ({5: "t" * 65_536}, "a topic of 65,536 bytes"),
            "client-id-null": ({6: None}, "the client id is null"),
            "client-id-long": ({6: "c" * 65_536}, "a client id of 65,536 bytes"),
            "principal-null": ({7: None}, "the principal is null"),
            "principal-long": ({7: "p" * 65_536}, "a principal of 65,536 bytes"),
            "qos-3": ({8: 3}, "QoS 3"),
            "retain-0": ({9: 0}, "retain is a number"),
            "retain-null": ({9: None}, "retain is null"),
            "commitment-31": ({10: bytes(31)}, "a commitment of 31 bytes"),
            "commitment-33": ({10: bytes(33)}, "a commitment of 33 bytes"),
            "commitment-text": ({10: "x" * 32}, "the commitment is text"),
            "count-0": ({11: 0}, "count 0"),
            "count-above-sequence": ({11: 2}, "count above sequence"),
            "previous-31": ({12: bytes(31)}, "previous of 31 bytes"),
            "previous-null": ({12: None}, "previous is null"),
            "checkpoint-empty": ({13: []}, "an empty checkpoint"),
            "checkpoint-one": ({13: [0]}, "a checkpoint without root"),
            "checkpoint-three": ({13: [0, EMPTY_ROOT, 0]}, "three items in checkpoint"),
            "checkpoint-root-31": ({13: [1, bytes(31)]}, "a root of 31 bytes"),
            "checkpoint-negative": ({13: [-1, EMPTY_ROOT]}, "a negative size"),
            "checkpoint-other-root": ({13: CHECKPOINT_OTHER_ROOT}, "size 0 with a root that is not SHA-256('')"),
            "repeat-0": ({2: 5, 14: 0}, "repeat of 0"),
            "repeat-self": ({2: 5, 14: 5}, "repeat of itself"),
            "repeat-later": ({2: 5, 14: 6}, "repeat of a later mark"),
            "repeat-null": ({2: 5, 14: None}, "repeat of is null"),
            "repeat-first": ({14: 1}, "the first mark repeats"),
            "before-31": ({15: bytes(31)}, "before of 31 bytes"),
            "before-null": ({15: None}, "before is null"),
        },
    )
    topic = cbor2.dumps(sample.TOPIC)
    wrong = {
        "topic-not-utf8": (b"\x61\xff", "the topic is not UTF-8"),
        "topic-overlong": (b"\x62\xc0\xaf", "an overlong UTF-8 sequence in the topic"),
        "topic-surrogate": (b"\x63\xed\xa0\x80", "a surrogate in the topic"),
        "topic-indefinite": (b"\x7f" + topic + b"\xff", "the topic is of indefinite length"),
        "topic-head-long": (
            b"\x79" + len(sample.TOPIC).to_bytes(2, "big") + topic[2:],
            "head of the topic not shortest",
        ),
    }
    for name, (encoded, reason) in wrong.items():
        changed = good.payload.replace(b"\x05" + topic, b"\x05" + encoded)
        cases[name] = (replace(good, payload=changed).build(), reason)
    return _objects(cases)


def epoch_statements() -> dict[str, Vector]:
    """vectors/epoch-statement/reject."""
    payload = cbor.encode(encode_statement_fields(sample.FIRST_FIELDS) | {4: EPOCH.public, 6: sample.START_NS})
    good = Raw(cose.EPOCH_STATEMENT, EPOCH.sign, payload=payload)
    required = tuple(key for key in range(1, 20) if key != 5)
    numbers = {2: "number", 6: "start", 8: "clock correction", 9: "on bad clock", 10: "durability"}
    cases = container_cases(good) | payload_cases(good, required, 20, floats=numbers)
    cases |= _statement_values(good) | _statement_arrays(good)
    return _objects(cases | _countersignatures(good))


def _statement_values(good: Raw) -> Cases:
    return changed_cases(
        good,
        {
            "number-0": ({2: 0}, "epoch number 0"),
            "number-too-big": ({2: 2**32, 3: [1, bytes(32), 0, 0]}, "epoch number 2^32"),
            "previous-missing": ({2: 2}, "epoch 2 with no previous"),
            "previous-first": ({3: [1, bytes(32), 0, 0]}, "epoch 1 with a previous"),
            "previous-ending-0": ({2: 2, 3: [0, bytes(32), 0, 0]}, "ending 0"),
            "previous-ending-4": ({2: 2, 3: [4, bytes(32), 0, 0]}, "ending 4"),
            "previous-id-31": ({2: 2, 3: [1, bytes(31), 0, 0]}, "a previous epoch id of 31 bytes"),
            "previous-three": ({2: 2, 3: [1, bytes(32), 0]}, "three items in previous"),
            "previous-five": ({2: 2, 3: [1, bytes(32), 0, 0, 0]}, "five items in previous"),
            "previous-negative": ({2: 2, 3: [1, bytes(32), -1, 0]}, "a negative last sequence"),
            "start-before-previous": ({2: 2, 3: [1, bytes(32), 0, sample.START_NS + 1]}, "start before the last time"),
            "start-negative": ({6: -1}, "start before 1970"),
            "epoch-key-31": ({4: bytes(31)}, "an epoch key of 31 bytes"),
            "epoch-key-33": ({4: bytes(33)}, "an epoch key of 33 bytes"),
            "epoch-key-text": ({4: "x" * 32}, "the epoch key is text"),
            "token-key-31": ({5: bytes(31)}, "a token key of 31 bytes"),
            "token-key-null": ({5: None}, "the token key is null"),
            "clock-correction-below-int64": ({8: -(2**63) - 1}, "a clock correction below -2^63"),
            "clock-correction-above-int64": ({8: 2**63}, "a clock correction of 2^63"),
            "on-bad-clock-2": ({9: 2}, "on bad clock 2"),
            "durability-2": ({10: 2}, "durability 2"),
            "operator-empty": ({11: ""}, "no operator"),
            "operator-long": ({11: "o" * 256}, "an operator of 256 bytes"),
            "principal-source-5": ({15: 5}, "principal source 5"),
            "separated-0": ({19: 0}, "separated is a number"),
            "separated-null": ({19: None}, "separated is null"),
        },
    )


def _statement_arrays(good: Raw) -> Cases:
    values = cbor2.loads(good.payload)
    origin, key_id, size, root = values[12]
    hashes = values[13]
    long_filter = "f" * 65_536
    return changed_cases(
        good,
        {
            "clock-source-other": ({7: ["sundial", True]}, "an unknown clock daemon"),
            "clock-source-one": ({7: ["chrony"]}, "clock source without authenticated"),
            "clock-source-number": ({7: ["chrony", 1]}, "authenticated is a number"),
            "log-three": ({12: [origin, key_id, size]}, "three items in log"),
            "log-origin-empty": ({12: ["", key_id, size, root]}, "an empty origin"),
            "log-origin-space": ({12: ["a b", key_id, size, root]}, "a space in the origin"),
            "log-origin-plus": ({12: ["a+b", key_id, size, root]}, "a plus sign in the origin"),
            "log-origin-newline": ({12: ["a\nb", key_id, size, root]}, "a line feed in the origin"),
            "log-origin-long": ({12: ["o" * 256, key_id, size, root]}, "an origin of 256 bytes"),
            "log-key-id-31": ({12: [origin, bytes(31), size, root]}, "a log key id of 31 bytes"),
            "log-root-31": ({12: [origin, key_id, 1, bytes(31)]}, "a root of 31 bytes"),
            "log-other-root": ({12: [origin, key_id, *CHECKPOINT_OTHER_ROOT]}, "size 0 with another root"),
            "hashes-three": ({13: hashes[:3]}, "three hashes"),
            "hashes-five": ({13: [*hashes, None]}, "five hashes"),
            "hash-31": ({13: [bytes(31), *hashes[1:]]}, "an executable hash of 31 bytes"),
            "hash-null": ({13: [None, *hashes[1:]]}, "the executable hash is null"),
            "plugin-hash-null": ({13: [hashes[0], None, *hashes[2:]]}, "the plugin hash is null"),
            "manifest-31": ({13: [*hashes[:3], bytes(31)]}, "a manifest hash of 31 bytes"),
            "filters-empty": ({14: []}, "no filter"),
            "filter-two": ({14: [["a", 0]]}, "a filter without carrier"),
            "filter-four": ({14: [["a", 0, 0, 0]]}, "four items in a filter"),
            "filter-mode-2": ({14: [["a", 2, 0]]}, "mode 2"),
            "filter-carrier-3": ({14: [["a", 0, 3]]}, "carrier 3"),
            "filter-empty": ({14: [["", 0, 0]]}, "an empty filter"),
            "filter-nul": ({14: [["a\0", 0, 0]]}, "U+0000 in a filter"),
            "filter-hash-inside": ({14: [["a/#/b", 0, 0]]}, "a # that is not the last level"),
            "filter-hash-part": ({14: [["a#", 0, 0]]}, "a # that is not a whole level"),
            "filter-plus-part": ({14: [["a/b+", 0, 0]]}, "a + that is not a whole level"),
            "filter-long": ({14: [[long_filter, 0, 0]]}, "a filter of 65,536 bytes"),
            "unmarked-unsorted": ({16: ["will", "sys"]}, "unmarked paths not in order"),
            "unmarked-twice": ({16: ["sys", "sys"]}, "an unmarked path twice"),
            "unmarked-other": ({16: ["magic"]}, "an unknown unmarked path"),
            "unmarked-number": ({16: [1]}, "an unmarked path that is a number"),
            "tls-one": ({17: [["a:1"]]}, "a listener without key"),
            "tls-31": ({17: [["a:1", bytes(31)]]}, "a TLS key hash of 31 bytes"),
            "tls-listener-empty": ({17: [["", None]]}, "an empty listener"),
            "attester-3": ({18: [3, b"x"]}, "attester kind 3"),
            "attester-0": ({18: [0, b"x"]}, "attester kind 0"),
            "attester-text-name": ({18: [1, "x"]}, "an AK name that is text"),
            "attester-bytes-kind": ({18: [2, b"x"]}, "an enclave kind of bytes"),
            "attester-one": ({18: [1]}, "an attester without name"),
            "bridges-empty": ({20: []}, "bridge principals present but empty"),
            "bridges-unsorted": ({20: ["b", "a"]}, "bridge principals not in order"),
            "bridges-twice": ({20: ["a", "a"]}, "a bridge principal twice"),
            "bridges-empty-name": ({20: [""]}, "an empty bridge principal"),
        },
    )


def _countersignatures(good: Raw) -> Cases:
    header = cbor2.dumps({1: cose.ED25519, 4: LOG_KEY.key_id32})
    signature = LOG.sign(b"")

    def put(countersignature: object, reason: str) -> tuple[bytes, str]:
        return replace(good, unprotected=cbor2.dumps({11: countersignature})).build(), reason

    def with_header(values: dict[int, object], reason: str) -> tuple[bytes, str]:
        return put([cbor2.dumps(values), {}, signature], reason)

    one = [header, {}, signature]
    cases = {
        "countersignatures-two": put([one, one], "an array of two countersignatures"),
        "countersignatures-one": put([one], "an array of one countersignature"),
        "countersignature-null": put(None, "the countersignature is null"),
        "countersignature-two-items": put([header, {}], "two items in the countersignature"),
        "countersignature-four-items": put([*one, b""], "four items in the countersignature"),
        "countersignature-63": put([header, {}, bytes(63)], "a countersignature of 63 bytes"),
        "countersignature-unprotected": put([header, {4: b"x"}, signature], "an unprotected label in it"),
        "countersignature-eddsa": with_header({1: -8, 4: LOG_KEY.key_id32}, "alg -8"),
        "countersignature-no-kid": with_header({1: cose.ED25519}, "no kid"),
        "countersignature-no-alg": with_header({4: LOG_KEY.key_id32}, "no alg"),
        "countersignature-kid-31": with_header({1: cose.ED25519, 4: bytes(31)}, "a kid of 31 bytes"),
        "countersignature-label": with_header({1: cose.ED25519, 4: LOG_KEY.key_id32, 16: "x"}, "a label too many"),
        "countersignature-label-7": (
            replace(good, unprotected=cbor2.dumps({7: one})).build(),
            "a countersignature of version 1, label 7",
        ),
    }
    both = cbor2.dumps({11: one, 12: signature})
    cases["countersignature-and-0"] = (replace(good, unprotected=both).build(), "an abbreviated one beside it")
    return cases


def epoch_ends() -> dict[str, Vector]:
    """vectors/epoch-end/reject."""
    end = sample.FIRST_END
    values = {1: 1, 2: 1, 3: end.time_ns, 4: [2, end.clock.bound_ns], 5: 1, 6: end.last}
    good = Raw(cose.EPOCH_END, EPOCH.sign, kid=EPOCH_ID, payload=cbor.encode(values))
    numbers = {2: "last sequence", 3: "time", 5: "reason"}
    cases = container_cases(good) | payload_cases(good, tuple(range(1, 7)), 6, floats=numbers)
    cases |= changed_cases(
        good,
        {
            "last-sequence-negative": ({2: -1}, "last sequence -1"),
            "time-negative": ({3: -1}, "time before 1970"),
            "clock-3": ({4: [3]}, "an unknown clock state"),
            "clock-bound-missing": ({4: [2]}, "state 2 without a bound"),
            "reason-0": ({5: 0}, "reason 0"),
            "reason-6": ({5: 6}, "reason 6"),
            "last-31": ({6: bytes(31)}, "last of 31 bytes"),
            "last-null": ({6: None}, "last is null"),
            "no-marks-other-last": ({2: 0}, "last sequence 0, and last is not the epoch id"),
        },
    )
    return _objects(cases)


def seals() -> dict[str, Vector]:
    """vectors/seal/reject."""
    payload = cbor.encode({1: 1, 2: 2, 3: 1000, 4: sample.FIRST_SEAL.root})
    good = Raw(cose.SEAL, EPOCH.sign, kid=EPOCH_ID, payload=payload)
    numbers = {2: "first sequence", 3: "last sequence"}
    cases = container_cases(good) | payload_cases(good, tuple(range(1, 5)), 4, floats=numbers)
    cases |= changed_cases(
        good,
        {
            "first-0": ({2: 0}, "first sequence 0"),
            "last-before-first": ({3: 1}, "last sequence before the first"),
            "root-31": ({4: bytes(31)}, "a root of 31 bytes"),
            "root-null": ({4: None}, "the root is null"),
        },
    )
    return _objects(cases)


def log_entries() -> dict[str, Vector]:
    """vectors/log-entry/reject."""

    def entry(kind: int, epoch: int, sequence: int) -> bytes:
        return bytes([kind]) + epoch.to_bytes(4, "big") + sequence.to_bytes(8, "big") + filler("object")

    return _objects(
        {
            "kind-0": (entry(0, 1, 1), "kind 0"),
            "kind-9": (entry(9, 1, 1), "kind 9"),
            "kind-255": (entry(255, 1, 1), "kind 255"),
            "epoch-0": (entry(1, 0, 1), "epoch number 0"),
            "mark-sequence-0": (entry(1, 1, 0), "a mark with sequence 0"),
            "seal-sequence-0": (entry(4, 1, 0), "a seal with sequence 0"),
            "statement-sequence-1": (entry(2, 1, 1), "a statement with sequence 1"),
            "short": (entry(1, 1, 1)[:-1], "44 bytes"),
            "long": (entry(1, 1, 1) + b"\0", "46 bytes"),
            "empty": (b"", "nothing"),
        },
        "entry",
    )


REJECT = {
    "mark": marks,
    "batch-mark": batch_marks,
    "epoch-statement": epoch_statements,
    "epoch-end": epoch_ends,
    "seal": seals,
    "log-entry": log_entries,
    "datagram": reject_device.datagrams,
    "reading": reject_device.readings,
    "marked-datagram": reject_marked.marked_datagrams,
    "spool": reject_device.spools,
    "handshake": reject_device.handshakes,
    **REJECT_LOG,
    "cosignature": cosign.rejected,
    "add-checkpoint": add_checkpoint.rejected,
    **REJECT_TPM,
    "challenge": challenge.rejected,
    **REJECT_SEAL,
    "booted": accept_booted.rejected,
    "platform": accept_booted.rejected_platforms,
    "registration-exchange": exchange.rejected,
}
