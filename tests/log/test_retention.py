"""Old segments of the store go, and whoever comes to where they were says so; everything else works on."""

from __future__ import annotations

from pathlib import Path

import pytest

from sigillo.core.entry import Kind
from sigillo.core.proof import verify_proof
from sigillo.log import store as store_module
from sigillo.log.error import LogError, NotKept
from sigillo.log.fsck import NotChecked, fsck
from sigillo.log.reader import LogReader
from sigillo.log.store import Store

from .operator import Operator, check, entries, fault, small_segments
from .test_fsck import flip
from .test_start import at, crash


@pytest.fixture(autouse=True)
def _segments_of_eight(monkeypatch: pytest.MonkeyPatch) -> None:
    small_segments(monkeypatch, 8)


@pytest.fixture
def story(operator: Operator) -> Operator:
    """Three epochs: entries 0…13, 14…29, 30…34; nothing deleted."""
    operator.start()
    operator.mark(11)
    operator.end()
    operator.start()
    operator.mark(14)
    operator.die()
    operator.start()
    operator.mark(4)
    operator.run()
    assert operator.public().size == 35
    return operator


def keep(operator: Operator, count: int) -> None:
    with operator.open(keep_entries=count) as log:
        while log.round():
            pass


def segments(operator: Operator) -> list[str]:
    return sorted(path.name for path in (operator.log / "store").iterdir() if path.name != "resume")


def names(*numbers: int) -> list[str]:
    return sorted(f"{number:010}.{kind}" for number in numbers for kind in ("objects", "index"))


def not_checked(operator: Operator) -> list[NotChecked]:
    return [found for found in fsck(operator.folder, operator.broker.log_key) if isinstance(found, NotChecked)]


@pytest.mark.parametrize(
    ("count", "left"),
    [(0, range(5)), (35, range(5)), (28, range(5)), (27, range(1, 5)), (12, range(2, 5)), (11, range(3, 5))],
)
def test_whole_segments_go_as_far_as_is_said(story: Operator, count: int, left: range) -> None:
    keep(story, count)
    assert segments(story) == names(*left)
    check(story)


def test_the_newest_epoch_stays(story: Operator) -> None:
    story.mark(40)
    keep(story, 1)
    assert segments(story) == names(*range(3, 10))
    story.end()
    story.start()
    keep(story, 1)
    assert segments(story) == names(9)
    check(story)


def test_everything_goes_on_after_it(story: Operator) -> None:
    before = entries(story)
    keep(story, 1)
    for _ in range(3):
        story.mark(9)
        story.end()
        story.start()
        keep(story, 10)
        check(story)
    assert entries(story)[:35] == before
    assert segments(story)[0] > names(3)[0]


@pytest.mark.parametrize("count", [27, 20, 12, 1])
def test_fsck_says_what_it_did_not_check_and_checks_the_rest(story: Operator, count: int) -> None:
    keep(story, count)
    first = LogReader(story.log, story.broker.log_key).first_kept
    (left_out,) = not_checked(story)
    assert left_out.checks == (4,) and f"before {first} are not kept" in left_out.reason
    flip(story.log / f"store/{first // 8:010}.objects", 64 + 100)
    assert fault(story).check == 4


def test_fsck_needs_the_statement_of_the_epoch_where_the_store_begins(story: Operator) -> None:
    keep(story, 12)
    path = story.epochs / "0000000002.cose"
    data = path.read_bytes()
    path.write_bytes((story.epochs / "0000000001.cose").read_bytes())
    assert (fault(story).check, fault(story).reason) == (7, "is not the statement that is logged")
    path.unlink()
    assert fault(story).place == str(path)
    path.write_bytes(data)
    check(story)


@pytest.mark.parametrize("segment", [3, 4])
def test_what_is_missing_of_the_newest_epoch_is_no_retention(story: Operator, segment: int) -> None:
    for number in range(segment + 1):
        (story.log / f"store/{number:010}.objects").unlink()
    with pytest.raises(LogError, match=r"objects"):
        story.open()
    assert "does not hold all of epoch 3" in fault(story).reason or "is missing" in fault(story).reason


def test_a_hole_is_no_retention(story: Operator) -> None:
    (story.log / "store/0000000001.objects").unlink()
    assert "0000000001.objects: is missing" in fault(story).reason


def test_objects_that_are_not_kept_are_refused_by_name_and_entries_are_proven(story: Operator) -> None:
    reader = LogReader(story.log, story.broker.log_key)
    keep(story, 12)
    late = LogReader(story.log, story.broker.log_key)
    for of in (reader, late):  # also one that was there before
        with pytest.raises(NotKept, match="entry 15 is no longer kept"):
            of.record(15)
        assert of.record(16).index == 16
        verify_proof(of.proof(3), of.public.entry(3).leaf_hash, story.broker.log_key)
    heads = late.public.find(Kind.HEADS, 1, 11)
    assert heads == 13
    with pytest.raises(NotKept):
        late.head_table(heads)


@pytest.mark.parametrize("point", ["between the two files", "before the first", "after the first segment"])
def test_a_crash_in_d3(story: Operator, point: str) -> None:
    points = {
        "before the first": at(Store, "drop_lowest"),
        "between the two files": at(store_module.disk, "sync_folder"),
        "after the first segment": at(Store, "drop_lowest", 2),
    }
    story.mark()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Operator, "open", _keeping(Operator.open))
        if point == "between the two files":
            _crash_between(story, patch)
        else:
            crash(story, points[point])
    left = segments(story)
    if point == "between the two files":
        assert left == sorted([*names(*range(1, 5)), "0000000000.index"])
    check(story)
    keep(story, 1)
    assert segments(story) == names(3, 4)
    check(story)


def _keeping(original: object) -> object:
    """Open so that the deletion comes in the first round, not at the start."""

    def opened(operator: Operator) -> object:
        log = original(operator)  # type: ignore[operator]
        log._keep_entries = 1
        return log

    return opened


def _crash_between(operator: Operator, patch: pytest.MonkeyPatch) -> None:
    def dying(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".index":
            raise KeyboardInterrupt
        original(path, missing_ok)

    original = Path.unlink
    log = operator.open()
    patch.setattr(Path, "unlink", dying)
    with pytest.raises(KeyboardInterrupt):
        log.round()
    log.close()
