"""spec/manifest.md: every manifest comes back, and whatever is none is refused."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sigillo.core import rebuild
from sigillo.core.dsse import DsseKey, verify_envelope
from sigillo.core.errors import DecodeError, SignatureError
from sigillo.core.manifest import (
    Build,
    ClosureFile,
    Manifest,
    Output,
    Package,
    Role,
    Root,
    Source,
    SourceFile,
    decode_manifest,
    encode_manifest,
    moment,
    moment_text,
)

from ..adversary.builder import MANIFEST, MOSQUITTO, dsse_key, enveloped, signed_manifest
from ..adversary.device import Device
from ..adversary.vector import VECTORS
from ..adversary.vector_build import malleated

KEY = dsse_key("builder")
FOLDER = VECTORS / "manifest"

name = st.from_regex(r"[a-z0-9][a-z0-9+.-]{0,20}", fullmatch=True)
version = st.from_regex(r"[0-9A-Za-z][0-9A-Za-z.+:~-]{0,20}", fullmatch=True)
component = st.from_regex(r"[a-zA-Z0-9+._~][!-.0-\[\]-~]{0,20}", fullmatch=True).filter(
    lambda it: it not in (".", "..")
)
path = st.lists(component, min_size=1, max_size=3).map("/".join)
sha256 = st.binary(min_size=32, max_size=32)
size = st.integers(0, 10**15)
plain = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=30)
date = st.integers(0, 253_402_300_799)


def ascending(items: st.SearchStrategy, key: str, low: int, high: int) -> st.SearchStrategy:
    """Items in order of an attribute, each once."""
    return st.lists(items, min_size=low, max_size=high, unique_by=lambda item: getattr(item, key)).map(
        lambda found: tuple(sorted(found, key=lambda item: getattr(item, key).encode()))
    )


roots = st.builds(
    Root, name, name, name, ascending(st.builds(Package, name, version, st.just("amd64"), sha256), "name", 1, 3)
)
closures = st.builds(ClosureFile, path.map("/{}".format), size, sha256, name, version)
bare = st.builds(ClosureFile, path.map("/{}".format), size, sha256)


@st.composite
def builds(draw: st.DrawFn) -> Build:
    built = draw(date)
    files = draw(ascending(st.builds(SourceFile, path, size, sha256), "name", 1, 3))
    kind = draw(st.sampled_from(("git", "debian", "tarball")))
    prefix = {"git": "", "debian": "dsc:sha256:", "tarball": "tar:sha256:"}[kind]
    return Build(
        name=draw(name),
        version=draw(version),
        recipe=draw(plain),
        recipe_files=draw(st.dictionaries(path, st.binary(max_size=20), max_size=3)),
        source=Source(kind, draw(st.sampled_from(("A" * 40, "0" * 64, f"SHA256:{'a+/' * 14}0"))), files),
        source_commit=prefix + draw(st.sampled_from(files)).sha256.hex(),
        build_date=built,
        root=draw(roots),
        path=f"/{draw(path)}",
        environment=draw(st.dictionaries(st.from_regex(r"[A-Za-z_]\w{0,9}", fullmatch=True).filter(str.isascii), plain))
        | {"SOURCE_DATE_EPOCH": str(built)},
        steps=tuple(draw(st.lists(plain, min_size=1, max_size=3))),
        outputs=draw(
            ascending(
                st.builds(Output, path, st.sampled_from(("library", "other")).map(Role), size, sha256), "name", 1, 3
            )
        ),
    )


manifests = st.builds(
    Manifest, plain, ascending(builds(), "name", 1, 2), ascending(st.one_of(closures, bare), "path", 0, 3)
)


@given(manifests)
@settings(max_examples=60)
def test_every_manifest_comes_back(manifest: Manifest) -> None:
    data = encode_manifest(manifest, KEY, lambda message: bytes(64))
    assert decode_manifest(data).manifest == manifest


def test_it_is_named_by_the_hash_of_its_file() -> None:
    data = signed_manifest()
    assert decode_manifest(data).sha256 == hashlib.sha256(data).digest()


def test_the_programs_are_found_with_their_builds() -> None:
    executable, plugin = (MANIFEST.part(role) for role in (Role.EXECUTABLE, Role.PLUGIN))
    assert executable is not None
    assert plugin is not None
    assert (executable[0].name, executable[1].name) == ("mosquitto", "usr/sbin/mosquitto")
    assert (plugin[0].name, plugin[1].name) == ("sigillo-plugin", "sigillo.so")
    assert Manifest("b", (MOSQUITTO,)).part(Role.PLUGIN) is None


@given(st.binary(max_size=200))
def test_bytes_that_are_no_manifest_are_refused(data: bytes) -> None:
    for candidate in (data, data + b"\n"):
        with pytest.raises(DecodeError):
            decode_manifest(candidate)


@given(st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=9), st.lists))
def test_any_value_for_a_member_is_refused_or_read(value: object) -> None:
    whole = json.loads(decode_manifest(signed_manifest()).envelope.payload)
    for member in whole["builds"][0]:
        changed = {**whole, "builds": [{**whole["builds"][0], member: value}]}
        try:
            decode_manifest(enveloped("build-manifest", changed, "builder"))
        except DecodeError as error:
            assert error.field


def test_any_bit_changed_is_refused() -> None:
    data = signed_manifest(Manifest("b", (MOSQUITTO,)))
    for at in range(len(data)):
        changed = data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1 :]
        with pytest.raises((DecodeError, SignatureError)):
            verify_envelope(decode_manifest(changed).envelope)


def test_only_the_key_that_it_names_verifies_it() -> None:
    envelope = decode_manifest(signed_manifest()).envelope
    verify_envelope(envelope)
    assert envelope.key == KEY
    with pytest.raises(SignatureError):
        verify_envelope(dataclasses.replace(envelope, key=dsse_key("another")))


def test_one_signature_has_one_form() -> None:
    with pytest.raises(SignatureError):
        verify_envelope(decode_manifest(malleated(signed_manifest())).envelope)


def test_a_rebuild_statement_is_no_manifest() -> None:
    """The signed type differs: the same payload and key, another kind."""
    payload = json.loads(decode_manifest(signed_manifest()).envelope.payload)
    with pytest.raises(DecodeError, match="payloadType"):
        decode_manifest(enveloped(rebuild.KIND, payload, "builder"))
    with pytest.raises(DecodeError, match="payloadType"):
        rebuild.decode_rebuild(signed_manifest())


def test_the_type_is_signed() -> None:
    """A payload of one kind, relabelled as another, no longer verifies."""
    envelope = decode_manifest(signed_manifest()).envelope
    with pytest.raises(SignatureError):
        verify_envelope(dataclasses.replace(envelope, kind=rebuild.KIND))


def test_a_key_of_another_kind_is_refused() -> None:
    with pytest.raises(DecodeError, match="Ed25519"):
        DsseKey.from_spki(Device("crate-1", "p256").key.spki)
    assert DsseKey.from_spki(KEY.spki) == KEY


def test_text_that_is_no_utf8_is_refused() -> None:
    with pytest.raises(DecodeError):
        signed_manifest(Manifest("\ud800", (MOSQUITTO,)))


@given(date)
def test_times_come_back(seconds: int) -> None:
    assert moment(moment_text(seconds), "date") == seconds


@pytest.mark.parametrize(
    "text", ["1969-12-31T23:59:59Z", "2025-01-01T24:00:00Z", "2025-01-01 00:00:00Z", "2025-01-01T00:00:60Z"]
)
def test_times_that_are_none(text: str) -> None:
    with pytest.raises(DecodeError):
        moment(text, "date")


@pytest.mark.parametrize("path", sorted((FOLDER / "accept").glob("*.json")), ids=lambda path: path.stem)
def test_accepted_vectors(path: Path) -> None:
    signed = decode_manifest(path.read_bytes())
    verify_envelope(signed.envelope)
    assert signed_manifest(signed.manifest) == path.read_bytes()


@pytest.mark.parametrize("path", sorted((FOLDER / "reject").glob("*.json")), ids=lambda path: path.stem)
def test_rejected_vectors(path: Path) -> None:
    with pytest.raises(DecodeError):
        decode_manifest(path.read_bytes())
