"""`sigillo device add`: the operator enrols a device."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import click

from sigillo.core.errors import PolicyError
from sigillo.core.note import LogKey
from sigillo.core.published import decode_published
from sigillo.device.enrolment import Application, Enrolled, enrol
from sigillo.device.error import DeviceError
from sigillo.device.folder import DeviceFolder, load_device_folder
from sigillo.device.key import load_public_key, read_pem

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(
    short_help="Enrol a device with an operator.",
    epilog="""\b
Examples:
  sigillo device add operator trackers/crate-1
  sigillo device add operator 7c:9e:bd:01:02:03 --csr tracker.csr.pem --pubkey tracker.pub.pem
  sigillo device add operator crate-9 --cert crate-9.cert.pem --pubkey crate-9.pub.pem
  sigillo device add operator trackers/crate-1 --signing-certificate crate-1.signing.cert.pem
""",
)
@click.argument("operator", type=click.Path(path_type=Path, file_okay=False))
@click.argument("device")
@click.option("--pubkey", type=_FILE, help="The device's public signing key, PEM: pinned under its id.")
@click.option(
    "--csr", type=_FILE, help="Certificate request of its TLS key, PEM: the operator's CA issues the certificate."
)
@click.option(
    "--cert", type=_FILE, help="TLS client certificate that the device has already, PEM; its CN must be the id."
)
@click.option("--issuer", type=_FILE, help="With --cert: trust the CA that issued it, and whomever it certifies, PEM.")
@click.option(
    "--signing-certificate",
    type=_FILE,
    help="What the device's maker certified of its signing key, and those above it, PEM: for evidence files.",
)
@click.option("--replace", is_flag=True, help="Enrol other keys under an id that is taken.")
@click.option("--json", "as_json", is_flag=True, help="Output for programs.")
def add(
    *,
    operator: Path,
    device: str,
    pubkey: Path | None,
    csr: Path | None,
    cert: Path | None,
    issuer: Path | None,
    signing_certificate: Path | None,
    replace: bool,
    as_json: bool,
) -> None:
    """Enrol a device with the operator whose folder is OPERATOR.

    DEVICE is a folder that `sigillo device new` made: its signing key is pinned, and its TLS certificate, the CA's
    and the log key are written into it. With --pubkey, --csr or --cert, DEVICE is the id of a tracker that made its
    keys itself. Compare the printed fingerprint with the device's over another channel.

    A certificate of the signing key is kept beside the earlier ones, and evidence brings them all: readers whose policy
    trusts the maker need no key pinned. Its CN must be the id.
    """
    if csr and cert:
        raise DeviceError("--csr and --cert: give one, the request for a TLS certificate or the certificate")
    if issuer and not cert:
        raise DeviceError("--issuer: says who issued the certificate, so it needs --cert")
    by_id = pubkey or csr or cert or (signing_certificate and not Path(device).is_dir())
    folder = None if by_id else load_device_folder(Path(device))
    if folder:
        pinned = load_public_key(folder.signing_public)
        application = Application(folder.device_id, pinned, folder.csr, signing_certificate=signing_certificate)
    else:
        signing = load_public_key(pubkey) if pubkey else None
        application = Application(device, signing, csr, cert, issuer, signing_certificate)
    try:
        enrolled = _carry_out(operator, application, folder, replace=replace)
    except OSError as error:
        raise DeviceError(f"{error.filename or operator}: {error.strerror}") from None
    click.echo(_json(enrolled) if as_json else _text(enrolled, folder))


def _carry_out(operator: Path, application: Application, folder: DeviceFolder | None, *, replace: bool) -> Enrolled:
    def issue(csr_pem: bytes, device_id: str) -> bytes:
        from sigillo.broker.authority import Authority  # noqa: PLC0415  # the other commands need no broker

        return Authority.load(operator / "authority").issue_client(csr_pem, device_id)

    now = datetime.datetime.now(datetime.UTC)
    log_key = _log_key(operator / "published" / "operator.toml")
    enrolled = enrol(operator, application, issue, replace=replace, now=now)
    if folder and enrolled.certificate:
        folder.install(enrolled.certificate, read_pem(operator / "authority" / "ca.cert.pem"), log_key)
    return enrolled


def _log_key(published: Path) -> LogKey | None:
    """What the device checks checkpoints with; None before the operator's first start."""
    try:
        return decode_published(published.read_bytes()).log_key
    except FileNotFoundError:
        return None
    except PolicyError as error:
        raise DeviceError(f"{published}: {error}; put it aside, `sigillo up` writes it again") from None


def _text(enrolled: Enrolled, folder: DeviceFolder | None) -> str:
    lines = [f"{enrolled.device_id}: enrolled"]
    if enrolled.fingerprint:
        lines.append(f"  signing key   sha256 {enrolled.fingerprint}   compare it with the device's")
    if enrolled.certificate:
        lines.append(f"  certificate   {folder.certificate if folder else enrolled.certificate_file}")
    if folder and folder.log_vkey.exists():
        lines.append(f"  log key       {folder.log_vkey}   the device verifies the log's checkpoints, to echo them")
    elif folder:
        lines.append(
            "  note: the operator has no log yet, so the device echoes no checkpoint: enrol it again after `up`"
        )
    return "\n".join([*lines, *(f"  note: {note}" for note in enrolled.notes)])


def _json(enrolled: Enrolled) -> str:
    return json.dumps(
        {
            "id": enrolled.device_id,
            "fingerprint": enrolled.fingerprint,
            "certificate": str(enrolled.certificate_file) if enrolled.certificate else None,
            "notes": list(enrolled.notes),
        },
        ensure_ascii=False,
    )
