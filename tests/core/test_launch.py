"""The measured launch: one launch, then exactly one epoch; the statement names what was measured."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigillo.core.epoch import configuration_hash
from sigillo.core.errors import AttestationError, DecodeError
from sigillo.core.event_log import LoggedEvent, encode_event_log, replay
from sigillo.core.launch import (
    Closure,
    EpochEvent,
    LaunchEvent,
    Member,
    Role,
    check_statement,
    decode_closure,
    decode_launch_event,
    encode_closure,
    encode_launch_event,
    verify_launch_log,
)
from sigillo.core.quote import LAUNCH_PCR

from ..vector.accept_tpm import BOOT, hashed, tagged
from ..vector.key import digests, filler
from ..vector.sample import EPOCH_ID, FIRST_FIELDS
from ..vector.sample_tpm import CLOSURE, LAUNCH, LAUNCHES, PROCESS
from .test_process_state import states

words = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1, max_size=8)
hashes = st.binary(min_size=32, max_size=32)
launches = st.builds(
    LaunchEvent,
    st.integers(1, 2**32 - 1),
    hashes,
    st.lists(words, min_size=1, max_size=4).map(tuple),
    st.lists(words, max_size=3).map(tuple),
)
members = st.dictionaries(
    st.tuples(st.sampled_from([role for role in Role if role not in (Role.EXECUTABLE, Role.PLUGIN)]), words), hashes
)


@given(launches | st.builds(EpochEvent, hashes, states))
def test_events_round_trip(event: LaunchEvent | EpochEvent) -> None:
    assert decode_launch_event(encode_launch_event(event)) == event


@given(members)
def test_closures_round_trip_in_any_order(found: dict[tuple[Role, str], bytes]) -> None:
    files = [Member(role, name, digest) for (role, name), digest in found.items()]
    files += [Member(Role.EXECUTABLE, "/b", bytes(32)), Member(Role.PLUGIN, "/p", bytes(32))]
    closure = Closure.of(files)
    assert decode_closure(encode_closure(closure)) == closure == Closure.of(reversed(files))


@given(st.binary(max_size=80))
def test_other_bytes_are_no_closure(data: bytes) -> None:
    good = encode_closure(CLOSURE)
    for changed in (data, good[: len(data)] + data):
        try:
            closure = decode_closure(changed)
        except DecodeError:
            continue
        assert encode_closure(closure) == changed


def test_too_many_files_are_refused() -> None:
    files = [Member(Role.LIBRARY, f"/{number}", bytes(32)) for number in range(4096)]
    with pytest.raises(DecodeError, match="4096"):
        encode_closure(Closure.of([*CLOSURE.members, *files]))
    with pytest.raises(DecodeError, match="longer"):
        decode_closure(bytes(1024 * 1024 + 1))


def verified(events: tuple[LoggedEvent, ...], before: tuple[LoggedEvent, ...] = ()) -> tuple[bytes, int]:
    found = verify_launch_log(encode_event_log(events), replay(events)[LAUNCH_PCR], before)
    return found.epoch_id, found.launches


def test_the_last_launch_counts_and_the_others_are_counted() -> None:
    assert verified(LAUNCHES) == (EPOCH_ID, 2)
    assert verified(LAUNCHES[1:]) == (EPOCH_ID, 1)


def test_what_the_firmware_wrote_has_to_be_in_the_boot_log() -> None:
    before = (LoggedEvent(LAUNCH_PCR, 0xD, filler("system extension"), b""),)
    assert verified((*before, *LAUNCHES), before) == (EPOCH_ID, 2)
    for events, known in (((*before, *LAUNCHES), ()), (LAUNCHES, before)):
        with pytest.raises(AttestationError):
            verified(events, known)


@given(st.lists(st.sampled_from([*LAUNCHES, encode_launch_event(EpochEvent(filler("rogue"), PROCESS))]), max_size=7))
def test_a_log_counts_exactly_where_it_ends_with_a_launch_and_its_epoch(events: list[LoggedEvent]) -> None:
    kinds = "".join("L" if isinstance(decode_launch_event(event), LaunchEvent) else "E" for event in events)
    good = kinds.endswith("LE") and "EE" not in kinds and not kinds.startswith("E")
    try:
        assert verified(tuple(events))[1] == kinds.count("L")
    except AttestationError:
        assert not good
    else:
        assert good


def test_a_boot_log_is_no_launch_log() -> None:
    with pytest.raises(DecodeError, match="not of PCR 13"):
        verify_launch_log(encode_event_log(BOOT), replay(BOOT)[LAUNCH_PCR])


def test_events_of_others_are_not_ours() -> None:
    assert decode_launch_event(hashed(LAUNCH_PCR, 6, b"short")) is None
    assert decode_launch_event(hashed(LAUNCH_PCR, 6, tagged(1, b"other"))) is None
    assert decode_launch_event(dataclasses.replace(LAUNCHES[0], event_type=5)) is None


@pytest.mark.parametrize("part", ["executable", "plugin", "configuration"])
def test_the_statement_names_what_was_measured(part: str) -> None:
    files = {"conf/a": b"a", "conf/b": b"b"}
    members = [m for m in CLOSURE.members if m.role is not Role.CONFIGURATION]
    members += [Member(Role.CONFIGURATION, name, digest) for name, digest in digests(files).items()]
    closure = Closure.of(members)
    statement = dataclasses.replace(FIRST_FIELDS, configuration_hash=configuration_hash(digests(files)))
    check_statement(closure, statement)
    with pytest.raises(AttestationError, match=f"another {part}"):
        check_statement(closure, dataclasses.replace(statement, **{f"{part}_hash": filler("other")}))


def test_a_launch_names_its_closure() -> None:
    assert verify_launch_log(encode_event_log(LAUNCHES), replay(LAUNCHES)[LAUNCH_PCR]).event == LAUNCH
    assert LAUNCH.closure_hash == CLOSURE.object_hash
