"""Write docs/commands.md from the commands' own `--help`: `make docs`. A test compares the two."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

WIDTH = 110
HEAD = """# Commands

What `--help` says, command by command. Written by `make docs`; do not edit.

Exit codes: 0 done or verified; 1 not verified; 2 unreadable or misused.
"""


def every_command(
    command: click.Command, name: str = "sigillo", parent: click.Context | None = None
) -> Iterator[tuple[str, click.Context]]:
    """Yield (words typed, context) of *command* and of all below it, in the order that help lists them."""
    context = click.Context(command, info_name=name, parent=parent, terminal_width=WIDTH)
    yield context.command_path, context
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            if found is not None and not found.hidden:
                yield from every_command(found, child, context)


def page(commands: click.Command) -> str:
    """The whole of docs/commands.md."""
    parts = [HEAD]
    for path, context in every_command(commands):
        parts.append(f"\n## {path}\n\n```\n{context.command.get_help(context).rstrip()}\n```\n")
    return "".join(parts)


if __name__ == "__main__":
    from sigillo.cli.main import _sigillo as commands

    target = Path(__file__).resolve().parents[1] / "docs/commands.md"
    target.write_text(page(commands), encoding="utf-8")
    print(f"wrote {target.name}")
