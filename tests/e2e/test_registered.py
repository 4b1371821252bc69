"""A TPM registered by commands, its broker measured, and a reader who pins its EK: level launched, or refused."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sigillo.attestation import software_tpm
from sigillo.broker.account import REST_USER, find_account

from ..attestation import rig
from ..attestation.registered import Exchange
from .conftest import Operator, Tracker, export, sigillo

OPERATOR = "Example Broker"
ALONE = ["--allow-unsynchronised", "--allow-unknown-bound", "--allow-unanchored", "--allow-unwitnessed"]


@pytest.fixture(scope="module")
def tpm(reachable_tmp: Path) -> Path:
    """A TPM that the user of the log key can reach."""
    folder = rig.made(reachable_tmp / "registered-tpm")
    folder.chmod(0o711)
    return folder


@dataclass
class Reader:
    """Who got the operator's published file, a device's key, the maker's root and the registrar's key."""

    operator: Operator
    tracker: Tracker
    tpm: Path
    registrar: Path
    evidence: Path

    def judged(self, endorsement: str, *more: object, registrar: Path | None = None, expect: int = 0) -> str:
        """`sigillo policy new`, then what `sigillo verify` says."""
        folder = self.operator.folder
        policy = folder.parent / "policy.toml"
        root = software_tpm.maker_certificates(self.tpm)[1]
        words: list[object] = ["policy", "new", "--operator", folder / "published/operator.toml", "--force"]
        words += ["--device", f"crate-1={self.tracker.folder}/signing.pub.pem", "-o", policy, *ALONE]
        words += ["--allow-no-beacon", "--level", "launched", "--endorsement", f"{OPERATOR}={endorsement}"]
        words += ["--software-tpm-maker", f"swtpm={root}", "--allow-software-tpm"]
        words += ["--registrar", f"Uni={registrar or self.registrar}/registrar.pub.pem", *more]
        sigillo(*words)
        return sigillo("verify", self.evidence, "--policy", policy, expect=expect)


@pytest.fixture
def exchange(operator: Operator, tpm: Path) -> Iterator[Exchange]:
    with rig.started(tpm):
        rest = find_account(REST_USER)
        if os.geteuid() == 0 and rest is not None:
            os.chown(software_tpm.socket_of(tpm), rest.uid, rest.gid)
        yield Exchange(sigillo, operator.folder.parent / "exchange", tpm)
        operator.stop(expect=None)


def test_a_registered_tpm_reaches_launched_under_its_own_ek_alone(operator: Operator, exchange: Exchange) -> None:
    """Attacks 4 and 5: neither another EK, nor another registrar, nor another identity passes for it."""
    parent = operator.folder.parent
    registrar, stranger = parent / "registrar", parent / "stranger"
    for folder in (registrar, stranger):
        sigillo("registrar", "new", folder)
    exchange.register(registrar)
    operator.options = ("--tpm", str(exchange.socket))
    operator.start()
    sigillo(*exchange.install_words(operator.folder))
    tracker = Tracker("crate-1", parent / "crate-1").enrol(operator, "p256")
    tracker.publish(operator, 5)
    operator.stop()
    evidence = export(operator, ["crate-1"], parent / "evidence.jsonl", 5)
    reader = Reader(operator, tracker, exchange.tpm, registrar, evidence)
    said = reader.judged(exchange.endorsement)
    assert "Level launched" in said
    assert "SOFTWARE TPM" in said
    folder = parent / "exhibits"
    sigillo("inspect", evidence, "--policy", parent / "policy.toml", "--export", folder)
    commands = (folder / "commands.sh").read_text()
    assert "openssl verify -attime" in commands
    subprocess.run(["sh", "commands.sh"], cwd=folder, check=True, capture_output=True)
    (leaf,) = folder.glob("*-registration.ek.pem")
    genuine = leaf.read_text()
    leaf.write_text(genuine[:400] + ("A" if genuine[400] != "A" else "B") + genuine[401:])
    assert subprocess.run(["sh", "commands.sh"], cwd=folder, capture_output=True).returncode != 0
    leaf.write_text(genuine)
    subprocess.run(["sh", "commands.sh"], cwd=folder, check=True, capture_output=True)
    (signature,) = folder.glob("*-registration.sig")
    signature.write_bytes(bytes(64))
    assert subprocess.run(["sh", "commands.sh"], cwd=folder, capture_output=True).returncode != 0
    assert "is none that the policy pins" in reader.judged("5e" * 32, expect=1)
    assert "by another registrar" in reader.judged(exchange.endorsement, registrar=stranger, expect=1)
    renamed = ["--identity", f"{OPERATOR}=somebody else"]
    assert "of another identity" in reader.judged(exchange.endorsement, *renamed, expect=1)


def test_the_identity_is_not_taken_over_by_another_tpm(exchange: Exchange, tmp_path: Path) -> None:
    """Attack 5: the second TPM is as genuine, and its maker is believed too."""
    store = tmp_path / "registrar"
    sigillo("registrar", "new", store)
    exchange.register(store)
    folder = rig.made(tmp_path / "t")
    with rig.started(folder):
        other = Exchange(sigillo, tmp_path / "others", folder)
        sigillo(*other.request_words())
        sigillo(*other.challenge_words(store, exchange.tpm, folder), expect=2)
    assert not other.file("credential.cbor").exists()
