"""Attack 17, 31, 40: a log that was cut off, rolled back or restored and goes on. Marks name what was there."""

from __future__ import annotations

import copy

from sigillo.core.errors import DecodeError

from ..adversary.device import ed25519_key
from ..adversary.log import LoggedStory, logged, logged_file
from ..adversary.story import failing_steps, outcome


def restored() -> tuple[LoggedStory, LoggedStory]:
    """A log, and the same one from a backup of after the first round: the broker goes on, its last round is gone."""
    story = LoggedStory()
    story.publish()
    backup = copy.deepcopy(story.log.entries)
    story.publish()
    forked = copy.deepcopy(story)
    forked.log.entries = backup
    for _ in range(3):
        forked.broker.signed.pop(-1)
        forked.broker.lines.pop()
    forked.log._taken -= 3
    for device in forked.devices[:2]:
        forked.broker.publish(device)
    for _ in range(2):
        forked.broker.publish(forked.third, form="cose")
    return story, forked


def test_a_log_cut_off_and_signed_again_has_not_the_entries() -> None:
    story = logged()
    lines, read = story.log.lines(), story.log.read
    short = logged_file(lines, read, story.log.note(story.log.head(10)), size=len(story.log.entries))
    refused = outcome(short, story.policy)
    assert isinstance(refused, DecodeError)
    assert "is at entry 10 of the log, which stands before entry 15" in str(refused)
    del story.log.entries[8]  # and so that nobody sees it, another entry instead
    story.log.entries.append(story.log.entries[0])
    assert 14 in failing_steps(story.verdict(logged_file(lines, story.log.read, story.log.note())))


def test_a_mark_that_saw_what_the_backup_lacks() -> None:
    """The broker, unaware, names the root of the history that is gone: at that size this log had another."""
    _, forked = restored()
    verdict = forked.verdict()
    assert 15 in failing_steps(verdict)
    found = " ".join(finding.text for finding in verdict.checks[14].failures.listed)
    assert "size 7, which was not there yet" in found
    assert "size 7 with another root than this log had: this proves misbehaviour" in found


def test_a_checkpoint_by_another_key() -> None:
    story = logged()
    note = story.log.note(private=ed25519_key("another"))
    assert failing_steps(story.verdict(logged_file(story.log.lines(), story.log.read, note))) == [14]


def test_a_checkpoint_of_another_root() -> None:
    story = logged()
    lines, read = story.log.lines(), story.log.read
    story.log.entries[-1] = story.log.entries[0]
    assert failing_steps(story.verdict(logged_file(lines, read, story.log.note()))) == [14]


def test_a_stale_checkpoint_is_good_for_what_it_covers_and_unreadable_with_more() -> None:
    story = logged()
    lines, head = story.log.lines(), story.log.head(11)
    below = [line for line in lines if (getattr(line, "index", None) or 0) < 9 and line.kind not in ("heads", "head")]
    verdict = story.verdict(logged_file(below, story.log.read, story.log.note(head)))
    assert verdict.verified
    assert verdict.summary.log and verdict.summary.log.complete_to == 4
