"""What must hold in every state. `broken_claim` returns the first that does not, in words."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from .broker import lost
from .state import Root, Rules, State, Statement, parsed, stored, tile, tiles_of
from .volatile import TORN, Unflushed
from .writer import idle_log


def _no_mark_is_lost(state: State) -> str:
    gone = next(lost(state), None)
    return f"delivered mark {gone} is neither in the store nor readable in the spool" if gone else ""


def _tiles_never_change(state: State) -> str:
    """A tile that a reader can see is whole, and is what the store holds for good."""
    log = stored(state.disk)
    for index in range(len(state.disk.tiles)):
        content, first = tile(state.disk, index), index // 2 * 2
        if content is not None and content != log[first : first + 1 + index % 2]:
            return f"tile {index // 2} reads {content}, the store {log[first : first + 1 + index % 2]}"
    return ""


def _handed_out_is_durable(state: State) -> str:
    left = min((_size(value) for value in state.disk.checkpoint.disk), default=0)
    return (
        f"a power cut now leaves a checkpoint of size {left}, {state.handed} was handed out"
        if left < state.handed
        else ""
    )


def _size(value: object) -> int:
    content = value.content if isinstance(value, Unflushed) else value
    return -1 if content == TORN or isinstance(value, Unflushed) else len(content)


def _fsck(state: State) -> str:
    """With nothing left to do: store, tiles and checkpoint are the same log, and nothing else is there."""
    log = idle_log(state)
    if log is None:
        return ""
    if not state.disk.checkpoint.now == stored(state.disk) == log:
        return f"fsck: store and checkpoint differ: {stored(state.disk)}, {state.disk.checkpoint.now}"
    if any(tile(state.disk, index) != log[first:last] for index, first, last in tiles_of(len(log), 0)):
        return "fsck: a tile is missing or wrong"
    return ""


@cache
def _order(log: Root, statements: tuple[Statement, ...], excused: frozenset[str], life: int) -> str:
    """Epochs ascending without hole; of each the statement, marks 1…n, its end, and what the next one says of it."""
    if life:  # a restored copy: two histories under one name, which is what the exploration is to show
        return ""
    epoch, sequence, ended = 0, 0, False
    for text in log:
        entry = parsed(text)
        if entry.kind == "S":
            told = statements[entry.epoch - 1]
            if entry.epoch != epoch + 1:
                return f"{text} after epoch {epoch}"
            if epoch and told.previous_last != sequence:
                return f"{text} says that epoch {epoch} ended with {told.previous_last}, logged are {sequence}"
            if epoch and (told.ending == "clean") != ended:
                return f"{text} says {told.ending}"
            if told.ending in ("clean", "unclean") and any(parsed(mark).epoch == epoch for mark in excused):
                return f"{text} says {told.ending}, but marks of epoch {epoch} were lost"
            epoch, sequence, ended = entry.epoch, 0, False
        elif entry.epoch != epoch:
            return f"{text} in epoch {epoch}"
        elif entry.kind == "M":
            if ended or entry.sequence != sequence + 1:
                return f"{text} after mark {sequence}{' and the end' if ended else ''} of epoch {epoch}"
            sequence += 1
        elif entry.kind == "E":
            if ended or entry.sequence != sequence:
                return f"{text} after mark {sequence}"
            ended = True
        elif entry.sequence != sequence:
            return f"{text} after mark {sequence}"
    doubled = [text for text in log if log.count(text) > 1]
    return f"{doubled[0]} is there twice" if doubled else ""


def _order_of_signed(state: State) -> str:
    return _order(state.signed, state.disk.epochs, state.excused, state.life)


_CLAIMS: dict[str, Callable[[State], str]] = {
    "agree": lambda state: state.fault if "contradicted" in state.fault else "",
    "grow": lambda state: state.fault if "falls" in state.fault else "",
    "start": lambda state: state.fault if "cannot start" in state.fault else "",
    "go on": lambda state: state.fault if "stops" in state.fault else "",
    "loss": _no_mark_is_lost,
    "tiles": _tiles_never_change,
    "durable": _handed_out_is_durable,
    "order": _order_of_signed,
    "fsck": _fsck,
}


def broken_claim(state: State, rules: Rules) -> str:
    """The first claim that does not hold, in words, or empty text."""
    claims = [_CLAIMS[rules.claim]] if rules.claim else _CLAIMS.values()
    return next((fault for claim in claims if (fault := claim(state))), "")
