"""`sigillo device`: make, enrol and simulate devices, sign as one."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import cast

import click

from sigillo import disk
from sigillo.cli.device_add import add
from sigillo.cli.device_simulate import simulate
from sigillo.core.device_key import Kind
from sigillo.device.beacon import Beacon
from sigillo.device.error import DeviceError
from sigillo.device.folder import KINDS, DeviceFolder, load_device_folder, make_device_folder, make_token_device_folder
from sigillo.device.identity import reported_topic
from sigillo.device.key import load_public_key
from sigillo.device.message import FORMS, Form, encode_message
from sigillo.device.pkcs11_uri import parse_token_uri
from sigillo.device.store import Outbox

_LOCK_WAIT_S = 10.0
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group()
def command() -> None:
    """Trackers: make one, enrol it, sign as it, simulate a fleet."""


@command.command(
    short_help="Make a device: a folder with its keys.",
    epilog="""\b
Examples:
  sigillo device new crate-1
  sigillo device new crate-2 --key ed25519 -o trackers/crate-2
  sigillo device new crate-3 --generate --pkcs11 'pkcs11:token=Crate;object=crate-3?module-path=/usr/lib/x.so'
""",
)
@click.argument("device_id", metavar="ID")
@click.option("--key", type=click.Choice(KINDS), help="Kind of the signing key.  [default: p256, or the token's]")
@click.option("--pkcs11", metavar="URI", help="Sign with this key in a token (RFC 7512), which stays there.")
@click.option("--generate", is_flag=True, help="With --pkcs11: let the token make that key, not to be extracted.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Folder to make; an existing one is refused.  [default: ./ID]",
)
@click.option("--json", "as_json", is_flag=True, help="Output for programs.")
def new(
    *, device_id: str, key: str | None, pkcs11: str | None, generate: bool, output: Path | None, as_json: bool
) -> None:
    """Make a device: a folder with a signing key, a TLS key, requests for their certificates and sequence 0.

    Prints the signing key's fingerprint, to compare with what the operator and the verifier see.

    With --pkcs11 the signing key is in a token (a secure element, a smart card, an HSM) and the folder names it. The
    URI has token=, object= or id=, and module-path=, the library that speaks to the token. The PIN comes from the file
    of pin-source=file:/PATH, else from the variable SIGILLO_PKCS11_PIN, else from the terminal; never from a command
    line, and it is not stored.
    """
    if generate and pkcs11 is None:
        raise DeviceError("--generate: says that a token makes the key, so it needs --pkcs11")
    path, kind = output or Path(device_id), cast(Kind | None, key)
    try:
        if pkcs11 is None:
            folder = make_device_folder(path, device_id, kind or "p256")
        else:
            folder = make_token_device_folder(path, device_id, parse_token_uri(pkcs11), kind, generate=generate)
    except OSError as error:
        raise DeviceError(
            f"{error.filename or path}: {error.strerror}; choose a folder that can be written with -o"
        ) from None
    fingerprint = load_public_key(folder.signing_public).fingerprint
    if as_json:
        fields = {"id": device_id, "folder": str(path), "key": folder.kind, "fingerprint": fingerprint}
        click.echo(json.dumps(fields, ensure_ascii=False))
        return
    where = f" in {folder.token.token_name}" if folder.token else ""
    click.echo(
        f"{device_id}: made in {path}\n"
        f"  signing key   {folder.kind}{where}, sha256 {fingerprint}\n"
        f"  next          sigillo device add OPERATOR_DIR {path}"
    )


@command.command(
    short_help="Sign one message as a device.",
    epilog="""\b
Examples:
  sigillo device sign crate-1 --body '{"TEMP": 12.5}' -o message.cbor
  sigillo device sign crate-1 --body '{"TEMP": 12.5}' --form cose | mosquitto_pub ... -s
""",
)
@click.argument("device", type=click.Path(path_type=Path, file_okay=False))
@click.option("--body", required=True, help="The readings: a JSON object.")
@click.option("--form", type=click.Choice(FORMS), default="datagram", show_default=True, help="Form of the message.")
@click.option("--topic", help="Topic that a COSE message is bound to.  [default: braid/agent/ID/shadow/reported/]")
@click.option("--beacon", type=_FILE, help="Checkpoint of the operator's log to echo, as `sigillo/checkpoint` has it.")
@click.option("--ts", type=click.IntRange(0), help="The device's time, ms of Unix time.  [default: now]")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="File to write; refused if it exists."
)
@click.option("--json", "as_json", is_flag=True, help="Say what was signed, for programs; needs -o.")
def sign(
    *,
    device: Path,
    body: str,
    form: str,
    topic: str | None,
    beacon: Path | None,
    ts: int | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Sign one message with the next number of DEVICE, and write the payload's bytes.

    Without -o they go to standard output, which must not be a terminal then. The message stays in the device's outbox
    until it is written: the next `simulate` sends one that was not.
    """
    if output is None and (as_json or sys.stdout.isatty()):
        raise DeviceError("a payload is binary: give a file with -o, or a pipe")
    if output is not None and output.exists():
        raise DeviceError(f"{output}: is there already; choose another file with -o")
    folder = load_device_folder(device)
    signer, readings = folder.signer(), _body(body)
    topic = topic if topic is not None else reported_topic(folder.device_id)
    ts = ts if ts is not None else time.time_ns() // 1_000_000
    echoed = _beacon(folder, beacon) if beacon else None

    def make(number: int) -> bytes:
        return encode_message(
            cast(Form, form), signer, folder.device_id, topic, ver=number, ts=ts, body=readings, beacon=echoed
        )

    with Outbox(device, wait_s=_LOCK_WAIT_S) as outbox:
        message = outbox.issue(topic, make)
        _hand_over(message.payload, output)
        outbox.settle(message.sequence)
    fields = {"sequence": message.sequence, "topic": topic, "form": form, "bytes": len(message.payload)}
    if as_json:
        click.echo(json.dumps({**fields, "file": str(output)}, ensure_ascii=False))
    elif output is not None:
        click.echo(
            f"{folder.device_id}: number {message.sequence}, {len(message.payload)} bytes, for {topic} in {output}"
        )


def _beacon(folder: DeviceFolder, path: Path) -> bytes:
    """The hash of a checkpoint that verifies under the log key of the device's operator. Raises DeviceError."""
    key = folder.log_key()
    if key is None:
        raise DeviceError(f"{folder.log_vkey}: not found; a checkpoint that nobody can verify is not echoed")
    beacon = Beacon(key)
    try:
        beacon.see(path.read_bytes())
    except OSError as error:
        raise DeviceError(f"{path}: cannot be read ({error.strerror})") from None
    if beacon.hash is None:
        raise DeviceError(f"{path}: {next(iter(beacon.refused))}; get the newest checkpoint of {key.name} again")
    return beacon.hash


def _hand_over(payload: bytes, output: Path | None) -> None:
    try:
        if output is not None:
            disk.create(output, payload, disk.PUBLIC)
        else:
            disk.write_all(sys.stdout.fileno(), payload)
    except OSError as error:
        raise DeviceError(
            f"{output or 'standard output'}: cannot be written ({error.strerror}); it stays in the outbox"
        ) from None


def _body(text: str) -> dict[str, object]:
    """The readings of a JSON object. Raises DeviceError."""

    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        fields = dict(pairs)
        if len(fields) != len(pairs):
            raise ValueError("a key occurs twice")
        return fields

    def refuse(constant: str) -> object:
        raise ValueError(f"{constant} is not JSON")

    try:
        value = json.loads(text, object_pairs_hook=once, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise DeviceError(f"--body: is not JSON ({error}); for example --body '{{\"TEMP\": 12.5}}'") from None
    if not isinstance(value, dict):
        raise DeviceError("--body: must be a JSON object; for example --body '{\"TEMP\": 12.5}'")
    return value


command.add_command(add)
command.add_command(simulate)
