"""The state of the broker's process before GO, as part of the epoch event (spec/launch.md, "Process state").

It is what the launcher saw, at one moment; which of it a reader asks for, is in `core/process_rule.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from sigillo.core.errors import DecodeError
from sigillo.core.field import UINT32_MAX, UINT64_MAX, array, boolean, integer, numbered_map

MAX_GROUPS: Final = 4096
SECCOMP_FILTER: Final = 2
UNLIMITED: Final = UINT64_MAX
"""A core limit that is none."""
_FIELD: Final = "process state"


@dataclass(frozen=True, slots=True)
class ProcessState:
    """Rights and visibility of a process.

    `uid`, `gid`: of all four kinds; `groups`: ascending; `capabilities`: bit n is capability n, permitted; `seccomp`:
    mode 0 to 2; `tracer`: process id, 0 none; `dumpable`: the kernel's flag is 1; `core_limit`: soft and hard, bytes;
    `ptrace_scope`: Yama's, None where the kernel has none.
    """

    uid: int
    gid: int
    groups: tuple[int, ...]
    capabilities: int
    no_new_privs: bool
    seccomp: int
    tracer: int
    dumpable: bool
    core_limit: tuple[int, int]
    ptrace_scope: int | None


def encode_process_state(state: ProcessState) -> dict[int, object]:
    """The map of the epoch event, which is written as deterministic CBOR."""
    return {
        1: state.uid,
        2: state.gid,
        3: list(state.groups),
        4: state.capabilities,
        5: state.no_new_privs,
        6: state.seccomp,
        7: state.tracer,
        8: state.dumpable,
        9: list(state.core_limit),
        10: state.ptrace_scope,
    }


def decode_process_state(value: object) -> ProcessState:
    """Read the map of an epoch event. Raises DecodeError."""
    values = numbered_map(value, _FIELD, range(1, 11))
    soft, hard = array(values[9], "core limit", 2)
    return ProcessState(
        uid=integer(values[1], "user", 0, UINT32_MAX),
        gid=integer(values[2], "group", 0, UINT32_MAX),
        groups=_groups(values[3]),
        capabilities=integer(values[4], "capabilities"),
        no_new_privs=boolean(values[5], "no new privileges"),
        seccomp=integer(values[6], "seccomp", 0, SECCOMP_FILTER),
        tracer=integer(values[7], "tracer", 0, UINT32_MAX),
        dumpable=boolean(values[8], "dumpable"),
        core_limit=(integer(soft, "core limit"), integer(hard, "core limit")),
        ptrace_scope=None if values[10] is None else integer(values[10], "ptrace scope", 0, UINT32_MAX),
    )


def _groups(value: object) -> tuple[int, ...]:
    items = array(value, "groups")
    if len(items) > MAX_GROUPS:
        raise DecodeError("groups", f"has more than {MAX_GROUPS} groups")
    groups = tuple(integer(item, "groups", 0, UINT32_MAX) for item in items)
    if any(first >= second for first, second in pairwise(groups)):
        raise DecodeError("groups", "is not in ascending order without repeats")
    return groups
