"""`make demo` tells the whole story, and can be told again."""

from __future__ import annotations

import subprocess
import sys

from .conftest import CHECKOUT, PLUGIN, sigillo


def test_the_demo_verifies_the_honest_and_catches_every_forgery() -> None:
    assert PLUGIN.exists(), "make plugin"
    for _ in range(2):  # the second telling replaces what the first one left
        told = subprocess.run([sys.executable, CHECKOUT / "demo" / "story.py"], capture_output=True, text=True)
        assert told.returncode == 0, told.stdout + told.stderr
        assert "VERIFIED  15 messages of 3 devices" in told.stdout
        assert "S signed after" in told.stdout and "X existed not later than" in told.stdout, "the time line"
        for step in ("17 anchor", "18 bracket", "19 witness", "20 beacon", "21 quote", "22 launch", "23 attested"):
            assert f"  {step:<21}passed" in told.stdout
        assert "Level launched (" in told.stdout
        assert "SOFTWARE TPM: that of operator" in told.stdout
        caught = told.stdout.count(" exit 1 ") + told.stdout.count(" exit 2 ")
        if "Not equal here: " in told.stdout:  # another release than Debian 12, or a plugin newer than the manifest
            assert caught == 22
            assert "rebuilder         missing" in told.stdout
        else:
            assert caught == 26
            assert "built by Example Builder, made again by Example Rebuilder" in told.stdout
            assert "rebuilder         missing" not in told.stdout
    demo = CHECKOUT / "demo"
    assert sigillo("verify", demo / "evidence.jsonl", "--policy", demo / "policy.toml").startswith("VERIFIED")
