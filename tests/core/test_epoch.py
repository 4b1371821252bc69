"""Epoch statement, countersignature, epoch end, seal, configuration hash."""

import dataclasses
import hashlib
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigillo.core import cbor, epoch
from sigillo.core.cose import verify_ed25519
from sigillo.core.epoch import EndReason, EpochEnd, Seal
from sigillo.core.errors import DecodeError
from sigillo.core.mark import Checkpoint, Clock
from sigillo.core.statement import (
    DAEMONS,
    UNMARKED_PATHS,
    Attester,
    AttesterKind,
    Carrier,
    Durability,
    EpochStatement,
    HowEnded,
    ListenerKey,
    MarkedFilter,
    Mode,
    OnBadClock,
    Previous,
    PrincipalSource,
    StatementFields,
    decode_statement_fields,
    encode_statement_fields,
)
from tests.core.test_mark import CLOCK, HASH, U64
from tests.vector import sample
from tests.vector.key import EPOCH, LOG, digests, filler

NAME = st.text(min_size=1, max_size=20)
LEVEL = st.text(st.characters(exclude_characters="\0+#/", codec="utf-8"), max_size=5)
ORIGIN = st.from_regex(r"[a-z.]{1,20}(/[a-z]{1,5})?", fullmatch=True)


@st.composite
def statements(draw: st.DrawFn) -> EpochStatement:
    number = draw(st.integers(1, 2**32 - 1))
    start = draw(U64)
    previous = Previous(draw(st.sampled_from(HowEnded)), draw(HASH), draw(U64), draw(st.integers(0, start)))
    levels = draw(st.lists(LEVEL | st.just("+"), min_size=1, max_size=4))
    topic_filter = "/".join(levels) or "#"
    attester = st.builds(Attester, st.just(AttesterKind.TPM), st.binary(min_size=1, max_size=66))
    enclave = st.builds(Attester, st.just(AttesterKind.ENCLAVE), NAME)
    return EpochStatement(
        number=number,
        previous=None if number == 1 else previous,
        clock_daemon=draw(st.sampled_from(DAEMONS)),
        clock_authenticated=draw(st.booleans()),
        clock_correction_ns=draw(st.integers(-(2**63), 2**63 - 1)),
        on_bad_clock=draw(st.sampled_from(OnBadClock)),
        durability=draw(st.sampled_from(Durability)),
        operator=draw(NAME),
        log_origin=draw(ORIGIN),
        log_key_id=draw(HASH),
        log_checkpoint=draw(st.just(Checkpoint()) | st.builds(Checkpoint, st.integers(1, 2**64 - 1), HASH)),
        executable_hash=draw(HASH),
        plugin_hash=draw(HASH),
        configuration_hash=draw(HASH),
        manifest_hash=draw(st.none() | HASH),
        filters=(
            MarkedFilter(topic_filter, draw(st.sampled_from(Mode)), draw(st.sampled_from(Carrier))),
            *draw(st.sampled_from([(), (MarkedFilter("#"),)])),
        ),
        principal_source=draw(st.sampled_from(PrincipalSource)),
        unmarked_paths=tuple(sorted(draw(st.sets(st.sampled_from(UNMARKED_PATHS))))),
        tls_keys=tuple(draw(st.lists(st.builds(ListenerKey, NAME, st.none() | HASH), max_size=3))),
        attester=draw(st.none() | attester | enclave),
        separated=draw(st.booleans()),
        bridge_principals=tuple(sorted(draw(st.sets(NAME, max_size=3)), key=str.encode)),
        epoch_key=draw(HASH),
        start_ns=start,
        token_key=draw(st.none() | HASH),
    )


@given(statements())
def test_statement_round_trip(value: EpochStatement) -> None:
    encoded = epoch.encode_statement(value, EPOCH.sign)
    signed = epoch.decode_statement(encoded)
    assert (signed.statement, signed.countersignature) == (value, None)
    both = epoch.decode_statement(epoch.countersign(encoded, value.log_key_id, LOG.sign))
    assert (both.statement, both.epoch_id) == (value, signed.epoch_id)
    assert both.countersignature
    assert both.countersignature.key_id == value.log_key_id


@given(statements())
def test_launcher_half_round_trip(value: EpochStatement) -> None:
    values = encode_statement_fields(value)
    assert not {4, 5, 6} & values.keys()
    half = decode_statement_fields(cbor.decode(cbor.encode(values)))
    assert half == StatementFields(
        **{field.name: getattr(value, field.name) for field in dataclasses.fields(StatementFields)}
    )


WRONG: list[dict[str, Any]] = [
    {"number": 0},
    {"number": 2},
    {"number": 2**32},
    {"previous": Previous(HowEnded.CLEAN, bytes(32), 0, 0)},
    {"number": 2, "previous": Previous(HowEnded.CLEAN, bytes(31), 0, 0)},
    {"number": 2, "previous": Previous(HowEnded.CLEAN, bytes(32), 0, sample.START_NS + 1)},
    {"clock_daemon": "sundial"},
    {"clock_authenticated": 1},
    {"clock_correction_ns": 2**63},
    {"on_bad_clock": 2},
    {"durability": 2},
    {"operator": ""},
    {"operator": "o" * 256},
    {"log_origin": "a b"},
    {"log_origin": "a+b"},
    {"log_key_id": bytes(31)},
    {"log_checkpoint": Checkpoint(0, bytes(32))},
    {"executable_hash": None},
    {"manifest_hash": b""},
    {"filters": ()},
    {"filters": (MarkedFilter("a#"),)},
    {"principal_source": 5},
    {"unmarked_paths": ("will", "sys")},
    {"unmarked_paths": ("magic",)},
    {"tls_keys": (ListenerKey("", None),)},
    {"tls_keys": (ListenerKey("a:1", bytes(31)),)},
    {"attester": Attester(AttesterKind.TPM, "text")},
    {"attester": Attester(AttesterKind.ENCLAVE, b"bytes")},
    {"separated": None},
    {"bridge_principals": ("b", "a")},
    {"bridge_principals": ("",)},
    {"epoch_key": bytes(31)},
    {"start_ns": -1},
    {"start_ns": 1.5},
    {"token_key": bytes(31)},
]


@pytest.mark.parametrize("changes", WRONG, ids=str)
def test_what_cannot_be_decoded_is_not_encoded(changes: dict[str, Any]) -> None:
    wrong = dataclasses.replace(sample.whole(sample.FIRST_FIELDS), **changes)
    with pytest.raises(DecodeError):
        epoch.encode_statement(wrong, EPOCH.sign)


def test_the_countersignature_covers_the_statement_and_its_signature() -> None:
    signed = epoch.decode_statement(sample.FIRST_COUNTERSIGNED)
    assert signed.countersignature
    structure = cbor2.dumps(
        [
            "CounterSignatureV2",
            cbor2.dumps({1: -19, 16: "application/vnd.sigillo.epoch-statement+cose"}),
            cbor2.dumps({1: -19, 4: sample.LOG_KEY.key_id32}),
            b"",
            signed.sign1.payload,
            [signed.sign1.signature],
        ]
    )
    assert signed.countersigned_bytes() == structure
    verify_ed25519(LOG.public, signed.countersignature.signature, structure)


def test_one_countersignature_only() -> None:
    with pytest.raises(DecodeError, match="already"):
        epoch.countersign(sample.FIRST_COUNTERSIGNED, sample.LOG_KEY.key_id32, LOG.sign)
    with pytest.raises(DecodeError, match="no countersignature"):
        epoch.decode_statement(sample.FIRST_STATEMENT).countersigned_bytes()
    with pytest.raises(DecodeError, match="log key id"):
        epoch.countersign(sample.FIRST_STATEMENT, bytes(31), LOG.sign)
    with pytest.raises(DecodeError, match="countersignature"):
        epoch.countersign(sample.FIRST_STATEMENT, bytes(32), lambda message: bytes(63))


@given(U64, U64, CLOCK, st.sampled_from(EndReason), HASH)
def test_epoch_end_round_trip(sequence: int, time_ns: int, clock: Clock, reason: EndReason, last: bytes) -> None:
    end = EpochEnd(sequence, time_ns, clock, reason, last if sequence else sample.EPOCH_ID)
    signed = epoch.decode_epoch_end(epoch.encode_epoch_end(end, sample.EPOCH_ID, EPOCH.sign))
    assert (signed.end, signed.epoch_id) == (end, sample.EPOCH_ID)


@pytest.mark.parametrize(
    "changes", [{"last_sequence": 0}, {"last_sequence": -1}, {"time_ns": -1}, {"reason": 6}, {"last": b""}], ids=str
)
def test_epoch_end_outside_the_format(changes: dict[str, Any]) -> None:
    with pytest.raises(DecodeError):
        epoch.encode_epoch_end(dataclasses.replace(sample.FIRST_END, **changes), sample.EPOCH_ID, EPOCH.sign)


@given(st.integers(1, 2**64 - 1), st.integers(1, 2**64 - 1), HASH)
def test_seal_round_trip(one: int, other: int, root: bytes) -> None:
    seal = Seal(min(one, other), max(one, other), root)
    signed = epoch.decode_seal(epoch.encode_seal(seal, sample.EPOCH_ID, EPOCH.sign))
    assert (signed.seal, signed.epoch_id) == (seal, sample.EPOCH_ID)


@pytest.mark.parametrize("seal", [Seal(0, 1, bytes(32)), Seal(2, 1, bytes(32)), Seal(1, 1, bytes(31))])
def test_seal_outside_the_format(seal: Seal) -> None:
    with pytest.raises(DecodeError):
        epoch.encode_seal(seal, sample.EPOCH_ID, EPOCH.sign)


def test_configuration_hash_by_hand() -> None:
    def entry(name: bytes, content: bytes) -> bytes:
        return len(name).to_bytes(8, "big") + name + hashlib.sha256(content).digest()

    files = {"conf/mosquitto.conf": b"listener 8883\n", "conf/acl": b"", "sigillo.toml": b"x"}
    expected = hashlib.sha256(
        b"sigillo/v1/configuration\n"
        + (3).to_bytes(8, "big")
        + entry(b"conf/acl", b"")
        + entry(b"conf/mosquitto.conf", b"listener 8883\n")
        + entry(b"sigillo.toml", b"x")
    ).digest()
    assert epoch.configuration_hash(digests(files)) == expected


def test_configuration_hash_has_no_ambiguity() -> None:
    trees: list[dict[str, bytes]] = [
        {},
        {"a": b""},
        {"a": b"", "b": b""},
        {"ab": b""},
        {"a": b"b"},
        {"b": b"a"},
        {"a/b": b""},
        {"a": filler("content")},
    ]
    assert len({epoch.configuration_hash(digests(tree)) for tree in trees}) == len(trees)
    assert epoch.configuration_hash({"a": bytes(32), "b": b"b" * 32}) == epoch.configuration_hash(
        {"b": b"b" * 32, "a": bytes(32)}
    )
