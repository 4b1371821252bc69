"""spec/accusation.md: what contradicts itself is found and proved; what does not, never."""

from __future__ import annotations

import dataclasses
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sigillo.core.accusation import MEMBERS, Accusation, decode_accusation, encode_accusation, prove
from sigillo.core.contradiction import Source, find
from sigillo.core.errors import AccusationError, DecodeError
from sigillo.core.line import split_lines
from sigillo.core.policy import Policy, decode_policy

from ..adversary.accused import Pair, pairs
from ..adversary.broker import Broker
from ..adversary.log import logged
from ..adversary.vector import VECTORS


def source(data: bytes) -> Source:
    return Source(lambda: split_lines([data]))


def proved(first: bytes, second: bytes, policy: Policy) -> list[tuple[Accusation, str]]:
    found = []
    for accusation in find(source(first), source(second)):
        try:
            found.append((accusation, prove(accusation, policy)))
        except AccusationError:
            continue
    return found


@cache
def cases() -> dict[str, Pair]:
    return pairs()


@pytest.mark.parametrize("kind", MEMBERS)
def test_each_kind_is_found_proved_and_comes_back(kind: str) -> None:
    found = proved(*cases()[kind])
    assert kind in [accusation.kind for accusation, _ in found]
    for accusation, what in found:
        again = decode_accusation(encode_accusation(accusation))
        assert again == accusation
        assert prove(again, cases()[kind][2]) == what


def test_an_honest_operator_is_not_accused() -> None:
    """Two files of one log, one of them earlier and shorter."""
    story = logged()
    earlier = story.log.file()
    story.broker.start()
    story.publish()
    story.broker.stop()
    story.log.sign()
    assert not proved(earlier, story.log.file(), story.policy)


@pytest.mark.parametrize("kind", MEMBERS)
def test_nobody_is_accused_by_keys_that_the_policy_does_not_pin(kind: str) -> None:
    first, second, policy = cases()[kind]
    other = dataclasses.replace(policy, operators=(Broker(seed="other").trust(),))
    assert not proved(first, second, other)


@pytest.mark.parametrize("kind", MEMBERS)
def test_any_byte_changed_proves_nothing_or_the_same(kind: str) -> None:
    policy = cases()[kind][2]
    accusation, what = next(item for item in proved(*cases()[kind]) if item[0].kind == kind)
    data = encode_accusation(accusation)
    for at in range(0, len(data), 7):
        changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        try:
            assert prove(decode_accusation(changed), policy) == what
        except (DecodeError, AccusationError):
            continue


@pytest.mark.parametrize("kind", MEMBERS)
def test_one_object_twice_is_no_contradiction(kind: str) -> None:
    accusation, _ = next(item for item in proved(*cases()[kind]) if item[0].kind == kind)
    if "second" in accusation.objects:
        same = dataclasses.replace(accusation, objects={**accusation.objects, "second": accusation.objects["first"]})
        with pytest.raises(AccusationError):
            prove(same, cases()[kind][2])


@given(st.binary(max_size=200))
@settings(max_examples=200)
def test_any_bytes_are_decoded_or_refused(data: bytes) -> None:
    for candidate in (data, data + b"\n"):
        with pytest.raises(DecodeError):
            decode_accusation(candidate)


@pytest.mark.parametrize("path", sorted((VECTORS / "accusation" / "accept").glob("*.json")), ids=lambda path: path.stem)
def test_accepted_vectors(path: Path) -> None:
    policy = decode_policy((path.parent / "policy.toml").read_bytes())
    assert prove(decode_accusation(path.read_bytes()), policy) + "\n" == path.with_suffix(".txt").read_text()


@pytest.mark.parametrize("path", sorted((VECTORS / "accusation" / "reject").glob("*.json")), ids=lambda path: path.stem)
def test_rejected_vectors(path: Path) -> None:
    policy = decode_policy((VECTORS / "accusation" / "accept" / "policy.toml").read_bytes())
    with pytest.raises(DecodeError if path.stem.startswith("unreadable") else AccusationError):
        prove(decode_accusation(path.read_bytes()), policy)
