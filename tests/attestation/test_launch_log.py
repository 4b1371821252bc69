"""The launch log and its PCR: they agree after every crash, and nothing is measured where they cannot."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from sigillo.attestation.attester import Attester
from sigillo.attestation.error import TpmError
from sigillo.attestation.launch_log import LaunchLog
from sigillo.attestation.tpm import Tpm
from sigillo.core.attestation import verify_periodic
from sigillo.core.event_log import LoggedEvent, encode_event_log
from sigillo.core.launch import EpochEvent, Launched, LaunchEvent, verify_launch_log
from sigillo.core.quote import LAUNCH_PCR

from ..vector.key import filler
from ..vector.sample import EPOCH_ID
from ..vector.sample_tpm import LAUNCH, LAUNCHES, OPENING, PROCESS
from . import rig


@pytest.fixture
def tpm(tpm_folder: Path) -> Iterator[Tpm]:
    with rig.attester_of(tpm_folder) as (_, found):
        yield found


def launched(log: LaunchLog, tpm: Tpm, before: tuple[LoggedEvent, ...] = ()) -> Launched:
    """As a reader sees it: a quote, and the log that leads to it."""
    attester = Attester.open(tpm)
    quote = verify_periodic(attester.quote(OPENING), attester.key.name)
    return verify_launch_log(log.log_bytes, quote.launch_pcr, before)


def test_launches_go_on_over_restarts_of_the_launcher(tpm: Tpm, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        log = LaunchLog.open(tmp_path / "log", tpm)
        log.append(LaunchEvent(number, filler(f"closure {number}"), ("/broker",)))
        LaunchLog.open(tmp_path / "log", tpm).append(EpochEvent(filler(f"epoch {number}"), PROCESS))
        found = launched(LaunchLog.open(tmp_path / "log", tpm), tpm)
        assert (found.epoch_id, found.launches) == (filler(f"epoch {number}"), number)


def test_a_reset_begins_a_new_log(tpm_folder: Path, tmp_path: Path) -> None:
    for _ in range(2):
        with rig.attester_of(tpm_folder) as (_, tpm):
            log = LaunchLog.open(tmp_path / "log", tpm)
            log.append(LAUNCH)
            log.append(EpochEvent(EPOCH_ID, PROCESS))
            assert launched(log, tpm).launches == 1
    (kept,) = (tmp_path / "launches").iterdir()
    assert kept.read_bytes() == (tmp_path / "log").read_bytes()  # the same two events, of a reset before
    assert kept.name == f"{hashlib.sha256(kept.read_bytes()).hexdigest()}.log"


class Crash(BaseException):
    """The end of the process, at once."""


class Crashing(Tpm):
    """The process ends before the TPM has extended."""

    def extend(self, index: int, digest: bytes) -> None:
        raise Crash


def test_an_event_that_was_logged_and_not_extended_never_was(tpm_folder: Path, tmp_path: Path) -> None:
    with rig.started(tpm_folder):
        tpm = Tpm(rig.link_to(tpm_folder))
        LaunchLog.open(tmp_path / "log", tpm).append(LAUNCH)
        with pytest.raises(Crash):
            crashing = LaunchLog.open(tmp_path / "log", Crashing(rig.link_to(tpm_folder)))
            crashing.append(EpochEvent(filler("lost"), PROCESS))
        log = LaunchLog.open(tmp_path / "log", tpm)
        log.append(EpochEvent(EPOCH_ID, PROCESS))
        assert launched(log, tpm).epoch_id == EPOCH_ID


def test_an_event_that_was_extended_is_in_the_log(tpm_folder: Path, tmp_path: Path) -> None:
    """A crash just after: nothing is lost."""

    class LateCrash(Tpm):
        def extend(self, index: int, digest: bytes) -> None:
            super().extend(index, digest)
            raise Crash

    with rig.started(tpm_folder):
        with pytest.raises(Crash):
            LaunchLog.open(tmp_path / "log", LateCrash(rig.link_to(tpm_folder))).append(LAUNCH)
        tpm = Tpm(rig.link_to(tpm_folder))
        log = LaunchLog.open(tmp_path / "log", tpm)
        log.append(EpochEvent(EPOCH_ID, PROCESS))
        assert launched(log, tpm).launches == 1


def test_a_pcr_that_somebody_else_extends_is_not_ours(tpm: Tpm, tmp_path: Path) -> None:
    log = LaunchLog.open(tmp_path / "log", tpm)
    log.append(LAUNCH)
    tpm.extend(LAUNCH_PCR, filler("somebody"))
    with pytest.raises(TpmError, match="somebody else"):
        log.append(EpochEvent(EPOCH_ID, PROCESS))
    with pytest.raises(TpmError, match="somebody else"):
        LaunchLog.open(tmp_path / "log", tpm)


def test_a_log_that_was_lost_or_shortened_is_not_made_up_for(tpm: Tpm, tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = LaunchLog.open(path, tpm)
    for event in (LAUNCH, EpochEvent(EPOCH_ID, PROCESS), LAUNCH):
        log.append(event)
    whole = path.read_bytes()
    for shorter in (None, encode_event_log(LAUNCHES[1:]), encode_event_log(())):
        path.unlink() if shorter is None else path.write_bytes(shorter)
        with pytest.raises(TpmError, match="does not lead to"):
            LaunchLog.open(path, tpm)
    path.write_bytes(whole[:-1])
    with pytest.raises(TpmError, match="cut off"):
        LaunchLog.open(path, tpm)
    path.write_bytes(whole)
    LaunchLog.open(path, tpm)


def test_what_the_firmware_wrote_comes_first(tpm: Tpm, tmp_path: Path) -> None:
    before = (LoggedEvent(LAUNCH_PCR, 0xD, filler("system extension"), b"an image"),)
    tpm.extend(LAUNCH_PCR, before[0].digest)
    with pytest.raises(TpmError, match="somebody else"):
        LaunchLog.open(tmp_path / "log", tpm)
    log = LaunchLog.open(tmp_path / "log", tpm, before)
    log.append(LAUNCH)
    LaunchLog.open(tmp_path / "log", tpm, before).append(EpochEvent(EPOCH_ID, PROCESS))
    assert launched(LaunchLog.open(tmp_path / "log", tpm, before), tpm, before).launches == 1
