"""Looking at the broker's process before GO: what it may do, and what it has mapped (spec/launch.md).

The supervisor, who may look, opens what there is to see as soon as the program runs, and hands it to the launcher,
which may not. Both descriptors stay with this very process: another one that gets its number later is not seen.
"""

from __future__ import annotations

import os
import re
import socket
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sigillo.broker.error import BrokerError
from sigillo.core.process_state import UNLIMITED, ProcessState

_SCOPE: Final = Path("/proc/sys/kernel/yama/ptrace_scope")
_CORE: Final = re.compile(r"^Max core file size +(\w+) +(\w+) +bytes *$", re.MULTILINE)
_ENDED: Final = "the broker ended before its plugin made an epoch statement; its log says why"


def show_process(pid: int, end: socket.socket) -> None:
    """Open what there is to see of a process that has just been started, and hand it to *end*: nothing if it has ended.

    Raises BrokerError where this process may not look at it.
    """
    try:
        with ExitStack() as stack:
            opened = []
            for path in (f"/proc/{pid}", f"/proc/{pid}/maps"):
                opened.append(os.open(path, os.O_RDONLY))
                stack.callback(os.close, opened[-1])
            socket.send_fds(end, [b"\0"], opened)
    except (FileNotFoundError, ProcessLookupError):
        return
    except PermissionError as error:
        raise BrokerError(
            f"{error.filename}: {error.strerror}: a measured launch has to look at what the broker has mapped; give "
            "`sigillo up` the capability CAP_SYS_PTRACE"
        ) from error


@dataclass(frozen=True, slots=True)
class ProcessView:
    """A process: its folder in /proc, and its list of mappings, open since before it could hide it. Descriptors."""

    folder: int
    maps: int

    @classmethod
    def receive(cls, end: socket.socket, patience_s: float) -> ProcessView:
        """What `show_process` hands over. Raises BrokerError where nothing comes."""
        end.settimeout(patience_s)
        try:
            _, descriptors, _, _ = socket.recv_fds(end, 1, 2)
        except TimeoutError:
            raise BrokerError(f"the broker was not started within {patience_s:.0f} s") from None
        if len(descriptors) != 2:
            raise BrokerError(_ENDED)
        return cls(*descriptors)

    def mappings(self) -> str:
        """The list of mappings as the kernel writes it; empty once the process has ended, or runs another program."""
        with open(self.maps, encoding="utf-8", errors="surrogateescape", closefd=False) as file:
            file.seek(0)
            try:
                return file.read()
            except ProcessLookupError:
                return ""

    def state(self) -> ProcessState:
        """What the process may do now. Raises BrokerError where that is not one answer, or cannot be seen."""
        try:
            return _state(self.folder)
        except OSError as error:
            raise BrokerError(
                f"the broker's process cannot be seen: {error.strerror}; it has ended, or /proc is mounted with hidepid"
            ) from error


@dataclass(frozen=True, slots=True)
class _Rights:
    """What the status of one thread says."""

    uids: frozenset[int]
    gids: frozenset[int]
    groups: tuple[int, ...]
    capabilities: int
    no_new_privs: bool
    seccomp: int
    tracer: int


def _state(folder: int) -> ProcessState:
    threads = {_rights(_read(folder, f"task/{name}/status")) for name in _names(folder, "task")}
    if len(threads) != 1:
        raise BrokerError("the broker's threads differ in what they may do, or in who traces them; start it again")
    (rights,) = threads
    if len(rights.uids) != 1 or len(rights.gids) != 1:
        raise BrokerError("the broker's process has more than one user or group, and could take the other's rights")
    (uid,), (gid,) = rights.uids, rights.gids
    limits = _CORE.search(_read(folder, "limits"))
    if limits is None:
        raise BrokerError("the broker's limits cannot be read: the kernel names no core limit")
    soft, hard = (UNLIMITED if word == "unlimited" else int(word) for word in limits.groups())
    return ProcessState(
        uid=uid,
        gid=gid,
        groups=rights.groups,
        capabilities=rights.capabilities,
        no_new_privs=rights.no_new_privs,
        seccomp=rights.seccomp,
        tracer=rights.tracer,
        dumpable=os.stat("status", dir_fd=folder).st_uid == uid,
        core_limit=(soft, hard),
        ptrace_scope=int(_SCOPE.read_text()) if _SCOPE.exists() else None,
    )


def _rights(status: str) -> _Rights:
    said = dict(re.findall(r"^(\w+):[ \t]*(.*?)[ \t]*$", status, re.MULTILINE))
    try:
        return _Rights(
            uids=frozenset(map(int, said["Uid"].split())),
            gids=frozenset(map(int, said["Gid"].split())),
            groups=tuple(sorted(set(map(int, said["Groups"].split())))),
            capabilities=int(said["CapPrm"], 16),
            no_new_privs=said["NoNewPrivs"] == "1",
            seccomp=int(said["Seccomp"]),
            tracer=int(said["TracerPid"]),
        )
    except KeyError as error:
        raise BrokerError(f"the broker's status cannot be read: the kernel says nothing of {error.args[0]}") from None


def _read(folder: int, name: str) -> str:
    with open(os.open(name, os.O_RDONLY, dir_fd=folder), encoding="utf-8", errors="replace") as file:
        return file.read()


def _names(folder: int, name: str) -> list[str]:
    descriptor = os.open(name, os.O_RDONLY, dir_fd=folder)
    try:
        return os.listdir(descriptor)
    finally:
        os.close(descriptor)
