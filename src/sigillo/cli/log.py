"""`sigillo log`: check the log of an operator, show it, and prove an entry of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from sigillo import disk
from sigillo.cli.source import FileError
from sigillo.core.bytes import base64_encode
from sigillo.core.entry import Kind, LogEntry
from sigillo.core.errors import MerkleError
from sigillo.core.proof import encode_proof
from sigillo.log.error import LogError
from sigillo.log.fsck import Fault, NotChecked, Progress, fsck
from sigillo.log.reader import LogReader, read_vkey

_NEWEST = 10
_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.group(
    short_help="Check, show and prove the operator's log.",
    epilog="""\b
Examples:
  sigillo log fsck operator
  sigillo log show operator
  sigillo log proof operator --index 41 -o entry-41.tlog-proof
""",
)
def command() -> None:
    """The log of an operator: every time mark and epoch statement in one order that cannot be rewritten unseen."""


@command.command(
    name="fsck",
    short_help="Check the whole log, from its raw files.",
    epilog="""\b
Examples:
  sigillo log fsck operator
  sigillo log fsck operator --json
""",
)
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.option("--json", "as_json", is_flag=True, help="Output for programs.")
def check(folder: Path, as_json: bool) -> int:
    """Check the log of the operator folder DIR: tiles, entries, store, signatures, spool. The first fault is named.

    It writes nothing. It cannot see that the whole folder is an old copy: witnesses can. Beside a running log it reads
    up to the checkpoint, and says what it leaves out.
    """
    reader = _reader(folder)
    size, fault = reader.checkpoint.head.size, None
    left_out: list[NotChecked] = []
    try:
        for found in fsck(folder, reader.key):
            if isinstance(found, NotChecked):
                left_out.append(found)
            else:
                _show(found)
    except Fault as error:
        fault = error
    if as_json:
        first = fault and {"check": fault.check, "place": fault.place, "reason": fault.reason}
        not_checked = [{"checks": list(found.checks), "reason": found.reason} for found in left_out]
        click.echo(json.dumps({"size": size, "fault": first, "not_checked": not_checked}, indent=2))
    elif fault:
        click.echo(f"FAULT (check {fault.check}) {fault}")
    else:
        click.echo(f"good: {size} entries, under the key {reader.key.name}")
    if not as_json:
        for found in left_out:
            click.echo(f"not checked ({', '.join(map(str, found.checks))}): {found.reason}")
    return 1 if fault else 0


@command.command(
    short_help="Show size, root, epochs and the newest entries.",
    epilog="""\b
Examples:
  sigillo log show operator
  sigillo log show operator --json
""",
)
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.option("--json", "as_json", is_flag=True, help="Output for programs.")
def show(folder: Path, as_json: bool) -> None:
    """Show what the log of the operator folder DIR says of itself. The checkpoint's signature is verified, no more."""
    reader = _reader(folder)
    head = reader.checkpoint.head
    newest = list(enumerate(reader.public.entries(max(head.size - _NEWEST, 0), head.size), max(head.size - _NEWEST, 0)))
    epochs = newest[-1][1].epoch if newest else 0
    if as_json:
        entries = [{"index": index, **_fields(entry)} for index, entry in newest]
        value = {"origin": head.origin, "size": head.size, "root": base64_encode(head.root), "epochs": epochs}
        click.echo(json.dumps({**value, "newest": entries}, indent=2))
        return
    click.echo(f"origin  {head.origin}\nsize    {head.size}\nroot    {base64_encode(head.root)}\nepochs  {epochs}")
    for index, entry in newest:
        name = _name(entry.kind)
        click.echo(f"{index:>8}  {name:<21} epoch {entry.epoch}, sequence {entry.sequence}  {entry.object_hash.hex()}")


@command.command(
    short_help="Write a proof that an entry is in the log.",
    epilog="""\b
Examples:
  sigillo log proof operator --index 41 -o entry-41.tlog-proof
""",
)
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.option("--index", required=True, type=click.IntRange(0), help="Number of the entry, from 0.")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write (c2sp.org/tlog-proof).",
)
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
def proof(folder: Path, index: int, output: Path, force: bool) -> None:
    """Write the proof that entry INDEX is in the log of the operator folder DIR. It verifies offline."""
    reader = _reader(folder)
    size = reader.checkpoint.head.size
    try:
        text = encode_proof(reader.proof(index))
    except MerkleError:
        raise LogError(f"--index {index}: the log has {size} entries, the first is 0") from None
    try:
        with disk.writing(output, replaces=force) as file:
            file.write(text)
    except FileExistsError:
        raise FileError(f"{output}: is there already; choose another file, or say --force") from None
    click.echo(f"{output}: entry {index} under the checkpoint of size {size}")
    if index < reader.first_kept:
        click.echo(f"  its object is not kept: the store begins with entry {reader.first_kept} (keep_entries)")


def _reader(folder: Path) -> LogReader:
    """The log in the operator folder *folder*. Raises LogError."""
    return LogReader(folder / "log", read_vkey(folder / "log"))


def _fields(entry: LogEntry) -> dict[str, object]:
    return {
        "kind": _name(entry.kind),
        "epoch": entry.epoch,
        "sequence": entry.sequence,
        "object_hash": entry.object_hash.hex(),
    }


def _name(kind: Kind) -> str:
    return kind.name.lower().replace("_", "-")


def _show(progress: Progress) -> None:
    """Where it is, on a terminal's standard error."""
    if sys.stderr.isatty():
        click.echo(f"\rcheck {progress.check}: {progress.done} of {progress.size} entries ", nl=False, err=True)
