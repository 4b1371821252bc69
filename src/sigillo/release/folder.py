"""The folder of a release, as its manifest says that it must be (spec/release.md)."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from sigillo.core.dsse import MAX_ENVELOPE, verify_envelope
from sigillo.core.errors import DecodeError, SignatureError
from sigillo.core.manifest import SignedManifest, decode_manifest
from sigillo.release.error import ReleaseError

MANIFEST: Final = "manifest.json"
SUMS: Final = "SHA256SUMS"
SUMS_SIGNATURE: Final = "SHA256SUMS.asc"
SIGNATURES: Final = "signatures"
KEY: Final = "signer.gpg"
SBOM: Final = "sbom.cdx.json"
PROVENANCE_SUFFIX: Final = ".sigstore.json"


@dataclass(frozen=True)
class ReleaseFolder:
    """A folder whose source and outputs are those of the manifest in it. `signed`: these, by relative path."""

    path: Path
    manifest: SignedManifest
    signed: tuple[str, ...]

    @classmethod
    def open(cls, path: Path) -> ReleaseFolder:
        """Raises ReleaseError where a file of the manifest is missing or another one, or where there is a link."""
        manifest = _manifest(path / MANIFEST)
        expected = dict(_expected(manifest))
        for name, (size, sha256) in expected.items():
            _check(path / name, size, sha256)
        folder = cls(path, manifest, ())
        found = tuple(name for name in folder.files() if name.startswith(("source/", "binary/")))
        unknown = sorted(set(found) - expected.keys() - set(_bundles(manifest)))
        if unknown:
            raise ReleaseError(f"{path / unknown[0]}: is no file of the manifest; take it out of what you publish")
        return replace(folder, signed=found)

    def files(self) -> list[str]:
        """All that SHA256SUMS lists, by relative path: every file but itself and the signatures."""
        found = (file.relative_to(self.path).as_posix() for file in _plain_files(self.path))
        own = (SUMS, SUMS_SIGNATURE)
        return sorted(name for name in found if name not in own and not name.startswith(f"{SIGNATURES}/"))


def _manifest(path: Path) -> SignedManifest:
    try:
        with path.open("rb") as file:
            signed = decode_manifest(file.read(MAX_ENVELOPE + 1))
        verify_envelope(signed.envelope)
    except OSError as error:
        raise ReleaseError(f"{path}: {error.strerror}; a release is made around its build manifest") from None
    except (DecodeError, SignatureError) as error:
        raise ReleaseError(f"{path}: {error}; make it again, or get it from its builder") from None
    return signed


def _expected(signed: SignedManifest) -> Iterator[tuple[str, tuple[int, bytes]]]:
    for build in signed.manifest.builds:
        for file in build.source.files:
            yield f"source/{file.name}", (file.size, file.sha256)
        for output in build.outputs:
            yield f"binary/{output.name}", (output.size, output.sha256)


def _bundles(signed: SignedManifest) -> Iterator[str]:
    """What git clones, where the source is its: the tag in it is verified, and its bytes are git's own business."""
    return (f"source/{build.name}.bundle" for build in signed.manifest.builds if build.source.kind == "git")


def _check(path: Path, size: int, sha256: bytes) -> None:
    if not path.is_file() or path.is_symlink():
        raise ReleaseError(f"{path}: is not there, and the manifest names it; put it back, or make the release again")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").digest()
    if (path.stat().st_size, found) != (size, sha256):
        raise ReleaseError(f"{path}: is another file than the manifest says (sha256 {found.hex()}); put that one back")


def _plain_files(folder: Path) -> Iterator[Path]:
    """Every file below *folder*. Raises ReleaseError for a link, which a web server would follow, and the like."""
    for root, names, files in os.walk(folder):
        for name in (*names, *files):
            path = Path(root, name)
            mode = path.lstat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise ReleaseError(f"{path}: is neither a file nor a folder; publish only those")
            if stat.S_ISREG(mode):
                yield path
