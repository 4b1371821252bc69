"""`sigillo verify`: the answer about an evidence file, offline."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from sigillo.cli.source import chunks, naming, read_at_most, read_policy
from sigillo.cli.terminal import wants_colour
from sigillo.core.accusation import decode_accusation, is_accusation, prove
from sigillo.core.appraise import NO_POLICY, appraise
from sigillo.core.errors import AccusationError
from sigillo.core.line import MAX_LINE, split_lines
from sigillo.core.policy import Policy
from sigillo.report.escape import escape
from sigillo.report.text import render


@click.command(
    short_help="Verify an evidence file, offline.",
    epilog="""\b
Exit codes: 0 verified, 1 not verified, 2 unreadable or misused. An accusation (`sigillo accuse`) is read, too: 1.

\b
Examples:
  sigillo verify evidence.jsonl --policy policy.toml
  sigillo verify evidence.jsonl.gz --policy policy.toml --json
  sigillo verify evidence.jsonl        (no policy: only what needs no trust)
""",
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--policy", type=click.Path(path_type=Path), help="Whom you trust, and for what (TOML).")
@click.option("--json", "as_json", is_flag=True, help="The verdict for programs: spec/verdict.schema.json.")
def command(file: Path, policy: Path | None, as_json: bool) -> int:
    """Verify FILE by the policy. The first line is the answer; every check has its own line below it."""
    trusted = None if policy is None else read_policy(policy)
    with naming(file, "get the file again, or ask whoever made it"):
        accusation = read_at_most(file, MAX_LINE)
        if is_accusation(accusation):
            return _judge(accusation, trusted, as_json=as_json)
    with naming(file, "get the file again, or ask whoever made it"):
        verdict = appraise(split_lines(chunks(file)), trusted, time.time_ns())
    if as_json:
        click.echo(json.dumps(verdict.to_json(), ensure_ascii=True, indent=2))
    else:
        click.echo(render(verdict, colour=wants_colour()), nl=False)
    return 0 if verdict.verified else 1


def _judge(data: bytes, policy: Policy | None, *, as_json: bool) -> int:
    """The answer about an accusation: never that something is verified."""
    accusation = decode_accusation(data)
    try:
        proved, text = True, prove(accusation, policy) if policy else ""
    except AccusationError as error:
        proved, text = False, error.reason
    if policy is None:
        proved, text = False, NO_POLICY
    if as_json:
        click.echo(json.dumps({"accusation": accusation.kind, "proved": proved, "text": text}, indent=2))
    else:
        click.echo(f"{'MISBEHAVIOUR PROVED' if proved else 'NOT PROVED'}: {escape(text)}")
    return 1
