"""A stranger's machine: `pip install .` alone, into an empty environment, verifies what the operator handed out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import CHECKOUT, Story

WHEELS = Path(sys.prefix) / "wheels"


def test_pip_install_alone_verifies_the_evidence(story: Story, tmp_path: Path) -> None:
    if not WHEELS.is_dir():
        pytest.skip("needs the locked packages in .venv/wheels: bash tools/setup.sh test")
    source = tmp_path / "source"
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT, capture_output=True, check=True).stdout
    for name in filter(None, tracked.decode().split("\0")):
        if name.startswith("src/") or "/" not in name:
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((CHECKOUT / name).read_bytes())
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    pip = [tmp_path / "venv" / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-index"]
    subprocess.run([*pip, "--find-links", WHEELS, source], check=True)
    installed = tmp_path / "venv" / "bin" / "sigillo"
    for policy, expected in ((["--policy", story.policy], 0), ([], 1)):
        command = [installed, "verify", story.evidence, *policy]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == expected, done.stdout + done.stderr
    packages = subprocess.run([*pip[:3], "list", "--format=freeze"], capture_output=True, text=True, check=True).stdout
    assert "paho" not in packages  # neither broker nor TPM software comes with the verifier
