"""`sigillo inspect`: shows, and never says that anything is true; exports for stock tools."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from sigillo.core.policy import encode_policy

from ..adversary.broker import Broker, evidence_file
from ..adversary.builder import MOSQUITTO
from ..adversary.built import built
from ..adversary.device import Device
from ..adversary.maker import Maker
from ..adversary.story import Story, certified
from .command import Files, on_disk, refused, sigillo


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return on_disk(tmp_path_factory.mktemp("inspect"))


def test_it_shows_what_is_there_and_that_nothing_is_verified(files: Files) -> None:
    answer = sigillo("inspect", files.evidence)
    assert answer.code == 0
    assert answer.out.startswith("Nothing here is verified")
    for text in (
        "2 epoch(s), 9 message(s) of 3 principal(s)",
        "Example Broker",
        "crate-2",
        "clean, id",
        "line 3: 1 2026-",
    ):
        assert text in answer.out
    assert "VERIFIED" not in answer.out.replace("VERIFIED`", "")


def test_json(files: Files) -> None:
    value = json.loads(sigillo("inspect", files.evidence, "--json").out)
    assert value["verified"] is False
    assert [epoch["previous_ending"] for epoch in value["epochs"]] == ["none", "clean"]
    assert value["epochs"][0]["end"]["last_sequence"] == 6
    assert [message["principal"] for message in value["messages"][:3]] == ["crate-1", "crate-2", "crate-3"]


def test_certificates_are_listed_and_exported_commands_verify_them(tmp_path: Path) -> None:
    story = certified()
    (tmp_path / "e.jsonl").write_bytes(evidence_file(story.lines))
    (tmp_path / "p.toml").write_text(encode_policy(story.policy))
    out = sigillo("inspect", tmp_path / "e.jsonl").out
    assert "certificate of crate-1: serial number 2, valid 2026-10-19 11:06:40.000 – 2027-10-19" in out
    value = json.loads(sigillo("inspect", tmp_path / "e.jsonl", "--json").out)
    assert [(found["device"], found["chain"]) for found in value["certificates"]] == [
        ("crate-1", 2),
        ("crate-2", 1),
        ("crate-2", 1),
    ]
    folder = tmp_path / "exhibits"
    assert sigillo("inspect", tmp_path / "e.jsonl", "--policy", tmp_path / "p.toml", "--export", folder).code == 0
    assert run_commands(folder) == 0
    assert (folder / "commands.sh").read_text().count("openssl verify -attime ") == 2
    (folder / "000002-certificate.ca.pem").write_bytes(Maker("Other").certificate.public_bytes(Encoding.PEM))
    assert run_commands(folder) != 0


def test_a_long_file_is_cut_for_people(tmp_path: Path) -> None:
    broker = Broker()
    for number in range(120):
        broker.publish(Device(f"crate-{number}"))
        broker.die() if number % 1 == 0 and number < 110 else None
    (tmp_path / "long.jsonl").write_bytes(broker.file())
    out = sigillo("inspect", tmp_path / "long.jsonl").out
    assert "… and 11 epochs more" in out
    assert "… and 20 principals more" in out
    assert "… and 110 messages more" in out
    assert len(json.loads(sigillo("inspect", tmp_path / "long.jsonl", "--json").out)["messages"]) == 100


def test_names_are_escaped(tmp_path: Path) -> None:
    nasty = "\x1b[2J\u202e"
    broker, device = Broker(operator=nasty), Device(nasty)
    broker.publish(device)
    (tmp_path / "nasty.jsonl").write_bytes(broker.file())
    out = sigillo("inspect", tmp_path / "nasty.jsonl").out
    assert all(line.isprintable() for line in out.splitlines())
    assert json.loads(sigillo("inspect", tmp_path / "nasty.jsonl", "--json").out)["principals"][0]["name"] == nasty


def test_the_exported_commands_run_as_they_stand_and_notice_a_change(files: Files, tmp_path: Path) -> None:
    folder = tmp_path / "exhibits"
    answer = sigillo("inspect", files.evidence, "--policy", files.policy, "--export", folder)
    assert answer.code == 0
    assert f"24 signatures written to {folder}" in answer.out
    commands = (folder / "commands.sh").read_text()
    assert commands.count("openssl pkeyutl -verify -pubin -inkey ") == 24
    assert commands.count("-rawin -digest sha256 ") == 6
    assert run_commands(folder) == 0
    for name in ("000003-mark.tbs", "000002-countersignature.sig", "000003-device.tbs", "000004-device.sig"):
        honest = (folder / name).read_bytes()
        (folder / name).write_bytes(honest[:-1] + bytes([honest[-1] ^ 1]))
        assert run_commands(folder) != 0, name
        (folder / name).write_bytes(honest)


def run_commands(folder: Path) -> int:
    return subprocess.run(["sh", str(folder / "commands.sh")], capture_output=True, timeout=120).returncode


def test_every_exported_signature_has_its_parts(files: Files, tmp_path: Path) -> None:
    folder = tmp_path / "exhibits"
    sigillo("inspect", files.evidence, "--export", folder, "--json")
    names = {path.name for path in folder.iterdir()}
    assert {
        "README.txt",
        "commands.sh",
        "000002-statement.cose",
        "000002-statement.pub.pem",
        "000003-mark.cose",
    } <= names
    assert "000005-device.cose" in names  # crate-3 sends COSE
    assert "000003-device.pub.pem" not in names  # no policy, no device key
    assert "# 000003-device: the key is not in the file" in (folder / "commands.sh").read_text()


def test_export_never_writes_over_anything(files: Files, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    taken = [tmp_path / "full", tmp_path / "full" / "mine"]
    for folder, says in zip(taken, ("is not empty", "is not a folder"), strict=True):
        answer = sigillo("inspect", files.evidence, "--export", folder)
        assert answer.code == 2
        assert says in answer.err


def test_misuse(files: Files, tmp_path: Path) -> None:
    refused("inspect", tmp_path / "nothing", says="no such file")
    refused("inspect", files.policy, says="line 1")
    refused("inspect", files.evidence, "--policy", files.policy, says="--policy goes with --export")


def test_names_in_a_file_never_reach_a_path_or_a_shell(tmp_path: Path) -> None:
    story = Story()
    device = Device("$(touch pwned); ..")
    story.broker.publish(device)
    (tmp_path / "e.jsonl").write_bytes(story.broker.file())
    (tmp_path / "p.toml").write_text(encode_policy(story.broker.policy(device)))
    folder = tmp_path / "exhibits"
    assert sigillo("inspect", tmp_path / "e.jsonl", "--policy", tmp_path / "p.toml", "--export", folder).code == 0
    assert run_commands(folder) == 0
    assert "pwned" not in (folder / "commands.sh").read_text()


def test_manifests_and_rebuild_statements_are_shown(tmp_path: Path) -> None:
    story = built()
    (tmp_path / "e.jsonl").write_bytes(story.file())
    shown = sigillo("inspect", tmp_path / "e.jsonl").out
    sha256 = hashlib.sha256(story.manifest).hexdigest()
    assert f"build manifest {sha256} of Example Builder" in shown
    assert f"mosquitto 2.0.11-1.2+deb12u2, source {MOSQUITTO.source_commit}, built 2025-05-28T22:39:38Z" in shown
    assert f"rebuild statement of Rebuilder A about manifest {sha256}" in shown
    value = json.loads(sigillo("inspect", tmp_path / "e.jsonl", "--json").out)
    named = [build.get("builder") or build["rebuilder"] for build in value["builds"]]
    assert (named[0], sorted(named[1:])) == ("Example Builder", ["Rebuilder A", "Rebuilder B"])
    assert value["epochs"][0]["manifest"] == sha256
