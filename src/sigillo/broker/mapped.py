"""What the broker has mapped before GO is what was measured (spec/launch.md, "Mapped files")."""

from __future__ import annotations

import ctypes
import hashlib
import mmap
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sigillo.broker.error import BrokerError
from sigillo.core.launch import Closure, Role

_LINE: Final = re.compile(r"([0-9a-f]+)-[0-9a-f]+ (\S{4}) [0-9a-f]+ ([0-9a-f]+:[0-9a-f]+) (\d+) *(.*)")
_KERNELS: Final = ("[vdso]", "[vsyscall]", "[sigpage]", "[vectors]")  # the last two: 32-bit Arm
_NO_FILE: Final = "0"


def check_mapped(mappings: str, closure: Closure, folder: Path) -> None:
    """Everything executable in a list of mappings (/proc/PID/maps) is a file of the closure, as it was measured.

    *folder*: the operator folder, to which names of the configuration are relative. Raises BrokerError naming the file.
    """
    if not mappings:
        raise BrokerError("the broker ended, or became another program than the one that was measured")
    measured = {member.name: member.digest for member in closure.members if member.role <= Role.PLUGIN}
    measured |= {
        str((folder / member.name).resolve()): member.digest
        for member in closure.members
        if member.role is Role.CONFIGURATION
    }
    for path, identity in sorted(_executable(mappings)):
        _check(path, identity, measured)


def _executable(mappings: str) -> set[tuple[str, tuple[str, str]]]:
    """Path, device and inode of each executable mapping that is not the kernel's own."""
    found = set()
    for line in mappings.removesuffix("\n").split("\n"):
        matched = _LINE.fullmatch(line)
        if matched is None:
            raise BrokerError(f"the broker's list of mappings cannot be read: {line[:100]!r}")
        _, rights, device, inode, path = matched.groups()
        if "x" in rights and not (inode == _NO_FILE and path in _KERNELS):
            found.add((path, (device, inode)))
    return found


def _check(path: str, identity: tuple[str, str], measured: Mapping[str, bytes]) -> None:
    if identity[1] == _NO_FILE:
        raise _refusal(path or "memory of the broker", "it is executable, and comes from no file")
    if path.endswith(" (deleted)"):
        raise _refusal(path.removesuffix(" (deleted)"), "it was deleted or replaced since; start again")
    if path not in measured:
        raise _refusal(path, "the broker has loaded it, and nothing that was measured names it; do without it")
    try:
        with open(path, "rb") as file:
            if _identity(file.fileno()) != identity:
                raise _refusal(path, "the broker has loaded another file of that name; start again")
            digest = hashlib.file_digest(file, "sha256").digest()
    except (OSError, ValueError) as error:
        raise _refusal(path, f"it cannot be read any more ({error})") from error
    if digest != measured[path]:
        raise _refusal(path, "it was changed after it was measured; start again")


def _identity(descriptor: int) -> tuple[str, str]:
    """Device and inode of an open file, as lists of mappings have them: on btrfs or overlayfs not what stat says."""
    rights = mmap.PROT_READ | mmap.PROT_WRITE  # private: nothing is written to the file
    with mmap.mmap(descriptor, 1, flags=mmap.MAP_PRIVATE, prot=rights) as own:
        address = ctypes.addressof(ctypes.c_char.from_buffer(own))
        for line in Path("/proc/self/maps").read_text(encoding="utf-8", errors="surrogateescape").splitlines():
            matched = _LINE.fullmatch(line)
            if matched and int(matched[1], 16) == address:
                return matched[3], matched[4]
    raise ValueError("no mapping of ours")


def _refusal(path: str, why: str) -> BrokerError:
    shown = path.encode("utf-8", "backslashreplace").decode()
    return BrokerError(f"{shown}: mapped but not measured: {why}")
