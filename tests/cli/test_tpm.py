"""`sigillo tpm` where it cannot do its work: one line that names file and remedy, and nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sigillo.attestation import software_tpm
from sigillo.attestation.tpm import Tpm
from sigillo.broker import log_key
from sigillo.broker.folder import OperatorFolder
from sigillo.broker.installation import locked
from sigillo.broker.log_key import SigningLogKey
from sigillo.broker.settings import Settings
from sigillo.cli.main import _run
from sigillo.core.sealing import SealedKey
from sigillo.x509 import new_key, private_pem

from ..attestation import rig


class Machine:
    """An operator folder as `sigillo up` leaves it, and the owner's key."""

    def __init__(self, path: Path, tpm: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.path, self._capsys = path / "operator", capsys
        self.folder = OperatorFolder.at(self.path)
        self.folder.log.mkdir(parents=True)
        self.settings = Settings("localhost", "Example Broker", tpm=str(software_tpm.socket_of(tpm)))
        self.set(self.settings)
        SigningLogKey.open(self.folder.log, self.settings.origin)
        self.owner_key = path / "owner.key.pem"
        self.owner_key.write_bytes(private_pem(new_key()))

    def set(self, settings: Settings) -> None:
        self.folder.settings.write_bytes(settings.encode())

    def run(self, command: str, expect: int = 0, owner_key: Path | None = None) -> str:
        """What is said, on whichever channel."""
        words = ["tpm", command, str(self.path)]
        if command != "status":
            words += ["--owner-key", str(owner_key or self.owner_key)]
        code = _run(words)
        said = self._capsys.readouterr()
        assert code == expect, said
        return said.out + said.err

    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.folder.log.iterdir()}


@pytest.fixture(scope="module")
def tpm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rig.made(tmp_path_factory.mktemp("tpm") / "tpm")


@pytest.fixture
def machine(tmp_path: Path, tpm: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Machine]:
    with rig.started(tpm):
        yield Machine(tmp_path, tpm, capsys)


def test_seal_and_status(machine: Machine) -> None:
    before = SigningLogKey.open(machine.folder.log, machine.settings.origin).public
    assert "log key: in a file, not sealed" in machine.run("status")
    machine.run("seal")
    assert set(machine.files()) == {"log.key.sealed", "log.vkey"}
    said = machine.run("status")
    assert "log key: sealed; 1 approved boot\n" in said
    assert "this boot: approved" in said
    assert "counter: none yet" in said
    assert SigningLogKey.open(machine.folder.log, machine.settings.origin, machine.settings.tpm).public == before
    assert "is sealed already" in machine.run("seal", expect=2)


def test_status_says_which_pcr_and_approve_ends_it(machine: Machine, tpm: Path) -> None:
    machine.run("seal")
    Tpm(rig.link_to(tpm)).extend(7, b"\1" * 32)
    assert "this boot: NOT approved: its owner has not approved how this machine was booted (changed: PCR 7)" in (
        machine.run("status", expect=1)
    )
    machine.run("approve")
    assert "sealed; 2 approved boots" in machine.run("status")


@pytest.mark.parametrize("command", ["seal", "approve"])
def test_what_is_no_owners_key(machine: Machine, command: str, tmp_path: Path) -> None:
    if command == "approve":
        machine.run("seal")
    before = machine.files()
    path = tmp_path / "wrong.pem"
    for content, words in (
        (b"nonsense", "is no private key in PEM"),
        (private_pem(Ed25519PrivateKey.generate()), "is no P-256 key"),
        (private_pem(generate_private_key(SECP384R1())), "is no P-256 key"),
    ):
        path.write_bytes(content)
        assert f"{path}: {words}" in machine.run(command, 2, path)
    assert "No such file" in machine.run(command, 2, tmp_path / "nowhere.pem")
    assert machine.files() == before


def test_another_owner_approves_nothing(machine: Machine, tpm: Path, tmp_path: Path) -> None:
    machine.run("seal")
    Tpm(rig.link_to(tpm)).extend(0, b"\1" * 32)
    before, other = machine.files(), tmp_path / "other.pem"
    other.write_bytes(private_pem(new_key()))
    assert f"{other}: is not the owner's key" in machine.run("approve", 2, other)
    assert machine.files() == before


@pytest.mark.parametrize("command", ["seal", "approve", "status"])
def test_without_a_tpm(machine: Machine, command: str) -> None:
    before = machine.files()
    machine.set(replace(machine.settings, tpm=""))
    assert "sigillo.toml: names no TPM; set tpm" in machine.run(command, 2)
    machine.set(replace(machine.settings, tpm="/nowhere"))
    assert "/nowhere: there is no TPM" in machine.run(command, 2)
    assert machine.files() == before


def test_nothing_is_sealed_under_a_running_broker(machine: Machine) -> None:
    with locked(machine.path):
        assert "another `sigillo up` runs" in machine.run("seal", 2)
    assert "log.key.pem" in machine.files()


def test_approve_before_seal(machine: Machine) -> None:
    assert f"seal the log key first: sigillo tpm seal {machine.path}" in machine.run("approve", 2)


def test_the_plain_key_stays_where_the_tpm_does_not_give_it_back(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = machine.files()

    def other(_tpm: Tpm, _sealed: SealedKey) -> bytes:
        return bytes(32)

    monkeypatch.setattr(log_key, "unseal", other)
    assert "is another key than log.key.pem" in machine.run("seal", 2)
    assert machine.files() == before
