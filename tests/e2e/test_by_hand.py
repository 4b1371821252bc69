"""docs/verify-by-hand.md: its commands, as they stand, on what `make demo` leaves; and they refuse what is altered."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sigillo.core.policy import Policy, encode_policy

from ..adversary.broker import evidence_file
from ..adversary.built import built
from ..adversary.story import certified
from .conftest import CHECKOUT, PLUGIN, sigillo

PAGE = (CHECKOUT / "docs" / "verify-by-hand.md").read_text()
BLOCKS = re.findall(r"^```sh ?(\w*)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
FUNCTIONS = BLOCKS[0][1]
SIGNED = ("statement.tbs", "countersignature.tbs", "mark.tbs", "device.tbs", "checkpoint.tbs", "cosignature-1.tbs")
HASHED = ("statement.hashed", "mark.hashed", "mark.committed", "beacon.text")
PROVED = ("mark.entry", "mark.tlog-proof")
MEASURED = ("quote.tbs", "quote.tss", "quote.subject", "quote.entry", "launch.log", "closure.hashed")


def script(kind: str) -> str:
    """The blocks of this kind, under the functions that the page begins with."""
    blocks = [text for found, text in BLOCKS if found == kind]
    return "".join(blocks if kind == "" else [FUNCTIONS, *blocks])


def run(kind: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # its python3 has cbor2
    cache = str(CHECKOUT / "build" / "oracle-go" / "cache")
    environment = os.environ | {"PATH": path, "GOCACHE": cache, "LC_ALL": "C"}
    return subprocess.run(
        ["bash", "-c", script(kind)], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )


def accepted(kind: str, folder: Path) -> None:
    """Every command accepts what is genuine, and refuses each altered copy."""
    done = run(kind, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    tried = re.findall(r"\brefused [a-z]", script(kind))
    assert done.stdout.splitlines().count("refused") == len(tried) > 0


def flip(path: Path) -> None:
    """One bit of the last byte but one: where all of these have something that counts."""
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(data)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The export of what the demo leaves, with both files beside it."""
    if not PLUGIN.exists() or not Path("/usr/share/gocode/src/golang.org/x/mod/sumdb/tlog").exists():
        pytest.skip("needs the plugin, and Debian's golang-go and golang-golang-x-mod-dev: make setup-test plugin")
    top = tmp_path_factory.mktemp("by-hand")
    copy = top / "checkout"
    copy.mkdir()
    shutil.copytree(CHECKOUT / "demo", copy / "demo", ignore=shutil.ignore_patterns("run", "*.jsonl", "*.toml"))
    (copy / "sigillo").symlink_to(CHECKOUT / "sigillo")
    told = subprocess.run([sys.executable, copy / "demo" / "story.py"], capture_output=True, text=True, timeout=300)
    assert told.returncode == 0, told.stdout + told.stderr
    return exported(copy / "demo", top / "exhibits")


def exported(files: Path, folder: Path) -> Path:
    sigillo("inspect", files / "evidence.jsonl", "--policy", files / "policy.toml", "--export", folder)
    for name in ("evidence.jsonl", "policy.toml"):
        shutil.copy(files / name, folder)
    return folder


def written(folder: Path, evidence: bytes, policy: Policy) -> Path:
    (folder / "evidence.jsonl").write_bytes(evidence)
    (folder / "policy.toml").write_text(encode_policy(policy))
    return exported(folder, folder / "exhibits")


def test_every_command_accepts_the_demo_and_refuses_altered_copies(demo: Path, tmp_path: Path) -> None:
    accepted("", shutil.copytree(demo, tmp_path / "exhibits"))


@pytest.mark.parametrize("name", [*SIGNED, *HASHED, *PROVED, *MEASURED, "token.note", "token.tst", "token.consistency"])
def test_the_page_ends_where_one_exhibit_is_altered(demo: Path, tmp_path: Path, name: str) -> None:
    folder = shutil.copytree(demo, tmp_path / "exhibits")
    found = sorted(folder.glob(f"*-{name}"))
    flip(found[-1] if name.startswith("token") else found[0])
    assert run("", folder).returncode != 0


def test_certificates(tmp_path: Path) -> None:
    story = certified()
    folder = written(tmp_path, evidence_file(story.lines), story.policy)
    accepted("certificate", folder)
    flip(sorted(folder.glob("*-device.pub.pem"))[0])
    assert run("certificate", folder).returncode != 0


@pytest.mark.parametrize("name", ["manifest.tbs", "rebuild.tbs", "manifest.dsse.json"])
def test_manifest_and_rebuild_statement(tmp_path: Path, name: str) -> None:
    story = built()
    folder = written(tmp_path, story.file(), story.policy)
    accepted("build", folder)
    flip(sorted(folder.glob(f"*-{name}"))[0])
    assert run("build", folder).returncode != 0
