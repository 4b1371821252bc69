"""`sigillo accuse`, and `sigillo verify` on what it writes, as a person types them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sigillo.core.policy import encode_policy

from ..adversary.accused import Pair, pairs
from ..adversary.log import logged

SIGILLO = [sys.executable, "-m", "sigillo.cli.main"]


def run(*arguments: object, expect: int) -> str:
    done = subprocess.run([*SIGILLO, *map(str, arguments)], capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr
    assert done.returncode == expect, (done.stdout, done.stderr)
    return done.stdout if expect != 2 else done.stderr


@pytest.fixture(scope="module")
def pair() -> Pair:
    return pairs()["marks"]


def test_two_files_make_an_accusation_that_verify_reads(pair: Pair, tmp_path: Path) -> None:
    first, second, policy, target = (tmp_path / name for name in ("a.jsonl", "b.jsonl", "policy.toml", "accusation"))
    first.write_bytes(pair[0])
    second.write_bytes(pair[1])
    policy.write_text(encode_policy(pair[2]))
    said = run("accuse", first, second, "--policy", policy, "-o", target, expect=0)
    answer = 'MISBEHAVIOUR PROVED: operator "Example Broker": two marks with sequence 4 of epoch 1\n'
    assert said == answer
    assert run("verify", target, "--policy", policy, expect=1) == answer
    assert json.loads(run("verify", target, "--policy", policy, "--json", expect=1))["proved"] is True
    assert run("verify", target, expect=1) == "NOT PROVED: no policy says whom to trust\n"
    assert "is there already" in run("accuse", first, second, "--policy", policy, "-o", target, expect=2)
    assert run("accuse", first, first, "--policy", policy, expect=1).startswith("NOTHING FOUND")


def test_a_checkpoint_of_another_history(tmp_path: Path) -> None:
    story = logged()
    file, note, policy = (tmp_path / name for name in ("a.jsonl", "checkpoint", "policy.toml"))
    file.write_bytes(story.log.file())
    policy.write_text(encode_policy(story.policy))
    note.write_text(story.log.note())
    assert run("accuse", file, note, "--policy", policy, expect=1).startswith("NOTHING FOUND")
    story.log.entries[-1] = story.log.entries[0]
    note.write_text(story.log.note())
    said = run("accuse", file, note, "--policy", policy, expect=0)
    assert "two histories, of size 15 and 15" in said


def test_what_is_neither_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"neither")
    (tmp_path / "policy.toml").write_text(encode_policy(logged().policy))
    assert f"{file}: " in run("accuse", file, file, "--policy", tmp_path / "policy.toml", expect=2)
