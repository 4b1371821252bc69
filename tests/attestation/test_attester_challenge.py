"""The attester's process answers challenges on a real software TPM: with a fresh quote, or not at all."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sigillo.attestation import software_tpm
from sigillo.attestation.attester import Attester
from sigillo.attestation.error import TpmError
from sigillo.attestation.launch_log import LaunchLog
from sigillo.attestation.tpm import Tpm
from sigillo.broker import attester_process
from sigillo.broker.attester_process import Challenges, QuotedEpoch, Quoting
from sigillo.broker.boot_record import BootRecord
from sigillo.broker.challenge_link import Exchange, ServerSide, Unanswered
from sigillo.broker.event import Event, EventName
from sigillo.broker.folder import OperatorFolder
from sigillo.broker.settings import Settings
from sigillo.core.challenge import decode_challenge_answer, verify_challenge_answer
from sigillo.core.errors import AttestationError
from sigillo.core.launch import EpochEvent, LaunchEvent, encode_closure, verify_launch_log
from sigillo.core.quote import LAUNCH_PCR, Quote
from sigillo.core.statement import Attester as StatedAttester
from sigillo.core.statement import AttesterKind
from tests.vector.sample_tpm import PROCESS

from ..log.operator import Operator
from ..vector.challenge import closure, configuration
from ..vector.key import filler
from . import rig
from .test_attester_process import stopped

PATIENCE_S = 30.0


class Run:
    """An operator whose epoch was measured into a TPM that runs, the attester's process in a thread, a server's end."""

    def __init__(self, path: Path, tpm_folder: Path, interval_s: float = 60.0) -> None:
        self.tpm = Tpm(rig.link_to(tpm_folder))
        key_name = Attester.open(self.tpm).key.name
        self.operator = Operator(path).create()
        self.operator.start(attester=StatedAttester(AttesterKind.TPM, key_name))
        self.operator.mark(3)
        self.operator.run()
        epoch = self.operator.broker.epoch
        assert epoch
        self.folder = OperatorFolder.at(path)
        self.folder.closures.mkdir(parents=True)
        (self.folder.epochs / "0000000001.cose").write_bytes(epoch.countersigned)
        (self.folder.closures / f"{closure().object_hash.hex()}.cbor").write_bytes(encode_closure(closure()))
        launches = LaunchLog.open(self.folder.launch_log, self.tpm)
        launches.append(LaunchEvent(1, closure().object_hash, ("/usr/sbin/mosquitto",)))
        launches.append(EpochEvent(epoch.epoch_id, PROCESS))
        self.events: list[Event] = []
        self.exchange = Exchange()
        self.server = ServerSide(self.exchange.new_server())
        threading.Thread(target=self.server.follow, daemon=True).start()
        end = self.exchange.new_attester()
        assert end
        self.quoting = Quoting(
            self.folder,
            software_tpm.socket_of(tpm_folder),
            QuotedEpoch(1, epoch.epoch_id, key_name),
            interval_s,
            self.events.append,
            record=BootRecord(self.folder, Settings("broker.example", "Example"), self.events.append),
            challenges=Challenges(end, configuration()),
        )
        self._stop, self._stopper = socket.socketpair()
        self._thread = threading.Thread(target=self.quoting.run, args=(self._stop,))

    def start(self) -> Run:
        self._thread.start()
        rig.wait_until(lambda: self.server._attester is not None and bool(self.events))
        return self

    def stop(self) -> None:
        self._stopper.send(b"\0")
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()

    def of(self, name: EventName) -> list[Event]:
        return [event for event in self.events if event.name is name]

    def asked(self, nonce: bytes) -> Quote:
        """A challenge as a stranger reads it."""
        answer = decode_challenge_answer(self.server.ask(nonce, PATIENCE_S))
        quote = verify_challenge_answer(answer, nonce)
        launched = verify_launch_log(answer.launch_bytes, quote.launch_pcr)
        assert launched.epoch_id == answer.statement.epoch_id == quote.subject.epoch_id
        assert launched.event.closure_hash == answer.closure.object_hash
        return quote


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attester_process, "LAST_PATIENCE_S", 0.2)


@pytest.fixture
def run(tmp_path: Path, tpm_folder: Path) -> Iterator[Run]:
    with rig.started(tpm_folder):
        made = Run(tmp_path / "operator", tpm_folder).start()
        yield made
        made.stop()


def test_each_challenge_gets_a_quote_of_its_own_over_the_newest_checkpoint(run: Run) -> None:
    first = run.asked(filler("first"))
    assert first.subject.checkpoint == run.operator.public().checkpoint().head.checkpoint
    run.operator.mark(5)
    run.operator.run()
    second = run.asked(filler("second"))
    assert second.subject.checkpoint == run.operator.public().checkpoint().head.checkpoint
    assert second.subject.checkpoint.size > first.subject.checkpoint.size
    assert second.clock.clock_ms >= first.clock.clock_ms
    assert len(run.of(EventName.QUOTED)) == 1, "no answer is an entry of the log"


def test_an_answer_is_for_its_nonce_alone(run: Run) -> None:
    answer = decode_challenge_answer(run.server.ask(filler("first"), PATIENCE_S))
    with pytest.raises(AttestationError, match="does not answer"):
        verify_challenge_answer(answer, filler("second"))


def test_a_flood_starves_no_quote_of_the_log(tmp_path: Path, tpm_folder: Path) -> None:
    with rig.started(tpm_folder):
        run = Run(tmp_path / "operator", tpm_folder, interval_s=0.2).start()
        over, answered = threading.Event(), []

        def flood() -> None:
            while not over.is_set():
                answered.append(run.server.ask(filler("flood"), PATIENCE_S))

        threads = [threading.Thread(target=flood) for _ in range(4)]
        for thread in threads:
            thread.start()
        before = len(run.of(EventName.QUOTED))
        time.sleep(2.0)
        quoted = len(run.of(EventName.QUOTED)) - before
        over.set()
        for thread in threads:
            thread.join(PATIENCE_S)
        run.stop()
    assert len(answered) > quoted >= 4


def test_a_tpm_that_hangs_answers_nobody_and_is_named_once(
    tmp_path: Path, tpm_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attester_process, "TIMEOUT_S", 0.2)
    monkeypatch.setattr(attester_process, "FIRST_PAUSE_S", 0.3)
    with rig.started(tpm_folder) as process:
        run = Run(tmp_path / "operator", tpm_folder).start()
        run.asked(filler("before"))
        with stopped(process.pid):
            for number in range(3):
                with pytest.raises(Unanswered):
                    run.server.ask(filler(f"hung {number}"), PATIENCE_S)
        assert len(run.of(EventName.TPM_DOWN)) == 1
        rig.wait_until(lambda: bool(run.of(EventName.TPM_BACK)))  # not a minute later
        run.asked(filler("after"))
        run.stop()


def test_a_tpm_that_is_gone_answers_nobody(tmp_path: Path, tpm_folder: Path) -> None:
    with rig.started(tpm_folder):
        run = Run(tmp_path / "operator", tpm_folder).start()
        run.asked(filler("before"))
    with pytest.raises(Unanswered):
        run.server.ask(filler("after"), PATIENCE_S)
    assert run.of(EventName.TPM_DOWN)
    run.stop()


def test_a_reset_is_not_kept_back_and_is_named(tmp_path: Path, tpm_folder: Path) -> None:
    with rig.started(tpm_folder):
        run = Run(tmp_path / "operator", tpm_folder).start()
    with rig.started(tpm_folder):
        answer = decode_challenge_answer(run.server.ask(filler("after"), PATIENCE_S))
        quote = verify_challenge_answer(answer, filler("after"))
        with pytest.raises(AttestationError, match="does not lead"):
            verify_launch_log(answer.launch_bytes, quote.launch_pcr)
        rig.wait_until(lambda: bool(run.of(EventName.TPM_DOWN)))
        run.stop()
    assert "reset" in str(run.of(EventName.TPM_DOWN)[0].fields["reason"])


def test_somebody_who_extends_the_pcr_shows_in_the_next_answer(run: Run) -> None:
    run.asked(filler("before"))
    run.tpm.extend(LAUNCH_PCR, filler("something else that was started"))
    answer = decode_challenge_answer(run.server.ask(filler("after"), PATIENCE_S))
    quote = verify_challenge_answer(answer, filler("after"))
    with pytest.raises(AttestationError, match="does not lead"):
        verify_launch_log(answer.launch_bytes, quote.launch_pcr)
    rig.wait_until(lambda: bool(run.of(EventName.TPM_DOWN)))


def test_another_tpm_answers_nothing(tmp_path: Path, tpm_folder: Path) -> None:
    other = rig.made(tmp_path / "t")
    with rig.started(tpm_folder), rig.started(other):
        run = Run(tmp_path / "operator", tpm_folder).start()
        run.quoting._tpm = software_tpm.socket_of(other)
        with pytest.raises(Unanswered):
            run.server.ask(filler("nonce"), PATIENCE_S)
        assert "not the one that the epoch statement names" in str(run.of(EventName.TPM_DOWN)[0].fields["reason"])
        run.stop()


def test_what_cannot_be_read_is_said_and_quotes_go_on(run: Run) -> None:
    (kept,) = run.folder.closures.iterdir()
    kept.rename(run.folder.path / "kept")
    for number in range(2):
        with pytest.raises(Unanswered):
            run.server.ask(filler(f"nonce {number}"), PATIENCE_S)
    assert len(run.of(EventName.UNANSWERED)) == 1
    assert not run.of(EventName.TPM_DOWN)
    (run.folder.path / "kept").rename(kept)
    run.asked(filler("again"))


def test_after_the_stop_nobody_waits(run: Run) -> None:
    run.asked(filler("before"))
    begun = time.monotonic()
    run._stopper.send(b"\0")
    rig.wait_until(lambda: run.quoting._link is not None and run.quoting._link.gone)
    with pytest.raises(Unanswered):
        run.server.ask(filler("after"), PATIENCE_S)
    assert time.monotonic() - begun < PATIENCE_S / 2


def test_a_server_that_ends_ends_no_quotes(tmp_path: Path, tpm_folder: Path) -> None:
    with rig.started(tpm_folder):
        run = Run(tmp_path / "operator", tpm_folder, interval_s=0.1).start()
        run.exchange.close()
        rig.wait_until(lambda: run.quoting._link is not None and run.quoting._link.gone)
        before = len(run.of(EventName.QUOTED))
        rig.wait_until(lambda: len(run.of(EventName.QUOTED)) > before + 2)
        run.stop()


def test_an_error_of_the_tpm_in_the_middle_is_no_answer(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_arguments: object) -> None:
        raise TpmError("the TPM refuses command 0x158: code 0x922")

    with monkeypatch.context() as patch:
        patch.setattr(Attester, "quote", fails)
        with pytest.raises(Unanswered):
            run.server.ask(filler("nonce"), PATIENCE_S)
