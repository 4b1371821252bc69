"""The attester's process on a real software TPM: quotes in the log; what is said when the TPM does not do its part."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sigillo.attestation import software_tpm
from sigillo.attestation.attester import Attester
from sigillo.attestation.launch_log import LaunchLog
from sigillo.attestation.tpm import Tpm
from sigillo.broker import attester_process
from sigillo.broker.attester_process import QuotedEpoch, Quoting
from sigillo.broker.boot_record import BootRecord, boot_lines
from sigillo.broker.event import Event, EventName
from sigillo.broker.folder import OperatorFolder
from sigillo.broker.settings import Settings
from sigillo.core.attestation import AttestationEvidence, attested_entries, decode_attestation, verify_periodic
from sigillo.core.entry import Kind
from sigillo.core.errors import AttestationError
from sigillo.core.evidence_line import BootLine, ImaLine
from sigillo.core.launch import EpochEvent, LaunchEvent
from sigillo.core.quote import LAUNCH_PCR
from sigillo.log.error import LogError
from sigillo.log.incoming import FOLDER
from sigillo.log.store import StoreReader

from ..adversary.machine import Machine
from ..log.operator import Operator, check
from ..vector.key import filler
from ..vector.sample_tpm import PROCESS
from . import rig

LOCKED_OUT = bytes.fromhex("8001 0000000a 00000921")
INTERVAL_S = 60.0


class Run:
    """An operator whose epoch was measured into a TPM that runs, and the work of the process."""

    def __init__(self, path: Path, tpm_folder: Path) -> None:
        self.operator = Operator(path).create()
        self.operator.start()
        self.operator.mark(3)
        self.operator.run()
        epoch = self.operator.broker.epoch
        assert epoch
        tpm = Tpm(rig.link_to(tpm_folder))
        folder = self.folder = OperatorFolder.at(path)
        folder.attestation.mkdir()
        launches = LaunchLog.open(folder.launch_log, tpm)
        launches.append(LaunchEvent(1, filler("closure"), ("/usr/sbin/mosquitto",)))
        launches.append(EpochEvent(epoch.epoch_id, PROCESS))
        self.events: list[Event] = []
        self.epoch = QuotedEpoch(1, epoch.epoch_id, Attester.open(tpm).key.name)
        self.settings = Settings("broker.example", "Example", boot_log=f"{path}/boot", ima_list=f"{path}/ima")
        report = self.events.append
        record = BootRecord(folder, self.settings, report)
        socket_path = software_tpm.socket_of(tpm_folder)
        self.quoting = Quoting(folder, socket_path, self.epoch, INTERVAL_S, report, record=record)

    def of(self, name: EventName) -> list[Event]:
        return [event for event in self.events if event.name is name]

    def reasons(self) -> list[str]:
        return [str(event.fields["reason"]) for event in self.of(EventName.TPM_DOWN)]

    def logged(self) -> dict[int, AttestationEvidence]:
        """The quotes of the log, by the index of their entry, once it has taken what there is."""
        size = self.operator.run().head.size
        store = StoreReader(self.operator.log / "store", self.operator.broker.log_key.key_id32)
        public = self.operator.public()
        found = [index for index in range(size) if public.entry(index).kind is Kind.ATTESTATION_EVIDENCE]
        return {index: decode_attestation(store.read(index).object_bytes) for index in found}


@pytest.fixture
def run(tmp_path: Path, tpm_folder: Path) -> Iterator[Run]:
    with rig.started(tpm_folder):
        yield Run(tmp_path / "operator", tpm_folder)


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """A TPM that takes commands and answers none."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_marks_lie_between_two_quotes_of_the_log(run: Run) -> None:
    assert run.quoting.once() > 0
    run.logged()
    run.operator.mark(5)
    run.operator.run()
    run.quoting.once()
    (opening_index, first), (closing_index, second) = run.logged().items()
    opening, closing = (verify_periodic(found, run.epoch.key_name) for found in (first, second))
    between = attested_entries(opening_index, opening, closing)
    assert between == range(opening_index + 1, closing_index)
    kinds = [run.operator.public().entry(index).kind for index in between]
    assert kinds.count(Kind.MARK) == 5
    assert [event.fields for event in run.of(EventName.QUOTED)] == [
        {"epoch": 1, "size": found.subject.checkpoint.size} for found in (first, second)
    ]
    check(run.operator)


def test_boot_log_and_list_are_kept_under_the_resets_that_the_quote_says(run: Run) -> None:
    machine = Machine()
    Path(run.settings.boot_log).write_bytes(machine.boot_log_bytes)
    Path(run.settings.ima_list).write_bytes(machine.ima_list)
    run.quoting.once()
    (evidence,) = run.logged().values()
    assert boot_lines(run.folder, [evidence]) == [BootLine(machine.boot_log_bytes), ImaLine(machine.ima_list)]
    assert not run.of(EventName.BOOT_UNRECORDED)


def test_a_machine_that_measures_nothing_is_said_to_be_one_once(run: Run) -> None:
    run.quoting.once()
    run.quoting.once()
    assert [event.fields["path"] for event in run.of(EventName.BOOT_UNRECORDED)] == [
        run.settings.boot_log,
        run.settings.ima_list,
    ]
    assert len(run.of(EventName.QUOTED)) == 2


def test_a_quote_waits_on_disk_until_it_is_logged(run: Run) -> None:
    run.quoting.once()
    (path,) = (run.operator.log / FOLDER).iterdir()
    decode_attestation(path.read_bytes())
    (evidence,) = run.logged().values()
    assert evidence.subject.epoch_id == run.epoch.epoch_id
    run.operator.run()
    assert not list((run.operator.log / FOLDER).iterdir())


def test_a_tpm_that_is_slow_is_named_once_and_when_it_answers_again(
    tmp_path: Path, tpm_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with rig.started(tpm_folder) as process:
        run = Run(tmp_path / "operator", tpm_folder)
        run.quoting.once()
        monkeypatch.setattr(attester_process, "TIMEOUT_S", 0.2)
        with stopped(process.pid):
            pauses = [run.quoting.once() for _ in range(7)]
        monkeypatch.undo()
        run.quoting.once()
    assert pauses == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    (reason,) = run.reasons()
    assert "does not answer within 0.2 s" in reason
    assert len(run.of(EventName.TPM_BACK)) == 1
    opening, closing = (verify_periodic(found, run.epoch.key_name) for found in run.logged().values())
    assert closing.clock.reset_count == opening.clock.reset_count


def test_a_tpm_that_is_gone_and_then_restarted_attests_nothing_more_of_the_epoch(
    tmp_path: Path, tpm_folder: Path
) -> None:
    with rig.started(tpm_folder):
        run = Run(tmp_path / "operator", tpm_folder)
        run.quoting.once()
    run.quoting.once()
    run.quoting.once()
    with rig.started(tpm_folder):
        run.quoting.once()
        run.quoting.once()
    gone, reset = run.reasons()
    assert "gone" in gone or "no TPM" in gone
    assert "reset" in reset
    assert not run.of(EventName.TPM_BACK)
    (index, first), (_, after), _ = run.logged().items()  # what happened is in the log, whatever it says
    quotes = [verify_periodic(found, run.epoch.key_name) for found in (first, after)]
    with pytest.raises(AttestationError, match="reset"):
        attested_entries(index, *quotes)


def test_a_reset_before_the_first_quote_is_seen_too(tmp_path: Path, tpm_folder: Path) -> None:
    with rig.started(tpm_folder):
        run = Run(tmp_path / "operator", tpm_folder)
    with rig.started(tpm_folder):
        run.quoting.once()
    assert "PCR 13 has not the value" in run.reasons()[0]


def test_somebody_who_extends_the_pcr_is_named(run: Run, tpm_folder: Path) -> None:
    run.quoting.once()
    Tpm(rig.link_to(tpm_folder)).extend(LAUNCH_PCR, filler("something else that was started"))
    run.quoting.once()
    assert run.reasons() == ["something was launched between the two quotes"]


def test_a_tpm_that_is_locked_out_is_named_in_words(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    class Locked:
        def transmit(self, _command: bytes) -> bytes:
            return LOCKED_OUT

        def close(self) -> None:
            pass

    with monkeypatch.context() as patch:
        patch.setattr(attester_process, "open_link", lambda _path, _timeout_s: Locked())
        run.quoting.once()
        run.quoting.once()
    run.quoting.once()
    (reason,) = run.reasons()
    assert "locked out" in reason
    assert len(run.of(EventName.TPM_BACK)) == 1


def test_another_tpm_quotes_nothing_of_this_epoch(tmp_path: Path, tpm_folder: Path) -> None:
    with rig.started(tpm_folder):
        run = Run(tmp_path / "operator", tpm_folder)
    other = rig.made(tmp_path / "t")
    with rig.started(other):
        run.quoting._tpm = software_tpm.socket_of(other)
        run.quoting.once()
    assert "not the one that the epoch statement names" in run.reasons()[0]
    assert not run.logged()


def test_a_disk_that_is_full_is_named_and_the_next_quote_is_a_new_one(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object) -> None:
        raise LogError("incoming: No space left on device; see to the disk")

    with monkeypatch.context() as patch:
        patch.setattr(attester_process, "submit", full)
        run.quoting.once()
        assert not run.of(EventName.QUOTED)
    run.quoting.once()
    assert "No space left" in run.reasons()[0]
    said = [event.name for event in run.events if event.name is not EventName.BOOT_UNRECORDED]
    assert said == [EventName.TPM_DOWN, EventName.QUOTED, EventName.TPM_BACK]
    assert len(run.logged()) == 1


class Stopping:
    """The process's work in a thread, until it is told to stop."""

    def __init__(self, run: Run) -> None:
        self._stop, self._stopper = socket.socketpair()
        self._thread = threading.Thread(target=run.quoting.run, args=(self._stop,))
        self._thread.start()

    def tell(self) -> None:
        self._stopper.send(b"\0")

    def join(self) -> None:
        self._thread.join()
        self._stop.close()
        self._stopper.close()


def test_the_last_quote_covers_the_end_of_the_epoch(run: Run) -> None:
    thread = Stopping(run)
    rig.wait_until(lambda: bool(run.of(EventName.QUOTED)))
    run.operator.mark(2)
    run.operator.end()
    thread.tell()
    run.operator.run()
    thread.join()
    *_, last = run.logged().values()
    end = run.operator.public().find(Kind.EPOCH_END, 1, 5)
    assert end is not None
    assert end < last.subject.checkpoint.size
    assert len(run.of(EventName.QUOTED)) == 2


def test_an_epoch_without_an_end_gets_its_last_quote_all_the_same(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attester_process, "LAST_PATIENCE_S", 0.2)
    thread = Stopping(run)
    rig.wait_until(lambda: bool(run.of(EventName.QUOTED)))
    thread.tell()
    thread.join()
    assert len(run.of(EventName.QUOTED)) == 2


def test_a_tpm_that_is_down_holds_up_no_end(tmp_path: Path, tpm_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attester_process, "TIMEOUT_S", 0.2)
    with rig.started(tpm_folder) as process:
        run = Run(tmp_path / "operator", tpm_folder)
        with stopped(process.pid):
            thread = Stopping(run)
            rig.wait_until(lambda: bool(run.reasons()))
            thread.tell()
            thread.join()
    assert not run.of(EventName.QUOTED)
