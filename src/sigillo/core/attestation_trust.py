"""Whose TPMs a reader believes, and what it asks of what they measured (spec/policy.md, "Attesters")."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from cryptography.hazmat.primitives.serialization import Encoding

from sigillo.core.bytes import base64url_decode, base64url_encode
from sigillo.core.certificate import decode_authority
from sigillo.core.cose import check_ed25519_key
from sigillo.core.endorsement import EndorsementRoot
from sigillo.core.errors import DecodeError, PolicyError, SignatureError
from sigillo.core.process_rule import DEFAULT_PROCESS_RULES, PROCESS_RULES
from sigillo.core.rule import DEFAULT_RULES, RULES
from sigillo.core.table import Table, decode_name, quote

LAUNCH_RULES: Final = (*RULES, *PROCESS_RULES)
"""On the configuration (spec/rule.md) and on the process (spec/launch.md)."""
DEFAULT_LAUNCH_RULES: Final = (*DEFAULT_RULES, *DEFAULT_PROCESS_RULES)
_KEY_NAME: Final = re.compile(r"000b[0-9a-f]{64}")
_FINGERPRINT: Final = re.compile(r"[0-9a-f]{64}")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RegistrarTrust:
    """Who may say which attestation key is in which TPM. *key*: Ed25519, 32 bytes."""

    name: str
    key: bytes


@dataclass(frozen=True, slots=True)
class AttesterTrust:
    """The TPMs of one operator: pinned attestation keys, or pinned EKs; one of the two is empty.

    *keys*: TPM names of attestation keys, 34 bytes each, all of a *software* TPM or none. *endorsement_keys*: SHA-256
    of the SubjectPublicKeyInfo of EKs, 32 bytes each; *identity*: what registrars know them as.
    """

    operator: str
    keys: tuple[bytes, ...] = ()
    software: bool = False
    endorsement_keys: tuple[bytes, ...] = ()
    identity: str = ""


@dataclass(frozen=True, slots=True)
class AttestationTrust:
    """Empty: no TPM is believed, and nothing is above the level "declared".

    *rules*: what a launch has to keep, of `LAUNCH_RULES`; under *unsafe_any_configuration* none of them is asked for.
    *manifest_libraries*: what the build manifest of an epoch says that the broker loads, it has to have loaded.

    Raises PolicyError where a name, a key or an operator occurs twice, or an EK is pinned that nobody can vouch for.
    """

    makers: tuple[EndorsementRoot, ...] = ()
    registrars: tuple[RegistrarTrust, ...] = ()
    attesters: tuple[AttesterTrust, ...] = ()
    allow_software: bool = False
    rules: tuple[str, ...] = DEFAULT_LAUNCH_RULES
    unsafe_any_configuration: bool = False
    manifest_libraries: bool = False

    def __post_init__(self) -> None:
        _once("tpm_maker", "name", [maker.name for maker in self.makers])
        _once("tpm_maker", "root", [maker.certificate for maker in self.makers])
        _once("registrar", "name", [registrar.name for registrar in self.registrars])
        _once("registrar", "key", [registrar.key for registrar in self.registrars])
        _once("attester", "operator", [attester.operator for attester in self.attesters])
        for at, attester in enumerate(self.attesters, start=1):
            if bool(attester.keys) == bool(attester.endorsement_keys):
                raise PolicyError(f"attester[{at}]", "has either `key` or `endorsement_key`")
            if attester.endorsement_keys and not (self.makers and self.registrars):
                needs = "needs a [[tpm_maker]] that certifies it and a [[registrar]] that saw its attestation key"
                raise PolicyError(f"attester[{at}].endorsement_key", needs)

    def attester(self, operator: str) -> AttesterTrust | None:
        """The TPMs of this operator, or None."""
        return next((attester for attester in self.attesters if attester.operator == operator), None)


def _once(table: str, name: str, values: Sequence[object]) -> None:
    for at, value in enumerate(values):
        if value in values[:at]:
            raise PolicyError(f"{table}[{at + 1}].{name}", "occurs twice")


def decode_attestation_trust(top: Table) -> AttestationTrust:
    """What a policy's top table says of attestation. Raises PolicyError."""
    makers = _each(top, "tpm_maker", _maker)
    registrars = _each(top, "registrar", _registrar)
    attesters = _each(top, "attester", _attester)
    table = Table(top.take("attestation", dict, {}), "attestation")
    rules = _rules(table) if table.has("rules") else DEFAULT_LAUNCH_RULES
    allow_software, any_configuration, manifest_libraries = (
        table.take(name, bool, False) for name in ("allow_software", "unsafe_any_configuration", "manifest_libraries")
    )
    table.end()
    own = (makers, registrars, attesters)
    return AttestationTrust(*own, allow_software, rules, any_configuration, manifest_libraries)


def check_registrar_key(key: bytes, path: str) -> None:
    """Raises PolicyError at *path* where this is no Ed25519 public key, or one under which signatures bind nothing."""
    try:
        check_ed25519_key(key)
    except SignatureError as error:
        raise PolicyError(path, f"is no key of a registrar: {error.reason}") from error


def decode_key_name(value: object, path: str) -> bytes:
    """The TPM name of an attestation key, 34 bytes. Raises PolicyError at *path*."""
    if not isinstance(value, str) or not _KEY_NAME.fullmatch(value):
        raise PolicyError(path, "must be the TPM name of a key: 000b and 64 lower-case hex digits")
    return bytes.fromhex(value)


def decode_endorsement_fingerprint(value: object, path: str) -> bytes:
    """SHA-256 of the SubjectPublicKeyInfo of an EK, 32 bytes. Raises PolicyError at *path*."""
    if not isinstance(value, str) or not _FINGERPRINT.fullmatch(value):
        raise PolicyError(path, "must be the SHA-256 of an EK: 64 lower-case hex digits")
    return bytes.fromhex(value)


def attestation_trust_lines(trust: AttestationTrust) -> Iterator[str]:
    """The lines of TOML that decode to *trust*."""
    for maker in trust.makers:
        root = base64url_encode(maker.certificate.public_bytes(Encoding.DER))
        yield from ("", "[[tpm_maker]]", f"name = {quote(maker.name)}", f"root = {quote(root)}")
        yield f"software = {_bool(maker.software)}"
    for registrar in trust.registrars:
        yield from ("", "[[registrar]]", f"name = {quote(registrar.name)}")
        yield f"key = {quote(base64url_encode(registrar.key))}"
    for attester in trust.attesters:
        yield from ("", "[[attester]]", f"operator = {quote(attester.operator)}")
        if attester.keys:
            yield f"key = [{', '.join(quote(key.hex()) for key in attester.keys)}]"
            yield f"software = {_bool(attester.software)}"
        else:
            yield f"endorsement_key = [{', '.join(quote(key.hex()) for key in attester.endorsement_keys)}]"
            yield f"identity = {quote(attester.identity)}"
    options = {
        "allow_software": trust.allow_software,
        "unsafe_any_configuration": trust.unsafe_any_configuration,
        "manifest_libraries": trust.manifest_libraries,
    }
    settings = [] if trust.rules == DEFAULT_LAUNCH_RULES else [f"rules = [{', '.join(map(quote, trust.rules))}]"]
    settings += [f"{name} = true" for name, value in options.items() if value]
    if settings:
        yield from ("", "[attestation]", *settings)


def _each(top: Table, name: str, read: Callable[[Table], T]) -> tuple[T, ...]:
    return tuple(read(Table(value, f"{name}[{at + 1}]")) for at, value in enumerate(top.take(name, list, [])))


def _maker(table: Table) -> EndorsementRoot:
    name = decode_name(table.take("name", str), table.name("name"))
    try:
        root = decode_authority(base64url_decode(table.take("root", str)))
    except DecodeError as error:
        raise PolicyError(table.name("root"), error.reason) from error
    maker = EndorsementRoot(name, root, table.take("software", bool))
    table.end()
    return maker


def _registrar(table: Table) -> RegistrarTrust:
    name = decode_name(table.take("name", str), table.name("name"))
    try:
        key = base64url_decode(table.take("key", str))
    except DecodeError as error:
        raise PolicyError(table.name("key"), error.reason) from error
    check_registrar_key(key, table.name("key"))
    table.end()
    return RegistrarTrust(name, key)


def _attester(table: Table) -> AttesterTrust:
    operator = decode_name(table.take("operator", str), table.name("operator"))
    keys: tuple[bytes, ...] = ()
    endorsed: tuple[bytes, ...] = ()
    software, identity = False, ""
    if table.has("key"):
        keys = _each_of(table, "key", decode_key_name)
        software = table.take("software", bool)
    if table.has("endorsement_key"):
        endorsed = _each_of(table, "endorsement_key", decode_endorsement_fingerprint)
        identity = decode_name(table.take("identity", str, operator), table.name("identity"))
    table.end()
    return AttesterTrust(operator, keys, software, endorsed, identity)


def _rules(table: Table) -> tuple[str, ...]:
    rules = table.take("rules", list)
    for rule in rules:
        if rule not in LAUNCH_RULES:
            raise PolicyError(table.name("rules"), f"each must be one of {', '.join(LAUNCH_RULES)}")
    _once(table.name("rules"), "value", rules)
    if not rules:
        raise PolicyError(table.name("rules"), "is empty; leave it out, or say unsafe_any_configuration = true")
    return tuple(rule for rule in LAUNCH_RULES if rule in rules)


def _each_of(table: Table, name: str, decode: Callable[[object, str], bytes]) -> tuple[bytes, ...]:
    path = table.name(name)
    values: list[object] = table.take(name, list)
    if not values:
        raise PolicyError(path, "must not be an empty list")
    found = tuple(decode(value, f"{path}[{at}]") for at, value in enumerate(values, start=1))
    _once(path, "value", found)
    return found


def _bool(value: bool) -> str:
    return "true" if value else "false"
