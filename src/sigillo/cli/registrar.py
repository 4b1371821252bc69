"""`sigillo registrar`: how an operator's TPM gets a registration, on two machines, by files (spec/endorsement.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import click
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sigillo import disk
from sigillo.attestation.attester import Attester
from sigillo.attestation.error import RegistrationError, TpmError
from sigillo.attestation.link import open_link
from sigillo.attestation.registrar import PUBLIC_KEY, Registrar
from sigillo.attestation.tpm import Tpm
from sigillo.broker.folder import OperatorFolder
from sigillo.cli.policy_attester import endorsement_roots
from sigillo.cli.source import FileError, naming, read_at_most
from sigillo.core.certificate import decode_certificate
from sigillo.core.endorsement import decode_registration, endorsement_fingerprint
from sigillo.core.errors import DecodeError, SignatureError
from sigillo.core.registration_exchange import (
    MAX_BYTES,
    Answer,
    RegistrationRequest,
    decode_answer,
    decode_credential,
    decode_request,
    encode_answer,
    encode_credential,
    encode_request,
)
from sigillo.report.attester_trust import key_fingerprint
from sigillo.report.escape import escape

_PATH = click.Path(path_type=Path)
_tpm = click.option("--tpm", type=_PATH, required=True, help="The TPM: /dev/tpmrm0, or the socket of a software TPM.")
_store = click.option("--store", type=_PATH, required=True, metavar="FOLDER", help="The registrar's folder.")
_output = click.option("-o", "--output", type=_PATH, required=True, help="File to write; refused if it exists.")

T = TypeVar("T")


@click.group()
def command() -> None:
    """Say, as somebody whom readers trust, which attestation key is in which TPM; or ask for it, as an operator.

    In this order: `new` (the registrar, once), `request` (operator), `challenge` (registrar), `answer` (operator),
    `register` (registrar), `install` (operator). Files go between the two in any way; none but the answer is secret.
    """


@command.command(
    short_help="Become a registrar: a folder with a key.",
    epilog="""\b
Examples:
  sigillo registrar new registrar
""",
)
@click.argument("folder", type=_PATH)
def new(*, folder: Path) -> None:
    """Make FOLDER with a registrar's key, and print the public one, which readers put into their policies.

    Keep a backup of FOLDER: its memory of who was registered is what keeps an identity from being taken over.
    """
    made = Registrar.make(folder)
    click.echo(f"registrar in {folder}")
    click.echo(f"  public key   {folder / PUBLIC_KEY}")
    click.echo(f"  fingerprint  SHA-256 {key_fingerprint(made.public_key)}")


@command.command(
    short_help="Operator: ask for a registration.",
    epilog="""\b
Examples:
  sigillo registrar request --tpm /dev/tpmrm0 --issuer maker-intermediate.pem -o request.cbor
""",
)
@_tpm
@click.option(
    "--issuer",
    "issuers",
    type=_PATH,
    multiple=True,
    help="PEM of the certificates between the TPM's own and its maker's root, in this order.",
)
@_output
def request(*, tpm: Path, issuers: tuple[Path, ...], output: Path) -> None:
    """Write what a registrar needs: the TPM's attestation key, made where there is none, and its EK's certificates."""
    with _attester(tpm) as attester:
        own, key = attester.endorsement_certificate(), attester.key
    chain = (own, *(certificate for path in issuers for certificate in _certificates(path)))
    try:
        fingerprint = endorsement_fingerprint(decode_certificate(own))
        data = encode_request(RegistrationRequest(key, chain))
    except (DecodeError, SignatureError) as error:
        raise TpmError(f"the TPM's EK certificate is not usable: {error}; ask its maker for another") from None
    _write(output, data, disk.PUBLIC)
    click.echo(f"{output}: give it to the registrar, with your name, in a way that shows that it comes from you")
    _echo_keys(fingerprint, key.name)


@command.command(
    short_help="Registrar: make what only that TPM can open.",
    epilog="""\b
Examples:
  sigillo registrar challenge request.cbor --store registrar --identity "Example Broker" --tpm-maker Chips=root.pem \\
    -o credential.cbor
""",
)
@click.argument("file", metavar="REQUEST", type=_PATH)
@_store
@click.option("--identity", required=True, metavar="NAME", help="Who asks, as you know them: the operator's name.")
@click.option("--tpm-maker", "makers", multiple=True, metavar="NAME=ROOT.pem", help="A maker of TPMs and its root.")
@click.option(
    "--software-tpm-maker", "programs", multiple=True, metavar="NAME=ROOT.pem", help="The same, of software TPMs."
)
@_output
def challenge(
    *, file: Path, store: Path, identity: str, makers: tuple[str, ...], programs: tuple[str, ...], output: Path
) -> None:
    """Check a REQUEST, and encrypt a secret to its TPM, for its attestation key alone. It is open for 24 hours.

    Refused where no maker given here certifies the TPM, or where the identity, or the TPM, is another's already.
    """
    asked = _read(file, decode_request, "it must be what `sigillo registrar request` wrote")
    roots = (*endorsement_roots(makers, software=False), *endorsement_roots(programs, software=True))
    registrar = Registrar.open(store, roots)
    _check_free(output)
    endorsement = registrar.endorsement(asked.chain)
    made = registrar.challenge(identity, asked.key.public_bytes, asked.chain)
    _write(output, encode_credential(made), disk.PUBLIC)
    what = "a SOFTWARE TPM" if endorsement.root.software else "a TPM"
    click.echo(f"{output}: give it to {escape(identity)}; {what} of maker {escape(endorsement.root.name)}")
    _echo_keys(endorsement.fingerprint, asked.key.name)


@command.command(
    short_help="Operator: let the TPM open it.",
    epilog="""\b
Examples:
  sigillo registrar answer credential.cbor --tpm /dev/tpmrm0 -o answer.cbor
""",
)
@click.argument("file", metavar="CREDENTIAL", type=_PATH)
@_tpm
@_output
def answer(*, file: Path, tpm: Path, output: Path) -> None:
    """Have the TPM give up the secret in CREDENTIAL, which shows that EK and attestation key are in it.

    The answer is secret until the registrar has used it; it can be read by its owner only. Remove it then.
    """
    given = _read(file, decode_credential, "it must be what `sigillo registrar challenge` wrote")
    _check_free(output)
    with _attester(tpm) as attester:
        if given.key_name != attester.key.name:
            raise RegistrationError(
                f"{file}: is for the attestation key {given.key_name.hex()}, and this TPM has "
                f"{attester.key.name.hex()}; name the TPM that the request was made with"
            )
        try:
            secret = attester.activate(given.credential, given.encrypted_seed)
        except TpmError as error:
            raise RegistrationError(f"{file}: this TPM does not open it: {error}; make a new request") from None
    _write(output, encode_answer(Answer(given.number, secret)), disk.PRIVATE)
    click.echo(f"{output}: give it to the registrar; secret until it was used")


@command.command(
    short_help="Registrar: sign what the TPM has shown.",
    epilog="""\b
Examples:
  sigillo registrar register answer.cbor --store registrar -o registration.cose
""",
)
@click.argument("file", metavar="ANSWER", type=_PATH)
@_store
@_output
def register(*, file: Path, store: Path, output: Path) -> None:
    """Sign the registration of who has answered, and remember it. The identity is that of the challenge.

    An answer is used once, rightly or wrongly; after that the operator begins again with a request.
    """
    given = _read(file, decode_answer, "it must be what `sigillo registrar answer` wrote")
    registrar = Registrar.open(store)
    _check_free(output)
    data = registrar.register(given.number, given.secret)
    _write(output, data, disk.PUBLIC)
    made = decode_registration(data).registration
    click.echo(f"{output}: {escape(made.identity)} is registered; give it to them")
    _echo_keys(endorsement_fingerprint(decode_certificate(made.chain[0])), made.key.name)


@command.command(
    short_help="Operator: show it with all evidence from now on.",
    epilog="""\b
Examples:
  sigillo registrar install /var/lib/sigillo registration.cose --tpm /dev/tpmrm0
""",
)
@click.argument("directory", metavar="DIR", type=_PATH)
@click.argument("file", metavar="REGISTRATION", type=_PATH)
@_tpm
def install(*, directory: Path, file: Path, tpm: Path) -> None:
    """Put a REGISTRATION of this TPM's attestation key into the operator folder DIR; it replaces the one there.

    `sigillo evidence` shows it. The registrar's signature is checked by readers, not here.
    """
    signed = _read(file, decode_registration, "it must be what `sigillo registrar register` wrote")
    name = signed.registration.key.name
    with _attester(tpm) as attester:
        if name != attester.key.name:
            raise RegistrationError(
                f"{file}: is of the attestation key {name.hex()}, and this TPM has {attester.key.name.hex()}; name the "
                "TPM that was registered"
            )
    folder = OperatorFolder.at(directory)
    if not folder.settings.is_file():  # `sigillo up` makes none of a folder that has something in it
        raise FileError(f"{directory}: is no operator folder; start the broker once, `sigillo up` makes it")
    if not folder.attestation.is_dir():
        folder.attestation.mkdir()
        folder.attestation.chmod(0o755)  # whatever the umask, as `sigillo up` makes it
    disk.replace(folder.registration, signed.sign1.encode(), disk.PUBLIC)
    click.echo(f"{folder.registration}: {escape(signed.registration.identity)}; not checked here: the signature")


@contextmanager
def _attester(path: Path) -> Iterator[Attester]:
    link = open_link(path)
    try:
        yield Attester.open(Tpm(link))
    finally:
        link.close()


def _certificates(path: Path) -> list[bytes]:
    """All certificates of a PEM file, in DER."""
    with naming(path):
        data = read_at_most(path, MAX_BYTES)
    try:
        found = x509.load_pem_x509_certificates(data)
    except ValueError:
        raise FileError(f"{path}: is not a list of certificates in PEM (`-----BEGIN CERTIFICATE-----`)") from None
    return [certificate.public_bytes(Encoding.DER) for certificate in found]


def _read(path: Path, decode: Callable[[bytes], T], remedy: str) -> T:
    with naming(path, remedy):
        return decode(read_at_most(path, MAX_BYTES))


def _check_free(path: Path) -> None:
    """Before anything is used up that only a file would tell of. Raises FileError."""
    if path.exists() or path.is_symlink():
        raise FileError(f"{path}: is there already; name another file with -o")
    if not path.parent.is_dir():
        raise FileError(f"{path}: there is no such folder; name another file with -o")


def _write(path: Path, data: bytes, mode: int) -> None:
    _check_free(path)
    try:
        disk.create(path, data, mode)
    except OSError as error:
        raise FileError(f"{path}: cannot be written ({error.strerror}); name another file with -o") from error


def _echo_keys(endorsement: bytes, key_name: bytes) -> None:
    click.echo(f"  endorsement key             SHA-256 {endorsement.hex()}")
    click.echo(f"  attestation key, TPM name   {key_name.hex()}")
