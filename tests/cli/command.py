"""Running `sigillo` as a person would, for tests."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from sigillo.core.policy import Policy, encode_policy

from ..adversary.story import Story, honest

SIGILLO = [sys.executable, "-m", "sigillo.cli.main"]


@dataclass(frozen=True)
class Answer:
    """What a command wrote, and its exit code."""

    code: int
    out: str
    err: str


def sigillo(*arguments: object, timeout: int = 120) -> Answer:
    """Run one command; its standard input is empty, its output no terminal. Never a stack trace."""
    done = subprocess.run(
        [*SIGILLO, *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Answer(done.returncode, done.stdout, done.stderr)


def refused(*arguments: object, says: str) -> None:
    """The command ends with exit code 2 and one line on standard error that holds *says*."""
    answer = sigillo(*arguments)
    assert answer.code == 2, answer
    assert answer.err.startswith("sigillo: error: ")
    assert answer.err.count("\n") == 1
    assert says in answer.err, answer.err
    assert answer.out == ""


@dataclass(frozen=True)
class Files:
    """An honest story on disk."""

    story: Story
    evidence: Path
    policy: Path


def on_disk(folder: Path, policy: Policy | None = None) -> Files:
    story = honest()
    files = Files(story, folder / "evidence.jsonl", folder / "policy.toml")
    files.evidence.write_bytes(story.broker.file())
    files.policy.write_text(encode_policy(policy or story.policy))
    return files
