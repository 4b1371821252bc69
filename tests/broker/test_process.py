from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import sys
import time
from pathlib import Path

import pytest

from sigillo.broker.account import Account, choose_accounts, find_account, own_account
from sigillo.broker.error import BrokerError
from sigillo.broker.process import FAILED, Child, ending, start_child, start_program

OWN = own_account()
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def wait(child: Child) -> int:
    return os.waitpid(child.pid, 0)[1]


def answer(name: str, account: Account, question: object) -> object:
    """What a child of this account answers: *question* is called in it, and returns JSON."""
    reader, writer = os.pipe()

    def main() -> None:
        os.write(writer, json.dumps(question()).encode())

    child = start_child(name, account, [writer], main)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        text = pipe.read()
    assert wait(child) == 0
    return json.loads(text)


def test_a_child_has_no_descriptors_but_those_it_keeps() -> None:
    secret = os.open("/dev/null", os.O_RDONLY)
    try:
        open_ones = answer("child", OWN, lambda: sorted(map(int, os.listdir("/proc/self/fd"))))
    finally:
        os.close(secret)
    assert isinstance(open_ones, list)
    assert secret not in open_ones
    assert set(open_ones) >= {0, 1, 2}
    assert len(open_ones) == 5  # and its pipe, and the listing itself


def test_a_childs_failure_is_one_line_and_an_exit_code(capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise BrokerError("the reason")

    assert os.waitstatus_to_exitcode(wait(start_child("child", OWN, [], fail))) == FAILED
    assert capfd.readouterr().err == "the reason\n"


def test_a_mistake_of_ours_shows_its_trace(capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    assert os.waitstatus_to_exitcode(wait(start_child("child", OWN, [], fail))) == 1
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_a_child_dies_with_its_parent(tmp_path: Path) -> None:
    """kill -9 of the supervisor leaves no orphan."""
    reader, writer = os.pipe()

    def parent() -> None:
        child = start_child("grandchild", OWN, [], lambda: time.sleep(60))
        os.write(writer, str(child.pid).encode())
        time.sleep(60)

    middle = start_child("parent", OWN, [writer], parent)
    os.close(writer)
    grandchild = int(os.read(reader, 64))
    os.close(reader)
    middle.send(signal.SIGKILL)
    wait(middle)
    deadline = time.monotonic() + 30
    while Path(f"/proc/{grandchild}").exists() and "Z" not in Path(f"/proc/{grandchild}/stat").read_text().split()[2]:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_program_gets_its_streams_and_environment_only(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    null = os.open("/dev/null", os.O_RDONLY)
    code = "import os, sys; print(sorted(os.environ), os.getcwd(), sorted(os.listdir('/proc/self/fd'))[:4])"
    command = [sys.executable, "-I", "-c", code]
    child = start_program("program", OWN, command, environment={"ONLY": "1"}, streams=(null, writer), cwd=tmp_path)
    os.close(writer)
    os.close(null)
    with os.fdopen(reader) as pipe:
        said = pipe.read()
    assert wait(child) == 0
    assert "ONLY" in said
    assert "HOME" not in said
    assert str(tmp_path) in said
    assert "['0', '1', '2', '3']" in said  # 3 is the listing


def status(pid: int) -> dict[str, str]:
    return dict(re.findall(r"^(\w+):\t(.*)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE))


def test_a_program_runs_when_it_is_returned_with_nothing_left_to_gain(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    command = ["/bin/sh", "-c", "read -r line"]
    child = start_program("program", OWN, command, environment={}, streams=(reader, 1), cwd=tmp_path)
    try:
        assert Path(f"/proc/{child.pid}/exe").resolve() == Path("/bin/sh").resolve()
        said = status(child.pid)
        assert said["NoNewPrivs"] == "1"
        if os.geteuid() == 0:
            assert [int(said[name], 16) for name in ("CapBnd", "CapPrm", "CapEff", "CapInh", "CapAmb")] == [0] * 5
        assert re.search(r"Max core file size +0 +0 ", Path(f"/proc/{child.pid}/limits").read_text())
    finally:
        os.close(writer)
        os.close(reader)
    wait(child)


def test_a_program_that_cannot_run_is_returned_too(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    command = [str(tmp_path / "none")]
    child = start_program("program", OWN, command, environment={}, streams=(0, 1), cwd=tmp_path)
    assert os.waitstatus_to_exitcode(wait(child)) == FAILED
    assert "none" in "".join(capfd.readouterr())


@AS_ROOT
def test_a_container_that_may_not_drop_capabilities_starts_programs(tmp_path: Path) -> None:
    """Without CAP_SETPCAP: what stops a gain of rights is no_new_privs then."""

    def state() -> int:
        libc = ctypes.CDLL(None, use_errno=True)
        header, none = (ctypes.c_uint32 * 2)(0x2008_0522, 0), (ctypes.c_uint32 * 6)()
        assert libc.capset(header, none) == 0
        null = os.open("/dev/null", os.O_RDWR)
        child = start_program("inner", OWN, ["/bin/true"], environment={}, streams=(null, null), cwd=tmp_path)
        return os.waitstatus_to_exitcode(wait(child))

    assert answer("outer", OWN, state) == 0


def test_how_a_child_ended_in_words() -> None:
    def killed() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    assert ending(wait(start_child("child", OWN, [], killed))) == "killed by SIGKILL"
    assert ending(wait(start_child("child", OWN, [], lambda: os._exit(7)))) == "exit code 7"


@AS_ROOT
def test_rights_are_given_up_for_good() -> None:
    nobody = find_account("nobody")
    assert nobody is not None

    def state() -> list[object]:
        try:
            os.setuid(0)
            back = True
        except PermissionError:
            back = False
        return [os.getresuid(), os.getresgid(), os.getgroups(), back]

    assert answer("child", nobody, state) == [[nobody.uid] * 3, [nobody.gid] * 3, [], False]


@AS_ROOT
def test_a_private_folder_is_not_reached_by_others(tmp_path: Path) -> None:
    nobody = find_account("nobody")
    assert nobody is not None
    inside = tmp_path / "inside"
    inside.mkdir()
    tmp_path.chmod(0o700)
    assert not nobody.reaches(inside)
    assert OWN.reaches(inside)
    with pytest.raises(BrokerError, match="cannot enter it"):
        choose_accounts(inside)


@AS_ROOT
def test_without_a_user_of_its_own_the_rest_shares_the_brokers(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = find_account("mosquitto")
    if broker is None:
        pytest.skip("needs the user mosquitto")
    monkeypatch.setattr("sigillo.broker.account.REST_USER", "no-such-user")
    accounts = choose_accounts(Path("/"))
    assert (accounts.broker, accounts.rest, accounts.separated) == (broker, broker, False)
    assert "no user no-such-user" in accounts.reason
    monkeypatch.setattr("sigillo.broker.account.BROKER_USER", "no-such-user")
    with pytest.raises(BrokerError, match="does not run as root"):
        choose_accounts(Path("/"))


def test_who_is_not_root_is_everybody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 4711)
    accounts = choose_accounts(tmp_path)
    assert accounts.broker == accounts.rest
    assert accounts.separated is False
    assert "not as root" in accounts.reason


def test_a_worker_outlives_a_lost_peer() -> None:
    """OpenSSL writes without MSG_NOSIGNAL: SIGPIPE would kill the archive with messages that it has not committed."""

    def write() -> str:
        reader, writer = os.pipe()
        os.close(reader)
        try:
            os.write(writer, b"lost")
        except BrokenPipeError:
            return "an error"
        return "nothing"

    assert answer("worker", OWN, write) == "an error"


def test_a_program_has_the_systems_handling_of_a_lost_peer(tmp_path: Path) -> None:
    null = os.open("/dev/null", os.O_RDWR)
    reader, writer = os.pipe()
    shell = ["/bin/sh", "-c", "while read -r line; do echo $line; done < /proc/self/status"]
    child = start_program("program", OWN, shell, environment={}, streams=(null, writer), cwd=tmp_path)
    os.close(writer)
    os.close(null)
    with os.fdopen(reader) as pipe:
        ignored = next(line for line in pipe.read().splitlines() if line.startswith("SigIgn"))
    assert wait(child) == 0
    assert not int(ignored.split()[1], 16) & 1 << (signal.SIGPIPE - 1)


def test_an_interrupt_while_forking_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python drops what a handler raises while it forks, so the signals that stop `up` wait until that is over."""
    fork, held = os.fork, []

    def recorded() -> int:
        held.append(signal.pthread_sigmask(signal.SIG_BLOCK, []))
        return fork()

    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    monkeypatch.setattr("os.fork", recorded)
    assert OWN.reaches(Path("/"))
    assert held[0] >= {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before


def test_a_child_catches_a_signal_once_it_has_a_handler() -> None:
    reader, writer = os.pipe()

    def main() -> None:
        os.read(reader, 1)
        signal.signal(signal.SIGHUP, lambda _number, _frame: None)
        os.write(answers, b"1")
        time.sleep(60)

    answered, answers = os.pipe()
    child = start_child("child", OWN, [reader, answers], main)
    assert not child.catches(signal.SIGHUP)
    os.write(writer, b"1")
    os.read(answered, 1)
    assert child.catches(signal.SIGHUP)
    assert not child.catches(signal.SIGUSR1)
    child.send(signal.SIGKILL)
    wait(child)
    assert not child.catches(signal.SIGHUP)
    for descriptor in (reader, writer, answered, answers):
        os.close(descriptor)
