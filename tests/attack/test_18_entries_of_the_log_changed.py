"""Attack 18, 19: entries deleted, inserted, renumbered, exchanged, never logged. Each is refused by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from sigillo.core.entry import Kind, LogEntry
from sigillo.core.errors import DecodeError
from sigillo.core.evidence_line import EndLine, EntryLine, EpochLine, HeadLine, HeadsLine, Line, MessageLine
from sigillo.core.heads import encode_heads
from sigillo.core.policy import MissingTrust
from sigillo.core.verdict import LOG_STEPS, Result

from ..adversary.broker import NOW_NS
from ..adversary.log import LoggedStory, logged, logged_file
from ..adversary.story import failing_steps, outcome, verdict_on


def placed(story: LoggedStory) -> list[Line]:
    return story.log.lines()


def judged(story: LoggedStory, lines: list[Line]) -> list[int]:
    """The steps at which these lines fail, with a proof made of the log as it is."""
    return failing_steps(story.verdict(logged_file(lines, story.log.read, story.log.note())))


def at(lines: list[Line], index: int) -> int:
    return next(place for place, line in enumerate(lines) if isinstance(line, EntryLine) and line.index == index)


def test_a_message_left_out_is_named() -> None:
    """Deletion: what the file skips it still proves, and the counts have a hole."""
    story = logged()
    lines = placed(story)
    del lines[at(lines, 4)]
    assert {11, 16} <= set(judged(story, lines))


def test_the_last_message_left_out_is_named_by_the_heads() -> None:
    """The counts of what is shown have no hole, the device's numbers neither: only the heads know."""
    story = logged()
    lines = placed(story)
    del lines[at(lines, 6 + 6)]
    verdict = story.verdict(logged_file(lines, story.log.read, story.log.note()))
    assert failing_steps(verdict) == [16]
    assert "1 marked message(s) of" in verdict.checks[15].failures.listed[0].text


def test_a_message_left_out_by_its_bytes_is_unreadable() -> None:
    story = logged()
    lines = story.log.file().splitlines(keepends=True)
    assert isinstance(outcome(b"".join([*lines[:3], *lines[4:]]), story.policy, NOW_NS), DecodeError)


def test_lines_in_another_order_are_unreadable() -> None:
    story = logged()
    lines = story.log.file().splitlines(keepends=True)
    lines[2], lines[3] = lines[3], lines[2]
    assert isinstance(outcome(b"".join(lines), story.policy, NOW_NS), DecodeError)


def test_a_message_inserted_that_was_never_logged() -> None:
    """The broker's own key signed it; the log has something else there."""
    story = logged()
    story.broker.start()
    story.log.sign()
    line = story.broker.publish(story.first)
    story.broker.signed.pop()
    story.broker.publish(story.second)
    story.log._taken = len(story.broker.signed) - 1
    story.log.append()
    lines = [item for item in story.broker.lines if item is not line]
    made = story.log.lines(lines[:-1])
    made.append(dataclasses.replace(line, index=len(story.log.entries) - 1))
    assert 14 in judged(story, made)


def swap(lines: list[Line], first: int, second: int) -> list[Line]:
    """Two lines with their indexes exchanged, in the order of the indexes."""
    one, other = lines[at(lines, first)], lines[at(lines, second)]
    assert isinstance(one, EntryLine) and isinstance(other, EntryLine)
    made = list(lines)
    made[at(lines, first)] = dataclasses.replace(other, index=first)
    made[at(lines, second)] = dataclasses.replace(one, index=second)
    return made


@pytest.mark.parametrize(("first", "second"), [(1, 2), (2, 6), (6, 7)])
def test_swapped_leaves(first: int, second: int) -> None:
    story = logged()
    assert 14 in judged(story, swap(placed(story), first, second))


def relogged(change: Callable[[list[LogEntry]], None]) -> list[int]:
    """The log itself has other entries, and signs them: the lines stay where they were."""
    story = LoggedStory()
    story.broker.publish(story.first)
    story.broker.publish(story.second)
    story.broker.stop()
    story.log.append()
    lines = story.log.lines()
    change(story.log.entries)
    return judged(story, lines)


def replaced(index: int, **fields: object) -> Callable[[list[LogEntry]], None]:
    def change(entries: list[LogEntry]) -> None:
        entries[index] = dataclasses.replace(entries[index], **fields)

    return change


@pytest.mark.parametrize(
    "change",
    [
        replaced(2, sequence=3),
        replaced(2, epoch=2),
        replaced(2, kind=Kind.SEAL),
        replaced(2, object_hash=b"\x07" * 32),
        replaced(0, kind=Kind.TOKEN),
        replaced(3, kind=Kind.SEAL),
        replaced(4, kind=Kind.TOKEN),
        lambda entries: entries.insert(1, entries.pop(2)),
    ],
    ids=["renumbered", "other epoch", "other kind", "other object", "statement", "end", "heads", "reordered"],
)
def test_an_entry_of_another_kind_epoch_sequence_or_object(change: Callable[[list[LogEntry]], None]) -> None:
    assert 14 in relogged(change)


def test_marks_renumbered_without_room() -> None:
    """The broker jumps over sequences that the log has no place for: hidden marks would have to be there."""
    story = LoggedStory()
    story.broker.publish(story.first)
    story.broker.publish(story.second, sequence=5)
    story.log.append()
    verdict = story.verdict()
    assert failing_steps(verdict) == [15]
    assert "4 marks after sequence 1 cannot be between entries 1 and 2" in verdict.checks[14].failures.listed[0].text


def test_the_next_statement_without_room_for_what_it_says() -> None:
    story = LoggedStory()
    story.broker.publish(story.first)
    story.broker.die()
    ended = story.broker._ended
    assert ended
    story.broker.start(previous=dataclasses.replace(ended, last_sequence=9))
    story.broker.publish(story.first)
    assert 15 in failing_steps(story.verdict())


def test_a_mark_that_names_what_was_not_there_yet() -> None:
    story = logged()
    story.broker.start()
    checkpoint = dataclasses.replace(story.broker.checkpoint, size=40)
    story.broker.publish(story.first, checkpoint=checkpoint)
    verdict = story.verdict()
    assert failing_steps(verdict) == [15]
    assert "was not there yet" in verdict.checks[14].failures.listed[0].text


def test_a_mark_that_names_an_older_checkpoint_than_the_one_before() -> None:
    story = logged()
    old = story.log.head(3).checkpoint
    story.broker.start()
    story.broker.publish(story.first, checkpoint=old)
    assert failing_steps(story.verdict()) == [15]


def test_a_file_that_does_not_stop_where_a_mark_looks() -> None:
    story = logged()
    data = logged_file(placed(story), story.log.read, story.log.note(), named=())
    verdict = story.verdict(data)
    assert failing_steps(verdict) == [15]
    assert "does not stop at size" in verdict.checks[14].failures.listed[0].text


def test_heads_that_hide_a_mark() -> None:
    """The log's heads say one mark fewer than the file shows, or another last one."""
    story = logged()
    story.broker.start()
    for _ in range(2):
        story.broker.publish(story.first)
    story.log.append()
    honest = story.log.last
    first = story.broker.signed[-2]
    story.broker.stop()
    lie = dataclasses.replace(honest["crate-1"], count=1, last_mark=first.entry.object_hash, last_sequence=1)
    story.log.entries.append(story.broker.signed[-1].entry)
    story.log._taken += 1
    story.log.append_heads({"crate-1": lie})
    assert 16 in failing_steps(story.verdict())


def test_heads_that_name_another_last_mark() -> None:
    story = LoggedStory()
    story.broker.publish(story.first)
    story.log.append()
    story.log.append_heads({"crate-1": dataclasses.replace(story.log.last["crate-1"], last_mark=b"\x07" * 32)})
    verdict = story.verdict()
    assert failing_steps(verdict) == [16]
    assert "names another last mark" in verdict.checks[15].failures.listed[0].text


def test_a_head_of_somebody_else_and_heads_of_another_epoch() -> None:
    story = logged()
    lines = placed(story)
    heads = [place for place, line in enumerate(lines) if isinstance(line, HeadsLine)]
    one = lines[heads[0] + 1]
    assert isinstance(one, HeadLine)
    lines[heads[0] + 1] = dataclasses.replace(one, principal="crate-0")
    assert judged(story, lines) == [16]
    other = story.log.heads[1].table.heads
    line = lines[heads[0]]
    assert isinstance(line, HeadsLine)
    lines[heads[0]] = dataclasses.replace(line, heads=encode_heads(other))
    assert {14, 16} <= set(judged(story, lines))


def test_a_mark_after_the_end_of_its_epoch() -> None:
    story = LoggedStory()
    story.broker.start()
    story.broker.publish(story.first)
    epoch = story.broker.epoch
    story.broker.stop()
    story.broker.epoch = epoch
    story.broker.publish(story.first)
    assert failing_steps(story.verdict()) == [7]


def test_without_a_log_nothing_says_that_there_was_one() -> None:
    """Who strips the proof gets less: the verdict says that log inclusion is missing, and nothing of completeness."""
    story = logged()
    bare = [line for line in story.broker.lines if isinstance(line, EpochLine | MessageLine | EndLine)]
    verdict = verdict_on(bare, story.policy)
    assert {verdict.checks[step - 1].result for step in LOG_STEPS} == {Result.MISSING}
    strict = dataclasses.replace(story.policy, missing=MissingTrust())
    assert failing_steps(verdict_on(bare, strict)) == [14, 18, 19, 20]
    assert verdict.summary.log is None
