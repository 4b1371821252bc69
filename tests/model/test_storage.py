"""The protocol of spec/log-storage.md holds in every state within the bounds, and each broken one fails.

Attacks 16, 17, 18, 31, 32, 40.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .bounds import COPY, COPY_WITNESSED, FULL, QUICK
from .broken import BROKEN
from .explore import Exploration, explore
from .state import Rules
from .step import STEPS

NOT_COVERED = {"W1", "I0", "D3"}
"""As the spec says: in tests/broker/test_counted.py, tests/log/test_incoming.py and test_retention.py they crash."""

SPEC = Path(__file__).resolve().parents[2] / "spec" / "log-storage.md"


def check(rules: Rules) -> Exploration:
    found = explore(rules)
    print(found)
    assert not found.fault, str(found)
    assert found.finished, "the log never gets done"
    return found


def test_the_steps_are_those_of_the_spec():
    rows = re.findall(r"^\| ([A-Z]\d) \| (?:launcher|plugin|log) \| (.+) \|$", SPEC.read_text("utf-8"), re.MULTILINE)
    modelled = [(step, what) for step, what in rows if step not in NOT_COVERED]
    assert dict(modelled) == STEPS
    assert [step for step, _ in modelled] == list(STEPS)


def test_the_protocol_holds_within_small_bounds_and_every_step_is_taken():
    taken = {step for rules in QUICK.values() for step in check(rules).steps}
    assert taken >= STEPS.keys() - {"T1"}  # a temporary file alone changes nothing that a restart reads
    assert taken - STEPS.keys() == {"kill", "power", "reread"}


@pytest.mark.slow
@pytest.mark.parametrize("name", FULL)
def test_the_protocol_holds(name: str):
    check(FULL[name])


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_protocol_has_a_counterexample(name: str):
    rules, words = BROKEN[name]
    found = explore(rules)
    print(found)
    assert words in found.fault
    assert found.trace


@pytest.mark.parametrize("name", BROKEN)
def test_the_same_bounds_hold_where_nothing_is_broken(name: str):
    rules, _ = BROKEN[name]
    check(Rules(**{**vars(rules), "broken": frozenset(), "claim": ""}))


def test_an_old_copy_of_the_whole_folder_is_not_seen_here():
    found = explore(COPY)
    print(found)
    assert "contradicted" in found.fault
    assert "restore" in [step for step, _ in found.trace]


def test_a_log_never_contradicts_what_a_witness_cosigned():
    found = check(COPY_WITNESSED)
    assert found.steps["restore"]
