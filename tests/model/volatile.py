"""A disk in small: what is written is volatile until it is flushed.

A *cell* is what is written and lost as one: a record of a file, a name in a folder. Readers see `now`; a power cut
leaves any one of `disk`, each cell by itself, so writes are lost in any combination and in any order. A flush that
fails is that of Linux: the kernel takes the pages for clean, readers still see them, and the next flush succeeds
without writing them (attack 32).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

TORN = "torn"
"""Content that was named but never flushed, after a power cut."""


class Cell(NamedTuple):
    """`disk`: what a power cut may leave. `dirty`: the next flush writes it."""

    now: Any
    disk: frozenset[Any]
    dirty: bool


class Unflushed(NamedTuple):
    """A file that got its name before its content was flushed: what only a broken protocol makes."""

    content: Any


def settled(value: Any) -> Cell:
    return Cell(value, frozenset((value,)), False)


NOTHING = settled(None)


def write(cell: Cell, value: Any) -> Cell:
    return Cell(value, cell.disk | {value}, True)


def read(cell: Cell) -> Any:
    return cell.now.content if isinstance(cell.now, Unflushed) else cell.now


def flush(cell: Cell) -> Cell:
    return settled(cell.now) if cell.dirty else cell


def fail_to_flush(cell: Cell) -> Cell:
    return cell._replace(dirty=False) if cell.dirty else cell


def is_forgotten(cell: Cell) -> bool:
    """Whether the kernel takes it for written although it may not be: from now on a reader may get either."""
    return not cell.dirty and len(cell.disk) > 1


def after_power_cut(cell: Cell) -> Iterator[Cell]:
    for value in cell.disk:
        if isinstance(value, Unflushed):
            yield settled(value.content)
            yield settled(TORN)
        else:
            yield settled(value)


def trimmed(cells: tuple[Cell, ...]) -> tuple[Cell, ...]:
    """*cells* without those at the end in which there is nothing, so that equal disks are equal."""
    while cells and cells[-1] == NOTHING:
        cells = cells[:-1]
    return cells
