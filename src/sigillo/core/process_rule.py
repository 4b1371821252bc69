"""Process rules: what a policy may ask of the broker's process (spec/launch.md, "Process rules")."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Final

from sigillo.core.errors import PolicyError
from sigillo.core.process_state import SECCOMP_FILTER, UNLIMITED, ProcessState
from sigillo.core.rule import Violation


def appraise_process(state: ProcessState, rules: Collection[str]) -> tuple[Violation, ...]:
    """Every rule among *rules* that does not hold of *state*, in the order of `PROCESS_RULES`.

    Raises PolicyError for a name that is no process rule.
    """
    unknown = sorted(set(rules) - set(PROCESS_RULES))
    if unknown:
        reason = f"{unknown[0]!r} is no process rule; there are {', '.join(PROCESS_RULES)}"
        raise PolicyError("attestation.rules", reason)
    found = ((name, _CHECKS[name](state)) for name in PROCESS_RULES if name in rules)
    return tuple(Violation(name, reason) for name, reason in found if reason)


def _user(state: ProcessState) -> str | None:
    return None if state.uid else "the broker runs as root; give it a user of its own"


def _capabilities(state: ProcessState) -> str | None:
    if not state.capabilities:
        return None
    return f"the broker has capabilities ({state.capabilities:#x}); start it by `sigillo up` as root, or without any"


def _no_new_privs(state: ProcessState) -> str | None:
    return None if state.no_new_privs else "the broker may gain rights by running other programs (no_new_privs is off)"


def _not_traced(state: ProcessState) -> str | None:
    if not state.tracer:
        return None
    return f"process {state.tracer} traced the broker, and could read and change all of it; start it without a debugger"


def _no_core_dump(state: ProcessState) -> str | None:
    if state.dumpable:
        return "the broker's memory, with the epoch key, may be dumped and read by its own user (dumpable)"
    if state.core_limit != (0, 0):
        soft, hard = ("unlimited" if size == UNLIMITED else f"{size} bytes" for size in state.core_limit)
        return f"the broker may dump core: {soft}, at most {hard}; both have to be 0"
    return None


def _seccomp(state: ProcessState) -> str | None:
    if state.seccomp == SECCOMP_FILTER:
        return None
    return f"the broker has no seccomp filter (mode {state.seccomp}); `sigillo up` installs none"


def _ptrace_scope(state: ProcessState) -> str | None:
    if state.ptrace_scope:
        return None
    what = "the kernel has no ptrace_scope" if state.ptrace_scope is None else "kernel.yama.ptrace_scope is 0"
    return f"{what}: processes of one user may trace each other; set it to 1 or more"


_CHECKS: Final[Mapping[str, Callable[[ProcessState], str | None]]] = {
    "process-user": _user,
    "process-capabilities": _capabilities,
    "process-no-new-privs": _no_new_privs,
    "process-not-traced": _not_traced,
    "process-no-core-dump": _no_core_dump,
    "process-seccomp": _seccomp,
    "process-ptrace-scope": _ptrace_scope,
}
PROCESS_RULES: Final = tuple(_CHECKS)
"""Every name, in the order in which violations are told."""
DEFAULT_PROCESS_RULES: Final = PROCESS_RULES[:5]
"""Those that a policy which names none asks for."""
