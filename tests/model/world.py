"""What happens to the processes and the disk: kills, power cuts, a kernel that forgets, an operator with a backup."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import product

from .broker import lost
from .state import SPOOL_WIDTH, Disk, Root, Rules, Segment, State, newest_epoch, put, stored, unread
from .volatile import NOTHING, Cell, after_power_cut, is_forgotten, settled, trimmed
from .writer import Move, idle_log


def world_moves(state: State, rules: Rules) -> Iterator[Move]:
    if state.kills:
        yield from _kills(state._replace(kills=state.kills - 1))
    if state.power_cuts:
        yield from _power_cut(state, rules)
    if rules.failures:
        yield from _forgets(state)
    if state.restores:
        yield from _backup(state)


def _kills(state: State) -> Iterator[Move]:
    if state.plugin is not None:
        yield "kill", "the broker", state._replace(plugin=None)
    for slot, writer in enumerate(state.writers):
        if writer is not None:
            lock = None if state.lock == slot else state.lock
            yield "kill", f"log {slot + 1}", state._replace(writers=put(state.writers, slot, None), lock=lock)


def _power_cut(state: State, rules: Rules) -> Iterator[Move]:
    off = state._replace(
        plugin=None,
        writers=(None,) * len(state.writers),
        lock=None,
        power_cuts=state.power_cuts - 1,
        boot=state.boot + 1,
    )
    for disk in _left(state.disk):
        after = off._replace(disk=disk)
        gone = frozenset(lost(after)) if not rules.strict else frozenset()
        yield "power", f"left: {_text(disk)}", after._replace(excused=after.excused | gone)


def _left(disk: Disk) -> Iterator[Disk]:
    """Every disk that a power cut can leave, as far as a reader can tell them apart."""
    lists = (disk.store_names, disk.store, disk.tiles)
    for names, store, tiles in product(*([*product(*map(_left_of, cells))] for cells in lists)):
        for checkpoint in _left_of(disk.checkpoint):
            left = Disk(disk.epochs, (), trimmed(names), trimmed(store), trimmed(tiles), checkpoint)
            log = stored(left)
            epoch = newest_epoch(log)
            for records in _readable(disk.spool[epoch - 1], log) if 1 <= epoch <= len(disk.spool) else ((),):
                yield left._replace(spool=(*((),) * (epoch - 1), _segments(records)) if records else ())


@cache
def _left_of(cell: Cell) -> tuple[Cell, ...]:
    return tuple(after_power_cut(cell))


@cache
def _readable(segments: tuple[Segment, ...], log: Root) -> frozenset[Root]:
    """What a reader may find behind *log* in the spool, after the power cut: some first records of those it had."""
    choices = []
    for segment in segments:
        named = (*_left_of(segment.named),)
        choices.append([Segment(*left) for left in product(named, [*product(*map(_left_of, segment.records))])])
    epoch = newest_epoch(log)
    return frozenset(unread(Disk(spool=((),) * (epoch - 1) + (left,)), epoch, log) for left in product(*choices))


def _segments(records: Root) -> tuple[Segment, ...]:
    """*records* in settled segments. What else a power cut left no reader reaches, then or later."""
    cells = [*map(settled, records), *(NOTHING,) * (-len(records) % SPOOL_WIDTH)]
    starts = range(0, len(cells), SPOOL_WIDTH)
    return tuple(Segment(settled(True), tuple(cells[start : start + SPOOL_WIDTH])) for start in starts)


def _forgets(state: State) -> Iterator[Move]:
    """After a flush that failed the kernel may drop the page, and read the old content from the disk."""
    disk = state.disk
    for part in ("store_names", "store", "tiles"):
        cells = getattr(disk, part)
        for index, cell in enumerate(cells):
            for value in cell.disk if is_forgotten(cell) else ():
                changed = disk._replace(**{part: put(cells, index, settled(value))})
                yield "reread", f"{part} {index}: {value}", state._replace(disk=changed)
    for value in disk.checkpoint.disk if is_forgotten(disk.checkpoint) else ():
        yield "reread", "checkpoint", state._replace(disk=disk._replace(checkpoint=settled(value)))


def _backup(state: State) -> Iterator[Move]:
    if state.copy is None and idle_log(state) is not None and state.plugin is None:
        yield "copy", "the whole folder", state._replace(copy=state.disk)
    if state.copy is not None and state.plugin is None and not any(state.writers):
        yield (
            "restore",
            "the copy",
            state._replace(
                disk=state.copy,
                life=state.life + 1,
                boot=state.boot + 1,
                restores=state.restores - 1,
                handed=0,
                delivered=(0,) * len(state.delivered),
            ),
        )


def _text(disk: Disk) -> str:
    store = " ".join(str(cell.now) for cell in disk.store)
    return f"store {store or 'empty'}, checkpoint of size {len(disk.checkpoint.now)}"
