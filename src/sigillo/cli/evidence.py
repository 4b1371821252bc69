"""`sigillo evidence`: write an evidence file from an operator's archive."""

from __future__ import annotations

import datetime
import gzip
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

import click
from cryptography.hazmat.primitives.serialization import Encoding

from sigillo import disk
from sigillo.archive.error import ArchiveError
from sigillo.archive.export import export
from sigillo.archive.selection import KnownEpoch, Selection, Tally, newest
from sigillo.archive.store import Store
from sigillo.broker.boot_record import boot_lines
from sigillo.broker.build_manifest import build_lines
from sigillo.broker.epoch_store import EpochStore
from sigillo.broker.folder import OperatorFolder
from sigillo.broker.launch_record import launch_lines
from sigillo.broker.settings import load
from sigillo.cli.evidence_log import OperatorLog
from sigillo.cli.evidence_wait import best_log, wait
from sigillo.cli.source import naming
from sigillo.core.errors import DecodeError
from sigillo.core.evidence_codec import encode_line
from sigillo.core.evidence_line import CertificateLine, Line, SharedLine
from sigillo.device.registry import enrolled_chains

_PROGRESS_S = 0.5
_SHOWN_DEVICES = 20


def _time(_context: click.Context, _option: click.Parameter, text: str | None) -> int | None:
    """RFC 3339 date and time with its zone, or a date (its first instant, UTC) → ns of Unix time."""
    if text is None:
        return None
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not like 2026-11-23T08:30:00Z or 2026-11-23") from None
    if moment.tzinfo is None:
        if len(text) > len("2026-11-23"):
            raise click.BadParameter(f"{text!r} has no time zone; add Z for UTC")
        moment = moment.replace(tzinfo=datetime.UTC)
    since = moment - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    return (since // datetime.timedelta(microseconds=1)) * 1000


@click.command(
    short_help="Write an evidence file from an archive.",
    epilog="""\b
Examples:
  sigillo evidence --store operator --device crate-1 -o evidence.jsonl
  sigillo evidence --store operator --device crate-1 --device crate-2 --last 100 -o evidence.jsonl.gz
  sigillo evidence --store operator --device crate-1 --from 2026-11-01 --to 2026-11-30T23:59:59Z -o november.jsonl
""",
)
@click.option(
    "--store",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="The operator folder (of `sigillo up`).",
)
@click.option("--device", "devices", required=True, multiple=True, help="Id of a device; may be repeated.")
@click.option("--last", type=click.IntRange(1), help="Only the newest N messages of each device.")
@click.option("--from", "from_ns", metavar="TIME", callback=_time, help="Only messages marked at or after this time.")
@click.option("--to", "to_ns", metavar="TIME", callback=_time, help="Only messages marked at or before this time.")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write; packed if its name ends with .gz.",
)
@click.option("--no-wait", is_flag=True, help="Take what there is; what the log does not show yet is pending.")
@click.option(
    "--timeout", type=click.FloatRange(0), default=120.0, show_default=True, help="Longest wait for the log, seconds."
)
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@click.option("--json", "as_json", is_flag=True, help="Output for programs.")
def command(
    *,
    store: Path,
    devices: tuple[str, ...],
    last: int | None,
    from_ns: int | None,
    to_ns: int | None,
    output: Path,
    no_wait: bool,
    timeout: float,
    force: bool,
    as_json: bool,
) -> None:
    """Write messages of one or more devices, with their marks and epochs, as an evidence file.

    It holds what the archive keeps, and the proof of the operator's log where there is one: it waits until the log
    shows the newest message that is in the archive now. Whether it proves anything is for `sigillo verify` and its
    policy to say.
    """
    if last is not None and (from_ns is not None or to_ns is not None):
        raise ArchiveError("--last and --from/--to: give one of them")
    if output.exists() and not force:
        raise ArchiveError(f"{output}: is there already; choose another file, or say --force")
    folder = OperatorFolder.at(store)
    selection = Selection(
        devices=tuple(dict.fromkeys(devices)),
        last=last,
        from_ns=from_ns if from_ns is not None else 0,
        to_ns=to_ns if to_ns is not None else 2**63 - 1,
    )
    epochs = _epochs(folder)
    tally = Tally()
    with _open_archive(folder) as archive:
        known = archive.principals()
        for device in selection.devices:
            if device not in known:
                raise ArchiveError(f"--device {device}: the archive has no message of it; it has {_list(known)}")
        awaited, settings = newest(archive, epochs, selection), load(folder.settings)
        if no_wait or awaited is None:
            log, _ = best_log(folder, settings, awaited)
        else:
            log = wait(folder, settings, awaited, timeout)
        spooled = log.marks if log else EpochStore(folder.epochs, folder.spool).marks
        progress = _Progress(tally)
        lines = export(
            archive,
            epochs,
            selection,
            spooled=spooled,
            certificates=_certificates(folder, selection.devices),
            shared=partial(_shared, folder, log),
            tally=tally,
            progress=progress.step,
            log=log.view() if log else None,
        )
        with closing(lines):
            _write(lines, output, selection, tally)
        progress.end()
    _say(tally, output, log.missed_before if log else None, as_json=as_json)


def _write(lines: Iterator[Line], output: Path, selection: Selection, tally: Tally) -> None:
    with _replacing(output) as file:
        for line in lines:
            try:
                file.write(encode_line(line))
            except DecodeError as error:
                raise ArchiveError(
                    f"a message does not fit the evidence format: the {error.field} {error.reason}"
                ) from None
        if tally.messages == 0:
            forged = f" ({tally.not_genuine} with a mark that no epoch of this operator signed)"
            raise ArchiveError(
                f"nothing to export: no message of {_list(list(selection.devices))} with a genuine mark in that range"
                + (forged if tally.not_genuine else "")
            )


def _epochs(folder: OperatorFolder) -> list[KnownEpoch]:
    """All epochs of the operator, ascending. Raises ArchiveError."""
    if not folder.settings.is_file() or not folder.epochs.is_dir():
        raise ArchiveError(f"{folder.path}: is no operator folder; name the one that `sigillo up` runs on")
    kept = EpochStore(folder.epochs, folder.spool)
    numbers = kept.numbers()
    for number, expected in zip(numbers, range(1, len(numbers) + 1), strict=True):
        if number != expected:
            raise ArchiveError(f"{kept.statement_path(expected)}: is missing; put it back from your backup")
    epochs = []
    for number in numbers:
        try:
            epochs.append(KnownEpoch.decode(kept.statement_bytes(number), kept.end_bytes(number)))
        except DecodeError as error:
            raise ArchiveError(f"{kept.statement_path(number)}: {error}; put it back from your backup") from None
    return epochs


def _shared(folder: OperatorFolder, log: OperatorLog | None, epochs: Sequence[KnownEpoch]) -> list[SharedLine]:
    """The manifests that these epochs name, what rebuilders say about them, and what was measured of their launches
    and boots.
    """
    hashes = (epoch.signed.statement.manifest_hash for epoch in epochs)
    builds = build_lines(folder, [item for item in hashes if item])
    launches = launch_lines(folder, (epoch.signed.epoch_id for epoch in epochs))
    if not launches or log is None:
        return [*builds, *launches]
    quotes = log.first_quotes(epoch.signed.statement.number for epoch in epochs)
    return [*builds, *launches, *boot_lines(folder, quotes)]


def _certificates(folder: OperatorFolder, devices: tuple[str, ...]) -> Iterator[CertificateLine]:
    """What makers certified of the devices' signing keys, as enrolled."""
    for device in devices:
        for chain in enrolled_chains(folder.path / "devices", device):
            yield CertificateLine(device, tuple(found.public_bytes(Encoding.DER) for found in chain))


def _open_archive(folder: OperatorFolder) -> Store:
    if not os.access(folder.archive, os.R_OK | os.X_OK):
        raise ArchiveError(f"{folder.archive}: may not be read; run this as root or as the user it belongs to")
    if not folder.messages.exists():
        raise ArchiveError(f"{folder.messages}: is not there; no message was archived yet")
    return Store.open_to_read(folder.messages)


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file that takes the place of *path* only if all goes well; packed where the name says so."""
    with ExitStack() as stack:
        with naming(path.parent, "choose a folder that exists, with -o"):
            file = stack.enter_context(disk.writing(path, replaces=True))
        if path.suffix == ".gz":
            packed = stack.enter_context(gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0))
            file = cast(BinaryIO, packed)
        yield file


class _Progress:
    """Counts on a terminal, now and then."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._shown = False
        self._due = time.monotonic() + _PROGRESS_S
        self._wanted = sys.stderr.isatty()

    def step(self) -> None:
        """One more message."""
        if self._wanted and time.monotonic() >= self._due:
            self._due = time.monotonic() + _PROGRESS_S
            self._shown = True
            click.echo(f"\r\x1b[K{self._tally.messages} messages", nl=False, err=True)

    def end(self) -> None:
        """Clear the line."""
        if self._shown:
            click.echo("\r\x1b[K", nl=False, err=True)


def _say(tally: Tally, output: Path, missed_before: int | None, *, as_json: bool) -> None:
    if tally.twice:
        click.echo(
            f"sigillo: warning: {tally.twice} sequence number(s) have two marks signed by the epoch's key: one of them "
            "is in the file; both together prove misbehaviour of whoever holds that key",
            err=True,
        )
    if as_json:
        fields = {
            "certificates": tally.certificates,
            "epochs": tally.epochs,
            "messages": tally.messages,
            "repeats": tally.repeats,
            "not_held": tally.not_held,
        }
        left_out = {"not_genuine": tally.not_genuine, "twice": tally.twice, "too_large": tally.too_large}
        left_out |= {"pending": tally.pending, "unlogged": tally.unlogged}
        click.echo(json.dumps({"file": str(output), **fields, **left_out, "not_kept_before": missed_before}))
        return
    click.echo(f"{output}: {_count(tally.messages, 'message')}, {_count(tally.epochs, 'epoch')}")
    if tally.certificates:
        click.echo(f"  {_count(tally.certificates, 'certificate')} of signing keys")
    if tally.repeats:
        click.echo(f"  {_count(tally.repeats, 'repeat')} that the broker marked and did not deliver again")
    if tally.not_held:
        click.echo(f"  {_count(tally.not_held, 'mark')} admitted, not held: marked messages that the archive lacks")
    if missed_before is not None:
        click.echo(
            f"  not kept: objects of the log's entries before {missed_before} (keep_entries). Of epochs that begin "
            "there the file has no heads, nor the marks that the archive lacks"
        )
    if tally.pending:
        click.echo(f"  pending: {_count(tally.pending, 'message')} that the log's checkpoint does not cover yet")
    if tally.unlogged:
        click.echo(f"  left out: {_count(tally.unlogged, 'message')} that the log lacks, though it went on after them")
    if tally.too_large:
        click.echo(f"  left out: {_count(tally.too_large, 'message')} too large for a line of an evidence file (2 MiB)")
    if tally.not_genuine:
        click.echo(f"  left out: {tally.not_genuine} with a mark that no epoch of this operator signed")


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}{'' if number == 1 else 's'}"


def _list(names: list[str]) -> str:
    shown = ", ".join(names[:_SHOWN_DEVICES])
    more = len(names) - _SHOWN_DEVICES
    return (shown or "none yet") + (f" and {more} more" if more > 0 else "")
