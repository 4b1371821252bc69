"""`sigillo inspect`: what an evidence file holds, and its signed bytes for stock tools."""

from __future__ import annotations

import json
from pathlib import Path

import click

from sigillo.cli.source import FileError, chunks, naming, read_policy
from sigillo.core.line import split_lines
from sigillo.core.policy import Policy
from sigillo.report.exhibit import README, exhibits, message_proof, token_consistency
from sigillo.report.inspection import Inspection, inspect, render_inspection

_REMEDY = "get the file again, or ask whoever made it"


@click.command(
    short_help="Show what an evidence file holds; no trust implied.",
    epilog="""\b
Examples:
  sigillo inspect evidence.jsonl
  sigillo inspect evidence.jsonl --policy policy.toml --export exhibits
  cd exhibits && sh commands.sh        (OpenSSL verifies every signature)
""",
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--export",
    type=click.Path(path_type=Path),
    help="Folder to make: signed bytes, signatures, keys and the openssl commands.",
)
@click.option("--policy", type=click.Path(path_type=Path), help="With --export: where log and device keys come from.")
@click.option("--json", "as_json", is_flag=True, help="Output for programs.")
def command(file: Path, export: Path | None, policy: Path | None, as_json: bool) -> None:
    """Show what FILE holds. Nothing is verified, and nothing is believed."""
    if policy and not export:
        raise click.UsageError("--policy goes with --export; to verify, use `sigillo verify`.")
    with naming(file, _REMEDY):
        inspection = inspect(split_lines(chunks(file)))
    if as_json:
        click.echo(json.dumps(inspection.to_json(), ensure_ascii=True, indent=2))
    else:
        click.echo(render_inspection(inspection), nl=False)
    if export:
        count = _export(file, export, None if policy is None else read_policy(policy))
        _export_proofs(file, export, inspection)
        click.echo(f"\n{count} signatures written to {export}: see {export / 'README.txt'}", err=as_json)


def _export(file: Path, folder: Path, policy: Policy | None) -> int:
    """Write every signature of the file into a new or empty folder; how many there are."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise FileError(f"{folder}: is not empty; name a new folder")
    except FileExistsError as error:
        raise FileError(f"{folder}: is not a folder; name a new one") from error
    count = quotes = 0
    with (
        (folder / "commands.sh").open("w", encoding="utf-8") as commands,
        (folder / "tpm.sh").open("w", encoding="utf-8") as of_tpm,
    ):
        for script in (commands, of_tpm):
            script.write('#!/bin/sh\n# README.txt says what this is.\nset -e\ncd "$(dirname "$0")"\n')
        with naming(file, _REMEDY):
            for exhibit in exhibits(split_lines(chunks(file)), policy):
                for suffix, content in exhibit.files.items():
                    (folder / f"{exhibit.name}{suffix}").write_bytes(content)
                commands.write(f"{exhibit.command}\n")
                of_tpm.write(f"{exhibit.tpm_command}\n" if exhibit.tpm_command else "")
                quotes += bool(exhibit.tpm_command)
                count += not {".sig", ".tst"}.isdisjoint(exhibit.files)
    if not quotes:
        (folder / "tpm.sh").unlink()  # it would pass, and check nothing
    (folder / "README.txt").write_text(README, encoding="utf-8")
    return count


def _export_proofs(file: Path, folder: Path, inspection: Inspection) -> None:
    """What the file shows of the log's proofs: of the first message, and of the first and last of the listed tokens."""
    checkpoint = inspection.checkpoint
    if checkpoint is None:
        return
    first = inspection.messages[0]  # a file has a message
    with naming(file, _REMEDY):
        found = {f"{first.number:06d}-mark.tlog-proof": message_proof(split_lines(chunks(file)), first, checkpoint)}
        for token in {token.number: token for token in (*inspection.tokens[:1], *inspection.tokens[-1:])}.values():
            proof = token_consistency(split_lines(chunks(file)), token, checkpoint)
            found[f"{token.number:06d}-token.consistency"] = proof
    for name, proof in found.items():
        if proof is not None:
            (folder / name).write_bytes(proof)
