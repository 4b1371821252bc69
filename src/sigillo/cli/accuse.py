"""`sigillo accuse`: two signed objects that contradict each other, out of two files, as one small file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from sigillo import disk
from sigillo.cli.source import FileError, chunks, naming, read_at_most, read_policy
from sigillo.core.accusation import Accusation, encode_accusation, prove
from sigillo.core.checkpoint import decode_checkpoint
from sigillo.core.contradiction import Source, Tiles, find
from sigillo.core.errors import AccusationError
from sigillo.core.line import split_lines
from sigillo.core.note import MAX_NOTE
from sigillo.core.policy import Policy
from sigillo.log.public import PublicLog
from sigillo.report.escape import escape

_REMEDY = "get the file again, or ask whoever made it"
_EVIDENCE = (b"{", b"\x1f")  # JSON, gzip


@click.command(
    short_help="Find what proves misbehaviour in two evidence files.",
    epilog="""\b
Exit codes: 0 found, 1 nothing found, 2 unreadable or misused.

\b
Examples:
  sigillo accuse mine.jsonl theirs.jsonl --policy policy.toml -o accusation.json
  sigillo accuse evidence.jsonl checkpoint --policy policy.toml
  sigillo accuse evidence.jsonl operator/log/public --policy policy.toml
  sigillo verify accusation.json --policy policy.toml
""",
)
@click.argument("first", metavar="FILE", type=click.Path(path_type=Path))
@click.argument("second", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--policy", required=True, type=click.Path(path_type=Path), help="Whose keys count (TOML).")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="File to write.")
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
def command(*, first: Path, second: Path, policy: Path, output: Path | None, force: bool) -> int:
    """Compare two evidence files, or one and a checkpoint: has their operator signed things that contradict each other?

    In place of a checkpoint it takes a folder with the public files of the log (checkpoint, tile/), and looks for each
    mark there.

    What is found proves misbehaviour to anyone who trusts the same keys; `sigillo verify` reads it.
    """
    if output and output.exists() and not force:
        raise FileError(f"{output}: is there already; choose another file, or say --force")
    trusted = read_policy(policy)
    found = _first(_candidates(first, second), trusted)
    if found is None:
        click.echo("NOTHING FOUND: nothing that these keys signed in the two files contradicts the rest")
        return 1
    accusation, what = found
    click.echo(f"MISBEHAVIOUR PROVED: {escape(what)}")
    if output:
        disk.replace(output, encode_accusation(accusation), disk.PUBLIC)
    return 0


def _candidates(first: Path, second: Path) -> Iterable[Accusation]:
    try:
        with naming(first, _REMEDY):
            one = _source(first)
        with naming(second, _REMEDY):
            other = _source(second)
            yield from find(one, other)
    except OSError as error:
        raise FileError(f"{error.filename}: {error.strerror}; {_REMEDY}") from error


def _source(path: Path) -> Source:
    if path.is_dir():
        public = PublicLog(path)
        return Source(checkpoint=public.checkpoint(), tiles=Tiles(public.entry, public.read))
    if read_at_most(path, 0)[:1].startswith(_EVIDENCE):
        return Source(lambda: split_lines(chunks(path)))
    return Source(checkpoint=decode_checkpoint(read_at_most(path, MAX_NOTE)))


def _first(candidates: Iterable[Accusation], policy: Policy) -> tuple[Accusation, str] | None:
    """The first that proves something: a wrong signature in a file is no contradiction."""
    for accusation in candidates:
        try:
            return accusation, prove(accusation, policy)
        except AccusationError:
            continue
    return None
