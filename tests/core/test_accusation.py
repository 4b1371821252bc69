"""spec/accusation.md: what contradicts itself is found and proved; what does not, never."""

from __future__ import annotations

import dataclasses
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sigillo.core.accusation import MEMBERS, Accusation, decode_accusation, denies, encode_accusation, prove
from sigillo.core.contradiction import Source, find
from sigillo.core.entry import Kind, LogEntry, encode_entry
from sigillo.core.errors import AccusationError, DecodeError
from sigillo.core.heads import Head
from sigillo.core.mark import decode_mark
from sigillo.core.merkle import inclusion_proof
from sigillo.core.policy import Policy, decode_policy
from sigillo.core.statement import HowEnded

from ..adversary.accused import Pair, copy_of, pairs, public, source
from ..adversary.broker import Broker
from ..adversary.log import LoggedStory, logged
from ..adversary.vector import VECTORS


def proved(first: bytes | Source, second: bytes | Source, policy: Policy) -> list[tuple[Accusation, str]]:
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
    for file in (earlier, story.log.file()):
        assert not list(find(source(file), public(story.log)))


def test_marks_that_a_power_cut_took_are_no_lie() -> None:
    """The next statement says that they may exist."""
    story = LoggedStory()
    story.publish()
    twin = copy_of(story)
    twin.broker.die()
    ended = twin.broker._ended
    assert ended
    twin.broker.start(previous=dataclasses.replace(ended, ended=HowEnded.LOGGED_UP_TO))
    twin.publish()
    twin.log.sign()
    story.broker.publish(story.first)
    for second in (twin.log.file(), public(twin.log)):
        assert not proved(story.broker.file(), second, story.policy)


def changed(kind: str, **objects: bytes) -> Accusation:
    accusation, _ = next(item for item in proved(*cases()[kind]) if item[0].kind == kind)
    return dataclasses.replace(accusation, objects={**accusation.objects, **objects})


def at(number: Kind, epoch: int, sequence: int) -> bytes:
    return encode_entry(LogEntry(number, epoch, sequence, b"\x08" * 32))


REFUSED: dict[str, tuple[str, dict[str, bytes], str]] = {
    "an entry of another sequence": (
        "mark-entry",
        {"entry": at(Kind.MARK, 1, 4)},
        "not that of a mark with its number",
    ),
    "an entry of another kind": ("mark-entry", {"entry": at(Kind.HEADS, 1, 3)}, "not that of a mark with its number"),
    "an entry that is not there": ("mark-entry", {"entry": at(Kind.MARK, 1, 3)}, "path does not lead"),
    "the mark itself behind": ("mark-gap", {"after": at(Kind.MARK, 1, 3)}, "is a mark with that number"),
    "a later epoch behind": ("mark-gap", {"after": at(Kind.EPOCH_STATEMENT, 2, 0)}, "is of another epoch"),
    "an entry too early behind": ("mark-gap", {"after": at(Kind.MARK, 1, 2)}, "comes before the mark"),
    "an entry too late before": ("mark-gap", {"entry": at(Kind.TOKEN, 1, 3)}, "does not come before the mark"),
    "another entry before": ("mark-gap", {"entry": at(Kind.MARK, 1, 1)}, "path does not lead"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_entries_that_prove_nothing(name: str) -> None:
    kind, objects, says = REFUSED[name]
    with pytest.raises(AccusationError, match=says):
        prove(changed(kind, **objects), cases()[kind][2])


def test_entries_that_are_not_side_by_side() -> None:
    accusation = changed("mark-gap")
    second = cases()["mark-gap"][1]
    assert isinstance(second, Source) and second.tiles and second.checkpoint
    tiles, size = second.tiles, second.checkpoint.head.size
    after = encode_entry(tiles.entry(accusation.index + 2))
    path = tuple(inclusion_proof(accusation.index + 2, size, tiles.read))
    further = dataclasses.replace(
        accusation,
        objects={**accusation.objects, "after": after},
        hashes={**accusation.hashes, "after_path": path},
    )
    with pytest.raises(AccusationError, match="path"):
        prove(further, cases()["mark-gap"][2])


@pytest.mark.parametrize(
    ("count", "last_sequence", "same", "denied"),
    [
        (2, 5, True, False),  # the mark itself
        (2, 5, False, True),
        (3, 6, False, False),
        (3, 5, False, True),
        (2, 6, False, True),
        (1, 4, False, True),
        (1, 6, False, True),
        (3, 4, False, True),
    ],
)
def test_what_heads_deny(count: int, last_sequence: int, same: bool, denied: bool) -> None:
    broker = Broker()
    for principal in ("b", "b", "b", "a", "a"):
        line = broker.mark("t", b"", principal)
    signed = decode_mark(line.mark)
    assert (signed.mark.count, signed.mark.sequence) == (2, 5)
    last_mark = signed.object_hash if same else b"\x07" * 32
    assert denies(Head(count, last_mark, last_sequence, bytes(32)), signed) is denied
    assert denies(None, signed)


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
