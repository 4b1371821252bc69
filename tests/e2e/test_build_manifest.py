"""A broker that was built from source: its manifest from `sigillo up` to the verdict of a stranger."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from pathlib import Path

import pytest

from sigillo.broker.configuration import file_hash

from ..adversary.builder import MOSQUITTO, manifest_of, sha256, signed_manifest
from ..adversary.built import rebuilt_by
from ..port import free_port
from .conftest import ALONE, PATIENCE_S, PLUGIN, SIGILLO, Operator, Tracker, export, sigillo

BROKER = Path("/usr/sbin/mosquitto")


@pytest.fixture
def manifest(operator: Operator) -> Path:
    """Of the programs of this machine, beside the operator's folder; the broker is told to run nothing else."""
    path = operator.folder.parent / "manifest.json"
    path.write_bytes(signed_manifest(manifest_of(file_hash(BROKER), file_hash(PLUGIN))))
    path.chmod(0o644)
    operator.options = ("--manifest", str(path), "--http", f"127.0.0.1:{free_port()}")
    return path


def test_who_built_and_rebuilt_the_broker_is_in_the_verdict(operator: Operator, manifest: Path, tmp_path: Path) -> None:
    operator.start()
    tracker = Tracker("crate-1", operator.folder.parent / "crate-1").enrol(operator, "p256")
    tracker.publish(operator, 3)
    url = f"http://{operator.options[-1]}"
    with urllib.request.urlopen(f"{url}/build", timeout=PATIENCE_S) as answer:
        facts = json.load(answer)
    assert facts["manifest_hash"] == file_hash(manifest).hex()
    assert facts["source_commit"] == MOSQUITTO.source_commit
    with urllib.request.urlopen(f"{url}/manifest", timeout=PATIENCE_S) as answer:
        assert answer.read() == manifest.read_bytes()
    statements = []
    for at, statement in enumerate(rebuilt_by(manifest.read_bytes(), "A", "B")):
        statements.append(operator.folder / "published" / "rebuilds" / f"{at}.json")
        statements[-1].write_bytes(statement)
    evidence = export(operator, ["crate-1"], tmp_path / "evidence.jsonl", 3)
    operator.stop()
    assert "what runs is what the build manifest says" in operator.log.read_text()
    policy = tmp_path / "policy.toml"
    options = ["--operator", operator.folder / "published" / "operator.toml", "--builder", manifest]
    options += [option for path in statements for option in ("--rebuilder", path)]
    options += ["--device", f"crate-1={tracker.folder / 'signing.pub.pem'}"]
    sigillo("policy", "new", *options, "--allow-unsynchronised", "--allow-unknown-bound", *ALONE, "-o", policy)
    verdict = json.loads(sigillo("verify", evidence, "--policy", policy, "--json"))
    check = next(check for check in verdict["checks"] if check["name"] == "build")
    together = ["builder Example Builder", "rebuilder Rebuilder A", "rebuilder Rebuilder B"]
    assert check["who_must_have_lied"] == [["operator Example Broker"], together]
    assert "rebuilder" not in [link["name"] for link in verdict["missing"]]
    lines = [line for line in evidence.read_text().splitlines(keepends=True) if '"type":"rebuild"' not in line]
    (tmp_path / "without.jsonl").write_text("".join(lines))
    refused = sigillo("verify", tmp_path / "without.jsonl", "--policy", policy, expect=1)
    assert "asks for 2 rebuilder(s), 0 made" in refused.splitlines()[0]


@pytest.mark.parametrize("which", ["executable", "plugin"])
def test_nothing_else_than_the_manifest_names_is_run(operator: Operator, manifest: Path, which: str) -> None:
    hashes = {"executable": file_hash(BROKER), "plugin": file_hash(PLUGIN), which: sha256("another")}
    manifest.write_bytes(signed_manifest(manifest_of(**hashes)))
    command = [SIGILLO, "up", operator.folder, "--name", "localhost", "--listen", operator.address]
    command += ["--on-bad-clock", "mark-unsynchronised", "--plugin", PLUGIN, *operator.options]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 2
    assert f"is not the {which} of the build manifest {manifest}" in done.stderr
    assert not operator.statements()
