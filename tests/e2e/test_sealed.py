"""`sigillo up` with a log key in a real software TPM: an approved boot, another one, an update, a restored backup."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from sigillo.attestation import software_tpm
from sigillo.attestation.counter import NvCounter
from sigillo.attestation.tpm import Tpm
from sigillo.broker.account import REST_USER, find_account
from sigillo.broker.counted import read_record
from sigillo.log.reader import read_vkey
from sigillo.x509 import new_key, private_pem

from ..attestation import rig
from .conftest import Operator, Tracker, sigillo
from .test_measured import refused


@dataclass
class Machine:
    """An operator whose machine has a TPM, and the owner's key on a stick."""

    operator: Operator
    tpm: Path
    process: subprocess.Popen[bytes]
    owner_key: Path

    @property
    def log(self) -> Path:
        return self.operator.folder / "log"

    def run(self, marks: int = 0) -> None:
        """`sigillo up`, until Ctrl-C."""
        self.operator.start()
        if marks:
            name = f"crate-{len(self.operator.statements())}"
            Tracker(name, self.operator.folder.parent / name).enrol(self.operator, "p256").publish(self.operator, marks)
        self.operator.stop()

    def seal(self) -> str:
        return sigillo("tpm", "seal", self.operator.folder, "--owner-key", self.owner_key)

    def approve(self, key: Path | None = None, expect: int = 0) -> str:
        return sigillo("tpm", "approve", self.operator.folder, "--owner-key", key or self.owner_key, expect=expect)

    def status(self, expect: int = 0) -> str:
        return sigillo("tpm", "status", self.operator.folder, expect=expect)

    def counted(self) -> int:
        """Where the log's counter is, in the TPM as in the folder."""
        key = read_vkey(self.log)
        record = read_record(self.log, key)
        assert record
        assert record.value == NvCounter(software_tpm.socket_of(self.tpm), key.key_id32).read()
        return record.value

    def boot_differs(self, index: int) -> None:
        Tpm(rig.link_to(self.tpm)).extend(index, os.urandom(32))


@pytest.fixture(scope="module")
def tpm(reachable_tmp: Path) -> Path:
    """A TPM that the user of the log key can reach."""
    folder = rig.made(reachable_tmp / "sealing")
    folder.chmod(0o711)
    return folder


@pytest.fixture
def machine(operator: Operator, tpm: Path) -> Iterator[Machine]:
    with rig.started(tpm) as process:
        socket = software_tpm.socket_of(tpm)
        rest = find_account(REST_USER)
        if os.geteuid() == 0 and rest is not None:
            os.chown(socket, rest.uid, rest.gid)
        operator.options = ("--tpm", str(socket))
        stick = operator.folder.parent / "owner.key.pem"
        stick.write_bytes(private_pem(new_key()))
        yield Machine(operator, tpm, process, stick)
        operator.stop(expect=None)


def test_the_key_comes_from_the_tpm_after_an_approved_boot_only(machine: Machine) -> None:
    operator = machine.operator
    machine.run()
    vkey = (machine.log / "log.vkey").read_text()
    pem = (machine.log / "log.key.pem").read_bytes()
    key = load_pem_private_key(pem, None)
    assert isinstance(key, Ed25519PrivateKey)
    assert "in a file, not sealed" in machine.status()
    said = machine.seal()
    assert "sealed" in said
    assert "no firmware measures into this TPM" in said
    assert not (machine.log / "log.key.pem").exists()
    operator.start()
    assert operator.process is not None
    operator.process.send_signal(signal.SIGHUP)  # the launcher of the next epoch asks the TPM again
    rig.wait_until(lambda: "epoch 3 started" in operator.log.read_text())
    operator.stop()
    assert f"log key {vkey.strip()}" in operator.log.read_text()
    assert "this boot: approved" in machine.status()

    machine.boot_differs(4)
    epochs = len(operator.statements())
    said = refused(operator)
    assert "has not approved how this machine was booted (changed: PCR 4)" in said
    assert f"sigillo tpm approve {operator.folder} --owner-key FILE" in said
    assert "this boot: NOT approved" in machine.status(expect=1)
    assert len(operator.statements()) == epochs

    stranger = machine.owner_key.with_name("stranger.pem")
    stranger.write_bytes(private_pem(new_key()))
    machine.approve(stranger, expect=2)
    refused(operator)
    assert "approved: PCR 4" in machine.approve()
    assert "approved already" in machine.approve()
    machine.run()
    for path in operator.folder.rglob("*"):
        if path.is_file():
            assert not any(secret in path.read_bytes() for secret in (pem, key.private_bytes_raw())), path


def test_a_restored_backup_signs_nothing_and_the_newest_folder_starts(machine: Machine) -> None:
    folder, backup, newest = (machine.operator.folder.parent / name for name in ("operator", "backup", "newest"))
    machine.run(3)
    _copy(folder, backup)
    machine.run(3)
    folder.rename(newest)
    _copy(backup, folder)
    checkpoint = (machine.log / "public/checkpoint").read_bytes()
    said = refused(machine.operator)
    assert "log/counter: the TPM's counter is at" in said
    assert "it is an old copy" in said
    assert (machine.log / "public/checkpoint").read_bytes() == checkpoint
    shutil.rmtree(folder)
    newest.rename(folder)
    machine.run(1)
    assert "counter: in the TPM at" in machine.status()


def test_a_sudden_death_of_everything_stops_no_later_start(machine: Machine) -> None:
    """As a power cut does it, but for what the disk has: the counter goes on, and each epoch was counted before GO."""
    operator, values = machine.operator, []
    for number in (1, 2, 3):
        operator.start()
        assert operator.process is not None
        rig.wait_until(lambda: f"epoch {number} started" in operator.log.read_text())  # noqa: B023
        values.append(machine.counted())
        started = [operator.process.pid, *children(operator.process.pid)]
        for pid in started:
            os.kill(pid, signal.SIGKILL)
        operator.process.wait()
        operator.process = None
    assert values == sorted(set(values))
    machine.run(1)
    assert machine.counted() > values[-1]


def children(parent: int) -> list[int]:
    """Process ids of the parts of a `sigillo up`."""
    found = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(pid) for pid in found]


def _copy(source: Path, target: Path) -> None:
    """With owners, as root; `shutil` leaves them out."""
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)


def test_without_its_tpm_nobody_signs(machine: Machine) -> None:
    machine.run()
    machine.seal()
    machine.process.terminate()
    machine.process.wait()
    assert "the TPM does not give the log key up" in refused(machine.operator)
    settings = machine.operator.folder / "sigillo.toml"
    lines = [line for line in settings.read_text().splitlines() if not line.startswith("tpm")]
    settings.write_text("\n".join(lines) + "\n")
    machine.operator.options = ()
    assert "is sealed in a TPM, and sigillo.toml names none" in refused(machine.operator)


def test_a_plain_key_beside_its_sealed_form_is_refused(machine: Machine) -> None:
    """As a seal that was cut off leaves it; done again, it ends well."""
    machine.run()
    plain = machine.log / "log.key.pem"
    kept = plain.with_name("kept")
    _copy(plain, kept)
    machine.seal()
    _copy(kept, plain)
    assert "protects nothing" in refused(machine.operator)
    machine.seal()
    machine.run()
