"""The state of disk, processes and what the world has seen; and how each file is read.

Sizes are small: 2 records in a spool segment, 2 entries in a tile, 4 in a segment of the store. A root is the list of
entries itself: a hash that never collides.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from .volatile import NOTHING, Cell, read, settled

SPOOL_WIDTH, STORE_WIDTH, TILE_WIDTH = 2, 4, 2
Root = tuple[str, ...]


@dataclass(frozen=True)
class Rules:
    """The bounds of one exploration, and what is broken in it (broken.py)."""

    marks: tuple[int, ...] = (2, 1)  # per epoch
    kills: int = 1
    power_cuts: int = 1
    failures: int = 0  # of a flush
    tokens: int = 1
    restores: int = 0  # of an old copy of the folder
    writers: int = 1
    strict: bool = False
    witness: bool = False
    broken: frozenset[str] = frozenset()
    claim: str = ""  # the only one to look at (claim.py), or all


class Entry(NamedTuple):
    """kind: S statement, M mark, E epoch end, H heads, T token; `life` counts restored copies (a key of its own)."""

    kind: str
    epoch: int
    sequence: int
    life: int


@cache
def name(kind: str, epoch: int, sequence: int, life: int) -> str:
    return f"{kind}{epoch}.{sequence}{'′' * life}"


@cache
def parsed(text: str) -> Entry:
    epoch, sequence = text[1:].rstrip("′").split(".")
    return Entry(text[0], int(epoch), int(sequence), text.count("′"))


class Statement(NamedTuple):
    """A countersigned statement in the epoch store. `boot`: the number of power cuts before it."""

    number: int
    previous_last: int
    ending: str
    boot: int
    life: int

    @property
    def entry(self) -> str:
        return name("S", self.number, 0, self.life)


class Segment(NamedTuple):
    """A spool segment: its name in the folder, and its records."""

    named: Cell
    records: tuple[Cell, ...]


class Disk(NamedTuple):
    """Everything in the operator's folder. The epoch store has tests of its own: here it is never torn."""

    epochs: tuple[Statement, ...] = ()
    spool: tuple[tuple[Segment, ...], ...] = ()  # per epoch that started
    store_names: tuple[Cell, ...] = ()
    store: tuple[Cell, ...] = ()
    tiles: tuple[Cell, ...] = ()  # partial and full tile 0, partial and full tile 1, …
    checkpoint: Cell = settled(())


class Plugin(NamedTuple):
    """`at`: the step that comes next. `segment` and `slot`: where the next record goes."""

    at: str
    epoch: int
    life: int
    sequence: int = 0
    segment: int = 0
    slot: int = 0


class Writer(NamedTuple):
    """`at`: the step that comes next. `known`: the checkpoint that it extends; `log`: what it decided; `done`: of the
    records or tiles of this step."""

    at: str
    known: Root = ()
    log: Root = ()
    done: int = 0


class State(NamedTuple):
    disk: Disk
    plugin: Plugin | None
    writers: tuple[Writer | None, ...]
    lock: int | None
    # what the world has seen
    delivered: tuple[int, ...]  # per epoch: marks 1…n that left the broker
    excused: frozenset[str]  # delivered, and lost where the contract allows it
    signed: Root  # of the largest checkpoint ever signed
    handed: int  # size of the largest checkpoint ever handed out
    witnessed: Root
    # what may still happen
    kills: int
    power_cuts: int
    failures: int
    tokens: int
    restores: int
    copy: Disk | None = None
    boot: int = 0
    life: int = 0
    fault: str = ""


def initial(rules: Rules) -> State:
    return State(
        Disk(),
        None,
        (None,) * rules.writers,
        None,
        (0,) * len(rules.marks),
        frozenset(),
        (),
        0,
        (),
        rules.kills,
        rules.power_cuts,
        rules.failures,
        rules.tokens,
        rules.restores,
    )


def put(items: tuple[Any, ...], index: int, value: Any, empty: Any = NOTHING) -> tuple[Any, ...]:
    """*items* with another value at *index*, made longer where needed."""
    items += (empty,) * (index + 1 - len(items))
    return (*items[:index], value, *items[index + 1 :])


# How files are read


def stored(disk: Disk) -> Root:
    """The entries of the store up to the first record that is not there whole."""
    return _stored(disk.store_names, disk.store)


@cache
def _stored(names: tuple[Cell, ...], store: tuple[Cell, ...]) -> Root:
    found = []
    for index, cell in enumerate(store):
        segment = index // STORE_WIDTH
        if cell.now is None or segment >= len(names) or not names[segment].now:
            break
        found.append(cell.now)
    return tuple(found)


def is_named(disk: Disk, segment: int) -> bool:
    return segment < len(disk.store_names) and bool(disk.store_names[segment].now)


@cache
def newest_epoch(log: Root) -> int:
    return max((parsed(entry).epoch for entry in log), default=0)


@cache
def position(log: Root) -> tuple[int, str]:
    """Sequence and kind of the last entry of the newest epoch that came from its spool, or is its statement."""
    for text in reversed(log):
        entry = parsed(text)
        if entry.kind in "SME":
            return entry.sequence, entry.kind
    return -1, ""


def follows(sequence: int, kind: str, text: str) -> bool:
    """Whether a spool record may come right after the position *sequence*, *kind*."""
    entry = parsed(text)
    if kind == "E":
        return False
    if entry.kind == "M":
        return entry.sequence == sequence + 1
    return entry.kind == "E" and entry.sequence == sequence


def unread(disk: Disk, epoch: int, log: Root) -> Root:
    """The records of the spool of an epoch that come after *log*: what I1 reads. The sequence alone says which."""
    return _unread(disk.spool[epoch - 1], *position(log)) if 1 <= epoch <= len(disk.spool) else ()


@cache
def _unread(segments: tuple[Segment, ...], sequence: int, kind: str) -> Root:
    found: list[str] = []
    for segment in segments:
        for cell in segment.records if segment.named.now else ():
            if cell.now is None:
                break
            if follows(sequence, kind, cell.now):
                found.append(cell.now)
                sequence, kind = parsed(cell.now).sequence, parsed(cell.now).kind
    return tuple(found)


def tile(disk: Disk, index: int) -> Any:
    return read(disk.tiles[index]) if index < len(disk.tiles) else None


def tiles_of(size: int, known: int) -> list[tuple[int, int, int]]:
    """Index, first and last entry of the tiles that a log of *size* has and one of the size *known* has not."""
    found = [(2 * n + 1, n * TILE_WIDTH, (n + 1) * TILE_WIDTH) for n in range(known // TILE_WIDTH, size // TILE_WIDTH)]
    if size > known and size % TILE_WIDTH:
        found.append((2 * (size // TILE_WIDTH), size // TILE_WIDTH * TILE_WIDTH, size))
    return found
