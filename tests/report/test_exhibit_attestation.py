"""The exhibits of quotes, launches and registrations: stock tools accept them, and refuse them altered."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from sigillo.core.line import split_lines
from sigillo.report.exhibit import Exhibit, exhibits
from sigillo.report.inspection import inspect, render_inspection

from ..adversary.attested import CONFIGURATION, AttestedStory, attested, closure_of
from ..adversary.booted import booted

needs_tpm2_tools = pytest.mark.skipif(shutil.which("tpm2_checkquote") is None, reason="needs the package tpm2-tools")


@pytest.fixture(scope="module")
def story() -> AttestedStory:
    return attested()


def written(story: AttestedStory, folder: Path) -> list[Exhibit]:
    found = list(exhibits(split_lines([story.file()]), story.policy))
    for exhibit in found:
        for suffix, content in exhibit.files.items():
            (folder / f"{exhibit.name}{suffix}").write_bytes(content)
    return found


def sh(command: str, folder: Path) -> int:
    return subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, timeout=60).returncode


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def of(found: list[Exhibit], kind: str) -> list[Exhibit]:
    return [exhibit for exhibit in found if exhibit.name.endswith(kind)]


@needs_tpm2_tools
def test_tpm2_checkquote_takes_each_quote_with_its_launch_log(story: AttestedStory, tmp_path: Path) -> None:
    quotes = of(written(story, tmp_path), "-quote")
    assert len(quotes) == 4
    for exhibit in quotes:
        assert sh(exhibit.tpm_command, tmp_path) == 0
        assert sh(exhibit.command, tmp_path) == 0
    first = quotes[0]
    for suffix, at in ((".tbs", 30), (".tss", -1), (".pcrs", 150), (".pub.tss", -1)):
        flip(tmp_path / f"{first.name}{suffix}", at)
        assert sh(first.tpm_command, tmp_path) != 0, suffix
        flip(tmp_path / f"{first.name}{suffix}", at)
    assert sh(first.tpm_command, tmp_path) == 0
    assert sh(re.sub(r"-q [0-9a-f]{2}", "-q 00", first.tpm_command), tmp_path) != 0


@needs_tpm2_tools
def test_a_launch_log_with_another_digest_is_refused(story: AttestedStory, tmp_path: Path) -> None:
    found = written(story, tmp_path)
    (launch,), quote = of(found, "-launch"), of(found, "-quote")[0]
    flip(tmp_path / f"{launch.name}.log", 80)  # in the digest of the first event
    assert sh(quote.tpm_command, tmp_path) != 0


def test_what_the_tpm_signed_is_the_hash_of_epoch_and_checkpoint(story: AttestedStory) -> None:
    for exhibit in of(list(exhibits(split_lines([story.file()]), None)), "-quote"):
        assert hashlib.sha256(exhibit.files[".subject"]).hexdigest() == exhibit.files[".qualifying"].decode().strip()
        assert exhibit.files[".entry"].endswith(hashlib.sha256(exhibit.files[".hashed"]).digest())


def test_a_closure_is_a_list_for_sha256sum(story: AttestedStory, tmp_path: Path) -> None:
    (closure,) = of(written(story, tmp_path), "-closure")
    text = closure.files[".sha256"].decode()
    listed = {line.split("  ", 1)[1] for line in text.splitlines() if not line.startswith("#")}
    assert {member.name for member in closure_of().members} - listed == {"conf/tls/server.key.pem"}
    assert "# private key, by its public half" in text
    for name, content in CONFIGURATION.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    own = [line for line in text.splitlines() if line.endswith(tuple(CONFIGURATION))]
    (tmp_path / "own.sha256").write_text("".join(f"{line}\n" for line in own))
    assert len(own) == len(CONFIGURATION)
    assert sh("sha256sum --strict --check own.sha256", tmp_path) == 0
    flip(tmp_path / "conf/acl", 0)
    assert sh("sha256sum --strict --check own.sha256", tmp_path) != 0


def test_a_launch_log_says_where_each_epoch_ends(story: AttestedStory) -> None:
    (launch,) = of(list(exhibits(split_lines([story.file()]), None)), "-launch")
    sizes = [int(line.split()[0]) for line in launch.files[".epochs"].decode().splitlines()]
    assert len(sizes) == 2
    assert sizes[-1] == len(launch.files[".log"])


def test_an_inspection_lists_them(story: AttestedStory) -> None:
    inspection = inspect(split_lines([story.file()]))
    machine = inspection.to_json()["machine"]
    assert (machine["quote_count"], len(machine["quotes"])) == (4, 4)
    assert machine["quotes"][0]["attestation_key"] == story.tpm.key.name.hex()
    assert machine["closures"][0]["files"]["configuration"] == 5
    assert machine["configuration"] == sorted(CONFIGURATION)
    assert machine["launches"][0]["launches"] == 2
    text = render_inspection(inspection)
    assert "launch log, 2 launch(es), 2 epoch(s)" in text
    assert text.count("quote of epoch") == 4


def test_boot_log_and_measurements_are_written_out() -> None:
    story = booted()
    found = {exhibit.name[7:]: exhibit for exhibit in exhibits(split_lines([story.file()]), None)}
    assert found["boot"].files[".log"] == story.machine.boot_log_bytes
    assert found["measurements"].files[".ima"] == story.machine.ima_list
