"""What a built program loads when it runs: the dynamic loader and the libraries that it finds in the root."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from sigillo.build.elf import is_elf, sections
from sigillo.build.error import BuildError
from sigillo.build.file import sha256_of
from sigillo.core.manifest import ClosureFile

_FOUND = re.compile(r"(?:\S+ => )?(/\S+) \(0x[0-9a-f]+\)")
Run = Callable[[list[str], Path], None]


def closure_of(program: Path, root: Path, versions: dict[str, str], scratch: Path, run: Run) -> tuple[ClosureFile, ...]:
    """Files that *program* loads, by path; none where it is no program or a static one.

    *versions*: of the root's packages; *run*: a program in the root, to a file. Raises BuildError where it lacks one,
    DecodeError, OSError.
    """
    data = program.read_bytes()
    if not is_elf(data) or ".dynamic" not in sections(data):
        return ()
    inside = root / "build" / "closure"
    inside.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(program, inside / program.name)
    (inside / program.name).chmod(0o755)
    said = scratch / "ldd"
    run(["ldd", f"/build/closure/{program.name}"], said)
    return tuple(sorted(_files(said.read_text(), program.name, root, versions), key=lambda file: file.path.encode()))


def _files(said: str, name: str, root: Path, versions: dict[str, str]) -> set[ClosureFile]:
    files = set()
    for line in filter(None, map(str.strip, said.splitlines())):
        if line.startswith("linux-vdso"):
            continue
        found = _FOUND.fullmatch(line)
        if not found:
            raise BuildError(
                f"{name}: a library that it needs is not in the root ({line}); add its package to the recipe"
            )
        path = _inside(root, found[1])
        package = _package(root, path)
        size, sha256 = (root / path[1:]).stat().st_size, bytes.fromhex(sha256_of(root / path[1:]))
        files.add(ClosureFile(path, size, sha256, package, versions.get(package) if package else None))
    return files


def _inside(root: Path, path: str) -> str:
    """The real path of a file, as a process in the root sees it."""
    done = subprocess.run(["chroot", root, "realpath", "--", path], capture_output=True, text=True)
    if done.returncode != 0:
        raise BuildError(f"{path}: cannot be found in the root")
    return done.stdout.rstrip("\n")


def _package(root: Path, path: str) -> str | None:
    """Whose file it is; dpkg may know it by its name before /lib became a part of /usr."""
    for name in (path, path.removeprefix("/usr")):
        command = ["dpkg-query", f"--admindir={root}/var/lib/dpkg", "--search", name]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode == 0:
            return done.stdout.split(":", 1)[0]
    return None
