"""Attack 20 (rfc3161-client 1.0.3, GHSA-xm5m-wgh2-rrg3): a token of another TSA, about another note, not in the log."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from sigillo.core.bytes import object_hash
from sigillo.core.checkpoint import TreeHead
from sigillo.core.entry import Kind, LogEntry
from sigillo.core.errors import DecodeError
from sigillo.core.evidence_line import Line, TokenLine
from sigillo.core.policy import MissingTrust
from sigillo.core.verdict import Verdict

from ..adversary.device import ed25519_key
from ..adversary.log import logged_file
from ..adversary.story import failing_steps, outcome
from ..adversary.third import ONE, ThirdStory, bracketed
from ..adversary.tsa import Tsa


def changed(story: ThirdStory, change: Callable[[TokenLine], TokenLine]) -> Verdict | DecodeError:
    """The file with its last token line changed, and the log with it: the operator itself does that."""
    lines: list[Line] = story.log.lines()
    token = story.log.tokens[-1]
    new = change(token)
    assert token.index is not None
    entry = LogEntry(Kind.TOKEN, new.epoch, new.sequence, object_hash("token", new.token))
    story.log.entries[token.index] = entry
    lines = [new if line == token else line for line in lines]
    return outcome(logged_file(lines, story.log.read, story.note(), notes=story.log.beacons), story.trust())


def steps(found: Verdict | DecodeError) -> list[int]:
    assert isinstance(found, Verdict), found
    return failing_steps(found)


def test_a_token_of_a_tsa_that_nobody_trusts_counts_for_nothing() -> None:
    """It is noted, and the marks stay pending: whoever demands a bound does not verify them."""
    story = bracketed(tsas=[Tsa("A"), Tsa("B")])
    policy = story.trust(tsas=(story.tsas[0].trust(), Tsa("C").trust()))
    verdict = story.judged(policy)
    assert failing_steps(verdict) == [18]
    assert verdict.checks[16].notes.count == 2
    assert "counts for nothing" in verdict.checks[16].notes.listed[0].text


def test_a_token_of_one_tsa_never_passes_as_anothers() -> None:
    """One authority under two names would vote twice: its two tokens are one vote, whichever root is named."""
    story = bracketed(tsas=[Tsa("A")])
    story.anchor(*story.tsas * 2)
    policy = story.trust(tsas=(story.tsas[0].trust(), Tsa("B").trust()))
    assert failing_steps(story.judged(policy)) == [18]


def test_a_token_under_another_policy_of_its_tsa_counts_for_nothing() -> None:
    story = bracketed()
    policy = story.trust(tsas=tuple(tsa.trust("1.2.3.4") for tsa in story.tsas))
    verdict = story.judged(policy)
    assert failing_steps(verdict) == [18]
    assert "which is none trusted" in verdict.checks[16].notes.listed[0].text


def test_a_token_about_another_note_fails() -> None:
    story = bracketed()
    earlier = story.log.tokens[0].note
    assert 17 in steps(changed(story, lambda line: dataclasses.replace(line, note=earlier)))


def test_a_token_about_a_note_that_the_log_did_not_sign_fails() -> None:
    story = bracketed()
    forged = story.log.note(story.log.head(5), private=ed25519_key("another"))
    token = story.tsas[1].stamp(forged.encode())
    found = changed(story, lambda line: dataclasses.replace(line, note=forged, token=token))
    assert 17 in steps(found)


def test_a_token_about_another_history_fails() -> None:
    """The log key signed it: whoever holds that key has two histories."""
    story = bracketed()
    other = story.log.note(TreeHead(story.broker.origin, 5, b"\x07" * 32))
    token = story.tsas[1].stamp(other.encode())
    found = changed(story, lambda line: dataclasses.replace(line, note=other, token=token))
    assert 17 in steps(found)


def test_a_token_about_a_note_with_an_extension_line_that_nobody_signed_fails() -> None:
    story = bracketed()
    note = story.log.tokens[-1].note
    longer = note.replace("\n\n", "\nan extension\n\n")
    token = story.tsas[1].stamp(longer.encode())
    assert 17 in steps(changed(story, lambda line: dataclasses.replace(line, note=longer, token=token)))


def test_an_extension_line_that_the_log_signed_means_nothing() -> None:
    story = bracketed()
    head = dataclasses.replace(story.log.head(5), extensions=("an extension",))
    note = story.log.note(head)
    token = story.log.tokens[-1]
    stamped = story.tsas[1].stamp(note.encode(), time=b"20261118110648Z", accuracy=b"")
    assert token.note != note
    assert steps(changed(story, lambda line: dataclasses.replace(line, note=note, token=stamped))) == []


def test_a_token_about_a_note_with_cosignatures_is_unreadable() -> None:
    story = bracketed()
    cosigned = story.witnesses[0].cosign(story.log.tokens[-1].note)
    token = story.tsas[1].stamp(cosigned.encode())
    assert isinstance(changed(story, lambda line: dataclasses.replace(line, note=cosigned, token=token)), DecodeError)


def test_a_token_about_a_size_that_was_not_there_yet_is_unreadable() -> None:
    story = bracketed()
    later = story.log.note(TreeHead(story.broker.origin, 99, b"\x07" * 32))
    assert isinstance(changed(story, lambda line: dataclasses.replace(line, note=later)), DecodeError)


def test_a_token_that_is_not_in_the_log_fails() -> None:
    """Made long after, by a TSA that tells the truth, and put where another entry is."""
    story = bracketed()
    lines = story.log.lines()
    token = story.log.tokens[-1]
    late = dataclasses.replace(token, token=story.tsas[1].stamp(token.note.encode(), serial=b"\x02\x01\x63"))
    data = logged_file(
        [late if line == token else line for line in lines], story.log.read, story.note(), notes=story.log.beacons
    )
    assert 14 in steps(outcome(data, story.trust()))


def test_a_token_of_another_epoch_or_sequence_than_the_log_says_fails() -> None:
    for change in ({"sequence": 7}, {"epoch": 2}):
        story = bracketed()
        lines, token = story.log.lines(), story.log.tokens[-1]
        moved = dataclasses.replace(token, **change)
        data = logged_file(
            [moved if line == token else line for line in lines], story.log.read, story.note(), notes=story.log.beacons
        )
        assert 14 in steps(outcome(data, story.trust()))


def test_a_token_without_nonce_counts_as_one_with() -> None:
    """Offline the imprint decides; the nonce is for whoever asked."""
    story = ThirdStory()
    story.broker.start()
    story.log.sign()
    story.anchor(nonce=7)
    story.signed(story.first)
    story.anchor()
    assert story.judged().verified


@pytest.mark.parametrize("at", [0, 1])
def test_a_file_that_does_not_stop_where_a_token_looks_fails(at: int) -> None:
    story = bracketed()
    sizes = {story.log.tokens[2 * at].note.split("\n")[1]}
    lines = story.log.lines()
    others = [size for size in (1, 3, 5) if str(size) not in sizes]
    data = logged_file(lines, story.log.read, story.note(), named=others, notes=story.log.beacons)
    assert 17 in steps(outcome(data, story.trust(missing=MissingTrust(), anchors=ONE)))
