"""Device counters: gaps, late messages, wraps, and bounded memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigillo.core import history
from sigillo.core.history import MAX_OPEN_GAPS, Contents, DeviceCounter


def shown(bits: int, numbers: list[int]) -> tuple[int, list[str | None]]:
    counter = DeviceCounter(bits)
    found = [counter.show(number) for number in numbers]
    return counter.lost, found


@pytest.mark.parametrize(
    ("numbers", "lost", "last"),
    [
        ([1, 2, 3], 0, None),
        ([5, 6], 0, None),
        ([1, 3], 1, None),
        ([1, 3, 2], 0, "reordering"),
        ([1, 9, 4], 6, "reordering"),
        ([1, 9, 4, 4], 6, "reused"),
        ([3, 4, 1], 1, "reordering"),  # what lies below the first shown counts too, once something there was shown
        ([10, 1], 8, "reordering"),
        ([2**64 - 1, 0], 2**64 - 2, "reordering"),
        ([10, 5, 5], 4, "reused"),
        ([3, 4, 4], 0, "reused"),
        ([1, 2**64 - 1], 2**64 - 3, None),
    ],
)
def test_64_bits(numbers: list[int], lost: int, last: str | None) -> None:
    total, found = shown(64, numbers)
    assert (total, found[-1]) == (lost, last)


@pytest.mark.parametrize(
    ("numbers", "lost", "last"),
    [
        ([254, 255, 0, 1], 0, None),
        ([254, 1], 2, None),
        ([250, 0, 251], 4, "reordering"),
        ([10, 11, 11], 255, None),  # other content under the same number: the counter went round
        ([10, 12, 4], 1 + 247, None),  # no gap that 4 could fill: it went round, nothing is excused
    ],
)
def test_8_bits(numbers: list[int], lost: int, last: str | None) -> None:
    total, found = shown(8, numbers)
    assert (total, found[-1]) == (lost, last)


@given(st.permutations(range(100, 140)))
def test_every_order_of_all_numbers_loses_nothing(numbers: list[int]) -> None:
    lost, found = shown(64, numbers)
    assert lost == 0
    assert "reused" not in found


@given(st.lists(st.integers(0, 300), min_size=1, max_size=60, unique=True))
def test_lost_is_what_lies_between_lowest_and_highest(numbers: list[int]) -> None:
    lost, _ = shown(64, numbers)
    between = set(range(min(numbers), max(numbers) + 1))
    assert lost == len(between - set(numbers))


def test_gaps_are_bounded_and_never_forgotten() -> None:
    counter = DeviceCounter(64)
    for number in range(0, 4 * MAX_OPEN_GAPS, 2):
        counter.show(number)
    assert len(counter._gaps) == MAX_OPEN_GAPS
    assert counter.lost == 2 * MAX_OPEN_GAPS - 1
    assert counter.show(1) == "untold"  # too old to place: it may have been shown before with other content
    assert counter.lost == 2 * MAX_OPEN_GAPS - 1


def test_filling_the_middle_of_gaps_stays_bounded() -> None:
    counter = DeviceCounter(64)
    counter.show(0)
    counter.show(1000)
    for number in range(2, 1000, 2):
        counter.show(number)
    assert len(counter._gaps) <= MAX_OPEN_GAPS
    assert counter.lost >= 500


def test_contents_are_remembered_by_device_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MAX_REMEMBERED", 3)
    contents = Contents()
    assert contents.first_mark("a", b"1", (1, 1)) is None
    assert contents.first_mark("a", b"1", (1, 2)) == (1, 1)
    assert contents.first_mark("b", b"1", (1, 3)) is None
    assert [contents.is_first((1, number)) for number in (1, 2, 3)] == [True, False, True]
    for number, content in enumerate((b"2", b"3", b"4"), start=4):
        assert contents.first_mark("a", content, (1, number)) is None
    assert len(contents._seen) == len(contents._marked) == 3
    assert not contents.is_first((1, 1))
    assert contents.first_mark("a", b"1", (1, 7)) is None  # forgotten
