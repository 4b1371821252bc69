"""The sequence: no number for two contents, none skipped, over restarts, kill -9, a crash at every step, bad disks."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sigillo.device.error import DeviceError
from sigillo.device.folder import make_device_folder
from sigillo.device.store import MAX_SEQUENCE, Outbox


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_device_folder(tmp_path / "crate-1", "crate-1", "ed25519").path


def fresh(number: int) -> bytes:
    """A payload that would differ if it were signed again (as ECDSA's does)."""
    return b"%d " % number + os.urandom(8)


class Wire:
    """Everything that ever left the device, by number."""

    def __init__(self) -> None:
        self.seen: dict[int, set[bytes]] = {}

    def carry(self, number: int, payload: bytes) -> None:
        self.seen.setdefault(number, set()).add(payload)

    def check(self, upto: int) -> None:
        assert sorted(self.seen) == list(range(1, upto + 1))
        assert all(len(payloads) == 1 for payloads in self.seen.values())


def run(folder: Path, wire: Wire, messages: int) -> None:
    """One run of a device: send what is left, then issue, send and settle."""
    with Outbox(folder) as outbox:
        for old in outbox.pending:
            wire.carry(old.sequence, old.payload)
            outbox.settle(old.sequence)
        for _ in range(messages):
            message = outbox.issue("t", fresh)
            wire.carry(message.sequence, message.payload)
            outbox.settle(message.sequence)


def test_sequence_survives_restarts(folder: Path) -> None:
    wire = Wire()
    for _ in range(3):
        run(folder, wire, 4)
    wire.check(12)
    assert (folder / "sequence").read_text() == "12\n"


class Crash(BaseException):
    """The process ends here; BaseException, as nothing may handle a power cut."""


@pytest.fixture
def crash_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Counts down at every change to the disk; at 0 the process "dies" before it, and makes no change afterwards."""
    countdown = [-1]

    def guard(name: str) -> None:
        real = getattr(os, name)

        def guarded(*arguments: object, **options: object) -> object:
            if countdown[0] == 0:
                raise Crash
            countdown[0] -= 1
            return real(*arguments, **options)

        monkeypatch.setattr(os, name, guarded)

    for name in ("write", "fsync", "replace", "unlink"):
        guard(name)
    yield countdown
    countdown[0] = -1


def test_crash_before_every_single_step(folder: Path, crash_at: list[int]) -> None:
    """Steps are the changes to the disk; a crash before each of them, then a restart."""
    wire = Wire()
    crashes = 0
    for step in range(200):
        crash_at[0] = step
        try:
            run(folder, wire, 3)
        except Crash:
            crashes += 1
            continue
        finally:
            crash_at[0] = -1
        break
    run(folder, wire, 1)
    assert crashes >= 20
    with Outbox(folder) as outbox:
        wire.check(outbox.sequence)
        assert outbox.pending == []
    assert not list(folder.rglob(".new-*"))


CHILD = """
import os, sys
from pathlib import Path
from sigillo.device.store import Outbox
wire = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
with Outbox(Path(sys.argv[1]), wait_s=10) as outbox:
    def send(message):
        os.write(wire, b"%d %s\\n" % (message.sequence, message.payload.hex().encode()))
        outbox.settle(message.sequence)
    for old in outbox.pending:
        send(old)
    print("up", flush=True)
    while True:
        send(outbox.issue("t", lambda number: os.urandom(16)))
"""


def test_kill_9_at_random_points(folder: Path, tmp_path: Path) -> None:
    chance = random.Random(20)
    log = tmp_path / "wire"
    for _ in range(12):
        with subprocess.Popen([sys.executable, "-c", CHILD, str(folder), str(log)], stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"up\n"
            time.sleep(chance.uniform(0, 0.03))
            child.send_signal(signal.SIGKILL)
    wire = Wire()
    with Outbox(folder) as outbox:
        last = outbox.sequence
        for old in outbox.pending:
            wire.carry(old.sequence, old.payload.hex().encode())
    for line in log.read_bytes().splitlines():
        number, payload = line.split()
        wire.carry(int(number), payload)
    assert last >= 12
    wire.check(last)


def test_two_processes_share_numbers_not_contents(folder: Path, tmp_path: Path) -> None:
    """Many short runs at the same time, each waiting for the lock."""
    wire, lock = Wire(), threading.Lock()

    def sign() -> None:
        for _ in range(5):
            with Outbox(folder, wait_s=60) as outbox:
                message = outbox.issue("t", fresh)
                with lock:
                    wire.carry(message.sequence, message.payload)
                outbox.settle(message.sequence)

    threads = [threading.Thread(target=sign) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wire.check(20)


def test_second_opener_is_refused(folder: Path) -> None:
    with Outbox(folder), pytest.raises(DeviceError, match="another process"):
        Outbox(folder)
    Outbox(folder).close()


def test_lock_goes_with_the_process(folder: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", CHILD, str(folder), os.devnull], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        with pytest.raises(DeviceError, match="another process"):
            Outbox(folder)
        child.kill()
    Outbox(folder).close()


@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_failing_disk_stops_the_device(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """After a failed write the state on disk is unknown: no message leaves, and no other is signed until reopened."""

    def fail(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with Outbox(folder) as outbox:
        with monkeypatch.context() as broken:
            broken.setattr(os, name, fail)
            with pytest.raises(DeviceError, match="No space left"):
                outbox.issue("t", fresh)
        with pytest.raises(DeviceError, match="start again"):
            outbox.issue("t", fresh)
    wire = Wire()
    run(folder, wire, 2)
    with Outbox(folder) as outbox:
        wire.check(outbox.sequence)


def test_signer_that_fails_uses_no_number(folder: Path) -> None:
    def broken(_number: int) -> bytes:
        raise DeviceError("no signer")

    with Outbox(folder) as outbox:
        with pytest.raises(DeviceError, match="no signer"):
            outbox.issue("t", broken)
        assert outbox.issue("t", fresh).sequence == 1


def test_last_number(folder: Path) -> None:
    (folder / "sequence").write_text(f"{MAX_SEQUENCE - 1}\n")
    with Outbox(folder) as outbox:
        assert outbox.issue("t", fresh).sequence == MAX_SEQUENCE
        with pytest.raises(DeviceError, match="used"):
            outbox.issue("t", fresh)
    with Outbox(folder) as outbox, pytest.raises(DeviceError, match="used"):
        outbox.issue("t", fresh)


@pytest.mark.parametrize(
    "text", ["", "\n", "1", "01\n", "-1\n", "1 \n", "1\n\n", "x\n", f"{2**64}\n", "²\n", "1" * 5000 + "\n"]
)
def test_damaged_sequence_is_named(folder: Path, text: str) -> None:
    (folder / "sequence").write_text(text)
    with pytest.raises(DeviceError, match="sequence: must hold"):
        Outbox(folder)


def test_missing_sequence_does_not_start_at_one_again(folder: Path) -> None:
    (folder / "sequence").unlink()
    with pytest.raises(DeviceError, match="uses numbers twice"):
        Outbox(folder)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", "nonsense", '{"sequence": 1, "topic": "t", "payload": "=="}', "null"]
)
def test_damaged_outbox_is_named(folder: Path, content: str) -> None:
    with Outbox(folder) as outbox:
        outbox.issue("t", fresh)
    (folder / "outbox" / f"{1:020d}.json").write_text(content)
    with pytest.raises(DeviceError, match=r"0001\.json: is not a stored message"):
        Outbox(folder)


def test_sequence_set_back_under_an_outbox(folder: Path) -> None:
    """A `sequence` from a backup beside newer messages is refused, not continued."""
    with Outbox(folder) as outbox:
        for _ in range(3):
            outbox.issue("t", fresh)
    (folder / "sequence").write_text("1\n")
    with pytest.raises(DeviceError, match="two states"):
        Outbox(folder)


def test_settling_twice_or_the_unknown_is_harmless(folder: Path) -> None:
    with Outbox(folder) as outbox:
        number = outbox.issue("t", fresh).sequence
        outbox.settle(number)
        outbox.settle(number)
        outbox.settle(99)
        assert outbox.pending == []
