"""Bounds in time that time-stamp authorities give to marks, k of n (spec/verification.md, "Bracket").

Arithmetic over anchors, each of which is a token that verified. A mark waits for its upper bound in a group: one for
each interval between stops, so that memory does not grow with the length of a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import zip_longest

from sigillo.core.certificate import CertifiedKey
from sigillo.core.errors import VerificationError

MAX_GROUPS = 4096


@dataclass(frozen=True, slots=True)
class Anchor:
    """A token of a TSA that the reader trusts, entry *index* of the log, over the checkpoint of *size*.

    What comes after the entry is not from before *not_before_ns*; the entries below the size existed not later than
    *not_after_ns* (ns of Unix time).
    """

    tsa: str
    size: int
    index: int
    not_before_ns: int
    not_after_ns: int


@dataclass(frozen=True, slots=True)
class Bound:
    """A time, and what it rests on: the anchors, all of whose TSAs must have lied for it to be false.

    Without anchors it is the word of *operator*.
    """

    time_ns: int
    anchors: tuple[Anchor, ...] = ()
    operator: str = ""

    @property
    def liars(self) -> tuple[str, ...]:
        """The parties who, together, must have lied for it to be false."""
        return tuple(sorted(f"TSA {anchor.tsa}" for anchor in self.anchors)) or (f"operator {self.operator}",)


@dataclass(frozen=True, slots=True)
class Beacon:
    """A checkpoint that devices name by its hash. *bound*: what was made with it is not from before that; or None."""

    size: int
    bound: Bound | None


def lower_bound(latest: Iterable[Anchor], quorum: int) -> Bound | None:
    """The earliest of the *quorum* latest. *latest*: one anchor of each TSA, inside the checkpoint that is named."""
    ordered = sorted(latest, key=lambda anchor: anchor.not_before_ns, reverse=True)
    if len(ordered) < quorum:
        return None
    time_ns = ordered[quorum - 1].not_before_ns
    return Bound(time_ns, tuple(anchor for anchor in ordered if anchor.not_before_ns >= time_ns))


def upper_bound(earliest: Iterable[Anchor], quorum: int) -> Bound | None:
    """The latest of the *quorum* earliest. *earliest*: one anchor of each TSA, over the entry."""
    ordered = sorted(earliest, key=lambda anchor: anchor.not_after_ns)
    if len(ordered) < quorum:
        return None
    time_ns = ordered[quorum - 1].not_after_ns
    return Bound(time_ns, tuple(anchor for anchor in ordered if anchor.not_after_ns <= time_ns))


class Inside:
    """The tokens passed so far: of each TSA the one that says the latest."""

    def __init__(self) -> None:
        self._latest: dict[str, Anchor] = {}

    def add(self, anchor: Anchor) -> None:
        """The next one in the log."""
        held = self._latest.get(anchor.tsa)
        if held is None or anchor.not_before_ns > held.not_before_ns:
            self._latest[anchor.tsa] = anchor

    def bound(self, quorum: int) -> Bound | None:
        """Lower bound of what names a checkpoint with just these inside."""
        return lower_bound(self._latest.values(), quorum)

    def latest(self) -> Anchor | None:
        """The one that says the latest of all."""
        return max(self._latest.values(), key=lambda anchor: anchor.not_before_ns, default=None)


@dataclass(frozen=True, slots=True)
class At:
    """A time and the line of the file that it is of."""

    time_ns: int
    line: int | None


@dataclass(frozen=True, slots=True)
class Need:
    """A key of a device that its maker has to have certified by then.

    *at_mark*: what fails where the mark's own time, *operator*'s word, has to do.
    """

    line: int | None
    maker: str
    operator: str
    candidates: tuple[CertifiedKey, ...]
    at_mark: VerificationError | None


@dataclass(slots=True)
class Group:
    """Marks that wait together. *last*: index of the last; *latest*: time - error; *clock*: the devices' latest;
    *lower*: the earliest lower bound; *needs*: by device and key; *over*: by TSA its earliest token over all of them.
    """

    last: int
    latest: At
    count: int = 1
    clock: At | None = None
    lower: tuple[Bound, int | None] | None = None
    needs: dict[tuple[str, str], Need] = field(default_factory=dict)
    over: dict[str, Anchor] = field(default_factory=dict)

    def join(self, later: Group) -> None:
        """Take in the marks of the group after this one. What is not over those is not over all."""
        self.last, self.over = later.last, later.over
        self.count += later.count
        self.latest = max(self.latest, later.latest, key=lambda at: at.time_ns)
        self.clock = max((at for at in (self.clock, later.clock) if at), key=lambda at: at.time_ns, default=None)
        lowers = [lower for lower in (self.lower, later.lower) if lower]
        self.lower = min(lowers, key=lambda lower: lower[0].time_ns, default=None)
        for name, need in later.needs.items():
            held = self.needs.setdefault(name, need)
            if held.at_mark is None and need.at_mark is not None:
                self.needs[name] = need

    def cover(self, anchor: Anchor) -> None:
        """A token over all of them."""
        held = self.over.get(anchor.tsa)
        if held is None or anchor.not_after_ns < held.not_after_ns:
            self.over[anchor.tsa] = anchor


class Waiting:
    """The groups without an upper bound yet, in the order of the log; at most ``MAX_GROUPS``."""

    def __init__(self) -> None:
        self._groups: list[Group] = []
        self._cut = True

    def cut(self) -> None:
        """A stop: no token so far is about what comes next."""
        self._cut = True

    def add(self, mark: Group) -> None:
        """The next mark, as a group of one."""
        if not self._cut:
            self._groups[-1].join(mark)
            return
        if len(self._groups) >= MAX_GROUPS:
            self._groups = list(_joined_pairs(self._groups))
        self._groups.append(mark)
        self._cut = False

    def cover(self, anchor: Anchor, quorum: int) -> list[tuple[Group, Bound]]:
        """A token: the groups that have their upper bound by it, which wait no longer."""
        left, judged = [], []
        for group in self._groups:
            if group.last < anchor.size:
                group.cover(anchor)
            bound = upper_bound(group.over.values(), quorum)
            if bound:
                judged.append((group, bound))
            else:
                left.append(group)
        self._groups, self._cut = left, self._cut or not left
        return judged

    def rest(self) -> list[Group]:
        """Those that are pending."""
        return self._groups


def _joined_pairs(groups: list[Group]) -> Iterator[Group]:
    for first, second in zip_longest(groups[::2], groups[1::2]):
        if second:
            first.join(second)
        yield first
