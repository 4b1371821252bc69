"""Bounds of k of n TSAs: fewer than k liars cannot move them past what is true; waiting in groups makes none wrong."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sigillo.core import bracket
from sigillo.core.bracket import Anchor, At, Bound, Group, Inside, Waiting, lower_bound, upper_bound

NAMES = ("A", "B", "C", "D", "E")
times = st.integers(0, 1000)


def anchor(tsa: str, time_ns: int, size: int = 10, index: int = 10) -> Anchor:
    return Anchor(tsa, size, index, time_ns - 1, time_ns + 1)


@given(st.data(), st.integers(1, 5), times)
def test_fewer_than_k_liars_move_no_bound_past_the_truth(data: st.DataObject, quorum: int, truth: int) -> None:
    """*truth*: when the mark was made. Honest tokens over it are from later, honest ones inside from before."""
    liars = set(data.draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=quorum - 1)))
    over = [anchor(name, data.draw(times if name in liars else st.integers(truth, 2000))) for name in NAMES]
    inside = [anchor(name, data.draw(times if name in liars else st.integers(-1000, truth))) for name in NAMES]
    upper, lower = upper_bound(over, quorum), lower_bound(inside, quorum)
    assert upper and lower
    assert lower.time_ns <= truth <= upper.time_ns
    for bound in (upper, lower):
        assert len(bound.liars) >= quorum


@given(st.permutations([3, 1, 2]), st.integers(1, 4))
def test_the_bound_is_the_kth(shuffled: list[int], quorum: int) -> None:
    anchors = [anchor(name, time_ns * 10) for name, time_ns in zip(NAMES, shuffled, strict=False)]
    upper, lower = upper_bound(anchors, quorum), lower_bound(anchors, quorum)
    if quorum == 4:
        assert upper is None and lower is None
        return
    assert upper and lower
    assert (upper.time_ns, lower.time_ns) == (10 * quorum + 1, 10 * (4 - quorum) - 1)
    assert len(upper.anchors) == len(lower.anchors) == quorum


def test_the_latest_inside_counts_even_where_it_came_first() -> None:
    inside = Inside()
    assert inside.latest() is None
    for made in (anchor("A", 50), anchor("A", 40), anchor("B", 30)):
        inside.add(made)
    assert inside.latest() == anchor("A", 50)
    assert inside.bound(1) == Bound(49, (anchor("A", 50),))
    assert inside.bound(2) == Bound(29, (anchor("A", 50), anchor("B", 30)))


def mark(index: int, time_ns: int = 0) -> Group:
    return Group(index, At(time_ns, index))


def test_a_mark_waits_for_k_tokens_over_it() -> None:
    waiting = Waiting()
    waiting.add(mark(3))
    waiting.cut()
    waiting.add(mark(5))
    assert waiting.cover(anchor("A", 20, size=4), 2) == []
    assert waiting.cover(anchor("A", 10, size=4), 2) == []
    [(group, bound)] = waiting.cover(anchor("B", 40, size=6), 2)
    assert (group.last, bound.time_ns) == (3, 41)
    assert {found.not_after_ns for found in bound.anchors} == {11, 41}  # the earliest of each
    assert [group.last for group in waiting.rest()] == [5]
    [(group, bound)] = waiting.cover(anchor("A", 50, size=6), 2)
    assert (group.last, bound.time_ns) == (5, 51)
    assert waiting.rest() == []
    waiting.add(mark(9))  # without a stop before it: nothing is left to join
    assert [group.last for group in waiting.rest()] == [9]


@given(st.lists(st.tuples(st.integers(1, 3), st.booleans()), min_size=1, max_size=40), st.integers(1, 6))
def test_joining_groups_makes_bounds_later_never_wrong(steps: list[tuple[int, bool]], most: int) -> None:
    """Against each mark on its own: a bound of a group is never before that of any mark in it, and no mark is lost."""
    held, bracket.MAX_GROUPS = bracket.MAX_GROUPS, most
    try:
        _compared(steps, most)
    finally:
        bracket.MAX_GROUPS = held


def _compared(steps: list[tuple[int, bool]], most: int) -> None:
    waiting = Waiting()
    alone: dict[int, int | None] = {}
    bounds: dict[int, int] = {}
    index = judged = 0
    for number, (marks, is_anchored) in enumerate(steps):
        waiting.cut()
        size = index
        for _ in range(marks):
            waiting.add(mark(index))
            alone[index] = None
            index += 1
        assert len(waiting.rest()) <= most + 1
        if is_anchored:
            token = anchor("A", 100 + number, size=size)
            for at, known in alone.items():
                if known is None and at < size:
                    alone[at] = token.not_after_ns
            for group, bound in waiting.cover(token, 1):
                bounds[group.last] = bound.time_ns
                judged += group.count
    assert judged + sum(group.count for group in waiting.rest()) == index
    for last, time_ns in bounds.items():
        own = alone[last]
        assert own is not None and own <= time_ns
