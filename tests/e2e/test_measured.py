"""The measured launch: `sigillo up --tpm` with a real Mosquitto and a real software TPM, read as a stranger would."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sigillo.attestation import software_tpm
from sigillo.attestation.attester import Attester
from sigillo.attestation.tpm import Tpm
from sigillo.broker.account import REST_USER, find_account
from sigillo.core.attestation import verify_periodic
from sigillo.core.epoch import SignedStatement, decode_statement
from sigillo.core.launch import Closure, Launched, Role, check_statement, decode_closure, verify_launch_log
from sigillo.core.quote import LAUNCH_PCR, Subject

from ..attestation import rig
from .conftest import PATIENCE_S, Operator


@dataclass
class Measured:
    """An operator whose launches are measured into the TPM of *tpm*."""

    operator: Operator
    tpm: Path

    def statement(self) -> SignedStatement:
        """Of the newest epoch."""
        return decode_statement(self.operator.statements()[-1].read_bytes())

    def launched(self, signed: SignedStatement) -> Launched:
        """As a stranger sees it: a quote for the epoch, by the key of its statement, and the log that leads to it."""
        attester = signed.statement.attester
        assert attester is not None
        assert isinstance(attester.name, bytes)
        subject = Subject(signed.epoch_id, signed.statement.log_checkpoint)
        quote = verify_periodic(Attester.open(Tpm(rig.link_to(self.tpm))).quote(subject), attester.name)
        return verify_launch_log((self.operator.folder / "attestation/launch.log").read_bytes(), quote.launch_pcr)

    def closure(self, launched: Launched) -> Closure:
        path = self.operator.folder / f"attestation/closures/{launched.event.closure_hash.hex()}.cbor"
        closure = decode_closure(path.read_bytes())
        assert closure.object_hash == launched.event.closure_hash
        return closure


@pytest.fixture(scope="module")
def tpm(reachable_tmp: Path) -> Path:
    """A TPM that the user of the log key can reach."""
    folder = rig.made(reachable_tmp / "tpm")
    folder.chmod(0o711)
    return folder


@pytest.fixture
def measured(operator: Operator, tpm: Path) -> Iterator[Measured]:
    with rig.started(tpm):
        socket = software_tpm.socket_of(tpm)
        rest = find_account(REST_USER)
        if os.geteuid() == 0 and rest is not None:
            os.chown(socket, rest.uid, rest.gid)
        operator.options = ("--tpm", str(socket))
        yield Measured(operator, tpm)
        operator.stop(expect=None)


def test_a_stranger_reads_what_was_launched(measured: Measured) -> None:
    measured.operator.start()
    signed = measured.statement()
    launched = measured.launched(signed)
    assert launched.epoch_id == signed.epoch_id
    assert (launched.event.epoch_number, launched.launches) == (1, 1)
    assert launched.event.environment == ()
    assert launched.event.command[0] == "/usr/sbin/mosquitto"
    closure = measured.closure(launched)
    check_statement(closure, signed.statement)
    assert {member.role for member in closure.members} == set(Role)
    said = measured.operator.log.read_text()
    assert Attester.open(Tpm(rig.link_to(measured.tpm))).key.name.hex() in said


def test_every_launch_is_one_more(measured: Measured) -> None:
    """A restart, a reload and a changed plugin: each a launch of its own, the last with another closure."""
    operator = measured.operator
    operator.start()
    first = measured.launched(measured.statement())
    assert operator.process is not None
    operator.process.send_signal(signal.SIGHUP)
    rig.wait_until(lambda: len(operator.statements()) == 2 and "epoch 2 started" in operator.log.read_text())
    reloaded = measured.launched(measured.statement())
    assert (reloaded.launches, reloaded.epoch_id) == (2, measured.statement().epoch_id)
    assert reloaded.event.closure_hash == first.event.closure_hash
    operator.stop()
    configuration = operator.folder / "conf/mosquitto.conf"
    configuration.write_text(configuration.read_text() + "max_keepalive 600\n")
    operator.start()
    changed = measured.launched(measured.statement())
    assert changed.launches == 3
    assert changed.event.closure_hash != first.event.closure_hash
    before, after = (measured.closure(found) for found in (first, changed))
    other = {member.name for member in set(after.members) - set(before.members)}
    assert other == {"conf/mosquitto.conf"}


def test_what_is_not_measured_does_not_listen(measured: Measured) -> None:
    """Somebody else extended the PCR: the broker is not even started."""
    Tpm(rig.link_to(measured.tpm)).extend(LAUNCH_PCR, b"\1" * 32)
    assert "somebody else" in refused(measured.operator)
    assert not measured.operator.statements()


def test_without_its_tpm_it_does_not_start(operator: Operator, tpm: Path) -> None:
    operator.options = ("--tpm", str(software_tpm.socket_of(tpm)))
    assert "TPM" in refused(operator)


def test_a_tpm_that_the_log_keys_user_may_not_use_is_named_with_a_remedy(operator: Operator, tpm: Path) -> None:
    if os.geteuid() != 0 or find_account(REST_USER) is None:
        pytest.skip("needs root, and a user of its own for the log key")
    operator.options = ("--tpm", str(software_tpm.socket_of(tpm)))
    with rig.started(tpm):  # its socket is root's
        assert "setfacl" in refused(operator)


def refused(operator: Operator) -> str:
    """What `sigillo up` says that does not start."""
    with pytest.raises(AssertionError):
        operator.start()
    assert operator.process is not None
    assert operator.process.wait(PATIENCE_S) == 2
    operator.process = None
    said = operator.log.read_text()
    assert "Traceback" not in said
    return said


def test_without_a_tpm_nothing_is_claimed(operator: Operator) -> None:
    operator.start()
    assert decode_statement(operator.statements()[-1].read_bytes()).statement.attester is None
    assert not (operator.folder / "attestation").exists()
    assert "tpm" not in (operator.folder / "sigillo.toml").read_text()
