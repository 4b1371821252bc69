"""Makes the folder of a release from what builds left, with the build manifest over all of them (spec/release.md)."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sigillo.core.dsse import DsseKey
from sigillo.core.errors import DecodeError
from sigillo.core.manifest import Build, ClosureFile, Manifest, encode_manifest
from sigillo.release.error import ReleaseError
from sigillo.release.folder import MANIFEST, SUMS, ReleaseFolder

_SHARED = ("source", "binary")


@dataclass(frozen=True)
class Part:
    """One build: its folder (spec/recipe.md), and what its facts say. *network*: whether it had one."""

    folder: Path
    build: Build
    closure: tuple[ClosureFile, ...]
    network: bool


def assemble(parts: Sequence[Part], builder: str, key: Ed25519PrivateKey, made: Path) -> ReleaseFolder:
    """Fill the new folder *made*. Raises ReleaseError, OSError."""
    for part in parts:
        if part.network:
            raise ReleaseError(
                f"{part.folder}: was built with a network, so nobody can make it again; build it without"
            )
    ordered = sorted(parts, key=lambda part: part.build.name.encode())
    manifest = Manifest(builder, tuple(part.build for part in ordered), _closure(ordered))
    try:
        data = encode_manifest(manifest, DsseKey(key.public_key().public_bytes_raw()), key.sign)
    except DecodeError as error:
        raise ReleaseError(f"no manifest can be made of these builds: {error}") from None
    (made / MANIFEST).write_bytes(data)
    for part in ordered:
        for source, target in _files(part):
            _copy(part.folder / source, made / target)
    return ReleaseFolder.open(made)


def _closure(parts: Iterable[Part]) -> tuple[ClosureFile, ...]:
    """That of all builds, which one process loads. Raises ReleaseError where they differ."""
    found: dict[str, ClosureFile] = {}
    for part in parts:
        for file in part.closure:
            other = found.setdefault(file.path, file)
            if other != file:
                these, those = (f"({it.package} {it.version})" for it in (file, other))
                raise ReleaseError(
                    f"{part.folder}: loads another {file.path} {these} than the build before it {those}; build both in "
                    "roots with the same packages"
                )
    return tuple(sorted(found.values(), key=lambda file: file.path.encode()))


def _files(part: Part) -> Iterator[tuple[str, str]]:
    """What to copy where: source and outputs beside those of other builds, the rest below the name of its own."""
    for path in sorted(part.folder.rglob("*")):
        name = path.relative_to(part.folder).as_posix()
        if path.is_dir() and not path.is_symlink():
            continue
        if name != SUMS:
            yield name, name if name.partition("/")[0] in _SHARED else f"{part.build.name}/{name}"


def _copy(source: Path, target: Path) -> None:
    if not stat.S_ISREG(source.lstat().st_mode):
        raise ReleaseError(f"{source}: is no plain file; take it out")
    if target.exists():
        raise ReleaseError(f"{source}: another build has a file of that name; rename it in one of the recipes")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target, follow_symlinks=False)
