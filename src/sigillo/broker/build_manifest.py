"""The build manifest of what runs here, and what rebuilders say about it: `published/manifests`, `published/rebuilds`.

The launcher keeps each manifest that an epoch names, by its hash: evidence of that epoch needs it for ever. Statements
are the operator's to collect; both are public.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol, TypeVar

from sigillo import disk
from sigillo.broker.error import BrokerError
from sigillo.broker.folder import OperatorFolder
from sigillo.core.dsse import MAX_ENVELOPE, Envelope, verify_envelope
from sigillo.core.errors import DecodeError, SignatureError
from sigillo.core.evidence import MAX_MANIFESTS, MAX_REBUILDS
from sigillo.core.evidence_line import ManifestLine, RebuildLine
from sigillo.core.manifest import Role, SignedManifest, decode_manifest
from sigillo.core.rebuild import SignedRebuild, check_about, decode_rebuild


class _Enveloped(Protocol):
    @property
    def envelope(self) -> Envelope:
        """Its envelope."""


T = TypeVar("T", bound=_Enveloped)


def load_manifest(path: Path) -> SignedManifest:
    """A manifest that the key which it names signed; whom to believe is the reader's. Raises BrokerError."""
    return _load(path, decode_manifest, "get it again from its builder, or name the right one with manifest")


def check_programs(
    signed: SignedManifest, path: Path, executable: tuple[Path, bytes], plugin: tuple[Path, bytes]
) -> None:
    """What is to run (file and its SHA-256) is what the manifest in *path* says. Raises BrokerError, naming which."""
    for role, option, (program, sha256) in (
        (Role.EXECUTABLE, "--mosquitto", executable),
        (Role.PLUGIN, "--plugin FILE --update-plugin", plugin),
    ):
        made = signed.manifest.part(role)
        if made is None:
            raise BrokerError(
                f"{path}: has no {role} among its outputs; name a manifest of both, executable and plugin"
            )
        if made[1].sha256 != sha256:
            raise BrokerError(
                f"{program}: sha256 {sha256.hex()} is not the {role} of the build manifest {path}, which is "
                f"{made[1].name} of {made[0].name} {made[0].version}, sha256 {made[1].sha256.hex()}; run that one "
                f"({option}), or name the manifest of this one with manifest in sigillo.toml, --manifest the first time"
            )


def keep_manifest(folder: OperatorFolder, signed: SignedManifest) -> None:
    """Keep it under its hash, once. Raises OSError."""
    path = kept_path(folder, signed.sha256)
    if not path.exists():
        disk.replace(path, signed.envelope.data, disk.PUBLIC)


def kept_path(folder: OperatorFolder, manifest_hash: bytes) -> Path:
    """Where the manifest of this hash is kept."""
    return folder.manifests / f"{manifest_hash.hex()}.json"


def build_lines(folder: OperatorFolder, hashes: Iterable[bytes]) -> list[ManifestLine | RebuildLine]:
    """Evidence lines of the manifests of these hashes that are kept, and of the statements about them.

    As many as a file may have, the last of *hashes* first. Raises BrokerError for a file that would spoil the evidence.
    """
    known = [item for item in dict.fromkeys(reversed(list(hashes))) if kept_path(folder, item).exists()]
    manifests = {item: load_manifest(kept_path(folder, item)) for item in known[:MAX_MANIFESTS]}
    statements = [
        rebuild.envelope.data.decode()
        for path in sorted(folder.rebuilds.glob("*.json"))
        if (rebuild := _load_rebuild(path, manifests))
    ]
    kept = sorted(signed.envelope.data.decode() for signed in manifests.values())
    return [*map(ManifestLine, kept), *map(RebuildLine, sorted(set(statements[:MAX_REBUILDS])))]


def _load_rebuild(path: Path, manifests: dict[bytes, SignedManifest]) -> SignedRebuild | None:
    """A statement about one of these manifests, None where it is about another."""
    remedy = "take it out, or get it again from its rebuilder"
    rebuild = _load(path, decode_rebuild, remedy)
    manifest = manifests.get(rebuild.statement.manifest)
    if manifest is None:
        return None
    try:
        check_about(rebuild.statement, manifest)
    except DecodeError as error:
        raise BrokerError(f"{path}: {error}; {remedy}") from None
    return rebuild


def _load(path: Path, decode: Callable[[bytes], T], remedy: str) -> T:
    try:
        with path.open("rb") as file:
            found = decode(file.read(MAX_ENVELOPE + 1))
        verify_envelope(found.envelope)
    except OSError as error:
        raise BrokerError(f"{path}: {error.strerror}; {remedy}") from None
    except (DecodeError, SignatureError) as error:
        raise BrokerError(f"{path}: {error}; {remedy}") from None
    return found
