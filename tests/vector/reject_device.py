"""Reject vectors of the device's messages, the spool and the handshake."""

import dataclasses
import zlib

import cbor2

from sigillo.core import cbor, cose
from sigillo.core.cose import ED25519
from sigillo.core.datagram import encode_datagram, encode_device_map
from sigillo.core.entry import Kind
from sigillo.core.reading import encode_reading
from sigillo.core.spool import SegmentHeader, encode_header, encode_record
from sigillo.core.statement import encode_statement_fields
from tests.vector import sample
from tests.vector.accept import map_head, pairs_of, signed_map
from tests.vector.file import Value
from tests.vector.key import TRACKER_ED25519, TRACKER_P256, Ed25519Key, P256Key
from tests.vector.reject_cose import Raw, container_cases
from tests.vector.sample import EPOCH_ID, TOPIC

Vector = dict[str, Value]
Pairs = list[tuple[bytes, bytes]]

KEEP: Pairs = pairs_of({"TS": 1, "VER": 2, "BODY": {}})
SIGN = TRACKER_P256.sign


def map_cases() -> dict[str, tuple[Pairs, str]]:
    """Pairs before `SIGN` that make no device map, in a datagram or in a COSE message."""

    def value(key: str, encoded: str, reason: str) -> tuple[Pairs, str]:
        others = [pair for pair in KEEP if pair[0] != cbor2.dumps(key)]
        return [*others, (cbor2.dumps(key), bytes.fromhex(encoded))], reason

    def extra(key: str, encoded: str, reason: str) -> tuple[Pairs, str]:
        return [*KEEP, (bytes.fromhex(key), bytes.fromhex(encoded))], reason

    return {
        "ver-missing": (pairs_of({"TS": 1, "BODY": {}}), "no VER"),
        "ts-missing": (pairs_of({"VER": 1, "BODY": {}}), "no TS"),
        "ver-long": value("VER", "1802", "VER not in its shortest form"),
        "ver-negative": value("VER", "20", "VER is -1"),
        "ver-float": value("VER", "f94000", "VER is a float"),
        "ver-text": value("VER", "6132", "VER is text"),
        "ver-bignum": value("VER", "c249010000000000000000", "VER is a big number"),
        "ver-tagged": value("VER", "c102", "VER is tagged"),
        "ts-nan": value("TS", "f97e00", "TS is not a number"),
        "ts-infinity": value("TS", "f97c00", "TS is infinite"),
        "ts-negative": value("TS", "20", "TS is -1"),
        "ts-negative-float": value("TS", "fbbff8000000000000", "TS is -1.5"),
        "ts-null": value("TS", "f6", "TS is null"),
        "ts-bool": value("TS", "f5", "TS is true"),
        "ts-text": value("TS", "6131", "TS is text"),
        "ts-tagged": value("TS", "c101", "TS is tagged"),
        "duplicate": (KEEP + pairs_of({"TS": 1}), "TS twice"),
        "duplicate-own": (KEEP + 2 * pairs_of({"X": 1}), "the device's own key twice"),
        "key-number": extra("01", "01", "a key that is a number"),
        "key-bytes": extra("4158", "01", "a key that is a byte string"),
        "key-long": extra("780158", "01", "a key not in its shortest form"),
        "key-indefinite": extra("7f6158ff", "01", "a key of indefinite length"),
        "key-not-utf8": extra("61ff", "01", "a key that is not UTF-8"),
        "ingestion-time": (KEEP + pairs_of({"INGESTION_TIME": 1}), "the broker's key INGESTION_TIME"),
        "verification-token": (KEEP + pairs_of({"VERIFICATION_TOKEN": b""}), "the broker's key VERIFICATION_TOKEN"),
        "beacon-31": (KEEP + pairs_of({"BEACON": bytes(31)}), "BEACON of 31 bytes"),
        "beacon-text": (KEEP + pairs_of({"BEACON": "x" * 32}), "BEACON is text"),
        "beacon-indefinite": extra("66424541434f4e", "5f5820" + "00" * 32 + "ff", "BEACON of indefinite length"),
        "beacon-not-last": (pairs_of({"BEACON": bytes(32)}) + KEEP, "BEACON is not the last before SIGN"),
        "nested-17": extra("6158", "81" * 15 + "80", "nested 17 deep"),
        "nested-bomb": extra("6158", "81" * 4_000 + "80", "nested 4,002 deep"),
        "nested-bomb-indefinite": extra("6158", "9f" * 1000 + "ff" * 1000, "nested 1001 deep, indefinite"),
        "nested-tags": extra("6158", "c1" * 16 + "00", "16 tags in one another"),
        "malformed-reserved": extra("6158", "1c", "reserved additional information"),
        "malformed-simple": extra("6158", "f818", "a simple value in the wrong form"),
        "malformed-break": extra("6158", "82ff01", "a break in a definite array"),
        "malformed-map-odd": extra("6158", "bf01ff", "a break after a key"),
        "malformed-chunk": extra("6158", "5f6161ff", "a text chunk in a byte string"),
        "malformed-chunk-indefinite": extra("6158", "5f5f4100ffff", "an indefinite chunk"),
        "malformed-indefinite-number": extra("6158", "1f", "a number of indefinite length"),
        "malformed-indefinite-tag": extra("6158", "df00ff", "a tag of indefinite length"),
        "huge-array": extra("6158", "9bffffffffffffffff", "an array of 2^64-1 items declared"),
        "huge-map": extra("6158", "bbffffffffffffffff", "a map of 2^64-1 pairs declared"),
        "huge-bytes": extra("6158", "5bffffffffffffffff", "2^64-1 bytes declared"),
        "huge-text-chunk": extra("6158", "7f7bffffffffffffffffff", "a chunk of 2^64-1 bytes declared"),
    }


def datagrams() -> dict[str, Vector]:
    """vectors/datagram/reject."""
    made: dict[str, Vector] = {}
    for name, (pairs, reason) in map_cases().items():
        made[name] = {"payload": signed_map(pairs, SIGN), "reason": reason}
        made[f"indefinite-{name}"] = {"payload": signed_map(pairs, SIGN, indefinite=True), "reason": reason}
    good = signed_map(KEEP, SIGN)
    indefinite = signed_map(KEEP, SIGN, indefinite=True)
    body = b"".join(key + value for key, value in KEEP)
    sign_key = cbor2.dumps("SIGN")
    signature = SIGN(b"\xa3" + body)
    signed = sign_key + cbor2.dumps(signature)
    late = cbor2.dumps("LATE") + b"\x01"
    for name, payload, reason in (
        ("empty", b"", "nothing"),
        ("not-cbor", b'{"TS": 1}', "JSON"),
        ("array", cbor2.dumps([1, 2]), "an array"),
        ("empty-map", b"\xa0", "an empty map"),
        ("empty-map-indefinite", b"\xbf\xff", "an empty map of indefinite length"),
        ("tagged", b"\xd9\xd9\xf7" + good, "a tag around the map"),
        ("trailing-byte", good + b"\0", "a byte after the map"),
        ("indefinite-trailing-byte", indefinite + b"\0", "a byte after the map"),
        ("cut", good[:-1], "the last byte is missing"),
        ("indefinite-cut", indefinite[:-1], "the break is missing"),
        ("head-long", b"\xb8\x04" + body + signed, "head of the map not the shortest"),
        ("head-more", b"\xa5" + body + signed, "one pair more declared"),
        ("head-less", b"\xa3" + body + signed, "one pair less declared"),
        ("head-huge", b"\xbb" + b"\xff" * 8 + body + signed, "2^64-1 pairs declared"),
        ("unsigned", b"\xa3" + body, "no SIGN"),
        ("only-sign", b"\xa1" + signed, "SIGN alone"),
        ("sign-first", b"\xa4" + signed + body, "SIGN is the first key"),
        ("sign-not-last", b"\xa5" + body + signed + late, "a key after SIGN"),
        ("sign-twice", b"\xa5" + body + signed + signed, "SIGN twice"),
        ("sign-63", b"\xa4" + body + sign_key + cbor2.dumps(bytes(63)), "SIGN of 63 bytes"),
        ("sign-65", b"\xa4" + body + sign_key + cbor2.dumps(bytes(65)), "SIGN of 65 bytes"),
        ("sign-text", b"\xa4" + body + sign_key + cbor2.dumps("x" * 64), "SIGN is text"),
        ("sign-null", b"\xa4" + body + sign_key + b"\xf6", "SIGN is null"),
        ("sign-indefinite", b"\xa4" + body + sign_key + b"\x5f\x58\x40" + signature + b"\xff", "SIGN in chunks"),
        ("sign-key-long", b"\xa4" + body + b"\x78\x04SIGN" + cbor2.dumps(signature), "key SIGN not shortest"),
        (
            "sign-key-indefinite",
            b"\xa4" + body + b"\x7f" + sign_key + b"\xff" + cbor2.dumps(signature),
            "key in chunks",
        ),
        (
            "broker-token-after-sign",
            b"\xa6"
            + body
            + signed
            + b"".join(k + v for k, v in pairs_of({"INGESTION_TIME": 1, "VERIFICATION_TOKEN": b""})),
            "the broker's keys are still there",
        ),
    ):
        made[name] = {"payload": payload, "reason": reason}
    return made | _wrong_signatures(good)


def _wrong_signatures(good: bytes) -> dict[str, Vector]:
    other = encode_datagram(ts=1, ver=2, body={}, sign=TRACKER_ED25519.sign)
    der_first = good[:-64] + good[-32:] + good[-64:-32]
    n = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    cases: dict[str, tuple[Ed25519Key | P256Key, bytes, str]] = {
        "signature-bit": (TRACKER_P256, good[:-1] + bytes([good[-1] ^ 1]), "one bit of the signature"),
        "signature-swapped": (TRACKER_P256, der_first, "s ‖ r"),
        "signature-zero": (TRACKER_P256, good[:-64] + bytes(64), "r = s = 0"),
        "signature-order": (TRACKER_P256, good[:-64] + n.to_bytes(32, "big") * 2, "r = s = the order of the group"),
        "signature-ed25519-bit": (TRACKER_ED25519, other[:-1] + bytes([other[-1] ^ 0x20]), "S not below the order"),
        "signed-bit": (TRACKER_P256, good.replace(b"bTS\x01", b"bTS\x02"), "TS changed after signing"),
        "signed-key-order": (
            TRACKER_P256,
            good.replace(b"bTS\x01cVER\x02", b"cVER\x02bTS\x01"),
            "keys in another order than signed",
        ),
        "signed-definite": (
            TRACKER_P256,
            b"\xbf" + good[1:] + b"\xff",
            "signed as a definite map, sent as an indefinite one",
        ),
        "signed-other-key": (TRACKER_ED25519, good, "signed by another key"),
    }
    return {
        name: {
            "key_type": key.device_key.kind,
            "public_key": key.device_key.spki,
            "payload": payload,
            "reason": reason,
        }
        for name, (key, payload, reason) in cases.items()
    }


def readings() -> dict[str, Vector]:
    """vectors/reading/reject."""
    payload = encode_device_map(ts=1, ver=2, body={})
    good = Raw(
        cose.READING,
        TRACKER_ED25519.sign,
        kid=b"crate-1",
        payload=payload,
        algorithm=ED25519,
        external_aad=TOPIC.encode(),
    )
    cases = container_cases(good)
    cases["kid-not-utf8"] = (dataclasses.replace(good, kid=b"\xff").build(), "a kid that is not UTF-8")
    for name, (pairs, reason) in map_cases().items():
        body = map_head(len(pairs)) + b"".join(key + value for key, value in pairs)
        cases[name] = (dataclasses.replace(good, payload=body).build(), reason)
    signed = signed_map(KEEP, SIGN)
    cases["payload-sign"] = (dataclasses.replace(good, payload=signed).build(), "SIGN in a COSE message")
    cases["payload-trailing-byte"] = (
        dataclasses.replace(good, payload=payload + b"\0").build(),
        "a byte after the map",
    )
    cases["payload-empty"] = (dataclasses.replace(good, payload=b"").build(), "an empty payload")
    made: dict[str, Vector] = {
        name: {"topic": TOPIC, "payload": data, "reason": reason} for name, (data, reason) in cases.items()
    }
    made["topic-empty"] = {"topic": "", "payload": good.build(), "reason": "an empty topic"}
    return made | _wrong_readings(good)


def _wrong_readings(good: Raw) -> dict[str, Vector]:
    signed = good.build()
    p256 = encode_reading(
        topic=TOPIC,
        device_id="crate-1",
        algorithm=cose.ESP256,
        ts=1,
        ver=2,
        body={},
        sign=TRACKER_P256.sign,
    )
    cases: dict[str, tuple[Ed25519Key | P256Key, str, bytes, str]] = {
        "other-topic": (TRACKER_ED25519, TOPIC + "live", signed, "signed for another topic"),
        "signature-bit": (TRACKER_ED25519, TOPIC, signed[:-64] + bytes([signed[-64] ^ 1]) + signed[-63:], "one bit"),
        "no-topic-signed": (
            TRACKER_ED25519,
            TOPIC,
            dataclasses.replace(good, external_aad=b"").build(),
            "signed without the topic",
        ),
        "signed-other-key": (TRACKER_P256, TOPIC, signed, "signed by another key"),
        "p256-bit": (TRACKER_P256, TOPIC, p256[:-1] + bytes([p256[-1] ^ 1]), "one bit of the signature"),
    }
    return {
        name: {
            "key_type": key.device_key.kind,
            "public_key": key.device_key.spki,
            "topic": topic,
            "payload": payload,
            "reason": reason,
        }
        for name, (key, topic, payload, reason) in cases.items()
    }


def spools() -> dict[str, Vector]:
    """vectors/spool/reject."""
    header = SegmentHeader(1, 0, EPOCH_ID, 4096)
    head = encode_header(header)
    later = encode_header(dataclasses.replace(header, segment=1))
    statement = encode_record(Kind.EPOCH_STATEMENT, 0, sample.FIRST_STATEMENT)
    mark_1 = encode_record(Kind.MARK, 1, sample.FIRST_MARK_OBJECT)
    mark_3 = encode_record(Kind.MARK, 3, sample.FIRST_MARK_OBJECT)
    end = encode_record(Kind.EPOCH_END, 1, sample.FIRST_END_OBJECT)

    def full(*records: bytes, first: bytes = head) -> bytes:
        return (first + b"".join(records)).ljust(4096, b"\0")

    def flipped(record: bytes, offset: int) -> bytes:
        return record[:offset] + bytes([record[offset] ^ 1]) + record[offset + 1 :]

    cases = {
        "empty": (b"", "an empty file"),
        "header-cut": (head[:-1], "a header of 63 bytes"),
        "magic": (full(statement, first=b"sigillo-spool-2\n" + head[16:]), "another magic"),
        "epoch-0": (full(statement, first=head[:16] + bytes(4) + head[20:]), "epoch number 0"),
        "longer-than-size": (full(statement) + bytes(8), "the file is longer than its header says"),
        "shorter-than-size": (head + statement + mark_1, "the file is shorter than its header says, and no epoch end"),
        "size-0": (full(statement, first=head[:-8] + bytes(8)), "segment size 0"),
        "length-past-end": (full(statement, (5000).to_bytes(4, "big") + mark_1[4:]), "the length runs past the file"),
        "length-fffffffe": (full(statement, b"\xff\xff\xff\xfe" + mark_1[4:]), "a length of 2^32-2"),
        "crc": (full(statement, flipped(mark_1, 7)), "the CRC differs"),
        "object-bit": (full(statement, flipped(mark_1, 100)), "one bit of an object"),
        "sequence-bit": (full(statement, flipped(mark_1, 23)), "one bit of a sequence"),
        "kind-0": (full(statement, _record(0, 1, sample.FIRST_MARK_OBJECT)), "kind 0"),
        "kind-5": (full(statement, _record(5, 1, sample.FIRST_MARK_OBJECT)), "kind 5 (heads)"),
        "zero-bytes": (full(statement, _record(1, 1, sample.FIRST_MARK_OBJECT, zeros=b"\0" * 6 + b"\x01")), "not zero"),
        "padding": (full(statement, _record(1, 1, b"x", padding=b"\x01")), "padding that is not zero"),
        "statement-missing": (full(mark_1), "no statement at the start of the epoch"),
        "statement-twice": (full(statement, statement), "a second statement"),
        "statement-later": (full(statement, first=later), "a statement in a later segment"),
        "statement-sequence-1": (
            full(encode_record(Kind.EPOCH_STATEMENT, 1, sample.FIRST_STATEMENT)),
            "a statement with sequence 1",
        ),
        "sequence-gap": (full(statement, mark_1, mark_3), "sequence 3 after 1"),
        "sequence-twice": (full(statement, mark_1, mark_1), "sequence 1 twice"),
        "sequence-0": (
            full(statement, encode_record(Kind.MARK, 0, sample.FIRST_MARK_OBJECT)),
            "a mark with sequence 0",
        ),
        "later-sequence-0": (
            full(encode_record(Kind.MARK, 0, sample.FIRST_MARK_OBJECT), first=later),
            "a mark with sequence 0 in a later segment",
        ),
        "end-sequence": (
            full(statement, mark_1, encode_record(Kind.EPOCH_END, 2, b"x")),
            "an end that covers too much",
        ),
        "after-end": (full(statement, mark_1, end, encode_record(Kind.MARK, 2, b"x")), "a record after the epoch end"),
        "torn-in-between": (full(statement, flipped(mark_1, 100), mark_3), "a torn record with a valid one behind it"),
    }
    return {name: {"segment": data, "reason": reason} for name, (data, reason) in cases.items()}


def _record(kind: int, sequence: int, object_bytes: bytes, zeros: bytes = bytes(7), padding: bytes = b"") -> bytes:
    """A record with a right CRC over whatever it holds."""
    rest = bytes([kind]) + zeros + sequence.to_bytes(8, "big") + object_bytes
    record = len(object_bytes).to_bytes(4, "big") + zlib.crc32(rest).to_bytes(4, "big") + rest + padding
    return record + bytes(-len(record) % 8)


def handshakes() -> dict[str, Vector]:
    """vectors/handshake/reject."""
    fields = encode_statement_fields(sample.FIRST_FIELDS)
    run_time: dict[int, object] = {1: "/s", 2: 65_536, 3: 1, 4: True, 5: False, 6: 0, 7: 0, 8: False}
    counters = [1] + [0] * 12

    def state(changes: dict[int, object], reason: str) -> tuple[bytes, str]:
        return b"\x01" + cbor.encode([fields, run_time | changes]), reason

    cases = {
        "empty": (b"", "nothing"),
        "type-0": (b"\0", "type 0"),
        "type-6": (b"\x06", "type 6"),
        "too-long": (b"\x02" + bytes(65_536), "65,537 bytes"),
        "state-empty": (b"\x01", "STATE without body"),
        "state-one": (b"\x01" + cbor.encode([fields]), "STATE without run time"),
        "state-three": (b"\x01" + cbor.encode([fields, run_time, 0]), "three items in STATE"),
        "state-trailing-byte": (b"\x01" + cbor.encode([fields, run_time]) + b"\0", "a byte after STATE"),
        "state-epoch-key": (b"\x01" + cbor.encode([fields | {4: bytes(32)}, run_time]), "the plugin's key 4"),
        "state-token-key": (b"\x01" + cbor.encode([fields | {5: bytes(32)}, run_time]), "the plugin's key 5"),
        "state-start": (b"\x01" + cbor.encode([fields | {6: 0}, run_time]), "the plugin's key 6"),
        "state-field-missing": (
            b"\x01" + cbor.encode([{key: value for key, value in fields.items() if key != 14}, run_time]),
            "no filters",
        ),
        "run-time-missing": (b"\x01" + cbor.encode([fields, {1: "/s", 2: 65_536, 3: 1}]), "run time without key 4"),
        "run-time-unknown": state({9: 0}, "an unknown key in run time"),
        "folder-relative": state({1: "spool"}, "a relative spool folder"),
        "folder-nul": state({1: "/s\0"}, "U+0000 in the spool folder"),
        "segment-small": state({2: 61_440}, "a segment size below 65,536"),
        "segment-big": state({2: 2**30 + 4096}, "a segment size above 2^30"),
        "segment-odd": state({2: 65_537}, "a segment size that is no multiple of 4,096"),
        "principals-0": state({3: 0}, "no principals"),
        "principals-big": state({3: 2**20 + 1}, "more than 2^20 principals"),
        "bound-meaningful-1": state({4: 1}, "a number for true"),
        "raw-tokens-1": state({5: 1}, "a number for true"),
        "raw-tokens-nowhere": state({5: True}, "raw tokens, and no filter with the carrier datagram"),
        "rate-big": state({6: 1_000_001}, "more than 10^6 messages a second"),
        "rate-negative": state({6: -1}, "a negative rate"),
        "payload-big": state({7: 268_435_456}, "a payload larger than MQTT's largest packet"),
        "access-list-null": state({8: None}, "null for a bool"),
        "statement-countersigned": (b"\x02" + sample.FIRST_COUNTERSIGNED, "a countersigned statement"),
        "statement-mark": (b"\x02" + sample.FIRST_MARK_OBJECT, "a mark for a statement"),
        "go-31": (b"\x03" + bytes(31), "an epoch id of 31 bytes"),
        "go-33": (b"\x03" + bytes(33), "an epoch id of 33 bytes"),
        "checkpoint-39": (b"\x04" + bytes(39), "a checkpoint of 39 bytes"),
        "checkpoint-long": (b"\x04" + bytes(7) + b"\1" + bytes(32 + 8193), "a note of 8,193 bytes"),
        "checkpoint-other-root": (b"\x04" + bytes(40), "size 0 with a root that is not SHA-256('')"),
        "counters-twelve": (b"\x05" + cbor.encode(counters[:12]), "twelve counters"),
        "counters-fourteen": (b"\x05" + cbor.encode([*counters, 0]), "fourteen counters"),
        "counters-negative": (b"\x05" + cbor.encode([-1, *counters[1:]]), "a negative counter"),
        "counters-map": (b"\x05\xa0", "a map"),
        "counters-trailing-byte": (b"\x05" + cbor.encode(counters) + b"\0", "a byte after the counters"),
    }
    return {name: {"packet": data, "reason": reason} for name, (data, reason) in cases.items()}
