"""The closure of a launch: every file that broker, plugin and our own processes are made of (spec/launch.md).

Libraries are those that the system's dynamic loader says it would load, asked with the broker's empty environment; and
those that the C library loads to look up names. What a program loads later by itself shows only in its mappings.
"""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from sigillo.broker.configuration import Configuration, file_hash
from sigillo.broker.error import BrokerError
from sigillo.core.launch import Closure, Member, Role

_ELF: Final = b"\x7fELF"
_PT_INTERP: Final = 3
_LISTED: Final = re.compile(r"^\t(?:\S+ => )?(/.+) \(0x[0-9a-f]+\)$", re.MULTILINE)
_LIST_S: Final = 30.0
_MEMORY: Final = ("/memfd:", "/dev/zero", "/SYSV")


def measure_closure(executable: Path, plugin: Path, configuration: Configuration) -> Closure:
    """Hash everything that a launch is made of. Raises BrokerError naming the file that cannot be read or listed."""
    loader = interpreter(executable)
    programs = [executable, plugin, *(path for path in configuration.named if _is_elf(path))]
    services = name_services(needed(loader, executable))
    libraries = services.union(*(needed(loader, program) for program in [*programs, *services])) - {loader.resolve()}
    members = [Member(Role.CONFIGURATION, name, digest) for name, digest in configuration.digests.items()]
    members += _members(Role.EXECUTABLE, [executable])
    members += _members(Role.LOADER, [loader])
    members += _members(Role.LIBRARY, libraries)
    members += _members(Role.PLUGIN, [plugin])
    members += _members(Role.CODE, loaded_code())
    return Closure.of(members)


def interpreter(executable: Path) -> Path:
    """The dynamic loader that an ELF executable names (PT_INTERP). Raises BrokerError where it names none."""
    try:
        with executable.open("rb") as file:
            head = file.read(64)
            if head[:4] != _ELF or not {*head[4:6]} <= {1, 2}:
                raise BrokerError(f"{executable}: is no ELF executable")
            wide, order = head[4:5] == b"\2", ">" if head[5:6] == b"\2" else "<"
            table, size, count = struct.unpack_from(f"{order}{'32xQ14xHH' if wide else '28xI10xHH'}", head)
            for index in range(count):
                file.seek(table + index * size)
                kind, offset, length = struct.unpack(
                    f"{order}{'I4xQ16xQ' if wide else 'II8xI'}", file.read(40 if wide else 20)
                )
                if kind == _PT_INTERP:
                    file.seek(offset)
                    return Path(os.fsdecode(file.read(length).rstrip(b"\0")))
    except (OSError, struct.error) as error:
        raise BrokerError(f"{executable}: cannot be read as an ELF executable: {error}") from error
    raise BrokerError(f"{executable}: is linked statically; what it is made of cannot be listed")


def needed(loader: Path, program: Path) -> set[Path]:
    """Every shared object that the loader would map for a program or a library. Raises BrokerError."""
    try:
        done = subprocess.run([loader, "--list", program], capture_output=True, text=True, env={}, timeout=_LIST_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BrokerError(f"{loader}: cannot list what {program} needs: {error}") from error
    if done.returncode != 0 or "not found" in done.stdout:
        said = (done.stderr or done.stdout).strip()
        raise BrokerError(f"{program}: what it needs cannot be listed: {said[-300:]}")
    return {Path(path).resolve() for path in _LISTED.findall(done.stdout)}


def name_services(libraries: Iterable[Path], switch: Path = Path("/etc/nsswitch.conf")) -> set[Path]:
    """What the C library among *libraries* may load to look up users, groups and hosts (nsswitch.conf)."""
    text = switch.read_text(encoding="utf-8", errors="replace") if switch.exists() else ""
    entries = [line.split("#")[0].partition(":")[2] for line in text.splitlines()]
    names = {name for entry in entries for name in re.sub(r"\[[^]]*\]", " ", entry).split()}
    folders = {library.parent for library in libraries if library.name.startswith("libc.so")}
    modules = (folder / f"libnss_{name}.so.2" for folder in folders for name in names)
    return {module.resolve() for module in modules if module.exists()}


def loaded_code() -> set[Path]:
    """What this process runs: the interpreter, everything mapped, and each module's source and compiled form."""
    found = {Path(sys.executable).resolve(), *mapped(os.getpid())}
    for module in list(sys.modules.values()):
        for name in (getattr(module, "__file__", None), getattr(module, "__cached__", None)):
            if isinstance(name, str) and os.path.isfile(name):
                found.add(Path(name).resolve())
    return found


def mapped(pid: int) -> set[Path]:
    """Files that a process has mapped; not what it has made of its own memory.

    Raises BrokerError where one was replaced since, OSError where the process is not ours to look at.
    """
    found = set()
    for line in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        name = line.split(maxsplit=5)[5:]
        if name and name[0].startswith("/") and not name[0].startswith(_MEMORY):
            if name[0].endswith(" (deleted)") and not os.path.exists(name[0]):
                raise BrokerError(f"{name[0].removesuffix(' (deleted)')}: was replaced while it runs; start again")
            found.add(Path(name[0]))
    return found


def _members(role: Role, paths: Iterable[Path]) -> Iterator[Member]:
    for path in paths:
        real = path.resolve()
        yield Member(role, str(real), file_hash(real))


def _is_elf(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) == _ELF
    except OSError as error:
        raise BrokerError(f"{path}: {error.strerror}") from None
