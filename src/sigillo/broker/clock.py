"""The kernel's clock state and who disciplines it (ntp_adjtime(3), chrony.conf(5); design section 3.1)."""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from pathlib import Path

_STA_UNSYNC = 0x0040
_TIME_ERROR = 5
_DAEMONS = {"chronyd": "chrony", "systemd-timesyn": "systemd-timesyncd", "ntpd": "ntpd"}
_CHRONY_FILES = ("etc/chrony/chrony.conf", "etc/chrony.conf")
_SOURCES = ("server", "pool", "peer", "refclock")
_INCLUDES = {"confdir": "*.conf", "sourcedir": "*.sources"}
_MAX_DEPTH = 4


class _Timex(ctypes.Structure):
    """struct timex of Linux, up to the fields used here, with room for the rest."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


@dataclass(frozen=True, slots=True)
class ClockSource:
    """Who sets the clock. `daemon`: as in an epoch statement. `bound_meaningful`: it keeps the kernel's error bound up
    to date (chrony with `rtcsync`; systemd-timesyncd writes 0). `synchronised`: what the kernel says."""

    daemon: str
    authenticated: bool
    bound_meaningful: bool
    synchronised: bool


def sample(proc: Path = Path("/proc"), root: Path = Path("/")) -> ClockSource:
    """The clock's state and source now. A daemon that is not seen but must be there (the kernel says synchronised) is
    "unknown": another kind, or one outside this container. Raises OSError."""
    synchronised = is_synchronised()
    for process, daemon in _DAEMONS.items():
        commands = _commands(proc, process)
        if not commands:
            continue
        if daemon != "chrony":
            return ClockSource(daemon, authenticated=False, bound_meaningful=False, synchronised=synchronised)
        lines = [line for command in commands for line in _chrony_lines(command, root)]
        sources = [words for words in lines if words[0] in _SOURCES]
        authenticated = bool(sources) and all({"nts", "key"} & set(words) for words in sources)
        return ClockSource(daemon, authenticated, ["rtcsync"] in lines, synchronised)
    return ClockSource("unknown" if synchronised else "none", False, False, synchronised)


def is_synchronised() -> bool:
    """Whether the kernel says so (ntp_adjtime). Raises OSError."""
    timex = _Timex()
    state = ctypes.CDLL(None, use_errno=True).ntp_adjtime(ctypes.byref(timex))
    if state < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return bool(state != _TIME_ERROR and not timex.status & _STA_UNSYNC)


def _commands(proc: Path, process: str) -> list[list[str]]:
    """Command lines of the processes of this name."""
    found = []
    for folder in proc.glob("[0-9]*"):
        try:
            if (folder / "comm").read_text().strip() == process:
                found.append((folder / "cmdline").read_bytes().decode(errors="replace").split("\0"))
        except OSError:
            continue  # it ended meanwhile
    return found


def _chrony_lines(command: list[str], root: Path) -> list[list[str]]:
    """Directives of the configuration that this chronyd was started with. What cannot be read claims nothing."""
    if "-f" in command[:-1]:
        return _directives(root / command[command.index("-f") + 1].lstrip("/"), root, 0)
    return [line for name in _CHRONY_FILES for line in _directives(root / name, root, 0)]


def _directives(path: Path, root: Path, depth: int) -> list[list[str]]:
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return []
    lines = [line.split() for line in text.splitlines() if line.strip() and line.strip()[0] not in "#!;%"]
    included: list[list[str]] = []
    if depth < _MAX_DEPTH:
        for words in lines:
            if words[0] == "include" and len(words) == 2:
                included += _directives(root / words[1].lstrip("/"), root, depth + 1)
            for folder in words[1:] if words[0] in _INCLUDES else ():
                for file in sorted((root / folder.lstrip("/")).glob(_INCLUDES[words[0]])):
                    included += _directives(file, root, depth + 1)
    return lines + included
