"""Signs a release: everything is made first, then written, the signed list of hashes last (spec/release.md)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sigillo import disk
from sigillo.core.dsse import DsseKey
from sigillo.release.error import ReleaseError
from sigillo.release.folder import (
    KEY,
    PROVENANCE_SUFFIX,
    SBOM,
    SIGNATURES,
    SUMS,
    SUMS_SIGNATURE,
    ReleaseFolder,
)
from sigillo.release.openpgp import Signer
from sigillo.release.provenance import Stamp, bundle, provenance
from sigillo.release.sbom import sbom

Progress = Callable[[str], None]


def sign_release(
    folder: ReleaseFolder, signer: Signer, builder: Ed25519PrivateKey, stamp: Stamp | None, progress: Progress
) -> list[str]:
    """Sign and write; what was written, by relative path. *progress* is told of each file before it is signed.

    Until every signature is there nothing is written. Raises ReleaseError, OSError, and what *stamp* raises.
    """
    manifest = folder.manifest
    if DsseKey(builder.public_key().public_bytes_raw()) != manifest.envelope.key:
        raise ReleaseError(
            f"{folder.path}: the manifest is signed by another builder's key, SHA-256 "
            f"{manifest.envelope.key.fingerprint}; name that one with --builder"
        )
    made = {KEY: signer.public(), SBOM: sbom(manifest)}
    for build in manifest.manifest.builds:
        hint = manifest.envelope.key.fingerprint
        made[f"{build.name}{PROVENANCE_SUFFIX}"] = bundle(provenance(manifest, build), builder, hint, stamp)
    sums = _sums(folder, made)
    for name in folder.signed:
        progress(name)
        made[f"{SIGNATURES}/{name}.asc"] = signer.sign((folder.path / name).read_bytes(), name)
    progress(SUMS)
    made |= {SUMS: sums, SUMS_SIGNATURE: signer.sign(sums, SUMS)}
    for name, data in made.items():
        (folder.path / name).parent.mkdir(parents=True, exist_ok=True)
        disk.replace(folder.path / name, data, disk.PUBLIC)
    return list(made)


def _sums(folder: ReleaseFolder, made: dict[str, bytes]) -> bytes:
    """Lines for `sha256sum -c`, of the files that are there and those that are *made*."""
    hashes = {name: _hash_of(folder.path / name) for name in folder.files()}
    hashes |= {name: hashlib.sha256(data).hexdigest() for name, data in made.items()}
    return "".join(f"{sha256}  {name}\n" for name, sha256 in sorted(hashes.items())).encode()


def _hash_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
