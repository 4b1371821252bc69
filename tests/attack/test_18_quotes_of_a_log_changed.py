"""Attack 18: quotes moved, altered, about checkpoints that a log never had. What they say is step 21's to judge."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sigillo.core.attestation import decode_attestation, encode_attestation
from sigillo.core.errors import DecodeError
from sigillo.core.evidence_line import AttestationLine, Line
from sigillo.core.mark import Checkpoint

from ..adversary.broker import NOW_NS
from ..adversary.log import LoggedStory, logged_file
from ..adversary.story import failing_steps, outcome
from ..adversary.tpm import LyingTpm
from ..vector.key import filler

UNMEASURED = [21]
"""These epochs name no attestation key."""


@pytest.fixture
def story() -> LoggedStory:
    """An epoch with marks between two quotes."""
    story = LoggedStory()
    tpm = LyingTpm()
    story.publish(2)
    story.log.quote(tpm)
    story.publish(2)
    story.log.quote(tpm)
    story.log.sign()
    return story


def judged(story: LoggedStory, lines: list[Line]) -> list[int]:
    return failing_steps(story.verdict(logged_file(lines, story.log.read, story.log.note())))


def changed(story: LoggedStory, **changes: object) -> list[Line]:
    """The lines, with the first quote's evidence changed."""
    lines = story.log.lines()
    at = next(at for at, line in enumerate(lines) if isinstance(line, AttestationLine))
    line = lines[at]
    assert isinstance(line, AttestationLine)
    subject = replace(decode_attestation(line.evidence).subject, **changes)
    lines[at] = replace(line, evidence=encode_attestation(replace(decode_attestation(line.evidence), subject=subject)))
    return lines


def test_quotes_where_the_log_has_them_are_no_fault(story: LoggedStory) -> None:
    assert judged(story, story.log.lines()) == UNMEASURED


def test_a_mark_may_name_an_older_checkpoint_than_the_quote_before_it(story: LoggedStory) -> None:
    """The plugin hears of a checkpoint a moment later than the attester reads it."""
    seen = story.log.sign().checkpoint
    story.publish()
    story.log.append()
    story.log.quote(LyingTpm())
    story.broker.checkpoint = seen
    story.publish()
    assert judged(story, story.log.lines()) == UNMEASURED


def test_another_quote_than_the_log_has_is_refused(story: LoggedStory) -> None:
    assert 14 in judged(story, changed(story, epoch_id=filler("another epoch")))


def test_a_quote_about_a_checkpoint_of_another_history_is_misbehaviour(story: LoggedStory) -> None:
    size = len(story.log.entries)
    story.log.quote(LyingTpm(), Checkpoint(size, filler("another root")))
    verdict = story.verdict()
    assert 15 in failing_steps(verdict)


def test_a_quote_about_a_checkpoint_that_was_not_there_yet_is_refused(story: LoggedStory) -> None:
    ahead = len(story.log.entries) + 1
    story.log.quote(LyingTpm(), Checkpoint(ahead, filler("a root to come")))
    story.publish(2)
    assert 15 in failing_steps(story.verdict())


def test_a_quote_before_its_epoch_is_unreadable(story: LoggedStory) -> None:
    header, *rest = story.log.file().splitlines(keepends=True)
    at = next(at for at, line in enumerate(rest) if b'"type":"attestation"' in line)
    moved = b"".join([header, rest[at], *rest[:at], *rest[at + 1 :]])
    assert isinstance(outcome(moved, story.policy, NOW_NS), DecodeError)
