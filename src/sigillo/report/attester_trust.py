"""What a policy says of TPMs, for people and for programs: whose, by which fingerprints, and what that waives."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sigillo.core.attestation_trust import AttestationTrust, AttesterTrust, RegistrarTrust
from sigillo.core.endorsement import EndorsementRoot
from sigillo.core.policy import Policy
from sigillo.core.verdict import LEVELS
from sigillo.report.escape import escape


def attester_lines(trust: AttestationTrust) -> Iterator[str]:
    """Lines of text, names escaped: every TPM, maker of TPMs and registrar, with what to compare."""
    for attester in trust.attesters:
        owner = f"operator {escape(attester.operator)}"
        if attester.keys:
            yield f"attester of {owner}: {_kind(attester.software)}, by its attestation key"
            yield from (f"  attestation key, TPM name  {key.hex()}" for key in attester.keys)
        else:
            yield f"attester of {owner}: a TPM that a registrar knows as {escape(attester.identity)}"
            yield from (f"  endorsement key  SHA-256 {key.hex()}" for key in attester.endorsement_keys)
    for maker in trust.makers:
        what = "software TPMs, which prove nothing about a machine" if maker.software else "TPMs"
        yield f"TPM maker {escape(maker.name)}, trusted to certify {what}"
        yield f"  root certificate SHA-256 {_root_fingerprint(maker)}"
    for registrar in trust.registrars:
        yield f"registrar {escape(registrar.name)}, trusted to say which attestation key is in which TPM"
        yield f"  key  SHA-256 {key_fingerprint(registrar.key)}"


def attester_json(trust: AttestationTrust) -> dict[str, Any]:
    """The members `attesters`, `tpm_makers` and `registrars` of the JSON of a policy; hashes in lower-case hex."""
    return {
        "attesters": [
            {
                "operator": attester.operator,
                "keys": [key.hex() for key in attester.keys],
                "software": attester.software if attester.keys else None,
                "endorsement_keys": [key.hex() for key in attester.endorsement_keys],
                "identity": attester.identity or None,
            }
            for attester in trust.attesters
        ],
        "tpm_makers": [
            {"name": maker.name, "root": _root_fingerprint(maker), "software": maker.software} for maker in trust.makers
        ],
        "registrars": [_registrar_json(registrar) for registrar in trust.registrars],
    }


def attester_warnings(policy: Policy) -> Iterator[str]:
    """What makes the TPMs of a policy say less than it may seem, or nothing."""
    trust = policy.attestation
    for attester in trust.attesters:
        name = attester.operator
        if _is_software(attester, trust) and not trust.allow_software:
            yield (
                f'attester of operator "{name}": is a software TPM, so nothing of it will be attested without '
                "attestation.allow_software"
            )
        levels = {operator.level for operator in policy.operators if operator.name == name}
        if levels == {LEVELS[0]}:
            yield (
                f'operator "{name}": an [[attester]] is named, so its marks must be attested, but level "{LEVELS[0]}" '
                "does not ask what was launched"
            )


def key_fingerprint(public_key_bytes: bytes) -> str:
    """SHA-256 of the SubjectPublicKeyInfo of an Ed25519 key (32 bytes), lower-case hex, as stock tools show it."""
    key = Ed25519PublicKey.from_public_bytes(public_key_bytes)
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def _registrar_json(registrar: RegistrarTrust) -> dict[str, str]:
    return {"name": registrar.name, "fingerprint": key_fingerprint(registrar.key)}


def _root_fingerprint(maker: EndorsementRoot) -> str:
    return hashlib.sha256(maker.certificate.public_bytes(Encoding.DER)).hexdigest()


def _kind(software: bool) -> str:
    return "a SOFTWARE TPM" if software else "a TPM"


def _is_software(attester: AttesterTrust, trust: AttestationTrust) -> bool:
    """Whether it can be nothing but a program."""
    if attester.keys:
        return attester.software
    return all(maker.software for maker in trust.makers)
