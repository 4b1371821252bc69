"""The options of `sigillo policy new` that say whose TPMs are believed (spec/policy.md, "Attesters")."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import click
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_public_key

from sigillo.cli.source import FileError, naming, read_at_most
from sigillo.core.attestation_trust import (
    AttestationTrust,
    AttesterTrust,
    RegistrarTrust,
    check_registrar_key,
    decode_endorsement_fingerprint,
    decode_key_name,
)
from sigillo.core.certificate import decode_authority
from sigillo.core.endorsement import EndorsementRoot
from sigillo.core.errors import PolicyError
from sigillo.core.table import decode_name
from sigillo.core.verdict import LEVELS
from sigillo.device.key import load_certificate

_MAX_PEM = 64 * 1024
_KEY_NAME = "OPERATOR=KEYNAME"
_REGISTERED = ("--tpm-maker", "--software-tpm-maker", "--registrar", "--identity")


@dataclass(frozen=True, slots=True)
class AttesterOptions:
    """What was typed, in the order of :data:`_OPTIONS`."""

    level: str
    attesters: tuple[str, ...]
    software_attesters: tuple[str, ...]
    endorsements: tuple[str, ...]
    identities: tuple[str, ...]
    tpm_makers: tuple[str, ...]
    software_tpm_makers: tuple[str, ...]
    registrars: tuple[str, ...]
    allow_software_tpm: bool
    allow_unattested: bool

    def trust(self) -> AttestationTrust:
        """Whose TPMs are believed. Raises click.UsageError, FileError, PolicyError."""
        makers = (
            *endorsement_roots(self.tpm_makers, software=False),
            *endorsement_roots(self.software_tpm_makers, software=True),
        )
        registrars = tuple(_registrar(pair) for pair in self.registrars)
        attesters = tuple(self._attesters())
        if not any(attester.endorsement_keys for attester in attesters):
            given = (self.tpm_makers, self.software_tpm_makers, self.registrars, self.identities)
            for option, pairs in zip(_REGISTERED, given, strict=True):
                if pairs:
                    raise click.UsageError(f"{option} {pairs[0]}: vouches for nothing without an --endorsement.")
        return AttestationTrust(makers, registrars, attesters, self.allow_software_tpm)

    def _attesters(self) -> Iterator[AttesterTrust]:
        chips = _grouped("--attester", _KEY_NAME, self.attesters, decode_key_name)
        programs = _grouped("--software-attester", _KEY_NAME, self.software_attesters, decode_key_name)
        pinned = _grouped("--endorsement", "OPERATOR=SHA256", self.endorsements, decode_endorsement_fingerprint)
        identities = _grouped("--identity", "OPERATOR=NAME", self.identities, decode_name)
        for operator in dict.fromkeys((*chips, *programs, *pinned)):
            if sum(operator in kind for kind in (chips, programs, pinned)) > 1:
                raise click.UsageError(
                    f"--attester, --software-attester, --endorsement: choose one of them for {operator}."
                )
        for operator, names in identities.items():
            if operator not in pinned:
                raise click.UsageError(f"--identity {operator}: there is no --endorsement of that operator.")
            if len(names) > 1:
                raise click.UsageError(f"--identity {operator}: is there twice.")
        yield from (AttesterTrust(operator, keys) for operator, keys in chips.items())
        yield from (AttesterTrust(operator, keys, software=True) for operator, keys in programs.items())
        for operator, keys in pinned.items():
            (identity,) = identities.get(operator, (operator,))
            yield AttesterTrust(operator, endorsement_keys=keys, identity=identity)


_OPTIONS = (
    click.option(
        "--level",
        type=click.Choice(LEVELS),
        default=LEVELS[0],
        show_default=True,
        help="The least attestation level that counts, of every operator.",
    ),
    click.option(
        "--attester", "attesters", multiple=True, metavar=_KEY_NAME, help="The attestation key in an operator's TPM."
    ),
    click.option(
        "--software-attester",
        "software_attesters",
        multiple=True,
        metavar=_KEY_NAME,
        help="The same, of a software TPM.",
    ),
    click.option(
        "--endorsement",
        "endorsements",
        multiple=True,
        metavar="OPERATOR=SHA256",
        help="The endorsement key of an operator's TPM; needs a maker and a registrar.",
    ),
    click.option(
        "--identity",
        "identities",
        multiple=True,
        metavar="OPERATOR=NAME",
        help="What registrars know the operator's TPM as.  [default: the operator's name]",
    ),
    click.option(
        "--tpm-maker", "tpm_makers", multiple=True, metavar="NAME=ROOT.pem", help="A maker of TPMs and its root."
    ),
    click.option(
        "--software-tpm-maker",
        "software_tpm_makers",
        multiple=True,
        metavar="NAME=ROOT.pem",
        help="The same, of software TPMs.",
    ),
    click.option(
        "--registrar",
        "registrars",
        multiple=True,
        metavar="NAME=KEY.pem",
        help="Who has seen which attestation key is in which TPM; its Ed25519 public key.",
    ),
    click.option(
        "--allow-software-tpm", is_flag=True, help="Accept a TPM that is a program: its root can make it say anything."
    ),
    click.option("--allow-unattested", is_flag=True, help="Accept marks that are not between two quotes of a TPM."),
)


def attester_options(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command these options; it gets them as one argument `attestation`, an :class:`AttesterOptions`."""

    @functools.wraps(function)
    def gathered(**values: Any) -> None:
        mine = {field.name: values.pop(field.name) for field in fields(AttesterOptions)}
        function(attestation=AttesterOptions(**mine), **values)

    for option in reversed(_OPTIONS):
        gathered = option(gathered)
    return gathered


def endorsement_roots(pairs: Sequence[str], *, software: bool) -> tuple[EndorsementRoot, ...]:
    """The makers of TPMs in `NAME=ROOT.pem` pairs, of programs or of chips. Raises click.UsageError, FileError."""
    option = "--software-tpm-maker" if software else "--tpm-maker"
    return tuple(_maker(option, pair, software) for pair in pairs)


def load_registrar_key(path: Path) -> bytes:
    """The Ed25519 public key, 32 bytes, in a PEM file. Raises FileError."""
    remedy = "give the registrar.pub.pem that `sigillo registrar new` has made"
    with naming(path, remedy):
        data = read_at_most(path, _MAX_PEM)
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        raise FileError(f"{path}: is not a public key in PEM; {remedy}") from None
    if not isinstance(key, Ed25519PublicKey):
        raise FileError(f"{path}: is not an Ed25519 key; {remedy}")
    return key.public_bytes_raw()


def _maker(option: str, pair: str, software: bool) -> EndorsementRoot:
    name, path = _pair(option, "NAME=ROOT.pem", pair)
    with naming(Path(path), "it must be the root certificate of a maker of TPMs; see spec/endorsement.md"):
        root = decode_authority(load_certificate(Path(path)).public_bytes(Encoding.DER))
    return EndorsementRoot(decode_name(name, option), root, software)


def _registrar(pair: str) -> RegistrarTrust:
    name, path = _pair("--registrar", "NAME=KEY.pem", pair)
    key = load_registrar_key(Path(path))
    check_registrar_key(key, f"--registrar {pair}")
    return RegistrarTrust(decode_name(name, "--registrar"), key)


def _grouped(
    option: str, form: str, pairs: Sequence[str], decode: Callable[[str, str], Any]
) -> dict[str, tuple[Any, ...]]:
    """The values of `OPERATOR=VALUE` pairs, by operator."""
    found: dict[str, tuple[Any, ...]] = {}
    for pair in pairs:
        operator, text = _pair(option, form, pair)
        value = decode(text, f"{option} {pair}")
        if value in found.get(operator, ()):
            raise PolicyError(f"{option} {pair}", "is there twice")
        found[operator] = (*found.get(operator, ()), value)
    return found


def _pair(option: str, form: str, pair: str) -> tuple[str, str]:
    name, equals, value = pair.rpartition("=")
    if not (name and equals and value):
        raise click.UsageError(f"{option} {pair}: must be {form}.")
    return name, value
