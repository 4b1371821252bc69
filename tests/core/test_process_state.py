"""The process state: every value there and back, and nothing else read."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigillo.core import cbor
from sigillo.core.errors import DecodeError
from sigillo.core.process_state import MAX_GROUPS, ProcessState, decode_process_state, encode_process_state

from ..vector.sample_tpm import PROCESS

uint32, uint64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
states = st.builds(
    ProcessState,
    uid=uint32,
    gid=uint32,
    groups=st.sets(uint32, max_size=5).map(lambda found: tuple(sorted(found))),
    capabilities=uint64,
    no_new_privs=st.booleans(),
    seccomp=st.integers(0, 2),
    tracer=uint32,
    dumpable=st.booleans(),
    core_limit=st.tuples(uint64, uint64),
    ptrace_scope=st.none() | uint32,
)
anything = st.none() | st.booleans() | st.integers(-1, 2**64 - 1) | st.text(max_size=3) | st.lists(uint32, max_size=3)


@given(states)
def test_states_round_trip_as_cbor(state: ProcessState) -> None:
    data = cbor.encode(encode_process_state(state))
    assert decode_process_state(cbor.decode(data)) == state


@given(st.integers(1, 10), anything)
def test_another_value_is_refused_or_written_back_as_it_was(key: int, value: object) -> None:
    changed = encode_process_state(PROCESS) | {key: value}
    try:
        state = decode_process_state(changed)
    except DecodeError:
        return
    again = encode_process_state(state)
    assert cbor.encode(again) == cbor.encode(changed)


@pytest.mark.parametrize("value", [None, [], 1, {}, dict.fromkeys(range(12), 0)])
def test_other_objects_are_no_state(value: object) -> None:
    with pytest.raises(DecodeError):
        decode_process_state(value)


def test_as_many_groups_as_there_may_be() -> None:
    most = dataclasses.replace(PROCESS, groups=tuple(range(MAX_GROUPS)))
    assert decode_process_state(encode_process_state(most)) == most
    with pytest.raises(DecodeError, match="4096"):
        decode_process_state(encode_process_state(dataclasses.replace(PROCESS, groups=tuple(range(MAX_GROUPS + 1)))))
