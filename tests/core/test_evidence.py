"""spec/evidence.md: what a reader of evidence files refuses, and that it never needs more than a line of memory."""

from __future__ import annotations

import gzip
import json
import os
import tracemalloc
import zlib
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sigillo.core.errors import DecodeError
from sigillo.core.evidence import (
    MAX_BOOTS,
    MAX_CLOSURES,
    MAX_CONFIGURATIONS,
    MAX_IMAS,
    MAX_LAUNCHES,
    MAX_REGISTRATIONS,
    decode_lines,
)
from sigillo.core.evidence_codec import decode_line, encode_line
from sigillo.core.evidence_line import (
    AttestationLine,
    BootLine,
    CertificateLine,
    CheckpointLine,
    ClosureLine,
    ConfigurationLine,
    EndLine,
    EpochLine,
    Header,
    HeadLine,
    HeadsLine,
    ImaLine,
    LaunchLine,
    Line,
    ManifestLine,
    MessageLine,
    RebuildLine,
    RegistrationLine,
    SharedLine,
    StopLine,
    TokenLine,
    Trailer,
)
from sigillo.core.line import MAX_LINE, split_lines

HEADER = b'{"format":"sigillo-evidence","log":false,"type":"header","version":1}'
EPOCH = b'{"statement":"AA","type":"epoch"}'
MESSAGE = b'{"mark":"AA","payload":"","topic":"t","type":"message"}'
TRAILER = b'{"certificates":0,"epochs":1,"messages":1,"type":"trailer"}'
FILE = b"".join(line + b"\n" for line in (HEADER, EPOCH, MESSAGE, TRAILER))

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
binary = st.binary(max_size=50)
number = st.integers(0, 10**17)
index = st.none() | number
root = st.binary(min_size=32, max_size=32)
skip = st.lists(root, max_size=4).map(tuple)
any_line = st.one_of(
    st.builds(Header, st.booleans()),
    st.builds(
        CertificateLine,
        text.filter(lambda device: 1 <= len(device.encode()) <= 255),
        st.lists(binary, min_size=1, max_size=4).map(tuple),
    ),
    st.builds(ManifestLine, text),
    st.builds(RebuildLine, text),
    st.builds(RegistrationLine, binary),
    st.builds(ClosureLine, binary),
    st.builds(ConfigurationLine, text, text),
    st.builds(LaunchLine, binary),
    st.builds(BootLine, binary),
    st.builds(ImaLine, binary),
    st.builds(EpochLine, binary, index, skip),
    st.builds(MessageLine, text, st.none() | binary, binary, index, skip),
    st.builds(EndLine, binary, index, skip),
    st.builds(HeadsLine, binary, number, skip),
    st.builds(HeadLine, text, binary),
    st.builds(
        TokenLine,
        binary,
        text,
        st.lists(binary, max_size=8).map(tuple),
        st.integers(1, 2**32 - 1),
        number,
        number,
        skip,
    ),
    st.builds(AttestationLine, binary, st.integers(1, 2**32 - 1), number, number, skip),
    st.builds(StopLine, number, root, skip),
    st.builds(CheckpointLine, text),
    st.builds(Trailer, number, number, number, st.none() | text, skip),
)


def read(data: bytes, size: int = 7) -> list[Line]:
    chunks = (data[at : at + size] for at in range(0, len(data), size))
    return [numbered.line for numbered in decode_lines(split_lines(chunks))]


def test_the_smallest_file() -> None:
    lines = [Header(), EpochLine(b"\0"), MessageLine("t", b"", b"\0"), Trailer(1, 1)]
    assert read(FILE) == lines
    assert b"".join(map(encode_line, lines)) == FILE


def test_certificates_come_first_in_their_order() -> None:
    chains = [("a", (b"1",)), ("a", (b"1", b"0")), ("a", (b"2",)), ("a\u00e9", (b"0",)), ("b", (b"0",))]
    lines = read(certified(*chains))
    assert lines[1:6] == [CertificateLine(device, chain) for device, chain in chains]


@given(any_line)
def test_every_line_comes_back(line: Line) -> None:
    data = encode_line(line)
    assert data.endswith(b"\n")
    assert decode_line(data[:-1], 1) == line


@given(st.binary(max_size=300), st.integers(1, 40))
def test_lines_do_not_depend_on_chunks_or_packing(data: bytes, size: int) -> None:
    data = b"x" + data + b"\n"  # not a gzip stream
    expected = data.split(b"\n")[:-1]
    for stream in (data, gzip.compress(data)):
        assert list(split_lines(stream[at : at + size] for at in range(0, len(stream), size))) == expected


@given(st.binary(max_size=200))
def test_garbage_is_refused_and_nothing_else_happens(data: bytes) -> None:
    with pytest.raises(DecodeError):
        read(data)
    with pytest.raises(DecodeError):
        read(b"\x1f\x8b" + data)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | text,
        lambda inner: st.lists(inner) | st.dictionaries(text, inner),
    )
)
@settings(max_examples=200)
def test_other_json_is_refused(value: object) -> None:
    data = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    with pytest.raises(DecodeError, match="line 7"):
        decode_line(data, 7)


@pytest.mark.parametrize(
    "kind",
    [
        "header",
        "certificate",
        "manifest",
        "rebuild",
        "registration",
        "closure",
        "configuration",
        "launch",
        "boot",
        "ima",
        "epoch",
        "message",
        "end",
        "heads",
        "head",
        "token",
        "attestation",
        "stop",
        "checkpoint",
        "trailer",
    ],
)
@given(
    st.dictionaries(
        st.sampled_from(
            [
                "statement",
                "end",
                "topic",
                "payload",
                "mark",
                "epochs",
                "messages",
                "certificates",
                "device",
                "chain",
                "manifest",
                "registration",
                "closure",
                "name",
                "text",
                "index",
                "skip",
                "heads",
                "principal",
                "proof",
                "size",
                "root",
                "log",
                "list",
                "checkpoint",
                "token",
                "evidence",
                "note",
                "epoch",
                "sequence",
                "x",
            ]
        ),
        st.none() | st.booleans() | st.integers() | text | st.lists(text),
    )
)
@settings(max_examples=60)
def test_members_are_exactly_those_of_the_line_or_it_is_refused(kind: str, members: dict[str, object]) -> None:
    data = json.dumps({**members, "type": kind}, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    try:
        line = decode_line(data, 1)
    except DecodeError as error:
        assert error.field.startswith("line 1")
    else:
        assert encode_line(line) == data + b"\n"


def certified(*certificates: tuple[str, tuple[bytes, ...]], counted: int | None = None) -> bytes:
    """The smallest file with these certificates."""
    lines = [CertificateLine(device, chain) for device, chain in certificates]
    trailer = Trailer(1, 1, len(lines) if counted is None else counted)
    whole = [Header(), *lines, EpochLine(b"\0"), MessageLine("t", b"", b"\0"), trailer]
    return b"".join(map(encode_line, whole))


SHARED: tuple[SharedLine, ...] = (
    CertificateLine("a", (b"1",)),
    ManifestLine("m"),
    RebuildLine("r"),
    RegistrationLine(b"1"),
    ClosureLine(b"1"),
    ConfigurationLine("conf/mosquitto.conf", "user mosquitto\n"),
    LaunchLine(b"1"),
    BootLine(b"1"),
    ImaLine(b"1"),
)


def sharing(*lines: SharedLine) -> bytes:
    """The smallest file with these parts above its epoch."""
    counted = Trailer(1, 1, sum(isinstance(line, CertificateLine) for line in lines))
    whole = [Header(), *lines, EpochLine(b"\0"), MessageLine("t", b"", b"\0"), counted]
    return b"".join(map(encode_line, whole))


def test_shared_parts_stand_in_one_order_of_kinds() -> None:
    assert read(sharing(*SHARED))[1 : len(SHARED) + 1] == list(SHARED)
    for at, (first, second) in enumerate(pairwise(SHARED)):
        swapped = [*SHARED[:at], second, first, *SHARED[at + 2 :]]
        with pytest.raises(DecodeError, match=r"^line \d+: [a-z ]+ stand after the "):
            read(sharing(*swapped))


MANY: dict[str, tuple[tuple[SharedLine, ...], list[SharedLine]]] = {
    "registrations": (SHARED[0:1], [RegistrationLine(bytes([n])) for n in range(MAX_REGISTRATIONS + 1)]),
    "closures": (SHARED[3:4], [ClosureLine(bytes([n])) for n in range(MAX_CLOSURES + 1)]),
    "configuration files": (
        SHARED[4:5],
        [ConfigurationLine(f"conf/{n:03}", "") for n in range(MAX_CONFIGURATIONS + 1)],
    ),
    "launch logs": (SHARED[4:5], [LaunchLine(bytes([n])) for n in range(MAX_LAUNCHES + 1)]),
    "boot logs": (SHARED[4:7], [BootLine(bytes([n])) for n in range(MAX_BOOTS + 1)]),
    "measurement lists": (SHARED[4:8], [ImaLine(bytes([n])) for n in range(MAX_IMAS + 1)]),
}


@pytest.mark.parametrize("name", MANY)
def test_shared_parts_are_each_there_once_in_order_and_not_too_many(name: str) -> None:
    above, lines = MANY[name]
    read(sharing(*above, *lines[:-1]))
    with pytest.raises(DecodeError, match=f"is one more than {len(lines) - 1} {name}"):
        read(sharing(*above, *lines))
    for wrong in ([lines[0], lines[0]], [lines[1], lines[0]]):
        with pytest.raises(DecodeError, match=f"line {len(above) + 3}: {name} stand after"):
            read(sharing(*above, *wrong))


def test_what_was_measured_needs_what_it_is_measured_against() -> None:
    """Configuration and launch logs a closure, boot logs a launch log, measurement lists a boot log."""
    for line in SHARED[5:]:
        with pytest.raises(DecodeError, match=r"line 2: .* stand after the"):
            read(sharing(line))
    for at in (7, 8):
        with pytest.raises(DecodeError, match=rf"line {at - 3}: .* stand after the"):
            read(sharing(*SHARED[4 : at - 1], SHARED[at]))


LATE = certified(("a", (b"1",))).splitlines(keepends=True)
LATE[1], LATE[2] = LATE[2], LATE[1]

REFUSED = {
    "no header": (b"".join(line + b"\n" for line in (EPOCH, MESSAGE, TRAILER)), "line 1"),
    "two headers": (HEADER + b"\n" + FILE, "line 2"),
    "another version": (FILE.replace(b'"version":1', b'"version":2'), "line 1, format"),
    "another format": (FILE.replace(b"sigillo-evidence", b"sigillo"), "line 1, format"),
    "no trailer": (FILE[: -len(TRAILER) - 1], "line 4: the trailer is missing"),
    "after the trailer": (FILE + MESSAGE + b"\n", "line 5"),
    "two trailers": (FILE + TRAILER + b"\n", "line 5"),
    "a blank line": (FILE.replace(EPOCH, b"\n" + EPOCH), "line 2"),
    "no line feed at the end": (FILE[:-1], "line 4"),
    "carriage returns": (FILE.replace(b"\n", b"\r\n"), "line 1"),
    "wrong count of epochs": (FILE.replace(b'"epochs":1', b'"epochs":2'), "line 4, epochs"),
    "wrong count of messages": (FILE.replace(b'"messages":1', b'"messages":0'), "line 4, messages"),
    "no message": (FILE.replace(MESSAGE + b"\n", b"").replace(b'"messages":1', b'"messages":0'), "no message"),
    "message before any epoch": (FILE.replace(EPOCH + b"\n", b""), "line 2"),
    "a certificate after an epoch": (b"".join(LATE), "line 3: certificates stand after the header"),
    "a certificate twice": (certified(("a", (b"1",)), ("a", (b"1",))), "line 3: certificates stand"),
    "certificates out of order": (certified(("a", (b"2",)), ("a", (b"1",))), "line 3: certificates stand"),
    "devices out of order": (certified(("b", (b"1",)), ("a", (b"1",))), "line 3: certificates stand"),
    "a certificate too many": (certified(*(("a", (bytes([n]),)) for n in range(17))), "line 18: is one more than 16"),
    "a certificate not counted": (certified(("a", (b"1",)), counted=0), "line 5, certificates"),
    "no count of certificates": (FILE.replace(b'"certificates":0,', b""), "line 4, certificates: is missing"),
    "no certificate": (certified(("a", ())), "line 2, chain: must be a list"),
    "a chain of five": (certified(("a", (b"1",) * 5)), "line 2, chain: must be a list"),
    "a chain that is no list": (certified(("a", (b"1",))).replace(b'["MQ"]', b'"MQ"'), "line 2, chain: must be"),
    "a chain of numbers": (certified(("a", (b"1",))).replace(b'["MQ"]', b"[1]"), "line 2, chain: must be"),
    "a certificate of 8193 bytes": (certified(("a", (bytes(8193),))), "line 2, chain: has a certificate of more"),
    "a certificate with padding": (certified(("a", (b"1",))).replace(b'["MQ"]', b'["MQ=="]'), "line 2, chain"),
    "a certificate of nobody": (certified(("", (b"1",))), "line 2, device"),
    "a certificate of a long name": (certified(("x" * 256, (b"1",))), "line 2, device"),
    "an unknown type": (FILE.replace(b'"type":"epoch"', b'"type":"spoch"'), "line 2, type"),
    "no type": (FILE.replace(EPOCH, b'{"statement":"AA"}'), "line 2, type"),
    "a type that is no text": (FILE.replace(EPOCH, b'{"statement":"AA","type":[]}'), "line 2, type"),
    "a missing member": (FILE.replace(b'"payload":"",', b""), "line 3, payload"),
    "an unknown member": (FILE.replace(b'"type":"message"', b'"type":"message","u":1'), "line 3, u"),
    "a null index": (FILE.replace(b'{"statement"', b'{"index":null,"statement"'), "line 2, index"),
    "a key twice": (FILE.replace(b'{"mark":"AA"', b'{"mark":"AA","mark":"AA"'), "line 3: has a key twice"),
    "keys out of order": (FILE.replace(EPOCH, b'{"type":"epoch","statement":"AA"}'), "canonical"),
    "a space": (FILE.replace(b'"mark":', b'"mark": '), "canonical"),
    "a needless escape": (FILE.replace(b'"topic":"t"', b'"topic":"\\u0074"'), "canonical"),
    "an escape for a character of its own": (FILE.replace(b'"topic":"t"', b'"topic":"\\u00e9"'), "canonical"),
    "half a surrogate pair": (FILE.replace(b'"topic":"t"', b'"topic":"\\ud800"'), "surrogate"),
    "half a surrogate pair in UTF-8": (FILE.replace(b'"topic":"t"', b'"topic":"\xed\xa0\x80"'), "UTF-8"),
    "not UTF-8": (FILE.replace(b'"topic":"t"', b'"topic":"\xff"'), "UTF-8"),
    "UTF-16": (FILE.decode().encode("utf-16"), "UTF-8"),
    "a byte order mark": (b"\xef\xbb\xbf" + FILE, "line 1"),
    "not JSON": (b"hello\n", "line 1"),
    "not an object": (b"[1]\n", "line 1: must be a JSON object"),
    "a bare control character": (FILE.replace(b'"topic":"t"', b'"topic":"\x01"'), "line 3"),
    "NaN": (FILE.replace(b'"epochs":1', b'"epochs":NaN'), "line 4"),
    "infinity": (FILE.replace(b'"epochs":1', b'"epochs":1e999'), "line 4"),
    "a float": (FILE.replace(b'"epochs":1', b'"epochs":1.0'), "line 4"),
    "a negative number": (FILE.replace(b'"epochs":1', b'"epochs":-1'), "line 4, epochs"),
    "a bool as a number": (FILE.replace(b'"epochs":1', b'"epochs":true'), "line 4, epochs"),
    "a number of 10,000 digits": (FILE.replace(b'"epochs":1', b'"epochs":' + b"1" * 10_000), "line 4"),
    "deep nesting": (FILE.replace(b'"epochs":1', b'"epochs":' + b"[" * 200_000 + b"]" * 200_000), "nested"),
    "padding": (FILE.replace(b'"mark":"AA"', b'"mark":"AA=="'), "line 3, mark"),
    "the other alphabet": (FILE.replace(b'"mark":"AA"', b'"mark":"+/+/"'), "line 3, mark"),
    "bits left over": (FILE.replace(b'"mark":"AA"', b'"mark":"AB"'), "line 3, mark"),
    "a line too long": (FILE.replace(b'"mark":"AA"', b'"mark":"' + b"A" * MAX_LINE + b'"'), "line 3"),
    "nothing": (b"", "empty"),
    "one byte": (b"\x1f", "line 1"),
    "an empty gzip stream": (gzip.compress(b""), "empty"),
    "gzip cut off": (gzip.compress(FILE)[:-1], "cut off"),
    "gzip with a wrong check sum": (gzip.compress(FILE)[:-8] + b"\0" * 8, "gzip"),
    "gzip twice": (gzip.compress(FILE) * 2, "after its gzip stream"),
    "gzip and more": (gzip.compress(FILE) + b"\0", "after its gzip stream"),
    "gzip in gzip": (gzip.compress(gzip.compress(FILE)), "line 1"),
}


@pytest.mark.parametrize(("data", "where"), REFUSED.values(), ids=REFUSED)
def test_refused_by_name(data: bytes, where: str) -> None:
    with pytest.raises(DecodeError) as caught:
        read(data, 65_536)
    assert where in str(caught.value)


def bomb() -> Iterator[bytes]:
    """2 GiB without a line end, in 2 MB of gzip."""
    packer = zlib.compressobj(9, wbits=31)
    block = b"A" * 2**20
    for _ in range(2048):
        if part := packer.compress(block):
            yield part
    yield packer.flush()


@pytest.mark.parametrize("stream", [bomb(), (b"A" * 65_536 for _ in range(2**15))], ids=["gzip", "plain"])
def test_an_endless_line_is_refused_in_little_memory(stream: Iterator[bytes]) -> None:
    tracemalloc.start()
    with pytest.raises(DecodeError, match="longer than"):
        next(split_lines(stream))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12 * 2**20


def test_random_bytes_after_the_gzip_header_never_escape() -> None:
    for _ in range(50):
        with pytest.raises(DecodeError):
            read(gzip.compress(FILE)[:12] + os.urandom(40), 16)


def test_a_line_that_would_not_be_read_is_not_written() -> None:
    with pytest.raises(DecodeError, match=f"line: has [0-9]+ bytes, more than {MAX_LINE}"):
        encode_line(MessageLine("t", b"\0" * MAX_LINE, b""))
    with pytest.raises(DecodeError, match="half of a surrogate pair"):
        encode_line(MessageLine("\ud800", b"", b""))
