"""spec/verification.md, "Complete": up to which entry, what is admitted and not held, what is unknown beyond."""

from __future__ import annotations

import dataclasses
import gc
import tracemalloc
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from sigillo.core.appraise import appraise
from sigillo.core.errors import DecodeError
from sigillo.core.evidence_line import HeadLine, HeadsLine, MessageLine
from sigillo.core.line import split_lines
from sigillo.core.verdict import Verdict
from sigillo.core.verify import verify
from sigillo.report.text import render

from ..adversary.broker import NOW_NS, alone
from ..adversary.log import LoggedStory, logged, logged_file
from ..adversary.story import failing_steps, needed, outcome


def complete_to(verdict: Verdict) -> int | None:
    assert verdict.summary.log
    return verdict.summary.log.complete_to


def test_complete_up_to_the_newest_heads() -> None:
    story = logged()
    verdict = story.verdict()
    assert verdict.verified
    assert complete_to(verdict) == len(story.log.entries) - 1
    text = render(verdict).splitlines()[1]
    assert text.startswith("Complete up to entry 14 of log broker.example/log")
    assert text.endswith("unknown beyond entry 14")
    assert "log inclusion" not in [link.name for link in verdict.missing]


def test_without_heads_complete_up_to_the_last_mark_shown() -> None:
    story = LoggedStory()
    story.publish(2)
    verdict = story.verdict()
    assert verdict.verified
    assert complete_to(verdict) == 4  # that of crate-1; those of the others stand behind it
    assert [device.complete_to for device in verdict.summary.devices] == [4, 5, 6]


def test_an_epoch_without_heads_leaves_a_gap() -> None:
    """Between the epochs marks may be that the file lacks; a note says so, and completeness stays before it."""
    story = logged()
    lines = story.log.lines()
    first = next(at for at, line in enumerate(lines) if isinstance(line, HeadsLine))
    del lines[first : first + 4]
    verdict = story.verdict(logged_file(lines, story.log.read, story.log.note()))
    assert verdict.verified
    assert complete_to(verdict) == 4
    assert "unknown beyond entry 4" in verdict.checks[15].notes.listed[0].text


def test_a_silent_epoch_is_known_by_its_heads() -> None:
    """A device that says nothing in an epoch: absence is proven, and completeness goes on over it."""
    story = LoggedStory()
    story.broker.publish(story.first)
    story.broker.stop()
    story.broker.start()
    story.broker.publish(story.second)
    story.broker.stop()
    story.broker.start()
    story.broker.publish(story.first)
    story.broker.stop()
    verdict = story.verdict()
    assert verdict.verified
    assert complete_to(verdict) == len(story.log.entries) - 1


def test_marks_after_the_last_one_shown_are_withheld() -> None:
    story = logged()
    story.broker.start()
    story.broker.publish(story.first)
    story.broker.lose(story.first)
    story.broker.stop()
    assert failing_steps(story.verdict()) == [16]
    policy = dataclasses.replace(story.policy, missing=alone(allow_withheld=True))
    verdict = story.verdict(policy=policy)
    assert verdict.verified
    assert complete_to(verdict) == 16
    assert [permission for permission, _ in needed(verdict)] == ["missing.allow_withheld"]


def not_held() -> LoggedStory:
    """The broker marked a message of the first tracker that nobody kept; its mark is shown."""
    story = LoggedStory()
    story.broker.publish(story.first)
    lost = story.broker.mark(story.first.topic, story.first.datagram(), story.first.id)
    story.broker.lines.append(dataclasses.replace(lost, payload=None))
    story.broker.publish(story.first)
    story.broker.stop()
    return story


def test_admitted_not_held() -> None:
    story = not_held()
    verdict = story.verdict()
    assert failing_steps(verdict) == [10, 11]
    assert verdict.checks[9].failures.listed[0].text.startswith("admitted, not held: mark 2 of epoch 1")
    allowed = alone(allow_not_held=True, allow_lost=True)
    verdict = story.verdict(policy=dataclasses.replace(story.policy, missing=allowed))
    assert verdict.verified
    assert verdict.summary.not_held_count == 1
    assert verdict.summary.message_count == 2
    assert complete_to(verdict) == len(story.log.entries) - 1
    assert "admitted, not held" in render(verdict)


def test_what_is_admitted_is_checked_all_the_same() -> None:
    """Another topic than the mark's, or a mark of another principal's: nothing stands in a file unchecked."""
    story = not_held()
    at = next(at for at, line in enumerate(story.broker.lines) if isinstance(line, MessageLine) and not line.payload)
    line = story.broker.lines[at]
    assert isinstance(line, MessageLine)
    story.broker.lines[at] = dataclasses.replace(line, topic=story.second.topic)
    assert 6 in failing_steps(story.verdict())


def test_without_a_policy_the_signature_of_the_checkpoint_is_not_checked() -> None:
    story = logged()
    verdict = appraise(split_lines([story.log.file()]), None, 2**62)
    assert verdict.checks[13].result.value == "not checked"
    assert complete_to(verdict) is None


def peak(rounds: int, path: Path) -> int:
    """Bytes that verifying a file of *rounds* messages takes at most."""
    story = LoggedStory()
    story.broker.start()
    for at in range(rounds):
        story.broker.publish(story.second)
        if at % 10 == 0:
            story.log.sign()
    story.log.append()
    path.write_bytes(story.log.file())
    policy = story.policy
    del story
    gc.collect()
    with path.open("rb") as file:
        tracemalloc.start()
        assert verify(split_lines(iter(lambda: file.read(4096), b"")), policy, NOW_NS)
        taken = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return taken


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """Of a log proof what is kept is the cover of the entries so far and the newest stops.

    In a process of its own, and after a first run: what other tests left says when garbage is collected; caches fill.
    """
    with ProcessPoolExecutor(1, get_context("spawn")) as fresh:
        _, small, large = [fresh.submit(peak, rounds, tmp_path / "file").result() for rounds in (50, 50, 500)]
    assert large < small + 450 * 250 + 45 * 600  # the contents seen last, as of any file, and the stops


def test_a_head_below_a_head_out_of_order_is_unreadable() -> None:
    story = logged()
    lines = story.log.lines()
    heads = [at for at, line in enumerate(lines) if isinstance(line, HeadLine)]
    lines[heads[0]], lines[heads[1]] = lines[heads[1]], lines[heads[0]]
    assert isinstance(outcome(logged_file(lines, story.log.read, story.log.note()), story.policy), DecodeError)
