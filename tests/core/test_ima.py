"""IMA measurement lists: a real kernel's, and what could be made of it."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigillo.core.errors import AttestationError, DecodeError
from sigillo.core.event_log import check_replay, decode_event_log
from sigillo.core.ima import IMA_PCR, MAX_LIST, decode_measurements, replay, verify_measurements

from ..vector.accept_ima import Raw, listed, recorded, recorded_pcrs


def test_a_real_kernels_list_leads_to_its_tpm() -> None:
    found = verify_measurements(recorded()["list_1"], recorded_pcrs(1))
    assert [measurement.path_bytes for measurement in found] == [
        b"boot_aggregate",
        b"/bin/busybox",
        b"/usr/sbin/broker",
        b"/etc/broker.conf",
    ]
    assert {measurement.algorithm for measurement in found} == {"sha256"}


def test_a_file_that_was_changed_under_its_reader_shows() -> None:
    found = verify_measurements(recorded()["list_2"], recorded_pcrs(2))
    before, during, after = (m for m in found if m.path_bytes == b"/etc/broker.conf")
    assert (before.violated, during.violated, after.violated) == (False, True, False)
    assert before.digest != after.digest


def test_a_list_that_went_on_counts_up_to_the_quote() -> None:
    data = recorded()["list_2"]
    assert len(verify_measurements(data, recorded_pcrs(1))) == 4
    assert len(verify_measurements(data, recorded_pcrs(2))) == 6


def test_the_boot_log_of_the_same_boot_leads_to_the_same_tpm() -> None:
    """Everything but PCR 10 is in the boot log; PCR 13 is untouched."""
    log = decode_event_log(recorded()["boot_log"])
    pcrs = recorded_pcrs(1)
    check_replay(log.events, pcrs, [index for index in range(15) if index != IMA_PCR])
    assert pcrs[13] == bytes(32)


@pytest.mark.parametrize("number", [1, 2])
def test_every_single_bit_flip_of_a_real_list_is_refused(number: int) -> None:
    data, pcrs = recorded()[f"list_{number}"], recorded_pcrs(number)
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with contextlib.suppress(DecodeError, AttestationError):
            found = verify_measurements(bytes(flipped), pcrs)
            violated = [m for m in found if m.violated]
            assert violated, "only what a violation says of its file is in no digest"
            assert [m for m in found if not m.violated] == [
                m for m in verify_measurements(data, pcrs) if not m.violated
            ]


def test_what_a_violation_says_of_its_file_is_for_people() -> None:
    """The kernel extends 0xFF for it, whatever the file: another path replays as well, and stays a violation."""
    honest = Raw(b"/etc/broker.conf\0", b"sha256:\0" + bytes(32), template_hash=bytes(20))
    told = Raw(b"/tmp/harmless\0", b"sha256:\0" + bytes(32), template_hash=bytes(20))
    assert replay(decode_measurements(listed(honest))) == replay(decode_measurements(listed(told)))


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_read_to_their_end(data: bytes) -> None:
    for changed in (data, listed(Raw()) + data, listed(Raw())[: len(data)] + data):
        with contextlib.suppress(DecodeError, AttestationError):
            decode_measurements(changed)


def test_too_much_is_refused() -> None:
    with pytest.raises(DecodeError, match="longer than"):
        decode_measurements(bytes(MAX_LIST + 1))
    with pytest.raises(DecodeError, match="field of 65549 bytes"):
        decode_measurements(listed(Raw(b"/" * 65_500 + b"\0")))


@pytest.mark.parametrize("pcr", range(11))
def test_another_machine_is_refused(pcr: int) -> None:
    pcrs = list(recorded_pcrs(1))
    pcrs[pcr] = b"\x55" * 32
    with pytest.raises(AttestationError):
        verify_measurements(recorded()["list_1"], pcrs)
