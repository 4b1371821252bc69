"""What /proc says of a process becomes its state, or a reason why not."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sigillo.broker import process_state
from sigillo.broker.error import BrokerError
from sigillo.broker.process_state import ProcessView, show_process
from sigillo.core.process_state import UNLIMITED, ProcessState

from ..attestation import rig

STATUS = """\
Name:	mosquitto
TracerPid:	0
Uid:	104	104	104	104
Gid:	110	110	110	110
Groups:	4 24 24 7
NStgid:	17
CapInh:	0000000000000000
CapPrm:	00000000000000c0
CapEff:	0000000000000040
NoNewPrivs:	1
Seccomp:	2
"""
LIMITS = """\
Limit                     Soft Limit           Hard Limit           Units
Max data size             unlimited            unlimited            bytes
Max core file size        0                    unlimited            bytes
"""


class Proc:
    """A folder like that of a process in /proc."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self.thread(17, STATUS)
        (path / "status").write_text(STATUS)
        (path / "limits").write_text(LIMITS.replace("bytes\n", "bytes     \n"))  # as the kernel writes it

    def thread(self, number: int, status: str) -> None:
        folder = self.path / "task" / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "status").write_text(status)

    def state(self) -> ProcessState:
        folder = os.open(self.path, os.O_RDONLY)
        try:
            return ProcessView(folder, -1).state()
        finally:
            os.close(folder)


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proc]:
    monkeypatch.setattr(process_state, "_SCOPE", tmp_path / "ptrace_scope")
    yield Proc(tmp_path / "17")


def test_each_field_is_what_the_kernel_says(proc: Proc, tmp_path: Path) -> None:
    expected = ProcessState(
        uid=104,
        gid=110,
        groups=(4, 7, 24),
        capabilities=0xC0,  # permitted: more than is in effect
        no_new_privs=True,
        seccomp=2,
        tracer=0,
        dumpable=False,  # the file is not of user 104
        core_limit=(0, UNLIMITED),
        ptrace_scope=None,
    )
    assert proc.state() == expected
    (tmp_path / "ptrace_scope").write_text("2\n")
    proc.thread(17, STATUS.replace("TracerPid:\t0", "TracerPid:\t4711").replace("Groups:\t4 24 24 7", "Groups:\t "))
    state = proc.state()
    assert (state.ptrace_scope, state.tracer, state.groups) == (2, 4711, ())


@pytest.mark.parametrize(
    ("old", "new"),
    [("TracerPid:\t0", "TracerPid:\t1"), ("104\t104", "0\t104"), ("00c0", "00c1"), ("Seccomp:\t2", "Seccomp:\t0")],
)
def test_threads_that_differ_are_refused(proc: Proc, old: str, new: str) -> None:
    proc.thread(18, STATUS)
    proc.state()
    proc.thread(18, STATUS.replace(old, new, 1))
    with pytest.raises(BrokerError, match="threads differ"):
        proc.state()


@pytest.mark.parametrize(("name", "old"), [("Uid", "104"), ("Gid", "110")])
def test_more_than_one_user_or_group_is_refused(proc: Proc, name: str, old: str) -> None:
    same = "\t".join([old] * 4)
    for number in range(4):
        words = [old] * 4
        words[number] = "0"
        proc.thread(17, STATUS.replace(f"{name}:\t{same}", f"{name}:\t" + "\t".join(words)))
        with pytest.raises(BrokerError, match="more than one user or group"):
            proc.state()


@pytest.mark.parametrize("name", ["Uid", "Gid", "Groups", "CapPrm", "NoNewPrivs", "Seccomp", "TracerPid"])
def test_what_the_kernel_does_not_say_is_named(proc: Proc, name: str) -> None:
    proc.thread(17, "".join(line for line in STATUS.splitlines(keepends=True) if not line.startswith(name)))
    with pytest.raises(BrokerError, match=name):
        proc.state()


def test_limits_without_a_core_limit_are_refused(proc: Proc) -> None:
    (proc.path / "limits").write_text("")
    with pytest.raises(BrokerError, match="core limit"):
        proc.state()


def test_a_process_that_is_hidden_or_gone_is_named_so(proc: Proc) -> None:
    (proc.path / "limits").unlink()
    with pytest.raises(BrokerError, match="hidepid"):
        proc.state()


def test_a_real_process_and_its_end() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as process:
        show_process(process.pid, theirs)
        seen = ProcessView.receive(ours, 5)
        state = seen.state()
        assert (state.uid, state.gid, state.groups) == (os.getuid(), os.getgid(), tuple(sorted(set(os.getgroups()))))
        assert (state.tracer, state.dumpable) == (0, True)
        rig.wait_until(lambda: "/cat" in seen.mappings())  # the kernel is at it
        process.kill()
        process.wait()
        assert seen.mappings() == ""
        with pytest.raises(BrokerError, match="ended"):
            seen.state()
    os.close(seen.folder)
    os.close(seen.maps)


def test_a_process_that_may_not_be_looked_at_is_named_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str, _flags: int) -> int:
        raise PermissionError(13, "Permission denied", path)

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        monkeypatch.setattr(os, "open", refuse)
        with pytest.raises(BrokerError, match=r"/proc/17: .*CAP_SYS_PTRACE"):
            show_process(17, theirs)


def test_nobody_waits_for_ever() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        with pytest.raises(BrokerError, match="not started"):
            ProcessView.receive(ours, 0.05)
        theirs.close()
        with pytest.raises(BrokerError, match="ended"):
            ProcessView.receive(ours, 5)
