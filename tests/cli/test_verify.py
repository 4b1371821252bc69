"""`sigillo verify` as a person types it: answer first, exit codes, and one clear line for whatever cannot be used."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest

from ..adversary.broker import packed
from .command import SIGILLO, Files, on_disk, refused, sigillo

SCHEMA = json.loads((Path(__file__).parents[2] / "spec" / "verdict.schema.json").read_text())


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return on_disk(tmp_path_factory.mktemp("verify"))


def test_verified_is_exit_0_and_the_first_word(files: Files) -> None:
    answer = sigillo("verify", files.evidence, "--policy", files.policy)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith("VERIFIED  9 messages of 3 devices")


def test_not_verified_is_exit_1(files: Files, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(files.policy.read_text().replace('"1s"', '"1ns"'))
    answer = sigillo("verify", files.evidence, "--policy", policy)
    assert (answer.code, answer.err) == (1, "")
    assert answer.out.startswith("NOT VERIFIED: step 8, clock: ")


def test_without_a_policy_is_exit_1(files: Files) -> None:
    answer = sigillo("verify", files.evidence)
    assert answer.code == 1
    assert answer.out.startswith("NOT VERIFIED: no policy says whom to trust\n")


def test_gzip_is_the_same(files: Files, tmp_path: Path) -> None:
    (tmp_path / "evidence.jsonl.gz").write_bytes(packed(files.evidence.read_bytes()))
    plain, gzip = (
        sigillo("verify", path, "--policy", files.policy) for path in (files.evidence, tmp_path / "evidence.jsonl.gz")
    )
    assert plain == gzip


@pytest.mark.parametrize("with_policy", [True, False])
def test_json_conforms_to_the_schema(files: Files, with_policy: bool) -> None:
    answer = sigillo("verify", files.evidence, "--json", *(["--policy", files.policy] if with_policy else []))
    value = json.loads(answer.out)
    jsonschema.Draft202012Validator(SCHEMA).validate(value)
    assert value["verified"] is with_policy
    assert answer.code == (0 if with_policy else 1)


def test_a_broken_line_is_named(files: Files, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jsonl"
    lines = files.evidence.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b'"mark":"', b'"mark":"A')
    broken.write_bytes(b"".join(lines))
    refused("verify", broken, "--policy", files.policy, says=f"{broken}: line 3, mark")


CANNOT_BE_READ = {
    "empty": (b"", "is empty"),
    "binary": (os.urandom(5000).replace(b"\n", b"")[:1000], "line 1"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(100), "line 1"),
    "cut off": (None, "cut off"),
    "enormous": (b"\0" * 3_000_000, "longer than"),
    "broken gzip": (b"\x1f\x8b" + bytes(100), "gzip"),
}


@pytest.mark.parametrize(("data", "says"), CANNOT_BE_READ.values(), ids=CANNOT_BE_READ)
def test_what_cannot_be_read_is_one_line(files: Files, tmp_path: Path, data: bytes | None, says: str) -> None:
    path = tmp_path / "evidence.jsonl"
    path.write_bytes(files.evidence.read_bytes()[:-100] if data is None else data)
    refused("verify", path, "--policy", files.policy, says=says)


def test_files_that_are_none(files: Files, tmp_path: Path) -> None:
    refused("verify", tmp_path / "nothing", says=f"{tmp_path / 'nothing'}: no such file; ")
    refused("verify", tmp_path, says=f"{tmp_path}: is a directory")
    refused("verify", files.evidence, "--policy", tmp_path / "nothing", says="no such file; ")
    refused("verify", files.evidence, "--policy", tmp_path, says="is a directory")
    refused("verify", files.evidence / "below", says="evidence.jsonl/below: ")


def test_a_policy_that_cannot_be_used_is_named(files: Files, tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text("")
    refused("verify", files.evidence, "--policy", path, says=f"{path}: version: is missing")
    path.write_bytes(os.urandom(200) + b"\xff")
    refused("verify", files.evidence, "--policy", path, says=f"{path}: file: ")


def test_misuse() -> None:
    refused("verify", says="Missing argument 'FILE'. Try `sigillo verify --help`.")
    refused("verify", "a", "b", says="unexpected extra argument")
    refused("verify", "a", "--polizy", "b", says="No such option")
    refused("bogus", says="No such command 'bogus'")
    refused("verify", "a\x1b[2J\nVERIFIED", says="a\\x1b[2J\\x0aVERIFIED: no such file")


@pytest.mark.parametrize("command", [[], ["verify"], ["inspect"], ["policy"], ["policy", "new"], ["policy", "check"]])
def test_help_has_examples(command: list[str]) -> None:
    answer = sigillo(*command, "--help")
    assert answer.code == 0
    assert command == ["policy"] or "Examples:\n  " in answer.out or "Examples:\n    sigillo" in answer.out


def test_a_reader_that_goes_away_is_no_crash(files: Files) -> None:
    command = subprocess.Popen(
        [*SIGILLO, "verify", str(files.evidence), "--policy", str(files.policy)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert command.stdout
    command.stdout.close()
    _, err = command.communicate(timeout=60)
    assert err == b""
    assert command.returncode == 1  # nobody heard the answer


def test_ctrl_c_is_no_crash(tmp_path: Path) -> None:
    """The file is a pipe that nobody writes to: the command waits in it."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    command = subprocess.Popen([*SIGILLO, "verify", str(fifo)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    writer = os.open(fifo, os.O_WRONLY)  # returns once the command has opened it
    try:
        time.sleep(0.2)
        command.send_signal(signal.SIGINT)
        out, err = command.communicate(timeout=60)
    finally:
        os.close(writer)
    assert (out, err, command.returncode) == (b"", b"\nsigillo: interrupted\n", 130)


def test_an_ascii_terminal_is_no_crash(files: Files) -> None:
    command = [*SIGILLO, "verify", str(files.evidence), "--policy", str(files.policy)]
    done = subprocess.run(command, capture_output=True, env=os.environ | {"PYTHONIOENCODING": "ascii"}, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"VERIFIED  ")


def on_terminal(arguments: list[str], **environment: str) -> bytes:
    """What the command writes to a terminal."""
    reader, terminal = pty.openpty()
    names = {"PATH", "PYTHONPATH", "HOME"}
    clean = {name: value for name, value in os.environ.items() if name in names}
    command = subprocess.Popen(
        [*SIGILLO, *arguments], stdout=terminal, stdin=subprocess.DEVNULL, env=clean | environment
    )
    os.close(terminal)
    written = b""
    while True:
        try:
            part = os.read(reader, 65_536)
        except OSError:  # how a closed terminal ends
            break
        if not part:
            break
        written += part
    os.close(reader)
    assert command.wait(60) == 0
    return written


def test_colour_only_on_a_terminal_and_not_under_no_color(files: Files) -> None:
    arguments = ["verify", str(files.evidence), "--policy", str(files.policy)]
    assert on_terminal(arguments, TERM="xterm").startswith(b"\x1b[1;32mVERIFIED")
    assert on_terminal(arguments, TERM="xterm", NO_COLOR="1").startswith(b"VERIFIED")
    assert on_terminal(arguments, TERM="dumb").startswith(b"VERIFIED")
    assert "\x1b" not in sigillo(*arguments).out


def test_verify_needs_nothing_but_the_base_packages(files: Files) -> None:
    """The packages of the broker's side are not even looked for."""
    program = """
import sys
sys.modules["paho"] = None
from sigillo.cli.main import main
main(sys.argv[1:])
"""
    for arguments in (["verify", files.evidence, "--policy", files.policy], ["inspect", files.evidence], ["--help"]):
        done = subprocess.run([sys.executable, "-c", program, *map(str, arguments)], capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr
