"""The log: the only process that writes store, tiles and checkpoint.

A restart (R1 to R3) is the last round done once more from what the store holds, so there is one path to a signature.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .state import (
    STORE_WIDTH,
    TILE_WIDTH,
    Disk,
    Root,
    Rules,
    Segment,
    State,
    Writer,
    is_named,
    name,
    newest_epoch,
    parsed,
    position,
    put,
    stored,
    tile,
    tiles_of,
    unread,
)
from .volatile import NOTHING, TORN, Cell, Unflushed, fail_to_flush, flush, read, trimmed, write

Move = tuple[str, str, State]
"""Step, what it did, the state after it."""


def writer_moves(state: State, rules: Rules) -> Iterator[Move]:
    for slot, writer in enumerate(state.writers):
        if writer is None:
            yield from _start(state, slot, rules)
        else:
            yield from _MOVES[writer.at](state, slot, writer, rules)


def idle_log(state: State) -> Root | None:
    """The log of a writer that has nothing to do."""
    for writer in state.writers:
        if writer and writer.at == "I1" and not decide(state.disk, writer.log):
            return writer.log
    return None


def decide(disk: Disk, log: Root) -> Root:
    """I1: what comes next in the log. Only the store makes it final: a token, for one, comes when it comes."""
    epoch = newest_epoch(log)
    new = unread(disk, epoch, log)
    sequence, kind = position(log + new)
    heads = name("H", epoch, sequence, 0)
    if not new and len(disk.epochs) > epoch:  # the launcher states an epoch only when the one before is over
        last_words = (heads,) if epoch and heads not in log else ()
        return (*last_words, disk.epochs[epoch].entry)
    return (*new, heads) if kind == "E" and heads not in log else new


# The steps. Each takes the state, the writer and its slot, and yields what can happen.


def _start(state: State, slot: int, rules: Rules) -> Iterator[Move]:
    if state.lock is not None and "no lock" not in rules.broken:
        return
    if slot and state.plugin is None:
        return  # a second log is of interest while there is something to log
    if rules.witness and len(state.witnessed) > len(stored(state.disk)):
        return  # a witness saw more than there is: this log never signs again
    yield "W0", f"log {slot + 1}", _to(state._replace(lock=slot), slot, Writer("R1"))


def _read_checkpoint(state: State, slot: int, writer: Writer, rules: Rules) -> Iterator[Move]:
    known = read(state.disk.checkpoint)
    if known == TORN:
        yield "R1", "", _stopped(state._replace(fault="the log cannot start: its checkpoint is torn"), slot)
    else:
        yield "R1", f"size {len(known)}", _to(state, slot, writer._replace(at="R2", known=known))


def _read_store(state: State, slot: int, writer: Writer, rules: Rules) -> Iterator[Move]:
    log, known = stored(state.disk), writer.known
    for index, first, last in tiles_of(len(known), 0):
        if tile(state.disk, index) != known[first:last]:
            found = f"the log cannot start: a tile of its checkpoint is {tile(state.disk, index) or 'gone'}"
            yield "R2", "", _stopped(state._replace(fault=found), slot)
            return
    if log[: len(known)] != known:
        found = f"the log cannot start: the store holds {_text(log)}, the checkpoint covers {_text(known)}"
        yield "R2", "", _stopped(state._replace(fault=found), slot)
        return
    tail = log[len(known) :]
    if "tail thrown away" in rules.broken:
        log = known
    yield "R2", f"behind the checkpoint: {_text(tail)}", _to(state, slot, writer._replace(at="R3", log=log))


def _rewrite_tail(state: State, slot: int, writer: Writer, rules: Rules) -> Iterator[Move]:
    disk, log, store = state.disk, writer.log, state.disk.store
    names = disk.store_names
    if "tail not rewritten" not in rules.broken:
        for index in range(len(writer.known), len(log)):
            store = put(store, index, write(_cell(store, index), log[index]))
    if "tail not cut" not in rules.broken:
        store = (*store[: len(log)], *(write(cell, None) for cell in store[len(log) :]))
        empty = -(-len(log) // STORE_WIDTH)
        names = (*names[:empty], *(write(cell, None) for cell in names[empty:]))
    disk = disk._replace(store=store, store_names=names)
    yield "R3", "", _to(state._replace(disk=disk), slot, writer._replace(at="I3"))


def _decide(state: State, slot: int, writer: Writer, rules: Rules) -> Iterator[Move]:
    new = decide(state.disk, writer.log)
    if new:
        yield _decided(state, slot, writer, new)
    if state.tokens and newest_epoch(writer.log):
        token = name("T", newest_epoch(writer.log), position(writer.log)[0], state.life)
        yield _decided(state._replace(tokens=state.tokens - 1), slot, writer, (token, *new))


def _decided(state: State, slot: int, writer: Writer, new: Root) -> Move:
    return "I1", _text(new), _to(state, slot, Writer("I2", writer.known, writer.log + new, len(writer.log)))


def _write_record(state: State, slot: int, writer: Writer, rules: Rules) -> Iterator[Move]:
    disk, index = state.disk, writer.done
    segment = index // STORE_WIDTH
    if not is_named(disk, segment):
        names = put(disk.store_names, segment, write(_cell(disk.store_names, segment), True))
        disk = disk._replace(store_names=names)
        yield "S1", f"segment {segment}", _to(state._replace(disk=disk), slot, writer._replace(at="S2"))
        return
    disk = disk._replace(store=put(disk.store, index, write(_cell(disk.store, index), writer.log[index])))
    last = index + 1 == len(writer.log)
    writer = writer._replace(at="I3") if last else writer._replace(done=index + 1)
    yield "I2", f"{writer.log[index]} is entry {index}", _to(state._replace(disk=disk), slot, writer)


def _flush_store_names(state: State, slot: int, writer: Writer, rules: Rules) -> Iterator[Move]:
    yield from _flush("S2", "store_names", state, slot, writer, "I2", rules)


def _flush_store(state: State, slot: int, writer: Writer, rules: Rules) -> Iterator[Move]:
    if "segment deleted early" in rules.broken:
        yield from _delete(state, slot, writer, writer.log)
    grows = len(writer.log) > len(writer.known)
    yield from _flush("I3", "store", state, slot, writer, "T2" if grows else "C1", rules)


def _flush_tiles(state: State, slot: int, writer: Writer, rules: Rules) -> Iterator[Move]:
    yield from _flush("T2", "", state, slot, writer, "T3", rules)


def _rename_tile(state: State, slot: int, writer: Writer, rules: Rules) -> Iterator[Move]:
    tiles = tiles_of(len(writer.log), len(writer.known))
    index, first, last = tiles[writer.done]
    content = writer.log[first:last]
    cell, disk = _cell(state.disk.tiles, index), state.disk
    if "tile written in place" in rules.broken and cell.now is None:
        disk = disk._replace(tiles=put(disk.tiles, index, write(cell, TORN)))
        yield "T3", f"the first bytes of {_text(content)}", state._replace(disk=disk)
        return
    value = Unflushed(content) if "skip T2" in rules.broken else content
    disk = disk._replace(tiles=put(disk.tiles, index, write(cell, value)))
    done = writer.done + 1
    writer = writer._replace(at="T3" if done < len(tiles) else "T4", done=done if done < len(tiles) else 0)
    yield "T3", f"{'full' if index % 2 else 'partial'} tile {index // 2}", _to(state._replace(disk=disk), slot, writer)


def _flush_tile_names(state: State, slot: int, writer: Writer, rules: Rules) -> Iterator[Move]:
    yield from _flush("T4", "tiles", state, slot, writer, "C1", rules)


def _read_again(state: State, slot: int, writer: Writer, rules: Rules) -> Iterator[Move]:
    edge = all(tile(state.disk, i) == writer.log[a:b] for i, a, b in tiles_of(len(writer.log), 0))
    if read(state.disk.checkpoint) == writer.known and edge:
        yield "C1", "", _to(state, slot, writer._replace(at="C2"))
        return
    excused = rules.failures or rules.writers > 1
    fault = "" if excused else "the log stops before it signs, although nothing failed"
    yield "C1", "not what it wrote: the log stops", _stopped(state, slot)._replace(fault=fault)


def _sign(state: State, slot: int, writer: Writer, rules: Rules) -> Iterator[Move]:
    root, bound = writer.log, state.witnessed if rules.witness else state.signed
    signed = max(state.signed, root, key=len)
    state = state._replace(signed=signed)
    if root[: len(bound)] != bound:
        fault = (
            "the size of the checkpoint falls" if bound[: len(root)] == root else "a signed checkpoint is contradicted"
        )
        state = state._replace(fault=f"{fault}: {_text(bound)}, then {_text(root)}")
    yield "C2", f"size {len(root)}", _to(state, slot, writer._replace(at="C3"))


def _flush_checkpoint(state: State, slot: int, writer: Writer, rules: Rules) -> Iterator[Move]:
    yield from _flush("C3", "", state, slot, writer, "C4", rules)


def _rename_checkpoint(state: State, slot: int, writer: Writer, rules: Rules) -> Iterator[Move]:
    value = Unflushed(writer.log) if "skip C3" in rules.broken else writer.log
    disk = state.disk._replace(checkpoint=write(state.disk.checkpoint, value))
    yield "C4", "", _to(state._replace(disk=disk), slot, writer._replace(at="C5"))


def _flush_checkpoint_name(state: State, slot: int, writer: Writer, rules: Rules) -> Iterator[Move]:
    yield from _flush("C5", "checkpoint", state, slot, writer, "C6", rules)


def _hand_out(state: State, slot: int, writer: Writer, rules: Rules) -> Iterator[Move]:
    size = len(writer.log)
    witnessed = writer.log if rules.witness else ()
    state = state._replace(handed=max(state.handed, size), witnessed=witnessed)
    yield "C6", f"size {size}", _to(state, slot, Writer("D1", writer.log, writer.log))


def _tidy(state: State, slot: int, writer: Writer, rules: Rules) -> Iterator[Move]:
    moves = [*_delete(state, slot, writer, writer.known)]
    if moves:
        yield from moves
        return
    disk = state.disk
    for index in range(0, len(writer.known) // TILE_WIDTH * 2, 2):
        if tile(disk, index) is not None:
            disk = disk._replace(tiles=put(disk.tiles, index, write(disk.tiles[index], None)))
    yield "D2", "", _to(state._replace(disk=disk), slot, writer._replace(at="I1"))


def _delete(state: State, slot: int, writer: Writer, covered: Root) -> Iterator[Move]:
    """The deletion of the first spool segment of which *covered* needs nothing more."""
    spool = state.disk.spool
    for epoch, segments in enumerate(spool, 1):
        last = position(covered) if newest_epoch(covered) == epoch else None
        for number, segment in enumerate(segments):
            if segment.named.now and (newest_epoch(covered) > epoch or _is_passed(segment, last)):
                gone = put(segments, number, segment._replace(named=write(segment.named, None)))
                disk = state.disk._replace(spool=put(spool, epoch - 1, gone))
                yield "D1", f"segment {number} of epoch {epoch}", state._replace(disk=disk)
                return


def _is_passed(segment: Segment, last: tuple[int, str] | None) -> bool:
    """Whether a segment is full, and *last*, the newest entry of its epoch, lies in a later one."""
    record = segment.records[-1].now
    return last is not None and record is not None and _rank(record) < (last[0], last[1] == "E")


def _rank(record: str) -> tuple[int, bool]:
    return parsed(record).sequence, parsed(record).kind == "E"


_MOVES: dict[str, Callable[[State, int, Writer, Rules], Iterator[Move]]] = {
    "R1": _read_checkpoint,
    "R2": _read_store,
    "R3": _rewrite_tail,
    "I1": _decide,
    "I2": _write_record,
    "S2": _flush_store_names,
    "I3": _flush_store,
    "T2": _flush_tiles,
    "T3": _rename_tile,
    "T4": _flush_tile_names,
    "C1": _read_again,
    "C2": _sign,
    "C3": _flush_checkpoint,
    "C4": _rename_checkpoint,
    "C5": _flush_checkpoint_name,
    "C6": _hand_out,
    "D1": _tidy,
}


def _flush(step: str, part: str, state: State, slot: int, writer: Writer, at: str, rules: Rules) -> Iterator[Move]:
    """Flush a *part* of the disk ('': a temporary file, which no restart reads), go on to *at*; or fail and stop."""
    on = writer._replace(at=at, done=writer.done if at == "I2" else 0)
    if f"skip {step}" in rules.broken:
        yield step, "left out", _to(state, slot, on)
        return
    yield step, "", _to(_each(state, part, flush), slot, on)
    if state.failures:
        failed = _each(state, part, fail_to_flush)._replace(failures=state.failures - 1)
        if "failed flush tried again" in rules.broken:
            yield step, "fails, and is tried again", failed
        else:
            yield step, "fails: the log stops", _stopped(failed, slot)


def _each(state: State, part: str, change: Callable[[Cell], Cell]) -> State:
    if not part:
        return state
    cells = getattr(state.disk, part)
    changed = change(cells) if isinstance(cells, Cell) else trimmed(tuple(map(change, cells)))
    return state._replace(disk=state.disk._replace(**{part: changed}))


def _to(state: State, slot: int, writer: Writer | None) -> State:
    return state._replace(writers=put(state.writers, slot, writer))


def _stopped(state: State, slot: int) -> State:
    return _to(state, slot, None)._replace(lock=None if state.lock == slot else state.lock)


def _cell(cells: tuple[Cell, ...], index: int) -> Cell:
    return cells[index] if index < len(cells) else NOTHING


def _text(entries: Root) -> str:
    return " ".join(entries) or "nothing"
