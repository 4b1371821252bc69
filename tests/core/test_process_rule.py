"""Process rules: each is broken by exactly the states that it is about, and says so."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigillo.core.errors import PolicyError
from sigillo.core.process_rule import DEFAULT_PROCESS_RULES, PROCESS_RULES, appraise_process
from sigillo.core.process_state import UNLIMITED

from ..vector.accept_tpm import BAD_PROCESS
from ..vector.file import VECTORS
from ..vector.sample_tpm import PROCESS

GOOD = dataclasses.replace(PROCESS, seccomp=2, ptrace_scope=1)


def test_a_good_process_breaks_no_rule() -> None:
    assert appraise_process(GOOD, PROCESS_RULES) == ()
    assert appraise_process(PROCESS, DEFAULT_PROCESS_RULES) == ()


@pytest.mark.parametrize(
    ("rule", "change", "said"),
    [
        ("process-user", {"uid": 0}, "root"),
        ("process-capabilities", {"capabilities": 1 << 19}, "0x80000"),
        ("process-no-new-privs", {"no_new_privs": False}, "no_new_privs"),
        ("process-not-traced", {"tracer": 4711}, "process 4711"),
        ("process-no-core-dump", {"dumpable": True}, "dumpable"),
        ("process-no-core-dump", {"core_limit": (1, 1)}, "1 bytes"),
        ("process-no-core-dump", {"core_limit": (0, UNLIMITED)}, "unlimited"),
        ("process-seccomp", {"seccomp": 0}, "mode 0"),
        ("process-seccomp", {"seccomp": 1}, "mode 1"),
        ("process-ptrace-scope", {"ptrace_scope": 0}, "ptrace_scope is 0"),
        ("process-ptrace-scope", {"ptrace_scope": None}, "has no ptrace_scope"),
    ],
)
def test_each_state_breaks_the_rule_that_it_is_about(rule: str, change: dict[str, Any], said: str) -> None:
    (violation,) = appraise_process(dataclasses.replace(GOOD, **change), PROCESS_RULES)
    assert violation.rule == rule
    assert said in violation.reason


def test_every_violation_is_told_in_order() -> None:
    bad = dataclasses.replace(BAD_PROCESS, seccomp=0, ptrace_scope=0)
    assert tuple(violation.rule for violation in appraise_process(bad, PROCESS_RULES)) == PROCESS_RULES


@given(st.sets(st.sampled_from(PROCESS_RULES)))
def test_only_what_is_asked_for_is_told(rules: set[str]) -> None:
    bad = dataclasses.replace(BAD_PROCESS, seccomp=0, ptrace_scope=0)
    assert {violation.rule for violation in appraise_process(bad, rules)} == rules


@pytest.mark.parametrize("name", ["", "process-usr", "listener-tls"])
def test_a_rule_that_there_is_not_is_refused(name: str) -> None:
    with pytest.raises(PolicyError, match="no process rule"):
        appraise_process(GOOD, [*DEFAULT_PROCESS_RULES, name])


def test_the_spec_has_these_rules_and_says_which_are_default() -> None:
    text = (VECTORS.parent / "spec/launch.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in text.splitlines() if line.startswith("| `process-")]
    found = {row[1].strip(" `"): row[3].strip().startswith("default") for row in rows}
    assert tuple(found) == PROCESS_RULES
    assert tuple(name for name, default in found.items() if default) == DEFAULT_PROCESS_RULES
