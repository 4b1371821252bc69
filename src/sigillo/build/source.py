"""Source of a recipe: fetched, then verified before anything of it is unpacked (spec/recipe.md, `[source]`)."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sigillo.build.deb822 import listed_files, paragraph
from sigillo.build.error import BuildError
from sigillo.build.file import sha256_of
from sigillo.build.git import fetch_tag
from sigillo.build.journal import Journal
from sigillo.build.openpgp import REMEDY, Signature, verify_clear, verify_detached
from sigillo.build.recipe import Recipe, Source
from sigillo.core.errors import DecodeError


@dataclass(frozen=True)
class VerifiedSource:
    """Made by this module only. `folder`: the files; `main`: the one to unpack, in it; `commit`: as in build.json."""

    folder: Path
    main: str
    commit: str
    signature: Signature

    @property
    def identity(self) -> str:
        """What is unpacked, and nothing else that happens to lie in the folder."""
        return f"{self.commit} {self.main}\n{self.signature.signer}"


@dataclass(frozen=True)
class Origins:
    """Where source may come from. `given`: what --source names, or None; `caches`: folders of --cache and
    the recipe's; `mirror`: fetches a Debian source package into a folder."""

    given: Path | None
    caches: tuple[Path, ...]
    recipe: Path
    mirror: Callable[[str, str, Path], None]


def verified_source(recipe: Recipe, keys: Path, folder: Path, origins: Origins, journal: Journal) -> VerifiedSource:
    """Fetch the source of *recipe* into the empty *folder* and verify it under *keys*. Raises BuildError, OSError."""
    source = recipe.source
    match source.kind:
        case "debian":
            made = _debian(source, keys, folder, origins)
        case "tarball":
            made = _tarball(source, keys, folder, origins)
        case "git":
            made = _git(recipe, keys, folder, origins, journal)
    if made.signature.note:
        journal.note(made.signature.note)
    return made


def verify_dsc(path: Path, source: Source, keys: Path) -> tuple[Signature, list[str]]:
    """Verify a `.dsc` and every file that it lists, all in its folder. Returns their names. Raises BuildError."""
    _pinned(path, source.sha256)
    signature, text = verify_clear(path, keys, source.fingerprints)
    try:
        fields = paragraph(text, "Source", "Version", "Checksums-Sha256")
        files = listed_files(fields["Checksums-Sha256"], "Checksums-Sha256")
    except DecodeError as error:
        raise BuildError(f"{path}: {error}; {REMEDY}") from None
    if (fields["Source"], fields["Version"]) != (source.package, source.release):
        raise BuildError(
            f"{path}: is {fields['Source']} {fields['Version']}, the recipe names {source.package} {source.release}"
        )
    for name, listed in files.items():
        if "/" in name or name.startswith("."):
            raise BuildError(f"{path}: lists {name!r}, which leads out of its folder; {REMEDY}")
        file = path.with_name(name)
        if not file.is_file():
            raise BuildError(f"{file}: no such file, but {path.name} lists it; {REMEDY}")
        if file.stat().st_size != listed.size or sha256_of(file) != listed.sha256:
            raise BuildError(f"{file}: is not the file that {path.name} lists (SHA-256 {listed.sha256}); {REMEDY}")
    return signature, [path.name, *files]


def _debian(source: Source, keys: Path, folder: Path, origins: Origins) -> VerifiedSource:
    """From --source, the mirror, or --cache; copied first, so that what is verified is what is unpacked."""
    reason = ""
    if origins.given is not None:
        _copy_dsc(origins.given, source, folder)
    else:
        try:
            origins.mirror(source.package, source.release, folder)
        except BuildError as error:
            reason = str(error)
            for cache in origins.caches:
                if (cache / source.dsc).is_file():
                    _copy_dsc(cache, source, folder)
                    break
            else:
                raise BuildError(f"{reason}, and no folder given with --cache has {source.dsc}") from None
    signature, names = verify_dsc(folder / source.dsc, source, keys)
    for path in folder.iterdir():
        if path.name not in names:
            path.unlink()
    return VerifiedSource(folder, source.dsc, f"dsc:sha256:{source.sha256}", signature)


def _copy_dsc(given: Path, source: Source, folder: Path) -> None:
    """The `.dsc` and what may belong to it, by name: which of them count is decided by the signed text."""
    stem = source.dsc.removesuffix(".dsc").rsplit("-", 1)[0]
    for path in sorted(given.iterdir()):
        if path.name == source.dsc or path.name.startswith(stem):
            copy_plain(path, folder / path.name)
    if not (folder / source.dsc).is_file():
        raise BuildError(f"{given}: has no {source.dsc}; --source names a folder with the source package")


def _tarball(source: Source, keys: Path, folder: Path, origins: Origins) -> VerifiedSource:
    given = origins.given or origins.recipe
    for name in (source.file, source.signature):
        if not (given / name).is_file():
            raise BuildError(f"{given / name}: no such file; --source names the folder with tarball and signature")
        copy_plain(given / name, folder / name)
    tarball = folder / source.file
    signature = verify_detached(tarball, folder / source.signature, keys, source.fingerprints)
    if source.sha256:
        _pinned(tarball, source.sha256)
    return VerifiedSource(folder, source.file, f"tar:sha256:{sha256_of(tarball)}", signature)


def _git(recipe: Recipe, keys: Path, folder: Path, origins: Origins, journal: Journal) -> VerifiedSource:
    given = origins.given
    if given is not None and given.is_dir() and (given / f"{recipe.name}.bundle").is_file():
        given = given / f"{recipe.name}.bundle"
    url = str(given.resolve()) if given else recipe.source.url
    commit, signature = fetch_tag(recipe, url, keys, folder, journal)
    return VerifiedSource(folder, f"{recipe.name}.tar", commit, signature)


def _pinned(path: Path, sha256: str) -> None:
    if path.is_file() and sha256_of(path) != sha256:
        raise BuildError(f"{path}: its SHA-256 is {sha256_of(path)}, the recipe's is {sha256}; {REMEDY}")


def copy_plain(source: Path, target: Path) -> None:
    """Copy a plain file. Raises BuildError where it is none (a link may lead anywhere), OSError."""
    if not stat.S_ISREG(source.lstat().st_mode):
        raise BuildError(f"{source}: is no plain file")
    shutil.copyfile(source, target, follow_symlinks=False)
