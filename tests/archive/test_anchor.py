"""Which tokens an evidence file needs, compared with the plain reading of the rule."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from sigillo.archive.anchor import nearest
from sigillo.archive.log_view import LoggedToken


@st.composite
def logs(draw: st.DrawFn) -> list[LoggedToken]:
    indexes = sorted(draw(st.sets(st.integers(1, 40), max_size=12)))
    return [LoggedToken(index, draw(st.integers(0, index)), draw(st.sampled_from("ab"))) for index in indexes]


PLACES = st.sets(st.integers(0, 45), max_size=8).map(sorted)


def plainly(tokens: Sequence[LoggedToken], inside: Sequence[int], over: Sequence[int]) -> set[LoggedToken]:
    """Word by word."""
    found: set[LoggedToken] = set()
    for tsa in "ab":
        of_it = [token for token in tokens if token.tsa == tsa]
        for size in inside:
            found |= set([token for token in of_it if token.index < size][-1:])
        for index in over:
            found |= set([token for token in of_it if token.size > index][:1])
    return found


@settings(deadline=None)
@given(logs(), PLACES, PLACES)
def test_of_each_tsa_the_nearest_on_either_side(tokens: list[LoggedToken], inside: list[int], over: list[int]) -> None:
    assert nearest(tokens, inside, over) == sorted(plainly(tokens, inside, over), key=lambda token: token.index)


def test_few_messages_take_few_tokens_along() -> None:
    tokens = [LoggedToken(10 * n, 10 * n - 1, "a") for n in range(1, 1000)]
    assert [token.index for token in nearest(tokens, [55, 5000], [56, 5001])] == [50, 60, 4990, 5010]


def test_what_comes_long_after_the_last_one_needed_is_not_read() -> None:
    read = iter([LoggedToken(n, n, "a") for n in range(1, 10_000)])
    nearest(read, [3], [4])
    assert next(read).index < 1_100
