"""Attack 12: measure one thing, run another. What a broker has mapped before GO has to be what was measured.

A real Mosquitto, held between its statement and GO; who traces it then is seen too. Spec: spec/launch.md.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sigillo.broker.closure import measure_closure
from sigillo.broker.configuration import file_hash, read_configuration
from sigillo.broker.error import BrokerError
from sigillo.broker.folder import OperatorFolder
from sigillo.broker.mapped import check_mapped
from sigillo.broker.process_state import ProcessView, show_process
from sigillo.core.handshake import encode_packet
from sigillo.core.launch import Closure, Member, Role
from sigillo.core.process_rule import PROCESS_RULES, appraise_process

from ..adversary.loader import loading_plugin
from ..broker.operator import SETTINGS, installed
from ..plugin.launcher import MOSQUITTO, PLUGIN, Broker, broker
from ..vector.key import filler

PTRACE_SEIZE, PTRACE_DETACH = 0x4206, 17
REFUSED = "mapped but not measured"


@pytest.fixture(autouse=True)
def parts() -> None:
    if not Path(MOSQUITTO).exists() or not PLUGIN.exists():
        pytest.skip("needs Mosquitto and the plugin: make setup plugin")


@pytest.fixture
def folder(tmp_path: Path) -> OperatorFolder:
    return installed(tmp_path)


def measured(folder: OperatorFolder, plugin: Path) -> Closure:
    return measure_closure(Path(MOSQUITTO), plugin, read_configuration(folder, SETTINGS.listen))


def view(pid: int) -> ProcessView:
    """As the launcher gets it from the supervisor."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        show_process(pid, theirs)
        theirs.close()
        return ProcessView.receive(ours, 5)


@contextmanager
def stated(made: Broker, after_start: Callable[[], object] = lambda: None) -> Iterator[ProcessView]:
    """A broker that has made its statement and waits for GO, seen from before it got STATE."""
    made.launch()
    seen = view(made.process.pid)
    after_start()
    made.launcher.send(encode_packet(made.state()))
    assert made.launcher.recv(65_536), made.log
    try:
        yield seen
    finally:
        os.close(seen.folder)
        os.close(seen.maps)


def test_an_honest_broker_has_mapped_only_what_was_measured(folder: OperatorFolder) -> None:
    with broker() as made:
        closure = measured(folder, made.folder / "sigillo.so")
        with stated(made) as seen:
            check_mapped(seen.mappings(), closure, folder.path)
            assert seen.state().dumpable is False


def test_a_plugin_that_loads_the_rest_of_itself_is_refused(folder: OperatorFolder, tmp_path: Path) -> None:
    """The loader lists nothing of it: only the mappings show it."""
    with broker() as made:
        rest = made.folder / "rest.so"
        shutil.copy(PLUGIN, rest)
        shutil.copy(loading_plugin(tmp_path, rest), made.folder / "sigillo.so")
        closure = measured(folder, made.folder / "sigillo.so")
        assert str(rest) not in {member.name for member in closure.members}
        with stated(made) as seen, pytest.raises(BrokerError, match=f"rest.so: {REFUSED}"):
            check_mapped(seen.mappings(), closure, folder.path)


def test_a_library_that_only_our_own_code_has_is_none_of_the_brokers(folder: OperatorFolder, tmp_path: Path) -> None:
    with broker() as made:
        rest = made.folder / "rest.so"
        shutil.copy(PLUGIN, rest)
        shutil.copy(loading_plugin(tmp_path, rest), made.folder / "sigillo.so")
        members = [member for member in measured(folder, rest).members if member.role is not Role.PLUGIN]
        members.append(Member(Role.PLUGIN, str(made.folder / "sigillo.so"), file_hash(made.folder / "sigillo.so")))
        as_library, as_code = (
            Closure.of([*members, Member(role, str(rest), file_hash(rest))]) for role in (Role.LIBRARY, Role.CODE)
        )
        with stated(made) as seen:
            check_mapped(seen.mappings(), as_library, folder.path)
            with pytest.raises(BrokerError, match=f"rest.so: {REFUSED}"):
                check_mapped(seen.mappings(), as_code, folder.path)


@pytest.mark.parametrize("how", ["changed", "replaced", "deleted", "renamed"])
def test_a_plugin_that_is_not_the_measured_file_any_more_is_refused(folder: OperatorFolder, how: str) -> None:
    with broker() as made:
        plugin = made.folder / "sigillo.so"
        closure = measured(folder, plugin)

        def meddle() -> None:
            if how == "replaced":  # by the same bytes: what runs is still another file
                shutil.copy(plugin, made.folder / "copy")
                os.replace(made.folder / "copy", plugin)
            elif how == "deleted":
                plugin.unlink()
            elif how == "renamed":
                plugin.rename(made.folder / "other.so")
                shutil.copy(made.folder / "other.so", plugin)

        if how == "changed":
            with plugin.open("ab") as file:
                file.write(b"\0")
        with stated(made) as seen:
            meddle()
            with pytest.raises(BrokerError, match=rf"\.so: {REFUSED}") as refused:
                check_mapped(seen.mappings(), closure, folder.path)
        assert str(refused.value).startswith(str(made.folder))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("7f0000000000-7f0000001000 rwxp 00000000 00:00 0 ", "memory of the broker"),
        ("7f0000000000-7f0000001000 r-xp 00000000 00:00 0                          [heap]", "heap"),
        ("7f0000000000-7f0000001000 r-xp 00000000 00:01 7                          /memfd:x (deleted)", "memfd"),
        ("7f0000000000-7f0000001000 r-xp 00000000 08:01 7                          [vdso]", "vdso"),
        ("7f0000000000-7f0000001000 r-xp 00000000 08:01 7                          /tmp/a\\012b", "012b"),
        ("7f0000000000-7f0000001000 r-xp 00000000 08:01 7                          /tmp/\udcff", "udcff"),
    ],
)
def test_executable_memory_of_no_measured_file_is_refused(folder: OperatorFolder, line: str, said: str) -> None:
    closure = Closure.of([Member(Role.EXECUTABLE, "/b", filler("b")), Member(Role.PLUGIN, "/p", filler("p"))])
    with pytest.raises(BrokerError, match=REFUSED) as refused:
        check_mapped(f"{line}\n", closure, folder.path)
    assert said in str(refused.value)
    check_mapped(line.replace("x", "-", 1) + "\n", closure, folder.path)  # what is not executable is not looked at


def test_another_file_under_the_same_name_is_refused(folder: OperatorFolder) -> None:
    """Where something is mounted over it, the path leads elsewhere than the mapping."""
    with broker() as made:
        closure = measured(folder, made.folder / "sigillo.so")
        with stated(made) as seen:
            inode = str((made.folder / "sigillo.so").stat().st_ino)
            mappings = seen.mappings()
            assert inode in mappings
            with pytest.raises(BrokerError, match="another file of that name"):
                check_mapped(mappings.replace(f" {inode} ", f" {int(inode) + 1} "), closure, folder.path)


def test_a_list_that_cannot_be_read_is_refused(folder: OperatorFolder) -> None:
    closure = Closure.of([Member(Role.EXECUTABLE, "/b", filler("b")), Member(Role.PLUGIN, "/p", filler("p"))])
    with pytest.raises(BrokerError, match="cannot be read"):
        check_mapped("something else\n", closure, folder.path)


def test_a_process_that_became_another_program_is_refused(folder: OperatorFolder) -> None:
    """The list is of the program that was seen; the next one has none there."""
    closure = Closure.of([Member(Role.EXECUTABLE, "/b", filler("b")), Member(Role.PLUGIN, "/p", filler("p"))])
    with subprocess.Popen(
        ["/bin/sh", "-c", "read line; exec /bin/cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin
        assert process.stdout
        seen = view(process.pid)
        assert seen.mappings()
        process.stdin.write(b"\n\n")
        process.stdin.flush()
        assert process.stdout.read(1) == b"\n"  # it is cat by now
        with pytest.raises(BrokerError, match="another program"):
            check_mapped(seen.mappings(), closure, folder.path)
        process.stdin.close()


def test_a_broker_that_ended_shows_nothing() -> None:
    with subprocess.Popen(["/bin/true"]) as process:
        process.wait()
    with pytest.raises(BrokerError, match="ended"):
        view(process.pid)


def test_a_traced_broker_is_shown_as_traced() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    with broker() as made:

        def attach() -> None:
            if libc.ptrace(PTRACE_SEIZE, made.process.pid, None, None) != 0:
                pytest.skip(f"may not trace here: {os.strerror(ctypes.get_errno())}")

        with stated(made, attach) as seen:
            state = seen.state()
            assert state.tracer == os.getpid()
            assert "process-not-traced" in {violation.rule for violation in appraise_process(state, PROCESS_RULES)}
