"""The plugin's C and the package's Python answer alike on any bytes: spec/marked-datagram.md, MQTT 5 section 4.7."""

from __future__ import annotations

import ctypes
import fcntl
import random
import subprocess
from collections.abc import Iterator

import cbor2
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sigillo.core import topic
from sigillo.core.errors import DecodeError
from sigillo.core.marked_datagram import (
    decode_marked_datagram,
    encode_marked_datagram,
    has_broker_keys,
    is_signed_datagram,
    token_bytes,
)

from ..vector.accept import I64_MAX, map_head
from ..vector.file import paths, read_vector
from .launcher import CHECKOUT

PLAIN, SIGNED, TAKEN = range(3)
ADDED = 64


class Span(ctypes.Structure):
    _fields_ = [("data", ctypes.c_char_p), ("length", ctypes.c_size_t)]


class Datagram(ctypes.Structure):
    _fields_ = [("definite", ctypes.c_bool), ("count", ctypes.c_uint64), ("pairs", Span)]


@pytest.fixture(scope="session")
def core(plugin: None) -> Iterator[ctypes.CDLL]:
    with (CHECKOUT / "build" / "plugin.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run(["make", "-C", CHECKOUT / "plugin", "../build/plugin/core.so"], check=True, capture_output=True)
    made = ctypes.CDLL(str(CHECKOUT / "build" / "plugin" / "core.so"))
    made.datagram_read.argtypes = [Span, ctypes.POINTER(Datagram)]
    made.datagram_write.argtypes = [ctypes.POINTER(Datagram), ctypes.c_int64, Span, ctypes.c_char_p]
    made.datagram_write.restype = ctypes.c_size_t
    made.filter_valid.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
    made.filter_matches.argtypes = [ctypes.c_char_p, ctypes.c_size_t] * 2
    made.filter_valid.restype = made.filter_matches.restype = ctypes.c_bool
    return made


def span(data: bytes | None) -> Span:
    return Span(data, len(data or b""))


def compare(core: ctypes.CDLL, payload: bytes, time_ns: int = 0, token: bytes = b"") -> int:
    """Both must say the same of one payload, and write the same; what kind it is."""
    found = Datagram()
    kind: int = core.datagram_read(span(payload), found)
    assert (kind == TAKEN) == has_broker_keys(payload)
    if kind != TAKEN:
        assert (kind == SIGNED) == is_signed_datagram(payload)
    if kind != SIGNED:
        assert not is_signed_datagram(payload)
        with pytest.raises(DecodeError):
            encode_marked_datagram(payload, time_ns, token)
        return kind
    out = ctypes.create_string_buffer(len(payload) + len(token) + ADDED)
    length = core.datagram_write(found, time_ns, span(token), out)
    assert out.raw[:length] == encode_marked_datagram(payload, time_ns, token)
    assert decode_marked_datagram(out.raw[:length]).received == payload
    length = core.datagram_write(found, time_ns, span(None), out)
    assert out.raw[:length] == token_bytes(payload, time_ns)
    return kind


def head(major: int, value: int, info: int) -> bytes:
    """A head in any of its forms; 31: indefinite."""
    if info == 31:
        return bytes([major << 5 | 31])
    if info < 24:
        return map_head(value)[:1] if major == 5 and value < 24 else bytes([major << 5 | min(value, 23)])
    return bytes([major << 5 | info]) + (value % (1 << (8 << (info - 24)))).to_bytes(1 << (info - 24), "big")


INFO = st.sampled_from([0, 0, 0, 24, 25, 26, 27, 31])
KEY_TEXTS = [
    "INGESTION_TIME",
    "VERIFICATION_TOKEN",
    "INGESTION_TIM",
    "VERIFICATION_TOKEN2",
    "SIGN",
    "TS",
    "",
    "é",
    "K" * 24,
]


@st.composite
def strings(draw: st.DrawFn, major: int, content: bytes) -> bytes:
    """A byte or text string in any form, seldom a malformed one."""
    info = draw(INFO)
    if info == 31:
        cut = draw(st.integers(0, len(content)))
        parts = [
            draw(strings(draw(st.sampled_from([major] * 9 + [2, 3])), part)) for part in (content[:cut], content[cut:])
        ]
        return head(major, 0, 31) + b"".join(parts) + b"\xff"
    if info == 0 and len(content) > 23:
        info = 24
    return head(major, len(content), info) + content


KEYS = st.one_of(
    st.sampled_from(KEY_TEXTS).map(cbor2.dumps),
    st.sampled_from(KEY_TEXTS).flatmap(lambda key: strings(3, key.encode())),
    st.binary(max_size=20).flatmap(lambda key: strings(3, key)),
    st.integers(0, 3).map(cbor2.dumps),
)
LEAVES = st.one_of(
    st.binary(max_size=8),  # anything, malformed too
    st.binary(max_size=70).flatmap(lambda data: strings(2, data)),
    st.text(max_size=20).flatmap(lambda data: strings(3, data.encode())),
    st.builds(head, st.sampled_from([0, 1, 7]), st.integers(0, 2**64 - 1), INFO),
    st.sampled_from([b"\xf6", b"\xf9\x7e\x00", b"\xff", b"\x1c", b"\x58\x40" + bytes(64)]),
)


@st.composite
def containers(draw: st.DrawFn, inner: st.SearchStrategy[bytes]) -> bytes:
    items = draw(st.lists(inner, max_size=6))
    major = draw(st.sampled_from([4, 5, 6]))
    count = max(0, len(items) // (2 if major == 5 else 1) + draw(st.sampled_from([0] * 8 + [-1, 1, 2**40])))
    info = draw(INFO)
    body = b"".join(items)
    if major == 6:
        return head(6, draw(st.integers(0, 30)), 0 if info == 31 else info) + (items[0] if items else b"")
    return head(major, count, info) + body + (b"\xff" if info == 31 else b"")


@st.composite
def deep(draw: st.DrawFn) -> bytes:
    """As deep as a walk goes, or one more."""
    depth = draw(st.sampled_from([14, 15, 16, 17, 1021, 1022, 1023, 1024, 1025]))
    opener = draw(st.sampled_from([b"\x81", b"\xc1", b"\x9f", b"\xa1\x01", b"\xbf\x01"]))
    closed = b"\xff" if opener[0] & 31 == 31 else b""
    leaf = draw(st.sampled_from([b"\x00", b"\x80", b"\xc1", b"", b"\x9f\xff"]))
    return opener * depth + leaf + closed * depth


VALUES = st.recursive(LEAVES, containers, max_leaves=8) | deep()
SIGN_PAIR = (cbor2.dumps("SIGN"), b"\x58\x40" + bytes(range(64)))


@st.composite
def payloads(draw: st.DrawFn) -> bytes:
    """A map much like a device's, then damaged."""
    good = st.tuples(st.text(max_size=6).map(cbor2.dumps), st.integers(0, 99).map(cbor2.dumps))
    pairs = draw(st.lists(good | st.tuples(KEYS, VALUES), max_size=6))
    pairs += [(cbor2.dumps(f"N{number}"), b"\x00") for number in range(draw(st.sampled_from([0] * 6 + [18, 57, 61])))]
    pairs += [SIGN_PAIR] * draw(st.sampled_from([1] * 8 + [0, 2]))
    body = b"".join(key + value for key, value in pairs)
    if draw(st.booleans()):
        payload = map_head(len(pairs)) + body
    else:
        payload = draw(st.sampled_from([b"\xbf", b"\xbf", head(5, len(pairs), 25)])) + body + b"\xff"
    payload = b"".join(draw(st.lists(st.sampled_from([b"\xc1", b"\xd8\x20", b"\xd9\xd9\xf7"]), max_size=1))) + payload
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2, 4]))):
        payload = draw(damaged(payload))
    return payload


@st.composite
def damaged(draw: st.DrawFn, payload: bytes) -> bytes:
    start = draw(st.integers(0, len(payload)))
    end = draw(st.integers(start, min(start + 12, len(payload))))
    how = draw(st.sampled_from(["cut", "remove", "double", "replace", "behind"]))
    return {
        "cut": payload[:start],
        "remove": payload[:start] + payload[end:],
        "double": payload[:end] + payload[start:],
        "replace": payload[:start] + draw(st.binary(max_size=4) | VALUES) + payload[end:],
        "behind": payload + payload[start:end],
    }[how]


@given(payload=payloads(), time_ns=st.integers(0, I64_MAX), token=st.binary(max_size=400))
@settings(max_examples=400, deadline=None)
@example(payload=b"", time_ns=0, token=b"")
@example(
    payload=b"\xbf\x61X" + b"\x81" * 1023 + b"\xc1", time_ns=0, token=b""
)  # cut off, one deeper than anybody looks
@example(payload=b"\xa1" + b"".join(SIGN_PAIR), time_ns=I64_MAX, token=b"")
def test_datagrams(core: ctypes.CDLL, payload: bytes, time_ns: int, token: bytes) -> None:
    compare(core, payload, time_ns, token)


@given(st.binary(max_size=60), st.sampled_from([b"", b"\xa1", b"\xbf", b"\xa2\x61X", b"\xd9\xd9\xf7\xbf\x7f"]))
@settings(max_examples=1_000, deadline=None)
def test_any_bytes(core: ctypes.CDLL, data: bytes, prefix: bytes) -> None:
    compare(core, prefix + data)


def test_the_vectors(core: ctypes.CDLL) -> None:
    """And that the generator above is not alone: each kind is met."""
    seen = set()
    for name, verdict in (("marked-datagram", "accept"), ("marked-datagram", "reject"), ("datagram", "reject")):
        for path in paths(name, verdict):
            for field in ("payload", "marked"):
                payload = bytes.fromhex(read_vector(path).get(field, ""))
                for length in {*range(min(len(payload), 60)), len(payload) - 1, len(payload)} - {-1}:
                    seen.add(compare(core, payload[:length]))
    assert seen == {PLAIN, SIGNED, TAKEN}


def corpus() -> list[bytes]:
    """What fuzzing kept: an input for each path through the C. Two bytes before the payload choose time and token."""
    return [path.read_bytes()[2:] for path in sorted((CHECKOUT / "plugin" / "fuzz" / "corpus" / "datagram").iterdir())]


def test_what_fuzzing_found(core: ctypes.CDLL) -> None:
    assert len({compare(core, payload) for payload in corpus()}) == 3


@pytest.mark.slow
def test_many_a_damaged_datagram(core: ctypes.CDLL) -> None:
    chance = random.Random(1)
    payloads = corpus()
    for number in range(300_000):
        damaged = bytearray(payloads[number % len(payloads)])
        for _ in range(chance.randrange(4) if damaged else 0):
            damaged[chance.randrange(len(damaged))] = chance.choice(
                [chance.randrange(256), *b"\x5f\x7f\x81\x9f\xbf\xc1\xff"]
            )
        compare(core, bytes(damaged), chance.randrange(I64_MAX), bytes(chance.randrange(300)))


def levels(*names: str) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(names), min_size=1, max_size=5).map("/".join)


@given(levels("a", "b", "+", "#", "", "$S", "a+", "é"), levels("a", "b", "", "$S", "é"))
@settings(max_examples=500, deadline=None)
def test_filters(core: ctypes.CDLL, pattern: str, name: str) -> None:
    wanted, given_bytes = pattern.encode(), name.encode()
    try:
        topic.check_filter(pattern, "filter")
    except DecodeError:
        assert not core.filter_valid(wanted, len(wanted))
        return
    assert core.filter_valid(wanted, len(wanted))
    assert core.filter_matches(wanted, len(wanted), given_bytes, len(given_bytes)) == topic.filter_matches(
        pattern, name
    )
