from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigillo.core.errors import DecodeError
from sigillo.log.record import (
    HEADER_SIZE,
    MAX_OBJECT,
    check_header,
    decode_record,
    encode_header,
    encode_record,
    record_size,
)

ENTRY = bytes(range(45))
indices = st.integers(0, 2**64 - 1)


@given(indices, st.binary(min_size=1, max_size=100), st.binary(max_size=3))
def test_round_trip(index: int, data: bytes, before: bytes) -> None:
    encoded = encode_record(index, ENTRY, data)
    assert len(encoded) % 8 == 0 and len(encoded) == record_size(encoded)
    found = decode_record(before * 8 + encoded, 8 * len(before), index)
    assert (found.index, found.entry, found.object_bytes) == (index, ENTRY, data)
    assert found.end - found.offset == len(encoded)


@given(st.integers(0, 8 * 80 - 1))
def test_every_bit_counts(bit: int) -> None:
    encoded = bytearray(encode_record(7, ENTRY, b"object"))  # 64 + 6 + 2
    bit %= 8 * len(encoded)
    encoded[bit // 8] ^= 1 << bit % 8
    with pytest.raises(DecodeError):
        decode_record(bytes(encoded), 0, 7)


@given(st.binary(max_size=200), indices)
def test_any_bytes_are_read_or_refused(data: bytes, index: int) -> None:
    with pytest.raises(DecodeError):
        decode_record(data, 0, index)


def test_every_truncation_is_refused() -> None:
    encoded = encode_record(7, ENTRY, b"object")
    for length in range(len(encoded)):
        with pytest.raises(DecodeError):
            decode_record(encoded[:length], 0, 7)


def test_another_index_is_refused() -> None:
    with pytest.raises(DecodeError, match="of entry 7, not 8"):
        decode_record(encode_record(7, ENTRY, b"object"), 0, 8)


@pytest.mark.parametrize("size", [0, MAX_OBJECT + 1])
def test_sizes_that_are_not_stored(size: int) -> None:
    with pytest.raises(DecodeError, match="not stored"):
        encode_record(0, ENTRY, bytes(size))


def test_header() -> None:
    header = encode_header(3, b"k" * 32)
    assert len(header) == HEADER_SIZE and header.startswith(b"sigillo-store-1\n")
    assert int.from_bytes(header[16:24], "big") == 3 * 65_536
    check_header(header + b"more", 3, b"k" * 32)
    for segment, key_id in ((2, b"k" * 32), (3, b"l" * 32)):
        with pytest.raises(DecodeError):
            check_header(header, segment, key_id)
