"""Log entry."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigillo.core.entry import Kind, LogEntry, decode_entry, encode_entry
from sigillo.core.errors import DecodeError

HASH = bytes(range(32))


@given(st.sampled_from(Kind), st.integers(1, 2**32 - 1), st.integers(1, 2**64 - 1), st.binary(min_size=32, max_size=32))
def test_round_trip(kind: Kind, epoch: int, sequence: int, object_hash: bytes) -> None:
    entry = LogEntry(kind, epoch, 0 if kind is Kind.EPOCH_STATEMENT else sequence, object_hash)
    encoded = encode_entry(entry)
    assert len(encoded) == 45
    assert decode_entry(encoded) == entry


@given(st.binary(min_size=44, max_size=46))
def test_what_decodes_re_encodes_to_itself(data: bytes) -> None:
    try:
        entry = decode_entry(data)
    except DecodeError:
        return
    assert encode_entry(entry) == data


@pytest.mark.parametrize(
    "entry",
    [
        LogEntry(Kind.MARK, 0, 1, HASH),
        LogEntry(Kind.MARK, 2**32, 1, HASH),
        LogEntry(Kind.MARK, 1, 0, HASH),
        LogEntry(Kind.MARK, 1, 2**64, HASH),
        LogEntry(Kind.SEAL, 1, 0, HASH),
        LogEntry(Kind.EPOCH_STATEMENT, 1, 1, HASH),
        LogEntry(Kind.EPOCH_END, 1, -1, HASH),
        LogEntry(Kind.EPOCH_END, 1, 0, HASH[1:]),
        LogEntry(9, 1, 1, HASH),
    ],
)
def test_what_cannot_be_decoded_is_not_encoded(entry: LogEntry) -> None:
    with pytest.raises(DecodeError):
        encode_entry(entry)


def test_leaf_hash_by_hand() -> None:
    entry = LogEntry(Kind.MARK, 1, 2, HASH)
    encoded = b"\x01" + b"\0\0\0\x01" + b"\0\0\0\0\0\0\0\x02" + HASH
    assert encode_entry(entry) == encoded
    assert entry.leaf_hash == hashlib.sha256(b"\0" + encoded).digest()
