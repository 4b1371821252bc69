"""Attack 13: a device, or who has its key, signs a beacon that bounds nothing: never seen, of another log, of later."""

from __future__ import annotations

import hashlib

import pytest

from sigillo.core.bytes import base64_encode
from sigillo.core.errors import DecodeError

from ..adversary.story import failing_steps, outcome
from ..adversary.third import ThirdStory, bracketed


def with_beacon(beacon: bytes) -> ThirdStory:
    story = bracketed()
    story.signed(story.first, beacon=beacon)
    story.anchor()
    return story


def text(origin: str, size: int, root: bytes) -> str:
    return f"{origin}\n{size}\n{base64_encode(root)}\n"


@pytest.mark.parametrize(
    "beacon",
    [bytes(32), hashlib.sha256(text("broker.example/log", 900, bytes(32)).encode()).digest()],
    ids=["of nothing", "of a size that was not there yet"],
)
def test_a_beacon_that_no_checkpoint_of_the_log_has_fails(beacon: bytes) -> None:
    verdict = with_beacon(beacon).judged()
    assert failing_steps(verdict) == [20]
    assert beacon.hex() in verdict.checks[19].failures.listed[0].text


def test_a_beacon_of_a_later_state_of_this_log_fails() -> None:
    """The message is from before that checkpoint, by its place: the file can show the checkpoint below it only."""
    honest = bracketed()
    honest.anchor()
    late = honest.log.beacon()
    story = bracketed()
    assert late not in {hashlib.sha256(note.encode()).digest() for note in story.log.beacons.values()}
    story.signed(story.first, beacon=late)
    story.anchor()
    assert failing_steps(story.judged()) == [20]


def test_a_checkpoint_of_another_root_or_origin_cannot_be_shown() -> None:
    """A line with it is no checkpoint of this log; a root that is not that of the stop makes the file unreadable."""
    forged = text("broker.example/log", 3, b"\x07" * 32)
    story = with_beacon(hashlib.sha256(forged.encode()).digest())
    story.log.beacons[3] = forged
    assert isinstance(outcome(story.file(), story.trust()), DecodeError)


def test_an_old_beacon_counts_for_what_it_is() -> None:
    """It bounds the signing less closely; the bracket of the mark does not get wider by it."""
    story = bracketed()
    old = story.log.beacon()
    for _ in range(3):
        story.anchor()
    story.signed(story.first, beacon=old)
    story.anchor()
    verdict = story.judged()
    assert verdict.verified
    signed, marked = verdict.summary.bounds.signed_after, verdict.summary.bounds.marked_after
    assert signed and marked
    assert signed.last.time_ns < marked.last.time_ns
