"""Event logs: round trips, every cut, every changed byte, and the parser on anything."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigillo.core.errors import AttestationError, DecodeError
from sigillo.core.event_log import (
    DATA_IS_HASHED,
    EventType,
    LoggedEvent,
    check_replay,
    decode_event_log,
    encode_event_log,
    extend,
    replay,
)

from ..vector.accept_tpm import BOOT, hashed
from ..vector.sample_tpm import LAUNCHES

free = st.builds(
    LoggedEvent,
    st.integers(0, 23),
    st.integers(0, 2**32 - 1).filter(lambda number: number not in set(EventType)),
    st.binary(min_size=32, max_size=32),
    st.binary(max_size=60),
)
bound = st.builds(
    hashed, st.integers(0, 23), st.sampled_from(sorted(DATA_IS_HASHED - {EventType.SEPARATOR})), st.binary(max_size=60)
)


@given(st.lists(free | bound, max_size=8))
def test_round_trip(events: list[LoggedEvent]) -> None:
    log = decode_event_log(encode_event_log(events))
    assert log.events == tuple(events)
    assert log.algorithms == (0x000B,)
    for event in log.events:
        assert (event.trusted_data is None) == (event.event_type not in DATA_IS_HASHED)


@given(st.binary(max_size=200))
def test_other_bytes_are_refused(data: bytes) -> None:
    good = encode_event_log(BOOT)
    for changed in (data, good[: len(data)] + data, good + data):
        try:
            log = decode_event_log(changed)
        except (DecodeError, AttestationError):
            continue
        assert encode_event_log(log.events) == changed


def test_every_cut_is_refused_or_is_a_shorter_log() -> None:
    data = encode_event_log(BOOT)
    whole = {len(encode_event_log(BOOT[:count])) for count in range(len(BOOT) + 1)}
    for size in range(len(data)):
        if size in whole:
            with pytest.raises(AttestationError, match="does not lead"):
                check_replay(decode_event_log(data[:size]).events, replay(BOOT), range(24))
        else:
            with pytest.raises(DecodeError):
                decode_event_log(data[:size])


def test_a_changed_byte_is_refused_or_changes_only_what_nobody_trusts() -> None:
    """Type and data of events whose digest does not fix them may change: they say nothing."""
    data = encode_event_log(BOOT)
    good = replay(BOOT)
    harmless = 0
    for at in range(len(data)):
        changed = data[:at] + bytes([data[at] ^ 0x40]) + data[at + 1 :]
        try:
            events = decode_event_log(changed).events
            check_replay(events, good, range(24))
        except (DecodeError, AttestationError):
            continue
        harmless += 1
        assert {event.trusted_data for event in events} <= {event.trusted_data for event in BOOT}
        assert [(e.pcr, e.digest) for e in events if e.event_type != 3] == [
            (e.pcr, e.digest) for e in BOOT if e.event_type != 3
        ]
    assert harmless < 200


def test_replay_is_what_a_tpm_does() -> None:
    first, second = LAUNCHES[:2]
    once = hashlib.sha256(bytes(32) + first.digest).digest()
    assert replay([first])[13] == extend(bytes(32), first.digest) == once
    assert replay([first, second])[13] == hashlib.sha256(once + second.digest).digest()
    assert replay([]) == (bytes(32),) * 24
    assert replay([LoggedEvent(0, EventType.NO_ACTION, bytes(32), b"StartupLocality\0\x04")])[0] == bytes(31) + b"\4"


def test_too_much_is_refused() -> None:
    with pytest.raises(DecodeError, match="longer than"):
        decode_event_log(bytes(16 * 1024 * 1024 + 1))
    with pytest.raises(DecodeError, match="more than 65536 events"):
        decode_event_log(encode_event_log([LoggedEvent(1, 1, bytes(32), b"")] * 65_537))
