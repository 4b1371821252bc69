"""Deterministic CBOR, and the walker against RFC 8949 appendix F and against cbor2."""

from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sigillo.core import cbor
from sigillo.core.errors import DecodeError

LEAVES = st.none() | st.booleans() | st.integers(-(2**64), 2**64 - 1) | st.binary(max_size=30) | st.text(max_size=30)
OWN = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.integers(-9, 23), inner, max_size=5),
    max_leaves=20,
)
FOREIGN = st.recursive(
    LEAVES | st.floats(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
    max_leaves=20,
)

# RFC 8949 appendix F: not well-formed
MALFORMED = """
18 19 1a 1b 1901 1a0102 1b01020304050607 38 58 78 98 9a01ff00 b8 d8 f8 f900 fa0000 fb000000
41 61 5affffffff00 5bffffffffffffffff010203 7affffffff00 7b7fffffffffffffff010203
81 818181818181818181 8200 a1 a20102 a100 a2000000 c0 5f4100 7f6100
9f 9f0102 bf bf01020102 819f 9f8000 9f9f9f9f9fffffffff 9f819f819f9fffffff
1c 1d 1e 3c 3d 3e 5c 5d 5e 7c 7d 7e 9c 9d 9e bc bd be dc dd de fc fd fe
f800 f801 f818 f81f 5f00ff 5f21ff 5f6100ff 5f80ff 5fa0ff 5fc000ff 5fe0ff 7f4100ff
5f5f4100ffff 7f7f6100ffff ff 81ff 8200ff a1ff a1ff00 a100ff a20000ff 9f81ff 9f829f819f9fffffffff
bf00ff bf000000ff 1f 3f df c0ff
"""
WELL_FORMED = """
00 1bffffffffffffffff 3bffffffffffffffff f93c00 fb7e37e43c8800759c f7 f0 f820 f8ff
c074323031332d30332d32315432303a30343a30305a d818456449455446 40 5f42010243030405ff
7f657374726561646d696e67ff 5fff 7fff 9fff bfff 9f018202039f0405ffff bf61610161629f0203ffff
bf6346756ef563416d7421ff 826161bf61626163ff c249010000000000000000 d9d9f783010203
"""


@given(OWN)
def test_round_trip(value: object) -> None:
    encoded = cbor.encode(value)
    assert cbor.decode(encoded) == value
    assert cbor.item_end(encoded) == len(encoded)


@given(OWN)
def test_the_bytes_are_cbor2_with_sorted_keys(value: object) -> None:
    assert cbor.encode(value) == cbor2.dumps(in_order(value))


def in_order(value: Any) -> object:
    if isinstance(value, list):
        return [in_order(item) for item in value]
    if isinstance(value, dict):
        return {key: in_order(value[key]) for key in sorted(value, key=cbor2.dumps)}
    return value


@given(OWN, st.data())
def test_cut_or_longer_is_refused(value: object, data: st.DataObject) -> None:
    encoded = cbor.encode(value)
    cut = data.draw(st.integers(0, len(encoded) - 1))
    for wrong in (encoded[:cut], encoded + b"\0", encoded + encoded):
        with pytest.raises(DecodeError):
            cbor.decode(wrong)
    with pytest.raises(DecodeError):
        cbor.item_end(encoded[:cut])


@given(st.binary(max_size=40))
@settings(max_examples=500)
def test_what_decodes_re_encodes_to_itself(data: bytes) -> None:
    try:
        value = cbor.decode(data)
    except DecodeError:
        return
    assert cbor.encode(value) == data


@given(FOREIGN, st.booleans(), st.binary(max_size=3))
def test_walker_finds_the_end_that_cbor2_finds(value: object, indefinite: bool, tail: bytes) -> None:
    encoded = cbor2.dumps(value, indefinite_containers=indefinite)
    assert cbor.item_end(encoded + tail) == len(encoded)
    assert cbor.item_end(b"\0" + encoded, 1) == len(encoded) + 1


@given(st.binary(max_size=24))
@settings(max_examples=1000)
def test_what_cbor2_refuses_as_cut_the_walker_refuses(data: bytes) -> None:
    try:
        end = cbor.item_end(data)
    except DecodeError:
        return
    assert 0 < end <= len(data)
    with pytest.raises(DecodeError):
        cbor.item_end(data[: end - 1])


@pytest.mark.parametrize("encoded", MALFORMED.split())
def test_malformed_is_refused(encoded: str) -> None:
    with pytest.raises(DecodeError):
        cbor.item_end(bytes.fromhex(encoded))
    with pytest.raises(DecodeError):
        cbor.decode(bytes.fromhex(encoded))


@pytest.mark.parametrize("encoded", WELL_FORMED.split())
def test_well_formed_is_walked(encoded: str) -> None:
    data = bytes.fromhex(encoded)
    assert cbor.item_end(data) == len(data)


@pytest.mark.parametrize(
    ("encoded", "reason"),
    [
        ("1817", "shortest"),
        ("190017", "shortest"),
        ("1a0000ffff", "shortest"),
        ("1b00000000ffffffff", "shortest"),
        ("3817", "shortest"),
        ("580100", "shortest"),
        ("780161", "shortest"),
        ("980100", "shortest"),
        ("b8010000", "shortest"),
        ("a2020001 00".replace(" ", ""), "re-encodes"),
        ("a220000100", "re-encodes"),
        ("a201000100", "not CBOR"),
        ("a1616100", "not an integer"),
        ("a1f500", "not an integer"),
        ("a1810000", "not an integer"),
        ("f90000", "a type"),
        ("fb0000000000000000", "a type"),
        ("f7", "a type"),
        ("e0", "a type"),
        ("f8ff", "a type"),
        ("c100", "a type"),
        ("d28443a10126a0f640", "a type"),
        ("c24101", "a type"),
        ("d81c00", "a type"),
        ("9fff", "shortest"),
        ("bfff", "shortest"),
        ("5fff", "shortest"),
        ("7fff", "shortest"),
        ("61ff", "not CBOR"),
        ("62c0af", "not CBOR"),
        ("63eda080", "not CBOR"),
        ("b819" + "0000" * 25, "24 pairs"),
        ("81" * 16 + "80", "deeper"),
        ("0000", "after the end"),
        ("", "cut off"),
    ],
)
def test_undeterministic_is_refused(encoded: str, reason: str) -> None:
    with pytest.raises(DecodeError, match=f"thing: .*{reason}"):
        cbor.decode(bytes.fromhex(encoded), "thing")


@pytest.mark.parametrize("major", range(2, 6))
def test_huge_lengths_cost_nothing(major: int) -> None:
    for tail in (b"", b"\0" * 100):
        huge = bytes([major << 5 | 27]) + b"\xff" * 8 + tail
        with pytest.raises(DecodeError):
            cbor.item_end(huge)
        with pytest.raises(DecodeError):
            cbor.decode(huge)


@pytest.mark.parametrize("opening", [b"\x81", b"\x9f", b"\xc1", b"\xa1\x00", b"\xbf\x00"])
def test_nesting_is_bounded(opening: bytes) -> None:
    closing = b"\xff" if opening[0] & 0x1F == 31 else b""
    deepest = opening * 16 + b"\0" + closing * 16
    assert cbor.item_end(deepest) == len(deepest)
    with pytest.raises(DecodeError, match="deeper than 16"):
        cbor.item_end(opening + deepest + closing)
    with pytest.raises(DecodeError, match="deeper than 16"):
        cbor.item_end(deepest, 0, 1)
    with pytest.raises(DecodeError, match="deeper than 16"):
        cbor.item_end(opening * 1_000_000)


@pytest.mark.parametrize(
    "value",
    [
        1.0,
        2**64,
        -(2**64) - 1,
        "\ud800",
        bytearray(1),
        {1, 2},
        {"a": 1},
        {True: 1},
        {b"": 1},
        object(),
        cbor2.undefined,
        dict.fromkeys(range(25)),
    ],
)
def test_what_cannot_be_decoded_is_not_encoded(value: object) -> None:
    with pytest.raises(DecodeError, match=r"^thing: "):
        cbor.encode([value], "thing")


def test_depth_is_bounded_when_encoding() -> None:
    value: list[object] = []
    for _ in range(15):
        value = [value]
    assert cbor.decode(cbor.encode(value)) == value
    with pytest.raises(DecodeError, match="deeper"):
        cbor.encode([value])
    value.append(value)
    with pytest.raises(DecodeError, match="deeper"):
        cbor.encode(value)


@given(st.integers(0, 7), st.integers(0, 2**64 - 1))
def test_heads(major: int, argument: int) -> None:
    head = cbor.encode_head(major, argument)
    found_major, info, found, end = cbor.read_head(head, 0)
    assert (found_major, found, end) == (major, argument, len(head))
    assert cbor.is_shortest(info, argument)
    longer = {1: 24, 2: 25, 3: 26, 5: 27}.get(len(head))
    if longer:
        assert not cbor.is_shortest(longer, argument)


def test_head_beyond_64_bits() -> None:
    with pytest.raises(ValueError, match="64 bits"):
        cbor.encode_head(0, 2**64)
