"""`sigillo rebuild`: rebuild from a manifest alone, compare, and sign what came out."""

from __future__ import annotations

import time
from pathlib import Path

import click
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sigillo.build.builder import Options
from sigillo.build.error import BuildError
from sigillo.build.rebuild import Remade, rebuild
from sigillo.build.workspace import workspace
from sigillo.cli.source import naming, read_at_most
from sigillo.core.dsse import MAX_ENVELOPE, DsseKey, verify_envelope
from sigillo.core.errors import SignatureError
from sigillo.core.manifest import SignedManifest, decode_manifest
from sigillo.core.rebuild import Equality, RebuildStatement, check_about, decode_rebuild, encode_rebuild
from sigillo.device.key import load_public_key, load_signing_key
from sigillo.report.escape import escape
from sigillo.x509 import spki_of

_FILE = click.Path(path_type=Path, dir_okay=False)
_FOLDER = click.Path(path_type=Path, file_okay=False)
STATEMENT = "rebuild.json"


@click.command(
    short_help="Rebuild from a manifest alone; sign what came out.",
    epilog="""\b
Exit codes: 0 every output is the manifest's, bit for bit; 1 one is not; 2 not rebuilt.
Examples:
  sigillo rebuild manifest.json --builder builder.pub.pem -o rebuilt
  sigillo rebuild manifest.json --builder builder.pub.pem -o rebuilt --key rebuilder.key.pem --name "Somebody"
  openssl genpkey -algorithm ed25519 -out rebuilder.key.pem     (makes a key)
""",
)
@click.argument("manifest", type=_FILE)
@click.option("--builder", required=True, type=_FILE, help="Public key of who signed the manifest (PEM).")
@click.option("-o", "--output", "out", required=True, type=_FOLDER, help="Folder to make; appears when all is done.")
@click.option("--key", type=_FILE, help="Your Ed25519 key (PEM): signs the rebuild statement, OUT/rebuild.json.")
@click.option("--name", help="Your name in the statement.")
@click.option("--source", type=click.Path(path_type=Path), help="Where the source lies; else it is fetched.")
@click.option("--cache", "caches", multiple=True, type=_FOLDER, help="Folder with packages that the mirror may lack.")
@click.option("--mirror", default="", metavar="URI", help="Debian's mirror; else this machine's own.")
@click.option("--snapshot", default="", metavar="URL", help="Debian's snapshot archive; else as apt knows it.")
@click.option("--keep-roots", "keep", type=_FOLDER, help="Keep roots here, and use one of the same inputs again.")
@click.option("--unsafe-network", is_flag=True, help="Where a build cannot be shut in: let it have a network.")
def command(  # noqa: PLR0917  # click passes them by name
    manifest: Path,
    builder: Path,
    out: Path,
    key: Path | None,
    name: str | None,
    source: Path | None,
    caches: tuple[Path, ...],
    mirror: str,
    snapshot: str,
    keep: Path | None,
    unsafe_network: bool,
) -> int:
    """Rebuild what MANIFEST names, from it alone: source, root and steps are in it. Then compare output by output.

    Where the builder's own outputs lie beside the manifest, a difference is explained. It needs root.
    """
    if (key is None) != (name is None):
        raise click.UsageError("--key and --name go together: a statement needs both.")
    signer = _signer(key) if key else None
    signed = _verified(manifest, builder)
    options = Options(source, caches, mirror, snapshot, keep, False, unsafe_network)
    failed = out.with_name(f"{out.name}.failed.log")
    remade = []
    with workspace(out) as (made, scratch):
        for number, build in enumerate(signed.manifest.builds):
            (made / build.name).mkdir()
            place = scratch / str(number)
            place.mkdir()
            folder = manifest.resolve().parent
            remade.append(
                rebuild(build, folder, made / build.name, place, options=options, progress=_say, failed=failed)
            )
        if signer is not None and name is not None:
            statement = RebuildStatement(name, signed.sha256, int(time.time()), tuple(one.rebuilt for one in remade))
            (made / STATEMENT).write_bytes(_encoded(statement, signed, signer))
    return _report(remade, out, signer is not None)


def _verified(path: Path, builder: Path) -> SignedManifest:
    """The manifest, signed by *builder*. Raises FileError, BuildError."""
    with naming(path, "see spec/manifest.md"):
        signed = decode_manifest(read_at_most(path, MAX_ENVELOPE))
    if signed.envelope.key != DsseKey.from_spki(load_public_key(builder).spki, str(builder)):
        raise BuildError(f"{path}: is signed by {signed.envelope.key.fingerprint}, which is not the key in {builder}")
    try:
        verify_envelope(signed.envelope)
    except SignatureError as error:
        raise BuildError(f"{path}: {error}; it was altered, do not believe it") from None
    return signed


def _signer(path: Path) -> Ed25519PrivateKey:
    key = load_signing_key(path)
    if not isinstance(key, Ed25519PrivateKey):
        raise BuildError(f"{path}: is not an Ed25519 key; make one with openssl genpkey -algorithm ed25519")
    return key


def _encoded(statement: RebuildStatement, signed: SignedManifest, key: Ed25519PrivateKey) -> bytes:
    """The statement's file, which a reader with the manifest accepts."""
    public = DsseKey.from_spki(spki_of(key.public_key()))
    data = encode_rebuild(statement, public, key.sign)
    check_about(decode_rebuild(data).statement, signed)
    return data


def _report(remade: list[Remade], out: Path, signed: bool) -> int:
    outputs = [(one, output) for one in remade for output in one.rebuilt.outputs]
    for one, output in outputs:
        click.echo(f"{output.equality:<18} {one.rebuilt.name}  {output.name}")
        if output.name in one.differences:
            click.echo("".join(f"    {escape(line)}\n" for line in one.differences[output.name].splitlines()), nl=False)
    same = sum(output.equality is Equality.IDENTICAL for _, output in outputs)
    click.echo(f"{same} of {len(outputs)} outputs are the manifest's, bit for bit")
    click.echo(
        f"{out / STATEMENT}: the signed statement" if signed else "not signed: --key and --name make a statement"
    )
    return 0 if same == len(outputs) else 1


def _say(line: str) -> None:
    click.echo(f"  {escape(line)}", err=True)
