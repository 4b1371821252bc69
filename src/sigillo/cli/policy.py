"""`sigillo policy`: say whom to trust, never silently."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from cryptography.hazmat.primitives.serialization import Encoding

from sigillo import disk
from sigillo.cli.policy_attester import AttesterOptions, attester_options
from sigillo.cli.source import FileError, naming, read_at_most, read_policy
from sigillo.core.build_trust import BuilderTrust, BuildTrust
from sigillo.core.certificate import decode_authority
from sigillo.core.cosignature import WitnessKey
from sigillo.core.dsse import MAX_ENVELOPE, Envelope, verify_envelope
from sigillo.core.errors import DecodeError, PolicyError, SignatureError
from sigillo.core.manifest import decode_manifest
from sigillo.core.policy import (
    AnchorTrust,
    ClockTrust,
    DeviceTrust,
    MakerTrust,
    MissingTrust,
    OperatorTrust,
    Policy,
    WitnessTrust,
    check_topic_level,
    decode_bracket,
    decode_duration,
    decode_policy,
    decode_tsas,
    encode_policy,
)
from sigillo.core.published import MAX_BYTES, decode_published
from sigillo.core.rebuild import decode_rebuild
from sigillo.core.table import decode_name
from sigillo.core.timestamp import TsaTrust
from sigillo.device.key import load_certificate, load_public_key
from sigillo.report.trust import policy_json, render_policy

_PATH = click.Path(path_type=Path)
_MAKER = "maker:"


@click.group()
def command() -> None:
    """Say whom to trust: make a policy, or check one."""


@command.command(
    short_help="Make a policy; prints what to compare.",
    epilog="""\b
Examples:
  sigillo policy new --operator operator.toml --device crate-1=signing.pub.pem -o policy.toml
  sigillo policy new --operator operator.toml --devices devices --max-error 500ms -o policy.toml
  sigillo policy new --operator operator.toml --device crate-1=signing.pub.pem --builder manifest.json \
    --rebuilder rebuild-a.json --rebuilder rebuild-b.json -o policy.toml
  sigillo policy new --operator operator.toml --maker Acme=acme-ca.pem --device crate-1=maker:Acme -o policy.toml
  sigillo policy new --operator operator.toml --devices devices --tsa tsa.toml --witness Uni=VKEY -o policy.toml
  sigillo policy new --operator operator.toml --devices devices --level launched --endorsement "Example Broker=SHA256" \
    --tpm-maker Chips=root.pem --registrar Uni=registrar.pub.pem -o policy.toml
""",
)
@click.option("--operator", "operators", type=_PATH, multiple=True, required=True, help="What an operator published.")
@click.option(
    "--device",
    "pairs",
    multiple=True,
    metavar="ID=PUB.pem|ID=maker:NAME",
    help="A device and its public signing key, or the maker who certifies that.",
)
@click.option("--devices", "registry", type=_PATH, help="A folder with ID/signing.pub.pem for each device.")
@click.option("--maker", "makers", multiple=True, metavar="NAME=CA.pem", help="A maker of devices and its CA.")
@click.option(
    "--hardware", multiple=True, metavar="NAME", help="Believe this maker that its keys cannot leave hardware."
)
@click.option("--builder", "builders", type=_PATH, multiple=True, help="A build manifest, whose builder is trusted.")
@click.option(
    "--rebuilder", "rebuilders", type=_PATH, multiple=True, help="A rebuild statement, whose rebuilder is trusted."
)
@click.option(
    "--rebuilders",
    "rebuilt_by",
    type=click.IntRange(1),
    help="How many must have made the same programs again.  [default: all]",
)
@click.option("--max-error", default="1s", show_default=True, help="Largest clock error of a mark that counts.")
@click.option("--tsa", "tsas", type=_PATH, multiple=True, help="A TOML file with the [[tsa]] table of an authority.")
@click.option("--anchors", type=click.IntRange(1), help="How many TSAs have to agree.  [default: all]")
@click.option("--max-bracket", default="10m", show_default=True, help="Widest span between the bounds of a mark.")
@click.option("--witness", "witnesses", multiple=True, metavar="OPERATOR=VKEY", help="A witness and who runs it.")
@click.option("--witnesses", "quorum", type=click.IntRange(1), help="How many have to cosign.  [default: a majority]")
@attester_options
@click.option("--allow-unlogged", is_flag=True, help="Accept evidence without a log proof.")
@click.option("--allow-unanchored", is_flag=True, help="Accept times that only the broker's clock bounds.")
@click.option("--allow-unwitnessed", is_flag=True, help="Accept a log that too few witnesses saw.")
@click.option("--allow-no-beacon", is_flag=True, help="Accept messages signed without a beacon.")
@click.option("--allow-not-rebuilt", is_flag=True, help="Accept a build that too few others made again.")
@click.option("--allow-unsynchronised", is_flag=True, help="Accept marks of a clock that is not synchronised.")
@click.option("--allow-unknown-bound", is_flag=True, help="Accept marks of a clock whose error nobody bounds.")
@click.option(
    "--sequence-bits",
    type=click.Choice(["64", "8"]),
    default="64",
    show_default=True,
    help="Width of the devices' own counter; shipped firmware has 8.",
)
@click.option("-o", "--output", type=_PATH, required=True, help="The policy to write.")
@click.option("--force", is_flag=True, help="Replace the output if it is there.")
def new(
    *,
    operators: tuple[Path, ...],
    pairs: tuple[str, ...],
    registry: Path | None,
    makers: tuple[str, ...],
    hardware: tuple[str, ...],
    builders: tuple[Path, ...],
    rebuilders: tuple[Path, ...],
    rebuilt_by: int | None,
    max_error: str,
    tsas: tuple[Path, ...],
    anchors: int | None,
    max_bracket: str,
    witnesses: tuple[str, ...],
    quorum: int | None,
    attestation: AttesterOptions,
    allow_unlogged: bool,
    allow_unanchored: bool,
    allow_unwitnessed: bool,
    allow_no_beacon: bool,
    allow_not_rebuilt: bool,
    allow_unsynchronised: bool,
    allow_unknown_bound: bool,
    sequence_bits: str,
    output: Path,
    force: bool,
) -> None:
    """Make a policy from what an operator published and the devices' public keys.

    Prints every fingerprint, to compare with its owner over another channel: a policy is only as good as that. With
    --builder, executable and plugin are what a manifest says, and not what the operator published.
    """
    bits = int(sequence_bits)
    trusted = _makers(makers, hardware)
    devices = [*_named(pairs, bits, trusted), *(_registered(registry, bits) if registry else ())]
    try:
        clock = ClockTrust(decode_duration(max_error, "--max-error"), allow_unknown_bound, allow_unsynchronised)
        published = tuple(_published(path, attestation.level, built=bool(builders)) for path in operators)
        policy = Policy(
            published,
            clock,
            tuple(devices),
            MissingTrust(
                allow_unlogged=allow_unlogged,
                allow_unanchored=allow_unanchored,
                allow_unwitnessed=allow_unwitnessed,
                allow_no_beacon=allow_no_beacon,
                allow_not_rebuilt=allow_not_rebuilt,
                allow_unattested=attestation.allow_unattested,
            ),
            tuple(trusted.values()),
            **_third_parties(tsas, anchors, max_bracket, witnesses, quorum),
            build=_builds(builders, rebuilders, rebuilt_by),
            attestation=attestation.trust(),
        )
    except PolicyError as error:
        raise FileError(f"the policy cannot be made: {error}") from error
    text = encode_policy(policy).encode()
    decode_policy(text)  # what is written can be read
    _write(output, text, force=force)
    click.echo(f"{output} trusts:")
    click.echo(render_policy(policy), nl=False)


@command.command(
    short_help="Say whom a policy trusts for what.",
    epilog="""\b
Examples:
  sigillo policy check policy.toml
  sigillo policy check policy.toml --json
""",
)
@click.argument("file", type=_PATH)
@click.option("--json", "as_json", is_flag=True, help="Output for programs.")
def check(file: Path, as_json: bool) -> None:
    """Read the policy FILE and say whom it trusts for what; warns about what it waives."""
    policy = read_policy(file)
    if as_json:
        click.echo(json.dumps(policy_json(policy), ensure_ascii=True, indent=2))
    else:
        click.echo(render_policy(policy), nl=False)


def _published(path: Path, level: str, *, built: bool) -> OperatorTrust:
    """*level*: the least that counts; *built*: a builder says what executable and plugin are."""
    with naming(path, "the operator finds it in published/operator.toml"):
        found = decode_published(read_at_most(path, MAX_BYTES))
    values = {part: hashes for part, hashes in found.reference_values.items() if not built or part == "configuration"}
    return dataclasses.replace(found, level=level, reference_values=values)


def _builds(builders: Sequence[Path], rebuilders: Sequence[Path], quorum: int | None) -> BuildTrust:
    """Names and keys of who signed these files. Raises FileError, PolicyError."""
    trusted = [_signer(path, _manifest_signer) for path in builders]
    again = [_signer(path, _rebuild_signer) for path in rebuilders]
    return BuildTrust(tuple(trusted), tuple(again), len(again) or None if quorum is None else quorum)


def _signer(path: Path, read: Callable[[bytes], tuple[str, Envelope]]) -> BuilderTrust:
    with naming(path):
        name, envelope = read(read_at_most(path, MAX_ENVELOPE))
        try:
            verify_envelope(envelope)
        except SignatureError as error:
            raise DecodeError("signature", error.reason) from error
    return BuilderTrust(name, envelope.key)


def _manifest_signer(data: bytes) -> tuple[str, Envelope]:
    signed = decode_manifest(data)
    return signed.manifest.builder, signed.envelope


def _rebuild_signer(data: bytes) -> tuple[str, Envelope]:
    signed = decode_rebuild(data)
    return signed.statement.rebuilder, signed.envelope


def _third_parties(
    tsas: Sequence[Path],
    anchors: int | None,
    max_bracket: str,
    witnesses: Sequence[str],
    quorum: int | None,
) -> dict[str, Any]:
    """The parts of a policy that are about them. Raises FileError, PolicyError."""
    trusted = tuple(tsa for path in tsas for tsa in _tsas(path))
    cosigners = tuple(_witness(pair) for pair in witnesses)
    needed = AnchorTrust(anchors or len(trusted), decode_bracket(max_bracket, "--max-bracket"))
    return {
        "tsas": trusted,
        "anchors": needed if trusted or anchors else None,
        "witnesses": cosigners,
        "witness_quorum": quorum or (len(cosigners) // 2 + 1 if cosigners else None),
    }


def _tsas(path: Path) -> tuple[TsaTrust, ...]:
    with naming(path, "it must have a [[tsa]] table; see spec/policy.md"):
        return decode_tsas(read_at_most(path, MAX_BYTES))


def _witness(pair: str) -> WitnessTrust:
    operator, equals, vkey = pair.partition("=")
    if not (operator and equals and vkey):
        raise click.UsageError(f"--witness {pair}: must be OPERATOR=VKEY.")
    try:
        key = WitnessKey.from_vkey(vkey, "--witness")
    except DecodeError as error:
        raise PolicyError("--witness", error.reason) from error
    return WitnessTrust(key, decode_name(operator, "--witness"), key.name)


def _makers(pairs: Sequence[str], hardware: Sequence[str]) -> dict[str, MakerTrust]:
    """By name. Raises FileError, PolicyError."""
    found: dict[str, MakerTrust] = {}
    for pair in pairs:
        name, equals, path = pair.rpartition("=")
        if not (name and equals and path):
            raise click.UsageError(f"--maker {pair}: must be NAME=CA.pem.")
        if name in found:
            raise click.UsageError(f"--maker {name}: is there twice.")
        with naming(Path(path), "it must be the certificate of a CA; see spec/certificate.md"):
            ca = decode_authority(load_certificate(Path(path)).public_bytes(Encoding.DER))
        found[decode_name(name, "--maker")] = MakerTrust(name, ca, name in hardware)
    if unknown := sorted(set(hardware) - found.keys()):
        raise click.UsageError(f"--hardware {unknown[0]}: is the name of no --maker.")
    return found


def _named(pairs: Sequence[str], bits: int, makers: Mapping[str, MakerTrust]) -> Iterator[DeviceTrust]:
    for pair in pairs:
        name, equals, source = pair.partition("=")
        if not (name and equals and source):
            raise click.UsageError(f"--device {pair}: must be ID=PUB.pem or ID=maker:NAME.")
        if not source.startswith(_MAKER):
            yield _device(name, Path(source), bits)
            continue
        maker = makers.get(source.removeprefix(_MAKER))
        if maker is None:
            raise click.UsageError(f"--device {pair}: no --maker has that name.")
        check_topic_level(name, f"device {name}")
        yield DeviceTrust(name, None, bits, maker)


def _registered(folder: Path, bits: int) -> Iterator[DeviceTrust]:
    if not folder.is_dir():
        raise FileError(f"{folder}: no such folder; name the one with ID/signing.pub.pem for each device")
    paths = sorted(folder.glob("*/signing.pub.pem"))
    if not paths:
        raise FileError(f"{folder}: has no device in it (ID/signing.pub.pem)")
    for path in paths:
        yield _device(path.parent.name, path, bits)


def _device(name: str, path: Path, bits: int) -> DeviceTrust:
    check_topic_level(name, f"device {name}")
    return DeviceTrust(name, load_public_key(path), bits)


def _write(path: Path, data: bytes, *, force: bool) -> None:
    """Write the file whole or not at all, and never over another without *force*."""
    try:
        with disk.writing(path, replaces=force) as file:
            file.write(data)
    except FileExistsError as error:
        raise FileError(f"{path}: is there already; --force replaces it, or name another file with -o") from error
    except OSError as error:
        raise FileError(f"{path}: cannot be written ({error.strerror}); name another file with -o") from error
