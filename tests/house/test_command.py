"""The commands: what README types exists, every `--help` answers, and docs/commands.md is what they say."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import click
import pytest

from sigillo.cli.main import _sigillo as commands
from tests.house.checkout import CHECKOUT, console_commands
from tools.commands import every_command, page

DOCUMENTS = ["README.md", "CONTRIBUTING.md", "docs/rebuild.md"]


def targets() -> set[str]:
    makefile = (CHECKOUT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))


def documented(program: str) -> list[str]:
    """Commands of the documents that start *program*, maybe after a variable or `&&`."""
    parts = (part.strip() for name in DOCUMENTS for line in console_commands(name) for part in line.split("&&"))
    return [part for part in parts if re.match(rf"(\w+=\S+ )*(\S*/)?{program}\b", part)]


@pytest.mark.parametrize("line", documented("make"))
def test_make_target_of_the_documents_exists(line: str) -> None:
    words = shlex.split(line)
    assert words[words.index("make") + 1] in targets()


@pytest.mark.parametrize("line", documented("sigillo"))
def test_command_of_the_documents_exists(line: str) -> None:
    """Every word up to the first argument is a command, every option is one of that command's."""
    words = shlex.split(line)[1:]
    command: click.Command = commands
    context = click.Context(commands, info_name="sigillo")
    while isinstance(command, click.Group):
        name = words.pop(0)
        found = command.get_command(context, name)
        assert found is not None, f"no command {name!r}"
        command = found
    options = {option for parameter in command.params for option in parameter.opts}
    assert {word.split("=")[0] for word in words if word.startswith("-")} <= options


@pytest.mark.parametrize("path", [path for path, _ in every_command(commands)])
def test_help_answers(path: str) -> None:
    code = "import sys; from sigillo.cli.main import main; sys.argv[0] = 'sigillo'; main()"
    words = path.split()[1:]
    done = subprocess.run([sys.executable, "-c", code, *words, "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Usage: sigillo")
    assert done.stderr == ""


def test_the_page_of_commands_is_what_help_says() -> None:
    written = (CHECKOUT / "docs/commands.md").read_text(encoding="utf-8")
    assert written == page(commands), "run `make docs`"


@pytest.mark.parametrize("name", ["verify", "inspect", "policy"])
def test_a_stranger_needs_the_base_package_only(name: str) -> None:
    """Neither an extra nor a part of the operator's side is loaded for these commands."""
    code = (
        "import sys; sys.modules['paho'] = None; from sigillo.cli.main import main\n"
        f"try: main([{name!r}, '--help'])\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "loaded = {m.split('.')[1] for m in sys.modules if m.startswith('sigillo.')}\n"
        "assert loaded <= {'core', 'cli', 'report', 'device', 'disk', 'x509'}, loaded"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_wrapper_runs_from_anywhere_and_keeps_the_exit_code(tmp_path: object) -> None:
    done = subprocess.run([CHECKOUT / "sigillo", "verify"], cwd=str(tmp_path), capture_output=True, text=True)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
