"""How equal two files are, and what is the first thing that differs (spec/recipe.md, "Grades of equality")."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from sigillo.build.elf import is_elf, sections
from sigillo.build.error import BuildError
from sigillo.core.errors import DecodeError

IGNORED = (".note.gnu.build-id", ".gnu_debuglink", ".gnu_debugaltlink")
"""What links a program to its debug symbols; its own behaviour does not depend on them."""
_MAX_UNPACKED = 1 << 30
_NAMED = 6


class Grade(StrEnum):
    """From the strongest claim to none."""

    PACKAGE = "package"
    FILE = "file"
    STRIPPED = "stripped"
    DIFFERENT = "different"


@dataclass(frozen=True)
class Comparison:
    """A grade, and for all but the strongest what differs first."""

    grade: Grade
    difference: str = ""


@dataclass(frozen=True)
class Member:
    """One entry of a package: what is installed of it. `data`: content of a file, target of a link, or empty."""

    kind: bytes
    mode: int
    owner: str
    data: bytes


def compare_files(ours: Path, theirs: Path) -> Comparison:
    """Two packages, or two other files. Raises BuildError, OSError."""
    mine, other = ours.read_bytes(), theirs.read_bytes()
    package = ours.suffix == ".deb"
    if mine == other:
        return Comparison(Grade.PACKAGE if package else Grade.FILE)
    if package:
        return compare_members(unpack(ours), unpack(theirs))
    return _content(ours.name, mine, other)


def compare_members(mine: dict[str, Member], theirs: dict[str, Member]) -> Comparison:
    """Two packages' entries, control files included (`control:NAME`). All that differ are named, up to a limit."""
    found = [_entry(name, mine.get(name), theirs.get(name)) for name in sorted(mine.keys() | theirs.keys())]
    differing = [one for one in found if one is not None]
    if not differing:
        return Comparison(Grade.FILE, "the same files in other wrapping (times, order or compression)")
    different = [one for one in differing if one.grade is Grade.DIFFERENT]
    named = [one.difference for one in different or differing]
    more = f"; and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    return Comparison(Grade.DIFFERENT if different else Grade.STRIPPED, "; ".join(named[:_NAMED]) + more)


def _entry(name: str, mine: Member | None, other: Member | None) -> Comparison | None:
    """What differs between two entries, or None. Sums in `md5sums` are of files that are themselves compared."""
    if mine is None or other is None:
        return Comparison(Grade.DIFFERENT, f"{name}: only {'the other' if mine is None else 'ours'} has it")
    if (mine.kind, mine.mode, mine.owner) != (other.kind, other.mode, other.owner):
        return Comparison(Grade.DIFFERENT, f"{name}: type, mode or owner differ")
    return None if mine.data == other.data or name == "control:md5sums" else _content(name, mine.data, other.data)


def unpack(path: Path) -> dict[str, Member]:
    """Name → entry of a `.deb`. Raises BuildError."""
    members: dict[str, Member] = {}
    for part, prefix in (("--ctrl-tarfile", "control:"), ("--fsys-tarfile", "")):
        done = subprocess.run(["dpkg-deb", part, path], capture_output=True)
        if done.returncode != 0:
            raise BuildError(f"{path}: is no Debian package: {done.stderr.decode('utf-8', 'replace').strip()}")
        try:
            with tarfile.open(fileobj=io.BytesIO(done.stdout), mode="r:") as tar:
                for entry in tar:
                    members[prefix + entry.name.removeprefix("./")] = _member(tar, entry)
        except tarfile.TarError as error:
            raise BuildError(f"{path}: cannot be unpacked: {error}") from None
    return members


def member_of(path: Path, name: str) -> bytes:
    """Content of one file in a `.deb`. Raises BuildError."""
    found = unpack(path).get(name)
    if found is None or found.kind != tarfile.REGTYPE:
        raise BuildError(f"{path}: has no file {name}; see build.binary.member in the recipe")
    return found.data


def _member(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> Member:
    data = entry.linkname.encode()
    if entry.isreg():
        if entry.size > _MAX_UNPACKED:
            raise BuildError(f"{entry.name}: is larger than {_MAX_UNPACKED} bytes")
        file = tar.extractfile(entry)
        assert file is not None  # of a regular file there is one
        data = file.read()
    return Member(entry.type, entry.mode, f"{entry.uname}:{entry.gname}", data)


def _content(name: str, mine: bytes, other: bytes) -> Comparison:
    """Two contents that are not the same bytes."""
    if not (is_elf(mine) and is_elf(other)):
        at = next((i for i, (a, b) in enumerate(zip(mine, other, strict=False)) if a != b), min(len(mine), len(other)))
        return Comparison(Grade.DIFFERENT, f"{name}: from byte {at} on")
    differing = _differing(mine, other)
    shown = ", ".join(differing)
    if set(differing) <= set(IGNORED) and _without(mine) == _without(other):
        return Comparison(Grade.STRIPPED, f"{name}: {shown}")
    first = next((one for one in differing if one not in IGNORED), "headers")
    return Comparison(Grade.DIFFERENT, f"{name}: section {first}")


def _differing(mine: bytes, other: bytes) -> list[str]:
    try:
        a, b = sections(mine), sections(other)
    except DecodeError as error:
        return [str(error)]
    return [name for name in dict.fromkeys([*a, *b]) if a.get(name) != b.get(name)]


def _without(data: bytes) -> bytes:
    """SHA-256 of the file after objcopy took the ignored sections away; of nothing at all where it cannot."""
    with tempfile.TemporaryDirectory(prefix="sigillo-compare-") as folder:
        path, made = Path(folder) / "in", Path(folder) / "out"
        path.write_bytes(data)
        options = [f"--remove-section={name}" for name in IGNORED]
        try:
            done = subprocess.run(["objcopy", *options, path, made], capture_output=True)
        except FileNotFoundError:
            raise BuildError("objcopy is not installed: apt-get install binutils") from None
        if done.returncode != 0:
            raise BuildError(f"objcopy: {done.stderr.decode('utf-8', 'replace').strip()}")
        return hashlib.sha256(made.read_bytes()).digest()


def explain(ours: Path, theirs: Path, found: Comparison) -> str:
    """What differs, in as much detail as this machine can say: by diffoscope where it is installed."""
    try:
        done = subprocess.run(
            ["diffoscope", "--no-progress", "--max-report-size", "20000", "--text", "-", str(ours), str(theirs)],
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError:
        return f"{found.difference} (diffoscope, where it is installed, says more)"
    return done.stdout if done.returncode == 1 else found.difference
