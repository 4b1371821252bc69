"""`sigillo tsa`: a local time-stamp authority, for demo and tests."""

from __future__ import annotations

import json
from pathlib import Path

import click

from sigillo import disk
from sigillo.core.bytes import base64url_encode
from sigillo.tsa.folder import POLICY, PUBLISHED, LocalTsa
from sigillo.tsa.server import CRL_PATH, DEFAULT_LISTEN, TsaServer, serve


@click.command(
    short_help="Run a local time-stamp authority (demo, tests).",
    epilog="""\b
Examples:
  sigillo tsa tsa
  sigillo up operator --tsa http://127.0.0.1:8318/
""",
)
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option("--listen", metavar="ADDR:PORT", default=DEFAULT_LISTEN, show_default=True, help="Where, on loopback.")
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object once it answers.")
def command(*, directory: Path, listen: str, as_json: bool) -> None:
    """Run a local RFC 3161 time-stamp authority of the folder DIR, until Ctrl-C. OpenSSL makes the tokens.

    It is for demo and tests: whoever runs the broker runs this too, so it is no third party, and its time is this
    machine's. The first run makes DIR: a root of its own and a signing key. DIR/tsa.toml has the lines for a policy.

    Exit code: 0 stopped as asked, 2 it could not start.
    """
    tsa = LocalTsa.open(directory)
    disk.replace(directory / PUBLISHED, tsa.policy_table.encode(), disk.PUBLIC)
    with TsaServer(listen, tsa) as server:
        url = server.url

        def say() -> None:
            if as_json:
                said = {"url": url, "root": base64url_encode(tsa.root), "policy": POLICY}
                click.echo(json.dumps(said))
                return
            click.echo(f"local time-stamp authority, for demo and tests, run by the operator itself: {url}")
            click.echo(f"  stamp with it:   sigillo up … --tsa {url}")
            click.echo(f"  revocation list: {url}{CRL_PATH.lstrip('/')}")
            click.echo(f"  for a policy:    {directory / PUBLISHED}")

        serve(server, say)
