"""Which time-stamp tokens an evidence file needs: for each message the nearest on either side (spec/evidence.md)."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

from sigillo.archive.log_view import LoggedToken

FURTHER = 1024
"""Tokens after all messages that are looked at for one of a TSA that none before was of."""


def nearest(tokens: Iterable[LoggedToken], inside: Sequence[int], over: Sequence[int]) -> list[LoggedToken]:
    """Of each TSA the newest token below each size in *inside*, and the first about more than each index in *over*.

    *tokens* ascend by index, as do those that are returned. *inside*: the sizes that marks name and that beacons are
    of, *over*: the indexes of marks, both ascending.
    """
    before: dict[str, LoggedToken] = {}  # by TSA
    covered: dict[str, int] = {}  # by TSA: all entries below are, by a token so far
    found: dict[int, LoggedToken] = {}
    last, further = max([0, *inside[-1:], *over[-1:]]), 0

    def keep_newest_below(token: LoggedToken, next_index: int) -> None:
        at = bisect_right(inside, token.index)
        if at < len(inside) and inside[at] <= next_index:
            found[token.index] = token

    for token in tokens:
        if token.tsa in before:
            keep_newest_below(before[token.tsa], token.index)
        before[token.tsa] = token
        done = covered.get(token.tsa, 0)
        if bisect_left(over, done) < bisect_left(over, token.size):
            found[token.index] = token
        covered[token.tsa] = max(done, token.size)
        further += token.index > last
        if further > FURTHER and min(covered.values()) > last:
            break
    for token in before.values():
        keep_newest_below(token, 2**64)
    return [found[index] for index in sorted(found)]
