"""`sigillo swtpm`: a TPM in software, for demo and tests."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import FrameType
from typing import Final

import click

from sigillo.attestation import software_tpm
from sigillo.attestation.error import TpmError
from sigillo.broker.account import REST_USER, find_account

_STARTS_S: Final = 20.0
_TURN_S: Final = 0.02
_SOCKET_MODE: Final = 0o600
_PASSABLE: Final = 0o711


@click.command(
    short_help="Run a TPM in software (demo, tests).",
    epilog="""\b
Examples:
  sigillo swtpm tpm
  sigillo up operator --tpm tpm/tpm.sock
""",
)
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object once it answers.")
def command(*, directory: Path, as_json: bool) -> None:
    """Run the software TPM of the folder DIR, until Ctrl-C; swtpm does the work. The first run makes DIR.

    It is for demo and tests: it shows the protocol and proves nothing about a machine, whose root can change all of it.
    Each start is a reset of the TPM. A policy has to allow it by name.

    Exit code: 0 stopped as asked, 2 it could not start.
    """
    if not directory.exists():
        software_tpm.make(directory, "software TPM")
    words, path = software_tpm.command(directory), software_tpm.socket_of(directory)
    path.unlink(missing_ok=True)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, process_group=0) as tpm:
        try:
            _wait_until_it_answers(tpm, directory, path)
            _hand_over(directory, path)
            _say(directory, path, as_json=as_json)
            tpm.wait()
            raise TpmError(f"{directory}: the TPM ended by itself; {directory / 'swtpm.log'} may say why")
        except _Stopped:
            pass
        finally:
            tpm.terminate()


class _Stopped(Exception):  # nothing is wrong: somebody asked
    """SIGINT or SIGTERM came."""


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise _Stopped


def _wait_until_it_answers(tpm: subprocess.Popen[bytes], directory: Path, path: Path) -> None:
    deadline = time.monotonic() + _STARTS_S
    while True:
        if tpm.poll() is not None or time.monotonic() > deadline:
            raise TpmError(f"{directory}: the TPM did not start; {directory / 'swtpm.log'} may say why")
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(path)) == 0:
                return
        time.sleep(_TURN_S)


def _hand_over(directory: Path, path: Path) -> None:
    """Started by root, the TPM is for the user that holds the log key there."""
    rest = find_account(REST_USER)
    if os.geteuid() == 0 and rest is not None:
        os.chown(path, rest.uid, rest.gid)
        path.chmod(_SOCKET_MODE)
        directory.chmod(_PASSABLE)


def _say(directory: Path, path: Path, *, as_json: bool) -> None:
    issuer, root = software_tpm.maker_certificates(directory)
    if as_json:
        click.echo(json.dumps({"tpm": str(path), "issuer": str(issuer), "maker": str(root)}))
        return
    click.echo("software TPM, for demo and tests: a program, not a chip; it vouches for no machine")
    click.echo(f"  measure into it: sigillo up … --tpm {path}")
    click.echo(f"  its maker's certificate, for a policy: {root}")
