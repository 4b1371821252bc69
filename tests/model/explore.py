"""Breadth first over every reachable state: what comes out first is the shortest counterexample."""

from __future__ import annotations

import gc
from collections import Counter, deque
from dataclasses import dataclass

from .broker import launcher_moves, plugin_moves
from .claim import broken_claim
from .state import Rules, State, initial
from .step import STEPS
from .world import world_moves
from .writer import idle_log, writer_moves

_WHO = {"L": "launcher", "P": "plugin"}
_PROCESSES = (launcher_moves, plugin_moves, writer_moves)


@dataclass(frozen=True)
class Exploration:
    """`steps`: how often each was taken. `finished`: states in which the log has nothing left to do."""

    states: int
    moves: int
    finished: int
    steps: Counter[str]
    fault: str
    trace: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        counts = f"{self.states:,} states, {self.moves:,} steps, {self.finished:,} states with nothing left to do"
        if not self.fault:
            return f"holds: {counts}"
        lines = (f"{number:4}  {_line(*taken)}" for number, taken in enumerate(self.trace, 1))
        return "\n".join((f"BROKEN: {self.fault}", *lines, f"      ({counts})"))


def explore(rules: Rules) -> Exploration:
    """Every state within the bounds, or up to the first that breaks a claim."""
    gc.disable()  # millions of tuples without a cycle: looking for one takes a third of the time
    try:
        return _explore(rules)
    finally:
        gc.enable()


def _explore(rules: Rules) -> Exploration:
    start = initial(rules)
    came: dict[State, tuple[State, str, str] | None] = {start: None}
    queue, steps, finished = deque([start]), Counter[str](), 0
    while queue:
        state = queue.popleft()
        idle = idle_log(state) is not None
        finished += idle
        moves = [move for source in _PROCESSES for move in source(state, rules)]
        if not (moves or idle or rules.witness):
            return Exploration(len(came), steps.total(), finished, steps, "nothing can go on", _trace(came, state))
        for step, what, after in (*moves, *world_moves(state, rules)):
            steps[step] += 1
            if after in came:
                continue
            came[after] = (state, step, what)
            fault = broken_claim(after, rules)
            if fault:
                return Exploration(len(came), steps.total(), finished, steps, fault, _trace(came, after))
            queue.append(after)
    return Exploration(len(came), steps.total(), finished, steps, "", ())


def _trace(came: dict[State, tuple[State, str, str] | None], state: State) -> tuple[tuple[str, str], ...]:
    found = []
    while before := came[state]:
        state, step, what = before
        found.append((step, what))
    return tuple(reversed(found))


def _line(step: str, what: str) -> str:
    if step not in STEPS:
        return f"{step.upper()}: {what}"
    return f"{step} {_WHO.get(step[0], 'log')}: {STEPS[step]}{f' [{what}]' if what else ''}"
