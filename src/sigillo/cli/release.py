"""`sigillo release`: what a builder publishes, for stock tools to check."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sigillo.device.key import load_signing_key
from sigillo.log.timestamper import TimestampError, TsaAddress, obtain
from sigillo.release.error import ReleaseError
from sigillo.release.folder import ReleaseFolder
from sigillo.release.openpgp import Signer
from sigillo.release.sign import sign_release


@click.group()
def command() -> None:
    """Publish what was built: hashes, signatures, SBOM, provenance."""


@command.command(
    short_help="Sign a release: OpenPGP, SBOM, provenance.",
    epilog="""\b
Examples:
  sigillo release sign release --key CCB683D5A8C96A9748F667210EA6A8DFEBFF9A78 --builder builder.key.pem
  cd release && gpgv --keyring ./signer.gpg SHA256SUMS.asc SHA256SUMS && sha256sum -c SHA256SUMS
""",
)
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option("--key", required=True, metavar="FINGERPRINT", help="OpenPGP key that gpg signs with: all 40 hex digits.")
@click.option(
    "--builder",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The builder's Ed25519 key (PEM) that signed the manifest; signs the provenance.",
)
@click.option("--tsa", metavar="URL", help="A time-stamp authority (RFC 3161) that stamps the provenance.")
def sign(*, directory: Path, key: str, builder: Path, tsa: str | None) -> None:
    """Sign the release in DIR: its manifest.json, and the source/ and binary/ that the manifest names.

    gpg and its agent ask for a passphrase, if there is one; Sigillo never sees it. Nothing is written before every
    signature is made; files of an earlier run are replaced.
    """
    folder = ReleaseFolder.open(directory)
    stamp = partial(_stamp, TsaAddress(tsa, tsa)) if tsa else None
    written = sign_release(
        folder, Signer.of(key), _builder(builder), stamp, lambda name: click.echo(f"  {name}", err=True)
    )
    click.echo(f"{directory}: {len(written)} files written, the last is {written[-1]}")
    click.echo(f"OpenPGP key  {Signer.of(key).fingerprint}")
    click.echo(f"builder key  SHA-256 {folder.manifest.envelope.key.fingerprint}")
    click.echo("Publish both over another channel: whoever checks this release compares them.")


def _stamp(address: TsaAddress, message: bytes) -> bytes:
    try:
        return obtain(address, message)[0]
    except TimestampError as error:
        raise ReleaseError(f"--tsa {address.url}: {error}") from None


def _builder(path: Path) -> Ed25519PrivateKey:
    key = load_signing_key(path)
    if not isinstance(key, Ed25519PrivateKey):
        raise ReleaseError(f"{path}: is not an Ed25519 key; make one with openssl genpkey -algorithm ed25519")
    return key
