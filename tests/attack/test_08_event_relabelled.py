"""Attack 8 (go-attestation's disclosure): the type of an event is in no digest, so a re-labelled log replays."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest

from sigillo.core.errors import AttestationError, DecodeError
from sigillo.core.event_log import (
    DATA_IS_HASHED,
    EventType,
    LoggedEvent,
    check_replay,
    decode_event_log,
    encode_event_log,
    replay,
)
from sigillo.core.launch import EpochEvent, LaunchEvent, encode_launch_event, verify_launch_log
from sigillo.core.quote import LAUNCH_PCR

from ..vector.accept_tpm import BOOT, hashed
from ..vector.key import filler
from ..vector.sample_tpm import LAUNCHES, PROCESS

ROOTKIT = LoggedEvent(4, 0x8000_0003, filler("a boot loader of the attacker's"), b"")


def test_a_boot_loader_passed_off_as_something_else_is_refused() -> None:
    """The log says that something harmless was extended; the digest stays the boot loader's, so that it replays."""
    honest = (*BOOT, ROOTKIT)
    for kind, data in (
        (EventType.SEPARATOR, bytes(4)),
        (EventType.EFI_ACTION, b"Calling EFI Application"),
    ):
        told = (*BOOT, dataclasses.replace(ROOTKIT, event_type=kind, data=data))
        assert replay(told) == replay(honest), "which is the attack"
        with pytest.raises(AttestationError, match="re-labelled"):
            decode_event_log(encode_event_log(told))


@pytest.mark.parametrize("kind", [1, 0xD, 0x8000_0003, 0x8000_0004, int(EventType.EVENT_TAG)])
def test_under_a_type_that_fixes_nothing_the_data_say_nothing(kind: int) -> None:
    told = dataclasses.replace(ROOTKIT, event_type=kind, data=b"/EFI/debian/shimx64.efi, as always")
    (event,) = decode_event_log(encode_event_log([told])).events
    assert event.trusted_data is None
    assert event.digest == ROOTKIT.digest


def test_a_real_setting_is_not_hidden_under_another_type_without_losing_its_data() -> None:
    off = hashed(7, EventType.EFI_VARIABLE_DRIVER_CONFIG, b"SecureBoot = 0")
    hidden = dataclasses.replace(off, event_type=0xD, data=b"SecureBoot = 1")
    (event,) = decode_event_log(encode_event_log([hidden])).events
    assert event.trusted_data is None


def test_not_extended_though_the_log_says_so_and_the_reverse() -> None:
    """EV_NO_ACTION is not extended: a log that turns an event into one, or one into an event, leads elsewhere."""
    for changed in (
        [dataclasses.replace(event, event_type=EventType.NO_ACTION) if event is BOOT[2] else event for event in BOOT],
        [*BOOT, LoggedEvent(2, 1, bytes(32), b"")],
    ):
        with pytest.raises(AttestationError, match="does not lead"):
            check_replay(decode_event_log(encode_event_log(changed)).events, replay(BOOT), range(8))


@pytest.mark.parametrize("kind", sorted(DATA_IS_HASHED | {EventType.NO_ACTION, 1, 0xD}))
def test_a_launch_cannot_be_hidden_under_another_type(kind: int) -> None:
    """Three launches; the log re-labels the second, whatever the type, so that it looks like none."""
    rogue = encode_launch_event(LaunchEvent(2, filler("a rogue closure"), ("/tmp/broker",)))
    events = [*LAUNCHES, rogue, *LAUNCHES[1:]]
    value = replay(events)[LAUNCH_PCR]
    assert verify_launch_log(encode_event_log(events), value).launches == 4
    events[3] = dataclasses.replace(rogue, event_type=kind)
    with pytest.raises((AttestationError, DecodeError)):
        verify_launch_log(encode_event_log(events), value)


def test_a_launch_event_told_with_other_data_is_refused() -> None:
    other = encode_launch_event(EpochEvent(filler("the epoch that they wanted"), PROCESS))
    told = (*LAUNCHES[:2], dataclasses.replace(LAUNCHES[2], data=other.data))
    assert replay(told) == replay(LAUNCHES), "which is the attack"
    assert hashlib.sha256(other.data).digest() != LAUNCHES[2].digest
    with pytest.raises(AttestationError, match="not the hash"):
        verify_launch_log(encode_event_log(told), replay(LAUNCHES)[LAUNCH_PCR])
