"""Attack 18, 31: the operator shows two verifiers two histories. Refused with a quorum; named without one."""

from __future__ import annotations

import dataclasses

from sigillo.core.errors import DecodeError
from sigillo.core.policy import MissingTrust
from sigillo.core.verdict import Result, Verdict

from ..adversary.story import failing_steps, outcome
from ..adversary.third import ThirdStory, bracketed

NO_QUORUM = "one history; a split view would not be seen"


def split() -> tuple[ThirdStory, ThirdStory]:
    """One log up to here, and two from here on: each shows a message that the other has not."""
    one, other = bracketed(), bracketed()
    one.signed(one.first)
    other.signed(other.second)
    for story in (one, other):
        story.anchor()
    assert one.log.head().root != other.log.head().root
    return one, other


def test_honest_witnesses_cosign_one_of_them_and_the_other_is_refused() -> None:
    one, other = split()
    assert one.judged().verified
    verdict = other.judged(note=other.log.note())
    assert failing_steps(verdict) == [19]
    assert NO_QUORUM in verdict.checks[18].failures.listed[0].text


def test_cosignatures_of_the_one_do_not_count_on_the_other() -> None:
    one, other = split()
    lines = "".join(line for line in one.note().splitlines(keepends=True) if "— w" in line)
    verdict = other.judged(note=other.log.note() + lines)
    assert failing_steps(verdict) == [19]
    assert 'witness "w1"' in verdict.checks[18].failures.listed[0].text


def test_without_a_quorum_both_are_accepted_and_both_say_so() -> None:
    for story in split():
        permissive = story.trust(missing=MissingTrust(allow_unwitnessed=True), witnesses=(), witness_quorum=None)
        verdict = story.judged(permissive, note=story.log.note())
        assert verdict.verified
        assert verdict.checks[18].result is Result.MISSING
        assert NO_QUORUM in verdict.checks[18].detail
        assert verdict.to_json()["log"]["witnesses"] == []


def test_two_quorums_share_a_witness_that_must_have_lied() -> None:
    """w1 cosigns both: the verdicts name it, and the operator, each among who must have lied."""
    one, other = split()
    first = one.judged(note=one.note(*one.witnesses[:2]))
    second = other.judged(note=other.note(one.witnesses[0], one.witnesses[2]))
    assert first.verified and second.verified
    common = set(first.checks[18].liars) & set(second.checks[18].liars)
    assert common == {("operator Example Broker", "witness w1")}


def test_a_cosignature_with_one_bit_changed_is_refused() -> None:
    story = bracketed()
    own, witness = story.witnesses[0].cosign(story.log.note()).rsplit("— ", 1)
    name, _, signature = witness.partition(" ")
    broken = f"{own}— {name} {signature[:20]}{'A' if signature[20] != 'A' else 'B'}{signature[21:]}"
    verdict = story.judged(story.trust(missing=MissingTrust(allow_unwitnessed=True)), note=broken)
    assert failing_steps(verdict) == [19]


def test_two_signatures_of_one_key_are_unreadable() -> None:
    """Twice the same line, and twice the same key with other bytes."""
    story = bracketed()
    line = story.witnesses[0].cosign(story.log.note()).splitlines(keepends=True)[-1]
    for note in (story.note() + line, story.log.note() + story.log.note().splitlines(keepends=True)[-1]):
        data = story.file().replace(story.note().replace("\n", "\\n").encode(), note.replace("\n", "\\n").encode())
        assert data != story.file()
        assert isinstance(outcome(data, story.trust()), DecodeError)


def test_unknown_keys_and_extension_lines_change_nothing() -> None:
    """Other witnesses may have cosigned too; what the log signs beside its root is opaque."""
    story = bracketed()
    strangers = dataclasses.replace(story.trust(), witnesses=story.trust().witnesses[:2])
    assert story.judged(strangers).verified
    head = dataclasses.replace(story.log.head(), extensions=("an extension",))
    note = story.log.note(head)
    for witness in story.witnesses:
        note = witness.cosign(note)
    verdict = story.judged(note=note)
    assert isinstance(verdict, Verdict)
    assert verdict.verified
    unsigned = story.note().replace("\n\n", "\nan extension\n\n")
    assert {14, 19} <= set(failing_steps(story.judged(note=unsigned)))
