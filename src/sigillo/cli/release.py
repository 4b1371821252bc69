"""`sigillo release`: what a builder publishes, for stock tools to check."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sigillo.build.facts import decode_facts
from sigillo.build.workspace import workspace
from sigillo.cli.source import naming, read_at_most
from sigillo.core.dsse import MAX_ENVELOPE
from sigillo.device.key import load_signing_key
from sigillo.log.timestamper import TimestampError, TsaAddress, obtain
from sigillo.release.assemble import Part, assemble
from sigillo.release.error import ReleaseError
from sigillo.release.folder import MANIFEST, ReleaseFolder
from sigillo.release.openpgp import Signer
from sigillo.release.sign import sign_release

FACTS = "build.json"


@click.group()
def command() -> None:
    """Publish what was built: hashes, signatures, SBOM, provenance."""


@command.command(
    short_help="Make a release of builds, with its manifest.",
    epilog="""\b
Examples:
  openssl genpkey -algorithm ed25519 -out builder.key.pem && chmod 600 builder.key.pem
  sigillo release new mosquitto plugin --name "Example Builder" --builder builder.key.pem -o release
""",
)
@click.argument("builds", metavar="BUILD…", nargs=-1, required=True, type=click.Path(path_type=Path, file_okay=False))
@click.option("--name", required=True, help="Who builds, as the manifest and every verdict will name it.")
@click.option(
    "--builder",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The builder's Ed25519 key (PEM): signs the manifest.",
)
@click.option("-o", "--output", "out", required=True, type=click.Path(path_type=Path), help="Folder to make.")
def new(*, builds: tuple[Path, ...], name: str, builder: Path, out: Path) -> None:
    """Make the folder OUT of the BUILD folders that `sigillo build` left, and sign the build manifest over all of them.

    A broker needs two: Mosquitto and the plugin. Their files lie side by side, ready for any web server.
    """
    parts, key = [_part(path) for path in builds], _builder(builder)
    with workspace(out) as (made, _):
        folder = assemble(parts, name, key, made)
    click.echo(f"{out / MANIFEST}: sha256 {folder.manifest.sha256.hex()}")
    click.echo(f"builder key  SHA-256 {folder.manifest.envelope.key.fingerprint}")
    for build, output in folder.manifest.manifest.outputs():
        click.echo(f"{output.role:<10} {output.sha256.hex()}  {build.name}  {output.name}")


def _part(path: Path) -> Part:
    facts_path = path / FACTS
    with naming(facts_path, "name a folder that `sigillo build` left"):
        facts = decode_facts(read_at_most(facts_path, MAX_ENVELOPE))
    return Part(path, facts.build, facts.closure, facts.network)


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
