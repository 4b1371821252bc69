"""Spool segment: whatever a crash leaves, what is before the tear stands and the tear is named."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sigillo.core.entry import Kind
from sigillo.core.errors import DecodeError
from sigillo.core.spool import (
    CONTINUES,
    HEADER_SIZE,
    Ending,
    SegmentHeader,
    decode_segment,
    encode_header,
    encode_record,
)

SIZE = 4096
EPOCH_ID = bytes(range(32))
HEADER = SegmentHeader(7, 0, EPOCH_ID, SIZE)
LATER = SegmentHeader(7, 1, EPOCH_ID, SIZE)
STATEMENT = encode_record(Kind.EPOCH_STATEMENT, 0, b"statement")


def marks(first: int, last: int) -> bytes:
    return b"".join(encode_record(Kind.MARK, n, b"m" * (n % 9 + 1)) for n in range(first, last + 1))


def segment(records: bytes, header: SegmentHeader = HEADER) -> bytes:
    return (encode_header(header) + records).ljust(SIZE, b"\0")


FIVE = segment(STATEMENT + marks(1, 5))


def test_open_segment() -> None:
    found = decode_segment(FIVE)
    assert found.header == HEADER
    assert [record.sequence for record in found.records] == [0, 1, 2, 3, 4, 5]
    assert [len(record.object_bytes) for record in found.records] == [9, 2, 3, 4, 5, 6]
    assert (found.end.ending, found.last_sequence) == (Ending.OPEN, 5)
    last = found.records[-1]
    assert found.end.offset == last.offset + 32


def test_over_two_segments() -> None:
    first = decode_segment(segment(STATEMENT + marks(1, 5) + CONTINUES.to_bytes(4, "big")))
    assert first.end.ending is Ending.CONTINUES
    second = decode_segment(segment(marks(6, 9), LATER), first.last_sequence)
    assert (second.end.ending, second.last_sequence) == (Ending.OPEN, 9)
    gap = decode_segment(segment(marks(7, 9), LATER), first.last_sequence)
    assert (gap.end.ending, gap.records) == (Ending.TORN, ())
    assert "sequence 7, not the next one, 6" in gap.end.reason
    alone = decode_segment(segment(marks(7, 9), LATER))
    assert alone.last_sequence == 9


def test_a_full_segment_and_less_than_a_record_header_before_its_end() -> None:
    for spare in (0, 8, 16):
        size = HEADER_SIZE + len(STATEMENT) + spare
        data = encode_header(SegmentHeader(7, 0, EPOCH_ID, size)) + STATEMENT + bytes(spare)
        found = decode_segment(data)
        assert (found.end.ending, len(found.records)) == (Ending.FULL, 1)


def test_every_cut_is_a_torn_tail() -> None:
    whole = decode_segment(FIVE)
    for length in range(HEADER_SIZE, SIZE):
        found = decode_segment(FIVE[:length])
        assert found.records == tuple(
            record for record in whole.records if record.offset + 24 + len(record.object_bytes) <= length
        )
        if length < whole.end.offset:
            assert found.end.ending is Ending.TORN
            assert not found.end.valid_behind
    for length in range(HEADER_SIZE):
        with pytest.raises(DecodeError):
            decode_segment(FIVE[:length])


def test_a_clean_end_may_be_cut() -> None:
    records = STATEMENT + marks(1, 5) + encode_record(Kind.EPOCH_END, 5, b"end")
    found = decode_segment(encode_header(HEADER) + records)
    assert (found.end.ending, found.records[-1].kind) == (Ending.FULL, Kind.EPOCH_END)
    assert decode_segment(segment(records)).end.ending is Ending.OPEN
    after = decode_segment(segment(records + marks(6, 6)))
    assert (after.end.ending, after.last_sequence) == (Ending.TORN, 5)


def test_every_bit_flip_in_a_record_is_seen() -> None:
    whole = decode_segment(FIVE)
    for position in range(HEADER_SIZE, whole.end.offset):
        for bit in range(8):
            flipped = bytearray(FIVE)
            flipped[position] ^= 1 << bit
            found = decode_segment(bytes(flipped))
            assert found.records == whole.records[: len(found.records)]
            assert found.records != whole.records or found.end != whole.end


def test_a_tear_with_valid_records_behind_it_is_a_fault() -> None:
    whole = decode_segment(FIVE)
    second, last = whole.records[2], whole.records[-1]
    for record, valid_behind in ((second, True), (last, False)):
        torn = bytearray(FIVE)
        torn[record.offset + 24] ^= 1
        found = decode_segment(bytes(torn))
        assert (found.end.ending, found.end.offset) == (Ending.TORN, record.offset)
        assert found.end.valid_behind is valid_behind
        assert found.last_sequence == record.sequence - 1


def test_what_was_written_before_the_length_is_not_there() -> None:
    half = bytes(4) + marks(6, 6)[4:]
    found = decode_segment(segment(STATEMENT + marks(1, 5) + half))
    assert (found.end.ending, found.last_sequence) == (Ending.OPEN, 5)


@given(st.binary(max_size=200))
@settings(max_examples=300)
def test_garbage_behind_the_header(garbage: bytes) -> None:
    found = decode_segment(segment(STATEMENT + garbage))
    assert found.records[0].kind is Kind.EPOCH_STATEMENT
    assert found.end.offset <= SIZE


@given(st.binary(max_size=100))
def test_garbage_for_a_header(garbage: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_segment(garbage)


def test_header_by_hand() -> None:
    assert encode_header(HEADER) == b"sigillo-spool-1\n" + struct.pack(">II", 7, 0) + EPOCH_ID + struct.pack(">Q", SIZE)
