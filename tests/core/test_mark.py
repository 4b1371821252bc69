"""Time mark: what is encoded decodes to the same; what could not be decoded is not encoded."""

import dataclasses
import hashlib
import hmac
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigillo.core import mark
from sigillo.core.errors import DecodeError
from sigillo.core.mark import Checkpoint, Clock
from tests.vector import sample
from tests.vector.key import EPOCH

U64 = st.integers(0, 2**64 - 1)
HASH = st.binary(min_size=32, max_size=32)
CLOCK = st.sampled_from([Clock("unsynchronised"), Clock("bound-unknown")]) | U64.map(lambda ns: Clock("bounded", ns))
TEXT = st.text(max_size=40)


@st.composite
def marks(draw: st.DrawFn) -> mark.Mark:
    sequence = draw(st.integers(1, 2**64 - 1))
    repeats = sequence > 1 and draw(st.booleans())
    return mark.Mark(
        sequence=sequence,
        time_ns=draw(U64),
        clock=draw(CLOCK),
        topic=draw(st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=40)),
        client_id=draw(TEXT),
        principal=draw(TEXT),
        qos=draw(st.integers(0, 2)),
        retain=draw(st.booleans()),
        commitment=draw(HASH),
        count=draw(st.integers(1, sequence)),
        previous=draw(HASH),
        checkpoint=draw(st.just(Checkpoint()) | st.builds(Checkpoint, st.integers(1, 2**64 - 1), HASH)),
        repeat_of=draw(st.integers(1, sequence - 1)) if repeats else None,
        before=draw(st.none() | HASH),
    )


@given(marks(), HASH, st.none() | st.binary(min_size=16, max_size=16))
def test_round_trip(value: mark.Mark, epoch_id: bytes, salt: bytes | None) -> None:
    signed = mark.decode_mark(mark.encode_mark(value, epoch_id, salt, EPOCH.sign))
    assert (signed.mark, signed.epoch_id, signed.salt) == (value, epoch_id, salt)
    batch = mark.decode_batch_mark(mark.encode_batch_mark(value, epoch_id, salt))
    assert (batch.mark, batch.epoch_id, batch.salt) == (value, epoch_id, salt)
    assert batch.object_hash != signed.object_hash


def test_the_salt_is_outside_the_object_hash() -> None:
    value = sample.FIRST_MARK
    redacted = mark.decode_mark(mark.encode_mark(value, sample.EPOCH_ID, None, EPOCH.sign))
    assert redacted.salt is None
    assert redacted.object_hash == mark.decode_mark(sample.FIRST_MARK_OBJECT).object_hash


WRONG: list[dict[str, Any]] = [
    {"sequence": 0},
    {"sequence": -1},
    {"sequence": 2**64},
    {"sequence": True},
    {"time_ns": -1},
    {"time_ns": 1.5},
    {"clock": Clock("bounded")},
    {"clock": Clock("bound-unknown", 3)},
    {"clock": Clock("exact", 3)},
    {"clock": Clock("bounded", -3)},
    {"topic": ""},
    {"topic": "a\0"},
    {"topic": "é" * 32_768},
    {"topic": "\ud800"},
    {"client_id": "c" * 65_536},
    {"principal": None},
    {"qos": 3},
    {"retain": 1},
    {"commitment": bytes(31)},
    {"commitment": bytearray(32)},
    {"count": 0},
    {"count": 2},
    {"previous": b""},
    {"checkpoint": Checkpoint(0, bytes(32))},
    {"checkpoint": Checkpoint(1, bytes(33))},
    {"repeat_of": 1},
    {"repeat_of": 0},
    {"before": bytes(31)},
]


@pytest.mark.parametrize("changes", WRONG, ids=str)
def test_what_cannot_be_decoded_is_not_encoded(changes: dict[str, Any]) -> None:
    wrong = dataclasses.replace(sample.FIRST_MARK, **changes)
    with pytest.raises(DecodeError):
        mark.encode_mark_payload(wrong)
    with pytest.raises(DecodeError):
        mark.encode_mark(wrong, sample.EPOCH_ID, None, EPOCH.sign)


def test_ids_and_salts_have_their_size() -> None:
    for epoch_id, salt in ((bytes(31), None), (bytes(32), bytes(15))):
        with pytest.raises(DecodeError):
            mark.encode_mark(sample.FIRST_MARK, epoch_id, salt, EPOCH.sign)
    with pytest.raises(DecodeError, match="salt"):
        mark.payload_commitment(bytes(15), b"")


def test_commitment_and_salt_by_hand() -> None:
    salt = mark.mark_salt(b"k" * 32, 258)
    assert salt == hmac.new(b"k" * 32, b"\0\0\0\0\0\0\x01\x02", hashlib.sha256).digest()[:16]
    expected = hashlib.sha256(b"sigillo/v1/payload\n" + salt + b"payload").digest()
    assert mark.payload_commitment(salt, b"payload") == expected
