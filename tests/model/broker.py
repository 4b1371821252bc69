"""The launcher, which states epochs, and the plugin, which marks."""

from __future__ import annotations

from collections.abc import Iterator

from .state import (
    SPOOL_WIDTH,
    Disk,
    Plugin,
    Root,
    Rules,
    Segment,
    State,
    Statement,
    name,
    newest_epoch,
    position,
    put,
    stored,
    unread,
)
from .volatile import NOTHING, fail_to_flush, flush, write
from .writer import Move, idle_log

_EMPTY = Segment(NOTHING, (NOTHING,) * SPOOL_WIDTH)


def launcher_moves(state: State, rules: Rules) -> Iterator[Move]:
    log = _closed(state, rules)
    if log is not None and len(state.disk.epochs) < len(rules.marks):
        statement = _statement(state, log)
        disk = state.disk._replace(epochs=(*state.disk.epochs, statement))
        previous = f", the one before: {statement.ending}, last {statement.previous_last}"
        yield "L1", f"epoch {statement.number}{previous if state.disk.epochs else ''}", state._replace(disk=disk)
    if state.plugin is None and _may_go(state):
        plugin = Plugin("P1", state.disk.epochs[-1].number, state.life)
        spool = put(state.disk.spool, plugin.epoch - 1, (_named(_EMPTY), _named(_EMPTY)), empty=())
        state = state._replace(disk=state.disk._replace(spool=spool))
        yield "L2", f"epoch {plugin.epoch}", _append(state, plugin, state.disk.epochs[-1].entry)


def plugin_moves(state: State, rules: Rules) -> Iterator[Move]:
    plugin = state.plugin
    if plugin is None:
        return
    mark = name("M", plugin.epoch, plugin.sequence, plugin.life)
    if plugin.at == "P2":
        yield "P2", mark, _flushed(state, plugin, rules)._replace(plugin=plugin._replace(at="P3"))
        if state.failures:
            failed = state._replace(disk=_flush_spool(state.disk, plugin, fails=True), failures=state.failures - 1)
            yield "P2", "fails: the broker refuses and stops", failed._replace(plugin=None)
    elif plugin.at == "P3":
        delivered = put(state.delivered, plugin.epoch - 1, plugin.sequence)
        yield "P3", mark, state._replace(delivered=delivered, plugin=plugin._replace(at="P1"))
    elif plugin.sequence < rules.marks[plugin.epoch - 1]:
        after = plugin._replace(at="P2" if rules.strict and "skip P2" not in rules.broken else "P3")
        mark = name("M", plugin.epoch, plugin.sequence + 1, plugin.life)
        yield "P1", mark, _append(state, after._replace(sequence=plugin.sequence + 1), mark)
    else:
        end = name("E", plugin.epoch, plugin.sequence, plugin.life)
        yield "P4", end, _append(state, plugin, end)._replace(plugin=None)


def _closed(state: State, rules: Rules) -> Root | None:
    """The log, once everything of the epochs so far is under a durable checkpoint and their broker is dead."""
    if state.plugin is not None and "living epoch closed" not in rules.broken:
        return None
    log = idle_log(state)
    if "epoch stated before the log has the last" in rules.broken:
        log = stored(state.disk)
        log += unread(state.disk, newest_epoch(log), log)
    return log if log is not None and newest_epoch(log) == len(state.disk.epochs) else None


def _statement(state: State, log: Root) -> Statement:
    sequence, kind = position(log)
    if not state.disk.epochs:
        ending = "none"
    elif kind == "E":
        ending = "clean"
    else:
        ending = "unclean" if state.disk.epochs[-1].boot == state.boot else "logged up to"
    return Statement(len(state.disk.epochs) + 1, max(sequence, 0), ending, state.boot, state.life)


def _may_go(state: State) -> bool:
    """Whether a stated epoch waits for GO: this launcher's own, and logged."""
    if not state.disk.epochs or len(state.disk.spool) >= len(state.disk.epochs):
        return False
    statement = state.disk.epochs[-1]
    alive = (statement.boot, statement.life) == (state.boot, state.life)
    return alive and statement.entry in state.signed[: state.handed]


def _named(segment: Segment) -> Segment:
    return segment._replace(named=write(segment.named, True))


def _append(state: State, plugin: Plugin, record: str) -> State:
    """Write a record; where the segment is full go on in the next, and prepare the one after it."""
    segments = state.disk.spool[plugin.epoch - 1]
    if plugin.slot == SPOOL_WIDTH:
        plugin = plugin._replace(segment=plugin.segment + 1, slot=0)
        segments = put(segments, plugin.segment + 1, _named(_EMPTY))
    segments = _with_record(segments, plugin.segment, plugin.slot, record)
    disk = state.disk._replace(spool=put(state.disk.spool, plugin.epoch - 1, segments))
    return state._replace(disk=disk, plugin=plugin._replace(slot=plugin.slot + 1))


def _with_record(segments: tuple[Segment, ...], number: int, slot: int, record: str) -> tuple[Segment, ...]:
    segment = segments[number]
    records = put(segment.records, slot, write(segment.records[slot], record))
    return put(segments, number, segment._replace(records=records))


def _flushed(state: State, plugin: Plugin, rules: Rules) -> State:
    if "skip P2" in rules.broken:
        return state
    names = "segment names not flushed" not in rules.broken
    return state._replace(disk=_flush_spool(state.disk, plugin, names=names))


def _flush_spool(disk: Disk, plugin: Plugin, *, names: bool = True, fails: bool = False) -> Disk:
    change = fail_to_flush if fails else flush
    segments = disk.spool[plugin.epoch - 1]
    for number, segment in enumerate(segments):
        named = change(segment.named) if names else segment.named
        segments = put(segments, number, Segment(named, tuple(map(change, segment.records))))
    return disk._replace(spool=put(disk.spool, plugin.epoch - 1, segments))


def lost(state: State) -> Iterator[str]:
    """Delivered marks that neither store nor spool will give to the log."""
    log = stored(state.disk)
    epoch = newest_epoch(log)
    held = {*log, *unread(state.disk, epoch, log)}
    for number, count in enumerate(state.delivered, 1):
        for sequence in range(1, count + 1):
            mark = name("M", number, sequence, 0)
            if mark not in held and mark not in state.excused:
                yield mark
