"""A changed file is refused or yields the identical verdict: bit by bit over whole evidence files."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from sigillo.core.appraise import appraise
from sigillo.core.errors import DecodeError
from sigillo.core.line import split_lines
from sigillo.core.policy import Policy
from sigillo.core.verdict import Verdict

from ..adversary.attested import AttestedStory
from ..adversary.broker import NOW_NS, evidence_file, packed
from ..adversary.story import Story, certified, outcome
from ..adversary.third import bracketed


def small_story() -> Story:
    """Two epochs, both key types and both forms of message, in about 6 KB."""
    story = Story()
    story.publish()
    story.broker.stop()
    story.broker.start()
    story.broker.publish(story.second)
    return story


STORY, CERTIFIED = small_story(), certified()
FILES = {
    "plain": (STORY.broker.file(), STORY.policy),
    "gzip": (packed(STORY.broker.file()), STORY.policy),
    "certified": (evidence_file(CERTIFIED.lines), CERTIFIED.policy),
}


def unharmed(data: bytes, flips: Iterable[tuple[int, int]], policy: Policy) -> list[tuple[int, int]]:
    """The flips (byte, bit) after which the file is still verified; fails unless its verdict is then identical."""
    honest = outcome(data, policy)
    assert isinstance(honest, Verdict)
    assert honest.verified
    found = []
    for at, bit in flips:
        changed = bytearray(data)
        changed[at] ^= 1 << bit
        try:
            result = appraise(split_lines([bytes(changed)]), policy, NOW_NS)
        except DecodeError:
            continue
        if not result.verified:
            continue
        assert result.to_json() == honest.to_json(), f"byte {at}, bit {bit}"
        found.append((at, bit))
    return found


@pytest.mark.parametrize("kind", FILES)
def test_one_bit_at_every_byte(kind: str) -> None:
    data, policy = FILES[kind]
    assert len(data) < 20_000
    harmless = unharmed(data, ((at, at * 5 % 8) for at in range(len(data))), policy)
    if kind == "plain":
        assert not harmless  # nothing is spare
    elif kind == "certified":  # two certificates of one key: each is spare while the other is whole
        assert {data[:at].count(b"\n") for at, _ in harmless} <= {2, 3}
    else:  # its time, level and system (RFC 1952 section 2.3.1), and the padding of the last block
        spare = {*range(4, 10), *range(len(data) - 10, len(data) - 8)}
        assert {at for at, _ in harmless} <= spare


@pytest.mark.parametrize("step", [pytest.param(1, marks=pytest.mark.slow), 97])
def test_one_bit_of_what_third_parties_signed(step: int) -> None:
    """With as many witnesses as the quorum, and tokens over every mark, nothing that they signed is spare."""
    story = bracketed()
    data = story.file(note=story.note(*story.witnesses[:2]))
    assert not unharmed(data, ((at, at * 5 % 8) for at in range(0, len(data), step)), story.trust())


@pytest.mark.parametrize("step", [pytest.param(1, marks=pytest.mark.slow), 41])
def test_one_bit_of_what_a_tpm_attests(step: int) -> None:
    """Not even a text of the configuration: it counts where it has the hash that was measured, and a rule needs it."""
    story = AttestedStory()
    story.launch()
    story.publish()
    story.quote()
    data = story.file()
    assert not unharmed(data, ((at, at * 5 % 8) for at in range(0, len(data), step)), story.policy)


@pytest.mark.slow
@pytest.mark.parametrize("kind", FILES)
def test_every_bit(kind: str) -> None:
    data, policy = FILES[kind]
    unharmed(data, ((at, bit) for at in range(len(data)) for bit in range(8)), policy)


@pytest.mark.parametrize("kind", FILES)
def test_every_truncation(kind: str) -> None:
    """Cut anywhere, the file is refused: the trailer is its last line."""
    data, policy = FILES[kind]
    for end in range(0, len(data), 11):
        assert isinstance(outcome(data[:end], policy), DecodeError)
