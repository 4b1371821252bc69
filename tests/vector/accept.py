"""Accept vectors: inputs and the one expected output. Each function gives the files of one format by name."""

import dataclasses
from collections.abc import Mapping

import cbor2

from sigillo.core import cbor
from sigillo.core.bytes import EMPTY_ROOT
from sigillo.core.cose import ED25519
from sigillo.core.datagram import decode_datagram, encode_datagram
from sigillo.core.entry import Kind, LogEntry, encode_entry
from sigillo.core.epoch import (
    EndReason,
    EpochEnd,
    Seal,
    countersign,
    decode_epoch_end,
    decode_seal,
    decode_statement,
    encode_epoch_end,
    encode_seal,
    encode_statement,
)
from sigillo.core.handshake import Counters, Go, NewCheckpoint, RunTime, State, Statement, encode_packet
from sigillo.core.mark import (
    Checkpoint,
    Clock,
    Mark,
    decode_batch_mark,
    decode_mark,
    encode_batch_mark,
    encode_mark,
    mark_salt,
    payload_commitment,
)
from sigillo.core.reading import decode_reading, encode_reading
from sigillo.core.spool import CONTINUES, SegmentHeader, decode_segment, encode_header, encode_record
from sigillo.core.statement import EpochStatement, StatementFields, encode_statement_fields
from tests.vector import add_checkpoint, challenge, cosign, exchange, sample
from tests.vector.accept_booted import booted, platforms
from tests.vector.accept_log import ACCEPT_LOG
from tests.vector.accept_seal import ACCEPT_SEAL
from tests.vector.accept_tpm import ACCEPT_TPM
from tests.vector.file import Value
from tests.vector.key import (
    EPOCH,
    LOG,
    SALT_KEY,
    TOKEN,
    TRACKER_ED25519,
    TRACKER_P256,
    Ed25519Key,
    P256Key,
    Sign,
    filler,
)
from tests.vector.sample import EPOCH_ID, FIRST_FIELDS, LOG_KEY, START_NS, TOPIC, U64_MAX

Vector = dict[str, Value]
I64_MAX = 2**63 - 1


def clock_text(clock: Clock) -> str:
    """Clock state as vector files write it."""
    names = {"unsynchronised": "unsynchronised", "bound-unknown": "synchronised"}
    return names.get(clock.state, str(clock.bound_ns))


def marks() -> dict[str, Vector]:
    """vectors/mark/accept."""
    first = sample.FIRST_MARK
    previous = decode_mark(sample.FIRST_MARK_OBJECT).object_hash
    checkpoint = Checkpoint(4711, filler("root"))
    made = {
        "first": _mark(first, b"a reading"),
        "second": _mark(
            sample.mark(sequence=2, count=2, previous=previous, time_ns=START_NS + 2_000_000, checkpoint=checkpoint),
            b"another reading",
        ),
        "other-principal": _mark(
            sample.mark(sequence=3, client_id="crate-2", principal="crate-2", qos=2, retain=True), bytes(range(256))
        ),
        "anonymous-empty": _mark(sample.mark(sequence=4, client_id="", principal="", qos=0, topic="t"), b""),
        "unsynchronised": _mark(sample.mark(sequence=5, clock=Clock("unsynchronised")), b"x"),
        "bound-unknown": _mark(sample.mark(sequence=6, clock=Clock("bound-unknown")), b"x"),
        "utf8": _mark(sample.mark(sequence=7, topic="cantina/però/🍷", client_id="è", principal="Società"), b"x"),
        "repeat": _mark(sample.mark(sequence=8, count=3, previous=filler("previous"), repeat_of=2), b"another reading"),
        "before": _mark(sample.mark(sequence=9, before=filler("foreign mark")), b"x"),
        "repeat-before": _mark(sample.mark(sequence=10, repeat_of=9, before=filler("foreign mark")), b"x"),
        "limits": _mark(
            sample.mark(
                sequence=U64_MAX,
                time_ns=U64_MAX,
                clock=Clock("bounded", U64_MAX),
                count=U64_MAX,
                checkpoint=Checkpoint(U64_MAX, filler("root")),
                repeat_of=U64_MAX - 1,
            ),
            b"x",
        ),
    }
    for sequence in (23, 24, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32):
        made[f"sequence-{sequence}"] = _mark(sample.mark(sequence=sequence, count=sequence), b"x")
    for length in (23, 24, 255, 256, 65_535):
        made[f"topic-{length}"] = _mark(sample.mark(sequence=11, topic="t" * length), b"x")
    return made


def batch_marks() -> dict[str, Vector]:
    """vectors/batch-mark/accept."""
    return {
        "first": _mark(sample.FIRST_MARK, b"a reading", signed=False),
        "repeat-before": _mark(
            sample.mark(sequence=10, repeat_of=9, before=filler("foreign mark")), b"x", signed=False
        ),
    }


def _mark(mark: Mark, payload: bytes, *, signed: bool = True) -> Vector:
    salt = mark_salt(SALT_KEY, mark.sequence)
    mark = dataclasses.replace(mark, commitment=payload_commitment(salt, payload))
    if signed:
        encoded = encode_mark(mark, EPOCH_ID, salt, EPOCH.sign)
        decoded = decode_mark(encoded)
    else:
        encoded = encode_batch_mark(mark, EPOCH_ID, salt)
        decoded = decode_batch_mark(encoded)
    vector: Vector = {"seed": EPOCH.seed} if signed else {}
    vector |= {
        "salt_key": SALT_KEY,
        "epoch_id": EPOCH_ID,
        "sequence": mark.sequence,
        "time": mark.time_ns,
        "clock": clock_text(mark.clock),
        "topic": mark.topic,
        "client_id": mark.client_id,
        "principal": mark.principal,
        "qos": mark.qos,
        "retain": mark.retain,
        "payload": payload,
        "count": mark.count,
        "previous": mark.previous,
        "checkpoint_size": mark.checkpoint.size,
        "checkpoint_root": mark.checkpoint.root,
    }
    if mark.repeat_of is not None:
        vector["repeat_of"] = mark.repeat_of
    if mark.before is not None:
        vector["before"] = mark.before
    return vector | {"object": encoded, "object_hash": decoded.object_hash}


def epoch_statements() -> dict[str, Vector]:
    """vectors/epoch-statement/accept."""
    return {
        "first": _statement(FIRST_FIELDS, sample.whole(FIRST_FIELDS)),
        "next": _statement(sample.NEXT_FIELDS, sample.whole(sample.NEXT_FIELDS, START_NS + 10**13)),
        "unclean": _statement(sample.UNCLEAN_FIELDS, sample.whole(sample.UNCLEAN_FIELDS, U64_MAX)),
        "carriers": _statement(sample.CARRIER_FIELDS, sample.whole(sample.CARRIER_FIELDS)),
        "raw-tokens": _statement(sample.CARRIER_FIELDS, sample.whole(sample.CARRIER_FIELDS, token_key=TOKEN.public)),
        "all-fields": _statement(sample.ALL_FIELDS, sample.whole(sample.ALL_FIELDS, token_key=TOKEN.public)),
    }


def _statement(fields: StatementFields, statement: EpochStatement) -> Vector:
    encoded = encode_statement(statement, EPOCH.sign)
    vector: Vector = {
        "seed": EPOCH.seed,
        "log_seed": LOG.seed,
        "fields": cbor.encode(encode_statement_fields(fields)),
        "start": statement.start_ns,
        "epoch_key": statement.epoch_key,
    }
    if statement.token_key is not None:
        vector |= {"token_seed": TOKEN.seed, "token_key": statement.token_key}
    return vector | {
        "object": encoded,
        "countersigned": countersign(encoded, LOG_KEY.key_id32, LOG.sign),
        "object_hash": decode_statement(encoded).epoch_id,
    }


def epoch_ends() -> dict[str, Vector]:
    """vectors/epoch-end/accept."""
    ends = {
        "stop": sample.FIRST_END,
        "no-marks": EpochEnd(0, START_NS, Clock("bound-unknown"), EndReason.RELOAD, EPOCH_ID),
        "launcher-gone": dataclasses.replace(sample.FIRST_END, reason=EndReason.LAUNCHER_GONE, last_sequence=70_000),
        "clock-refused": EpochEnd(
            9, START_NS + 10**9, Clock("unsynchronised"), EndReason.CLOCK_RECOVERY, filler("last mark")
        ),
        "limits": EpochEnd(U64_MAX, U64_MAX, Clock("bounded", U64_MAX), EndReason.FAILURE, filler("last mark")),
    }
    return {name: _epoch_end(end) for name, end in ends.items()}


def _epoch_end(end: EpochEnd) -> Vector:
    encoded = encode_epoch_end(end, EPOCH_ID, EPOCH.sign)
    return {
        "seed": EPOCH.seed,
        "epoch_id": EPOCH_ID,
        "last_sequence": end.last_sequence,
        "time": end.time_ns,
        "clock": clock_text(end.clock),
        "reason": int(end.reason),
        "last": end.last,
        "object": encoded,
        "object_hash": decode_epoch_end(encoded).object_hash,
    }


def seals() -> dict[str, Vector]:
    """vectors/seal/accept."""
    made: dict[str, Vector] = {}
    for name, seal in {
        "first": sample.FIRST_SEAL,
        "single": Seal(7, 7, filler("seal root")),
        "limits": Seal(U64_MAX, U64_MAX, filler("seal root")),
    }.items():
        encoded = encode_seal(seal, EPOCH_ID, EPOCH.sign)
        made[name] = {
            "seed": EPOCH.seed,
            "epoch_id": EPOCH_ID,
            "first_sequence": seal.first_sequence,
            "last_sequence": seal.last_sequence,
            "root": seal.root,
            "object": encoded,
            "object_hash": decode_seal(encoded).object_hash,
        }
    return made


def log_entries() -> dict[str, Vector]:
    """vectors/log-entry/accept."""
    first_mark = decode_mark(sample.FIRST_MARK_OBJECT).object_hash
    entries = {
        "mark": LogEntry(Kind.MARK, 1, 1, first_mark),
        "epoch-statement": LogEntry(Kind.EPOCH_STATEMENT, 1, 0, EPOCH_ID),
        "epoch-end": LogEntry(Kind.EPOCH_END, 1, 1, decode_epoch_end(sample.FIRST_END_OBJECT).object_hash),
        "epoch-end-no-marks": LogEntry(Kind.EPOCH_END, 2, 0, filler("epoch end")),
        "seal": LogEntry(Kind.SEAL, 1, 1000, decode_seal(sample.FIRST_SEAL_OBJECT).object_hash),
        "heads": LogEntry(Kind.HEADS, 1, 1000, filler("heads")),
        "token": LogEntry(Kind.TOKEN, 1, 0, filler("token")),
        "attestation-evidence": LogEntry(Kind.ATTESTATION_EVIDENCE, 3, 12, filler("attestation evidence")),
        "key-change": LogEntry(Kind.KEY_CHANGE, 3, 12, filler("key change")),
        "limits": LogEntry(Kind.MARK, 2**32 - 1, U64_MAX, filler("limits")),
    }
    return {
        name: {
            "kind": int(entry.kind),
            "epoch": entry.epoch,
            "sequence": entry.sequence,
            "object_hash": entry.object_hash,
            "entry": encode_entry(entry),
        }
        for name, entry in entries.items()
    }


def signed_map(pairs: list[tuple[bytes, bytes]], sign: Sign, *, indefinite: bool = False) -> bytes:
    """A datagram of encoded pairs and `SIGN`, made without the encoder under test."""
    body = b"".join(key + value for key, value in pairs)
    if indefinite:
        return b"\xbf" + body + cbor2.dumps("SIGN") + cbor2.dumps(sign(b"\xbf" + body + b"\xff")) + b"\xff"
    signed = map_head(len(pairs)) + body
    return map_head(len(pairs) + 1) + body + cbor2.dumps("SIGN") + cbor2.dumps(sign(signed))


def map_head(pairs: int) -> bytes:
    """Shortest head of a definite map."""
    if pairs < 24:
        return bytes([0xA0 + pairs])
    return b"\xb8" + bytes([pairs]) if pairs < 256 else b"\xb9" + pairs.to_bytes(2, "big")


def pairs_of(values: Mapping[str, object]) -> list[tuple[bytes, bytes]]:
    """Encoded pairs of a map."""
    return [(cbor2.dumps(key), cbor2.dumps(value)) for key, value in values.items()]


def datagrams() -> dict[str, Vector]:
    """vectors/datagram/accept."""
    sign = TRACKER_P256.sign
    base: dict[str, object] = {"TS": 1_764_000_000, "VER": 41, "PROT": 1, "ACTION": 4, "STATUS": 0, "BODY": sample.BODY}
    beacon = filler("beacon")
    payloads = {
        "first": encode_datagram(ts=1_764_000_000, ver=41, body=sample.BODY, sign=sign),
        "beacon": encode_datagram(ts=1_764_000_000_123, ver=2**32, body=sample.BODY, sign=sign, beacon=beacon),
        "empty-body": encode_datagram(ts=0, ver=0, body={}, sign=sign),
        "limits": encode_datagram(ts=U64_MAX, ver=U64_MAX, body={"NESTED": {"A": [1, [2, None]]}}, sign=sign),
        "float-ts": encode_datagram(ts=1_764_000_000.5, ver=255, body={}, sign=sign),
        "shipped-firmware": signed_map(pairs_of(base | {"VER": 255}), sign, indefinite=True),
        "indefinite-beacon": signed_map(pairs_of(base | {"BEACON": beacon}), sign, indefinite=True),
        "half-float-ts": signed_map([(cbor2.dumps("TS"), bytes.fromhex("f97bff")), *pairs_of({"VER": 1})], sign),
        "single-float-ts": signed_map([(cbor2.dumps("TS"), bytes.fromhex("fa4e6e6b28")), *pairs_of({"VER": 1})], sign),
        "long-ts": signed_map([(cbor2.dumps("TS"), bytes.fromhex("1b0000000000000001")), *pairs_of({"VER": 1})], sign),
        "own-types": signed_map(
            [
                *pairs_of({"VER": 1, "TS": 2}),
                (
                    cbor2.dumps("BODY"),
                    bytes.fromhex("bf6141fb7ff00000000000006142c11a6925156b61435f41014102ff61449f01ff6145f7ff"),
                ),
            ],
            sign,
        ),
        "nested-16": signed_map(
            [*pairs_of({"VER": 1, "TS": 2}), (cbor2.dumps("BODY"), bytes.fromhex("81" * 14 + "80"))], sign
        ),
    }
    for pairs in (22, 23, 24, 25, 255, 256, 257):
        extra = {f"K{number}": number for number in range(pairs - 3)}
        payloads[f"pairs-{pairs}"] = signed_map(pairs_of({"TS": 1, "VER": 2} | extra), sign)
    made = {name: _datagram(TRACKER_P256, payload) for name, payload in payloads.items()}
    ed25519 = encode_datagram(ts=1_764_000_000, ver=41, body=sample.BODY, sign=TRACKER_ED25519.sign)
    made["ed25519"] = _datagram(TRACKER_ED25519, ed25519)
    return made


def _datagram(key: Ed25519Key | P256Key, payload: bytes) -> Vector:
    found = decode_datagram(payload)
    return {
        "key_type": key.device_key.kind,
        "public_key": key.device_key.spki,
        "payload": payload,
        "signed_bytes": found.signed_bytes,
        "signature": found.signature,
        "ver": found.ver,
        "ts": str(found.ts),
    }


def readings() -> dict[str, Vector]:
    """vectors/reading/accept."""
    made: dict[str, Vector] = {}
    for key, name, beacon in (
        (TRACKER_P256, "first", None),
        (TRACKER_P256, "beacon", filler("beacon")),
        (TRACKER_ED25519, "ed25519", None),
    ):
        algorithm = key.device_key.algorithm
        payload = encode_reading(
            topic=TOPIC,
            device_id="crate-1",
            algorithm=algorithm,
            ts=1_764_000_000,
            ver=41,
            body=sample.BODY,
            sign=key.sign,
            beacon=beacon,
        )
        found = decode_reading(payload, TOPIC)
        assert (found.algorithm == ED25519) == (name == "ed25519")
        made[name] = {
            "key_type": key.device_key.kind,
            "public_key": key.device_key.spki,
            "topic": TOPIC,
            "payload": payload,
            "signed_bytes": found.signed_bytes,
            "signature": found.signature,
            "kid": b"crate-1",
            "ver": found.ver,
            "ts": str(found.ts),
        }
    return made


def marked_map(pairs: list[tuple[bytes, bytes]], time: int, token: bytes | None, *, indefinite: bool = False) -> bytes:
    """A marked datagram of encoded pairs, *time* in ms, made without the encoder under test; without a token what a raw
    one signs."""
    added = [*pairs, (cbor2.dumps("INGESTION_TIME"), cbor2.dumps(time))]
    if token is not None:
        added.append((cbor2.dumps("VERIFICATION_TOKEN"), cbor2.dumps(token)))
    return plain_map(added, indefinite=indefinite)


def plain_map(pairs: list[tuple[bytes, bytes]], *, indefinite: bool = False) -> bytes:
    """A map of encoded pairs."""
    body = b"".join(key + value for key, value in pairs)
    return b"\xbf" + body + b"\xff" if indefinite else map_head(len(pairs)) + body


def marked_datagrams() -> dict[str, Vector]:
    """vectors/marked-datagram/accept."""
    sign = cbor2.dumps("SIGN"), cbor2.dumps(filler("signature", 64))
    device = [*pairs_of({"TS": 1_764_000_000, "VER": 41, "BODY": sample.BODY}), sign]
    odd = {
        "only-sign": [sign],
        "sign-head-long": [*device[:-1], (sign[0], b"\x5b" + (64).to_bytes(8, "big") + filler("signature", 64))],
        "no-known-key": [*pairs_of({"": 1, "però": 2, "ingestion_time": 3, "INGESTION_TIME ": 4}), sign],
        "keys-further-in": [*pairs_of({"X": {"INGESTION_TIME": 1}, "Y": ["VERIFICATION_TOKEN"]}), sign],
        "key-as-value": [*pairs_of({"X": "INGESTION_TIME"}), sign],
        "inner-duplicate": [(cbor2.dumps("X"), bytes.fromhex("a2616101616102")), sign],
        "inner-not-utf8": [(cbor2.dumps("X"), b"\x61\xff"), sign],
        "inner-chunks": [(cbor2.dumps("X"), bytes.fromhex("9f5f4101ff7f616160ffbf0102ffc100ff")), sign],
        "inner-simple": [(cbor2.dumps("X"), bytes.fromhex("85f7f0f820f97e00c101")), sign],
        "nested-16": [(cbor2.dumps("X"), bytes.fromhex("81" * 14 + "80")), sign],
    }
    made = {name: _marked(pairs, sample.START_NS) for name, pairs in odd.items()}
    for pairs in (21, 22, 23, 24, 62, 63, 64):
        keys = [*pairs_of({f"K{number}": number for number in range(pairs - 1)}), sign]
        made[f"pairs-{pairs}"] = _marked(keys, sample.START_NS)
        made[f"indefinite-{pairs}"] = _marked(keys, sample.START_NS, indefinite=True)
    for time in (0, 23, 24, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32):
        made[f"time-{time}"] = _marked(device, time * 10**6 + 999_999)
    return made | {
        "first": _marked(device, sample.START_NS),
        "indefinite": _marked(device, sample.START_NS, indefinite=True),
        "time-max": _marked(device, I64_MAX),
        "raw-token": _raw(device, sample.START_NS),
        "raw-token-indefinite": _raw(device, sample.START_NS, indefinite=True),
        "raw-token-time-max": _raw(device, I64_MAX),
    }


def _marked(pairs: list[tuple[bytes, bytes]], time_ns: int, *, indefinite: bool = False) -> Vector:
    payload = plain_map(pairs, indefinite=indefinite)
    salt = mark_salt(SALT_KEY, 1)
    made = sample.mark(time_ns=time_ns, commitment=payload_commitment(salt, payload))
    token = encode_mark(made, EPOCH_ID, salt, EPOCH.sign)
    marked = marked_map(pairs, time_ns // 10**6, token, indefinite=indefinite)
    return {"payload": payload, "time": time_ns, "token": token, "marked": marked}


def _raw(pairs: list[tuple[bytes, bytes]], time_ns: int, *, indefinite: bool = False) -> Vector:
    token = TOKEN.sign(marked_map(pairs, time_ns // 10**6, None, indefinite=indefinite))
    marked = marked_map(pairs, time_ns // 10**6, token, indefinite=indefinite)
    payload = plain_map(pairs, indefinite=indefinite)
    return {"payload": payload, "time": time_ns, "token_seed": TOKEN.seed, "marked": marked}


def spools() -> dict[str, Vector]:
    """vectors/spool/accept."""
    statement = encode_record(Kind.EPOCH_STATEMENT, 0, sample.FIRST_STATEMENT)
    first_mark = encode_record(Kind.MARK, 1, sample.FIRST_MARK_OBJECT)
    end = encode_record(Kind.EPOCH_END, 1, sample.FIRST_END_OBJECT)
    seal = encode_record(Kind.SEAL, 1, encode_seal(Seal(1, 1, filler("seal root")), EPOCH_ID, EPOCH.sign))
    go_on = CONTINUES.to_bytes(4, "big")
    header = SegmentHeader(1, 0, EPOCH_ID, 65_536)
    small = dataclasses.replace(header, size=4096)
    later = dataclasses.replace(header, segment=1, size=4096)
    mark_2 = encode_record(Kind.MARK, 2, sample.FIRST_MARK_OBJECT)
    used = encode_header(small) + statement + first_mark
    exact = dataclasses.replace(header, size=len(used))
    # cut off between everything and the length field, which is stored last
    half_written = bytes(4) + first_mark[4:]
    no_marks = EpochEnd(0, START_NS, Clock("bound-unknown"), EndReason.STOP, EPOCH_ID)
    end_at_0 = encode_record(Kind.EPOCH_END, 0, encode_epoch_end(no_marks, EPOCH_ID, EPOCH.sign))
    return {
        "clean-end": _spool(encode_header(header) + statement + first_mark + end),
        "no-marks": _spool(encode_header(header) + statement + end_at_0),
        "open": _spool(used.ljust(4096, b"\0")),
        "open-empty": _spool(encode_header(small).ljust(4096, b"\0")),
        "half-written": _spool((encode_header(small) + statement + half_written).ljust(4096, b"\0")),
        "continues": _spool((used + go_on).ljust(4096, b"\0")),
        "later-segment": _spool((encode_header(later) + mark_2 + go_on).ljust(4096, b"\0")),
        "full": _spool(encode_header(exact) + statement + first_mark),
        "seal": _spool(encode_header(header) + statement + first_mark + seal + end),
    }


def _spool(segment: bytes) -> Vector:
    found = decode_segment(segment)
    vector: Vector = {"segment": segment, "ending": found.end.ending.value, "records": len(found.records)}
    for number, record in enumerate(found.records, start=1):
        vector |= {
            f"kind_{number}": int(record.kind),
            f"sequence_{number}": record.sequence,
            f"object_{number}": record.object_bytes,
        }
    return vector


def handshakes() -> dict[str, Vector]:
    """vectors/handshake/accept."""
    run_time = RunTime(
        spool_folder="/var/lib/sigillo/spool",
        segment_size=8 * 2**20,
        max_principals=65_536,
        clock_bound_meaningful=True,
        raw_tokens=True,
        max_rate=1_000_000,
        max_payload=268_435_455,
        access_list=True,
    )
    small = RunTime(spool_folder="/s", segment_size=65_536, max_principals=1, clock_bound_meaningful=False)
    checkpoint = Checkpoint(4711, filler("root"))
    counters = Counters(4711, *range(1, 12), U64_MAX)
    return {
        "state": _state(sample.CARRIER_FIELDS, run_time),
        "state-next": _state(sample.NEXT_FIELDS, small),
        "statement": {
            "object": sample.FIRST_STATEMENT,
            "packet": encode_packet(Statement(sample.FIRST_STATEMENT)),
        },
        "go": {"epoch_id": EPOCH_ID, "packet": encode_packet(Go(EPOCH_ID))},
        "checkpoint": _checkpoint(checkpoint),
        "checkpoint-beacon": _checkpoint(checkpoint, b"any bytes: the plugin publishes what it gets\n"),
        "checkpoint-none": _checkpoint(Checkpoint(0, EMPTY_ROOT)),
        "counters": {
            **{field.name: getattr(counters, field.name) for field in dataclasses.fields(counters)},
            "packet": encode_packet(counters),
        },
    }


def _state(fields: StatementFields, run_time: RunTime) -> Vector:
    return {
        "fields": cbor.encode(encode_statement_fields(fields)),
        "spool_folder": run_time.spool_folder,
        "segment_size": run_time.segment_size,
        "max_principals": run_time.max_principals,
        "clock_bound_meaningful": run_time.clock_bound_meaningful,
        "raw_tokens": run_time.raw_tokens,
        "max_rate": run_time.max_rate,
        "max_payload": run_time.max_payload,
        "access_list": run_time.access_list,
        "packet": encode_packet(State(fields, run_time)),
    }


def _checkpoint(checkpoint: Checkpoint, note: bytes = b"") -> Vector:
    return {
        "checkpoint_size": checkpoint.size,
        "checkpoint_root": checkpoint.root,
        "note": note,
        "packet": encode_packet(NewCheckpoint(checkpoint, note)),
    }


ACCEPT = {
    "mark": marks,
    "batch-mark": batch_marks,
    "epoch-statement": epoch_statements,
    "epoch-end": epoch_ends,
    "seal": seals,
    "log-entry": log_entries,
    "datagram": datagrams,
    "reading": readings,
    "marked-datagram": marked_datagrams,
    "spool": spools,
    "handshake": handshakes,
    **ACCEPT_LOG,
    "cosignature": cosign.accepted,
    "add-checkpoint": add_checkpoint.accepted,
    **ACCEPT_TPM,
    "challenge": challenge.accepted,
    **ACCEPT_SEAL,
    "booted": booted,
    "platform": platforms,
    "registration-exchange": exchange.accepted,
}
