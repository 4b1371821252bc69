"""`sigillo tpm`: seal an operator's log key in its TPM, approve how the machine is booted, show the state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from sigillo.attestation.counter import NvCounter
from sigillo.attestation.error import TpmError
from sigillo.attestation.link import open_link
from sigillo.attestation.seal import boot_values, unseal
from sigillo.attestation.tpm import Tpm
from sigillo.broker.counted import read_record
from sigillo.broker.error import BrokerError
from sigillo.broker.folder import OperatorFolder
from sigillo.broker.installation import locked
from sigillo.broker.log_key import SEALED, read_sealed_key, seal_log_key, write_sealed_key
from sigillo.broker.settings import load
from sigillo.core.errors import AttestationError
from sigillo.core.note import LogKey
from sigillo.core.sealing import BOOT_PCRS, Approval, OwnerKey, SealedKey, approval_message
from sigillo.log.reader import read_vkey

_FOLDER = click.Path(path_type=Path, file_okay=False, exists=True)
_FILE = click.Path(path_type=Path, dir_okay=False)
_OWNER_KEY = click.option(
    "--owner-key", type=_FILE, required=True, help="The owner's approval key: P-256, PEM. Keep it off this machine."
)
_ZERO = bytes(32)
_FIRMWARE = range(8)


@click.group(
    short_help="Seal the log key in a TPM, approve boots (operator).",
    epilog="""\b
Examples:
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out /media/stick/owner.key.pem
  sigillo tpm seal /var/lib/sigillo --owner-key /media/stick/owner.key.pem
  sigillo tpm approve /var/lib/sigillo --owner-key /media/stick/owner.key.pem
  sigillo tpm status /var/lib/sigillo
""",
)
def command() -> None:
    """The TPM of an operator folder: its log key, which is given up after an approved boot only, and its counter."""


@command.command(
    short_help="Move the log key from its file into the TPM.",
    epilog="""\b
Examples:
  sigillo tpm seal /var/lib/sigillo --owner-key /media/stick/owner.key.pem
""",
)
@click.argument("directory", metavar="DIR", type=_FOLDER)
@_OWNER_KEY
def seal(*, directory: Path, owner_key: Path) -> None:
    """Seal the log key of DIR in its TPM, under the owner's approval of how the machine is booted now.

    DIR/log/log.key.pem is removed once the TPM has given the key back. A copy of it, off this machine, is all that
    helps when the TPM breaks.
    """
    folder, private = OperatorFolder.at(directory), _owner_key(owner_key)
    with locked(folder.path), _tpm_of(folder) as tpm:
        values = boot_values(tpm)
        key = read_vkey(folder.log)
        approval = _approve(private, values, key.public_key)
        seal_log_key(folder.log, tpm, _public(private), approval)
    click.echo(f"the log key is sealed in {folder.log / SEALED}; its file is gone")
    _say_unmeasured(values)


@command.command(
    short_help="Approve how the machine is booted now.",
    epilog="""\b
Examples:
  sigillo tpm approve /var/lib/sigillo --owner-key /media/stick/owner.key.pem
""",
)
@click.argument("directory", metavar="DIR", type=_FOLDER)
@_OWNER_KEY
def approve(*, directory: Path, owner_key: Path) -> None:
    """Approve how this machine is booted now, after an update of firmware, boot loader or kernel: `sigillo up` then
    gets the log key of DIR from the TPM. What was approved before stays approved.
    """
    folder, private = OperatorFolder.at(directory), _owner_key(owner_key)
    with locked(folder.path), _tpm_of(folder) as tpm:
        sealed = _sealed(folder)
        if _public(private) != sealed.owner:
            raise BrokerError(f"{owner_key}: is not the owner's key that {folder.log / SEALED} was sealed for")
        values = boot_values(tpm)
        changed = ", ".join(map(str, sealed.changed(values)))
        if not changed:
            click.echo("this boot is approved already")
            return
        approved = sealed.with_approval(_approve(private, values, sealed.log_key))
        unseal(tpm, approved)
        write_sealed_key(folder.log, approved)
    click.echo(f"approved: PCR {changed} of this boot; the TPM gives the log key up")
    _say_unmeasured(values)


@command.command(
    short_help="Whether the log key is sealed and this boot approved; the counter.",
    epilog="""\b
Examples:
  sigillo tpm status /var/lib/sigillo
""",
)
@click.argument("directory", metavar="DIR", type=_FOLDER)
def status(*, directory: Path) -> int:
    """Show how the log key of DIR is kept, whether this boot is approved, and where the TPM's counter is.

    It compares; it does not ask the TPM for the key. Exit code: 0 approved, or not sealed; 1 not approved.
    """
    folder = OperatorFolder.at(directory)
    key = read_vkey(folder.log)
    with _tpm_of(folder) as tpm:
        values = boot_values(tpm)
    approved = True
    if (folder.log / SEALED).exists():
        sealed = _sealed(folder)
        approved = _say_sealed(sealed, values)
    else:
        click.echo("log key: in a file, not sealed")
    _say_unmeasured(values)
    _say_counter(folder, key)
    return 0 if approved else 1


def _say_sealed(sealed: SealedKey, values: Sequence[bytes]) -> bool:
    """Whether this boot is approved."""
    approvals = len(sealed.approvals)
    click.echo(f"log key: sealed; {approvals} approved boot{'' if approvals == 1 else 's'}")
    click.echo(f"  owner's key: {sealed.owner.name.hex()}")
    try:
        sealed.approved(values)
    except AttestationError as error:
        click.echo(f"  this boot: NOT approved: {error}")
        return False
    click.echo("  this boot: approved")
    return True


def _say_counter(folder: OperatorFolder, key: LogKey) -> None:
    counter = NvCounter(Path(load(folder.settings).tpm), key.key_id32)
    found, record = counter.read(), read_record(folder.log, key)
    where = f"NV index {counter.index:#010x}"
    if found is None and record is None:
        click.echo("counter: none yet; `sigillo up` makes it")
        return
    known = f"at {record.value}" if record else "not known"
    click.echo(f"counter: in the TPM {'none' if found is None else f'at {found}'} ({where}), in the folder {known}")


def _say_unmeasured(values: Sequence[bytes]) -> None:
    if all(value == _ZERO for index, value in zip(BOOT_PCRS, values, strict=True) if index in _FIRMWARE):
        click.echo(
            "warning: PCR 0 to 7 are zero: no firmware measures into this TPM, so every boot of it looks the same"
        )


def _sealed(folder: OperatorFolder) -> SealedKey:
    if not (folder.log / SEALED).exists():
        raise BrokerError(
            f"{folder.log / SEALED}: is not there; seal the log key first: sigillo tpm seal {folder.path}"
        )
    return read_sealed_key(folder.log)


@contextmanager
def _tpm_of(folder: OperatorFolder) -> Iterator[Tpm]:
    settings = load(folder.settings)
    if not settings.tpm:
        raise BrokerError(f'{folder.settings}: names no TPM; set tpm = "/dev/tpmrm0" there')
    link = open_link(Path(settings.tpm))
    try:
        yield Tpm(link)
    except TpmError as error:
        raise TpmError(f"{settings.tpm}: {error}", error.code) from error
    finally:
        link.close()


def _owner_key(path: Path) -> EllipticCurvePrivateKey:
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError) as error:
        raise BrokerError(f"{path}: is no private key in PEM, or has a password ({error})") from None
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
        raise BrokerError(f"{path}: is no P-256 key; make one as `sigillo tpm --help` shows")
    return key


def _public(key: EllipticCurvePrivateKey) -> OwnerKey:
    numbers = key.public_key().public_numbers()
    return OwnerKey(numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big"))


def _approve(key: EllipticCurvePrivateKey, values: Sequence[bytes], log_key: bytes) -> Approval:
    r, s = decode_dss_signature(key.sign(approval_message(values, log_key), ECDSA(hashes.SHA256())))
    return Approval(tuple(values), r.to_bytes(32, "big") + s.to_bytes(32, "big"))
