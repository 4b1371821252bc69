"""A stranger asks a running broker for a fresh quote: real Mosquitto, real software TPM, over HTTP."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sigillo.attestation import software_tpm
from sigillo.broker.account import REST_USER, find_account
from sigillo.challenge import ChallengeError, fetch_challenge
from sigillo.core.challenge import ChallengeAnswer, Hidden, encode_challenge_answer, verify_challenge_answer
from sigillo.core.checkpoint import verify_checkpoint
from sigillo.core.entry import Kind
from sigillo.core.epoch import decode_statement
from sigillo.core.errors import AttestationError
from sigillo.core.launch import check_statement, verify_launch_log
from sigillo.core.note import LogKey
from sigillo.core.quote import Quote
from sigillo.log.public import PublicLog

from ..attestation import rig
from ..port import free_port
from .conftest import PATIENCE_S, Operator, Tracker, sigillo, trust
from .test_measured import believe


@dataclass
class Asked:
    """An operator with a TPM, whose log is served at *url*."""

    operator: Operator
    url: str
    tpm: subprocess.Popen[bytes]

    def fetch(self, nonce: bytes) -> ChallengeAnswer:
        return fetch_challenge(self.url, nonce)

    def attested(self) -> Quote:
        """A challenge as a stranger reads it who has the operator's log key."""
        nonce = secrets.token_bytes(32)
        answer = self.fetch(nonce)
        quote = verify_challenge_answer(answer, nonce)
        launched = verify_launch_log(answer.launch_bytes, quote.launch_pcr)
        assert launched.epoch_id == answer.statement.epoch_id
        assert launched.event.closure_hash == answer.closure.object_hash
        check_statement(answer.closure, answer.statement.statement)
        vkey = (self.operator.folder / "log/log.vkey").read_text().strip()
        verify_checkpoint(answer.checkpoint, LogKey.from_vkey(vkey, "log.vkey"))
        return quote

    def status(self) -> int | None:
        """The status that a challenge gets; None: nobody answers."""
        nonce = secrets.token_bytes(32)
        try:
            verify_challenge_answer(self.fetch(nonce), nonce)
        except ChallengeError as error:
            return error.status
        return 200

    def said(self) -> str:
        return self.operator.log.read_text()

    def kinds(self) -> Counter[Kind]:
        """How many entries of each kind the log has."""
        public = PublicLog(self.operator.folder / "log/public")
        return Counter(public.entry(index).kind for index in range(public.size))


@pytest.fixture(scope="module")
def tpm(reachable_tmp: Path) -> Path:
    folder = rig.made(reachable_tmp / "challenged")
    folder.chmod(0o711)
    return folder


@pytest.fixture
def asked(operator: Operator, tpm: Path) -> Iterator[Asked]:
    with rig.started(tpm) as process:
        socket = software_tpm.socket_of(tpm)
        rest = find_account(REST_USER)
        if os.geteuid() == 0 and rest is not None:
            os.chown(socket, rest.uid, rest.gid)
        address = f"127.0.0.1:{free_port()}"
        operator.options = ("--tpm", str(socket), "--http", address, "--quote-interval", "1")
        operator.start()
        rig.wait_until(lambda: "quoted epoch 1" in operator.log.read_text())
        yield Asked(operator, f"http://{address}/", process)
        operator.stop(expect=None)


def test_the_command_judges_a_running_broker_by_a_policy(asked: Asked, tmp_path: Path) -> None:
    statement = decode_statement(asked.operator.statements()[-1].read_bytes())
    tracker = Tracker("crate-1", asked.operator.folder.parent / "crate-1").enrol(asked.operator, "p256")
    policy = trust(asked.operator, [tracker], tmp_path / "policy.toml")
    believe(policy, statement)
    state = tmp_path / "state.json"
    said = sigillo("challenge", asked.url, "--policy", policy)
    assert said.startswith("ATTESTED  epoch 1 of operator")
    assert "SOFTWARE TPM" in said
    watching = ("watch", asked.url, "--policy", policy, "--state", state, "--once")
    assert "green attested: epoch 1" in sigillo(*watching)
    asked.tpm.terminate()
    rig.wait_until(lambda: asked.status() == 503)
    assert "503" in sigillo("challenge", asked.url, "--policy", policy, expect=1)
    assert "red   not attested" in sigillo(*watching, expect=1)


def test_a_stranger_gets_a_fresh_quote_and_all_that_reading_it_takes(asked: Asked) -> None:
    first = asked.attested()
    statement = decode_statement(asked.operator.statements()[-1].read_bytes())
    assert first.subject.epoch_id == statement.epoch_id
    answer = asked.fetch(secrets.token_bytes(32))
    folder = asked.operator.folder
    for name in ("sigillo.toml", "conf/mosquitto.conf", "conf/acl"):
        assert answer.texts[name] == (folder / name).read_text()
    hidden = {item.name: item.hidden for item in answer.configuration if item.text is None}
    assert hidden["conf/tls/server.key.pem"] is Hidden.OTHER
    Tracker("crate-1", folder.parent / "crate-1").enrol(asked.operator, "p256").publish(asked.operator, 5)
    rig.wait_until(lambda: asked.kinds()[Kind.MARK] >= 5)
    later = asked.attested()
    assert later.subject.checkpoint.size > first.subject.checkpoint.size
    assert later.clock.clock_ms > first.clock.clock_ms


def test_a_bridges_password_is_in_no_answer(asked: Asked) -> None:
    asked.operator.stop()
    path = asked.operator.folder / "conf/mosquitto.conf"
    bridge = "connection up\naddress 127.0.0.1:1\ntopic nothing out 1\nremote_username up\nremote_password hunter2\n"
    path.write_text(path.read_text() + bridge)
    asked.operator.start()
    rig.wait_until(lambda: "quoted epoch 2" in asked.said())
    asked.attested()
    answer = asked.fetch(secrets.token_bytes(32))
    (hidden,) = (item.hidden for item in answer.configuration if item.name == "conf/mosquitto.conf")
    assert hidden is Hidden.SECRET
    assert b"hunter2" not in encode_challenge_answer(answer)


def test_an_answer_to_another_nonce_is_refused(asked: Asked) -> None:
    """Attacks 1 and 13: what somebody recorded, shown to whoever asks now."""
    recorded = asked.fetch(secrets.token_bytes(32))
    with pytest.raises(AttestationError, match="does not answer"):
        verify_challenge_answer(recorded, secrets.token_bytes(32))


def test_the_next_epoch_answers_for_itself(asked: Asked) -> None:
    first = asked.attested()
    assert asked.operator.process is not None
    asked.operator.process.send_signal(signal.SIGHUP)
    rig.wait_until(lambda: "quoted epoch 2" in asked.said())
    second = asked.attested()
    assert second.subject.epoch_id != first.subject.epoch_id
    assert second.key.name == first.key.name


def test_a_flood_is_turned_away_and_marks_and_quotes_go_on(asked: Asked) -> None:
    over, found = threading.Event(), Counter[int | None]()
    guard = threading.Lock()

    def flood() -> None:
        while not over.is_set():
            status = asked.status()
            with guard:
                found[status] += 1

    tracker = Tracker("crate-1", asked.operator.folder.parent / "crate-1").enrol(asked.operator, "p256")
    threads = [threading.Thread(target=flood) for _ in range(4)]
    for thread in threads:
        thread.start()
    before, begun = asked.kinds(), time.monotonic()
    tracker.publish(asked.operator, 20)
    rig.wait_until(lambda: time.monotonic() - begun > 4)
    rig.wait_until(lambda: asked.kinds()[Kind.MARK] >= before[Kind.MARK] + 20)
    after, took_s = asked.kinds(), time.monotonic() - begun
    over.set()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert found[429] > 20
    assert 4 <= found[200] <= 8 + 2 * (took_s + 2)
    assert set(found) == {200, 429}
    assert after[Kind.ATTESTATION_EVIDENCE] - before[Kind.ATTESTATION_EVIDENCE] >= 2
    assert "nothing is attested" not in asked.said()
    asked.operator.stop()


def test_a_tpm_that_stops_is_never_answered_for(asked: Asked) -> None:
    asked.attested()
    asked.tpm.terminate()
    asked.tpm.wait(PATIENCE_S)
    assert [asked.status() for _ in range(3)] == [503] * 3
    rig.wait_until(lambda: "nothing is attested from here on" in asked.said())
    tracker = Tracker("crate-1", asked.operator.folder.parent / "crate-1").enrol(asked.operator, "p256")
    tracker.publish(asked.operator, 5)
    rig.wait_until(lambda: asked.kinds()[Kind.MARK] >= 5)
    assert asked.status() == 503
    asked.operator.stop()


def test_an_attester_that_is_killed_answers_nobody_and_the_run_ends_as_for_any_of_ours(asked: Asked) -> None:
    asked.attested()
    assert asked.operator.process is not None
    os.kill(youngest_child(asked.operator.process.pid), signal.SIGKILL)  # the attester is started last
    found = set()
    while asked.operator.process.poll() is None:
        found.add(asked.status())
    assert 503 in found
    assert found <= {503, 429, None}
    assert asked.operator.process.wait(PATIENCE_S) == 1
    assert "attester" in asked.said()
    asked.operator.process = None
    assert asked.kinds()[Kind.EPOCH_END] == 1, "the broker was stopped in order"


def youngest_child(parent: int) -> int:
    """The process that *parent* has started last."""
    started: list[tuple[int, int]] = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        if int(fields[1]) == parent:
            started.append((int(fields[19]), int(path.parent.name)))
    return max(started)[1]


def test_without_a_tpm_it_says_so(operator: Operator) -> None:
    address = f"127.0.0.1:{free_port()}"
    operator.options = ("--http", address)
    operator.start()
    with pytest.raises(ChallengeError) as caught:
        fetch_challenge(f"http://{address}", secrets.token_bytes(32))
    assert caught.value.status == 404
    assert "--tpm" in caught.value.reason
