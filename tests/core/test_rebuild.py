"""spec/rebuild-statement.md: what a rebuilder says has to be what its hashes say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigillo.core.dsse import verify_envelope
from sigillo.core.errors import DecodeError, SignatureError
from sigillo.core.manifest import decode_manifest
from sigillo.core.rebuild import (
    Equality,
    RebuildStatement,
    Rebuilt,
    RebuiltOutput,
    check_about,
    compare,
    decode_rebuild,
    encode_rebuild,
    reproduced,
)

from ..adversary.builder import MOSQUITTO, dsse_key, enveloped, sha256, signed_manifest, signed_statement
from ..adversary.vector import VECTORS
from .test_manifest import ascending, date, name, path, plain, roots, size
from .test_manifest import sha256 as any_hash

KEY = dsse_key("rebuilder")
FOLDER = VECTORS / "rebuild-statement"
MANIFEST = signed_manifest()

outputs = st.one_of(
    st.builds(RebuiltOutput, path, st.sampled_from((Equality.IDENTICAL, Equality.DIFFERENT)), size, any_hash),
    st.builds(
        RebuiltOutput,
        path,
        st.just(Equality.IDENTICAL_WITHOUT),
        size,
        any_hash,
        st.just((".comment", ".note.gnu.build-id")),
    ),
    st.builds(RebuiltOutput, path, st.just(Equality.MISSING), st.none(), st.none()),
)
rebuilt = st.builds(Rebuilt, name, ascending(outputs, "name", 1, 3), st.one_of(st.none(), roots))
statements = st.builds(RebuildStatement, plain, any_hash, date, ascending(rebuilt, "name", 1, 2))


@given(statements)
def test_every_statement_comes_back(statement: RebuildStatement) -> None:
    assert decode_rebuild(encode_rebuild(statement, KEY, lambda message: bytes(64))).statement == statement


@given(st.binary(max_size=200))
def test_bytes_that_are_no_statement_are_refused(data: bytes) -> None:
    for candidate in (data, data + b"\n"):
        with pytest.raises(DecodeError):
            decode_rebuild(candidate)


@given(st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=9), st.lists))
def test_any_value_for_a_member_is_refused_or_read(value: object) -> None:
    whole = json.loads(decode_rebuild(signed_statement(MANIFEST)).envelope.payload)
    for member in whole:
        try:
            decode_rebuild(enveloped("rebuild-statement", {**whole, member: value}, "rebuilder"))
        except DecodeError as error:
            assert error.field


def test_any_bit_changed_is_refused() -> None:
    data = signed_statement(MANIFEST)
    for at in range(len(data)):
        changed = data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1 :]
        with pytest.raises((DecodeError, SignatureError)):
            verify_envelope(decode_rebuild(changed).envelope)


def test_what_it_reproduced() -> None:
    signed = decode_manifest(MANIFEST)
    everything = decode_rebuild(signed_statement(MANIFEST)).statement
    assert reproduced(everything, signed) == {sha256("deb"), sha256("executable"), sha256("plugin")}
    partly = decode_rebuild(signed_statement(MANIFEST, plugin=sha256("another"), package=None)).statement
    assert reproduced(partly, signed) == {sha256("executable")}


def test_equal_without_sections_is_not_reproduced() -> None:
    partly = decode_rebuild((FOLDER / "accept" / "partly.json").read_bytes()).statement
    assert reproduced(partly, decode_manifest(MANIFEST)) == {sha256("deb")}


def test_the_grade_is_what_the_bytes_say() -> None:
    output = MOSQUITTO.outputs[0]
    assert compare(output, output.size, output.sha256, (".comment",)).equality is Equality.IDENTICAL
    assert compare(output, output.size, sha256("x"), (".comment",)).equality is Equality.IDENTICAL_WITHOUT
    assert compare(output, output.size, sha256("x")).equality is Equality.DIFFERENT
    assert compare(output, None, None).equality is Equality.MISSING


@pytest.mark.parametrize("path", sorted((FOLDER / "accept").glob("*.json")), ids=lambda path: path.stem)
def test_accepted_vectors(path: Path) -> None:
    signed = decode_rebuild(path.read_bytes())
    verify_envelope(signed.envelope)
    check_about(signed.statement, decode_manifest((VECTORS / "manifest" / "accept" / "broker.json").read_bytes()))


@pytest.mark.parametrize("path", sorted((FOLDER / "reject").glob("unreadable-*.json")), ids=lambda path: path.stem)
def test_rejected_vectors(path: Path) -> None:
    with pytest.raises(DecodeError):
        decode_rebuild(path.read_bytes())


@pytest.mark.parametrize("path", sorted((FOLDER / "reject").glob("manifest-*.json")), ids=lambda path: path.stem)
def test_rejected_next_to_the_manifest(path: Path) -> None:
    signed = decode_rebuild(path.read_bytes())
    with pytest.raises(DecodeError):
        check_about(signed.statement, decode_manifest(MANIFEST))
