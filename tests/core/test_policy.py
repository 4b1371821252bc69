"""spec/policy.md: an absent policy accepts nothing, and every mistake in one is named."""

from __future__ import annotations

import dataclasses
import hashlib
import subprocess
from types import MappingProxyType

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from sigillo.core.build_trust import BuilderTrust, BuildTrust
from sigillo.core.bytes import base64url_encode
from sigillo.core.errors import PolicyError
from sigillo.core.note import LogKey
from sigillo.core.policy import (
    _NOT_IN_A_LEVEL,
    BUILD_PARTS,
    LEVELS,
    MAX_BRACKET_NS,
    MAX_BYTES,
    MAX_ERROR_NS,
    AnchorTrust,
    ClockTrust,
    DeviceTrust,
    MakerTrust,
    MissingTrust,
    OperatorTrust,
    Policy,
    WitnessTrust,
    decode_duration,
    decode_policy,
    encode_duration,
    encode_policy,
)
from sigillo.core.published import decode_published

from ..adversary.broker import HASHES
from ..adversary.builder import dsse_key
from ..adversary.cosigner import Witness
from ..adversary.device import ed25519_key
from ..adversary.maker import Maker
from ..adversary.tsa import Tsa
from .policy_case import BROKER, KEY, KEYS, MAKER, MINIMAL, REFUSED, WITH_MAKER

name = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
oids = st.lists(st.sampled_from(["1.2.3.4", "0.4.0.2023.1.1"]), min_size=1, unique=True)
device_id = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="".join(_NOT_IN_A_LEVEL)), min_size=1, max_size=40
)
hashes = st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=3).map(tuple)


def parties(kind: str) -> st.SearchStrategy[tuple[BuilderTrust, ...]]:
    return st.lists(name, max_size=3).map(
        lambda names: tuple(BuilderTrust(f"{each}{at}", dsse_key(f"{kind} {at}")) for at, each in enumerate(names))
    )


build = st.one_of(
    st.builds(BuildTrust, parties("builder")),
    st.builds(BuildTrust, parties("b").filter(bool), parties("r").filter(bool), st.just(1)),
)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    operators = tuple(
        OperatorTrust(
            f"{draw(name)}{at}",
            LogKey(f"log{at}.example", ed25519_key(f"log {at}").public_key().public_bytes_raw()),
            draw(st.sampled_from(LEVELS)),
            MappingProxyType(draw(st.dictionaries(st.sampled_from(BUILD_PARTS), hashes))),
            draw(st.booleans()),
        )
        for at in range(draw(st.integers(1, 3)))
    )
    makers = tuple(
        MakerTrust(f"{draw(name)}{at}", Maker(f"maker {at}").certificate, draw(st.booleans()))
        for at in range(draw(st.integers(0, 2)))
    )
    devices = tuple(
        DeviceTrust(
            f"{draw(device_id)}{at}",
            *((None, bits, maker) if (maker := draw(st.sampled_from((None, *makers)))) else (KEYS[at], bits)),
        )
        for at in range(draw(st.integers(1, 4)))
        if (bits := draw(st.sampled_from((8, 64))))
    )
    clock = ClockTrust(draw(st.integers(1, MAX_ERROR_NS)), draw(st.booleans()), draw(st.booleans()))
    missing = MissingTrust(*(draw(st.booleans()) for _ in dataclasses.fields(MissingTrust)))
    tsas = tuple(Tsa(f"tsa {at}").trust(*policies) for at, policies in enumerate(draw(st.lists(oids, max_size=2))))
    witnesses = tuple(
        WitnessTrust(Witness(f"w{at}").key, draw(name), f"{draw(name)}{at}") for at in range(draw(st.integers(0, 2)))
    )
    anchors = AnchorTrust(draw(st.integers(1, len(tsas))), draw(st.integers(1, MAX_BRACKET_NS))) if tsas else None
    quorum = draw(st.integers(1, len(witnesses))) if witnesses else None
    return Policy(operators, clock, devices, missing, makers, tsas, anchors, witnesses, quorum, draw(build))


@given(policies())
def test_every_policy_comes_back(policy: Policy) -> None:
    assert decode_policy(encode_policy(policy).encode()) == policy


def test_what_is_absent_is_not_given() -> None:
    policy = decode_policy(MINIMAL.encode())
    assert policy.permissions() == ()
    assert policy.operators[0].reference_values == {}
    assert policy.devices[0].sequence_bits == 64
    assert policy.operator(BROKER.log_key.key_id32) is policy.operators[0]
    assert policy.operator(bytes(32)) is None
    assert policy.device("crate-1") is policy.devices[0]
    assert policy.device("crate-2") is None


@given(st.text(max_size=200))
def test_text_that_is_no_policy_is_refused(text: str) -> None:
    with pytest.raises(PolicyError):
        decode_policy(text.encode("utf-8", "replace"))


@given(st.binary(max_size=200))
def test_bytes_that_are_no_policy_are_refused(data: bytes) -> None:
    with pytest.raises(PolicyError):
        decode_policy(data)


@given(st.integers(0, len(MINIMAL) - 1), st.text(max_size=3))
@settings(max_examples=300)
def test_a_broken_policy_is_refused_or_still_one(at: int, text: str) -> None:
    try:
        decode_policy((MINIMAL[:at] + text + MINIMAL[at + 1 :]).encode("utf-8", "replace"))
    except PolicyError as error:
        assert error.field


@pytest.mark.parametrize(("text", "field"), REFUSED.values(), ids=REFUSED)
def test_refused_by_name(text: str, field: str) -> None:
    with pytest.raises(PolicyError) as caught:
        decode_policy(text.encode())
    assert caught.value.field.startswith(field)


def test_an_enormous_policy_is_refused_before_it_is_read() -> None:
    with pytest.raises(PolicyError, match="larger"):
        decode_policy(b"#" * (MAX_BYTES + 1))


def test_an_ed25519_device_key_of_small_order_is_refused() -> None:
    identity = bytes.fromhex("302a300506032b6570032100") + (1).to_bytes(32, "little")
    with pytest.raises(PolicyError, match="small order"):
        decode_policy(MINIMAL.replace(KEY, base64url_encode(identity)).encode())


@given(st.integers(1, MAX_ERROR_NS))
def test_durations_come_back(duration_ns: int) -> None:
    assert decode_duration(encode_duration(duration_ns), "x") == duration_ns


def test_what_an_operator_publishes() -> None:
    published = "".join(f'{part} = ["{value.hex()}"]\n' for part, value in HASHES.items())
    head = f'name = "Example Broker"\nlog_key = "{BROKER.log_key.vkey}"\n'
    assert decode_published((head + published).encode()) == BROKER.trust()
    for text, field in (
        (head + "level = 'image'\n", "level"),
        (head + "nome = 1\n", "nome"),
        (f'log_key = "{BROKER.log_key.vkey}"\n', "name"),
        ('name = "x"\n', "log_key"),
        (head + 'plugin = "no"\n', "plugin"),
        ("x", "file"),
    ):
        with pytest.raises(PolicyError) as caught:
            decode_published(text.encode())
        assert caught.value.field == field
    with pytest.raises(PolicyError, match="larger"):
        decode_published(b"#" * 2**21)


def test_fingerprints_are_those_of_stock_tools() -> None:
    """`openssl pkey -pubin -outform DER | sha256sum` gives what we print, `openssl x509 -fingerprint` that of a CA."""
    assert KEYS[0].fingerprint == hashlib.sha256(KEYS[0].spki).hexdigest()
    pem = MAKER.certificate.public_bytes(Encoding.PEM)
    command = ["openssl", "x509", "-noout", "-fingerprint", "-sha256"]
    shown = subprocess.run(command, input=pem, capture_output=True, check=True).stdout.decode()
    assert shown.strip().partition("=")[2].replace(":", "").lower() == MAKER.trust().fingerprint
    assert len(MAKER.trust().key_fingerprint) == 64


def test_a_device_has_a_key_or_a_maker_of_the_policy() -> None:
    policy = decode_policy(WITH_MAKER.encode())
    assert policy.devices[0] == DeviceTrust("crate-1", None, 64, MAKER.trust())
    assert policy.makers == (MAKER.trust(),)
    for device in (
        DeviceTrust("crate-1", None),
        DeviceTrust("crate-1", KEYS[0], 64, MAKER.trust()),
        DeviceTrust("crate-1", None, 64, Maker("Other").trust()),
    ):
        with pytest.raises(PolicyError, match=r"device\[1\]: has either"):
            Policy(policy.operators, policy.clock, (device,), makers=policy.makers)
