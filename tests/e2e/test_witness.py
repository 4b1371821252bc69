"""`sigillo up --witness` with a real `sigillo witness`: cosigned, never waited for, and a restored backup stopped."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sigillo.core.checkpoint import SignedCheckpoint, verify_checkpoint
from sigillo.core.cosignature import verify_cosignature
from sigillo.core.note import LogKey
from sigillo.log.cosigned import read_cosigned
from sigillo.log.public import PublicLog

from ..witness.rig import WitnessProcess
from .conftest import PATIENCE_S, Operator, Tracker


@pytest.fixture
def witness(operator: Operator) -> Iterator[WitnessProcess]:
    """A witness of nothing yet; the operator asks it every second."""
    made = WitnessProcess(operator.folder.parent / "witness", ()).start()
    operator.options = ("--witness", f"{made.url.rstrip('/')}={made.key.vkey}", "--cosign-interval", "1")
    yield made
    if made.process is not None:
        made.process.send_signal(signal.SIGCONT)
    made.kill()


def log_key(operator: Operator) -> LogKey:
    return LogKey.from_vkey((operator.folder / "log" / "log.vkey").read_text().strip())


def follow(witness: WitnessProcess, operator: Operator) -> None:
    """As a witness's operator does who was given the log's vkey."""
    witness.stop()
    witness.options = ("--log", log_key(operator).vkey)
    witness.start()


def cosigned(operator: Operator, witness: WitnessProcess, at_least: int) -> SignedCheckpoint:
    """The cosigned checkpoint, once it has so many entries."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        found = read_cosigned(operator.folder / "log")
        if found is not None and found.head.size >= at_least:
            verify_checkpoint(found, log_key(operator))
            assert verify_cosignature(found.note, witness.key).time_s > 0
            return found
        time.sleep(0.05)
    raise AssertionError(operator.log.read_text())


def entries(operator: Operator) -> int:
    return PublicLog(operator.folder / "log" / "public").size


def test_marks_are_cosigned_whatever_happens_to_the_witness(operator: Operator, witness: WitnessProcess) -> None:
    operator.start()
    follow(witness, operator)
    tracker = Tracker("crate-1", operator.folder.parent / "crate-1").enrol(operator, "ed25519")
    tracker.publish(operator, 5)
    cosigned(operator, witness, 6)
    assert witness.process is not None
    witness.process.send_signal(signal.SIGSTOP)  # it takes connections, and says nothing
    tracker.publish(operator, 20)
    witness.kill()
    tracker.publish(operator, 20)
    witness.start()
    cosigned(operator, witness, 46)
    operator.stop()
    assert cosigned(operator, witness, entries(operator)).head.size == entries(operator), "the end is cosigned too"
    assert f"witness {witness.key.name} cosigns" in operator.log.read_text()


def test_a_restored_backup_is_stopped(operator: Operator, witness: WitnessProcess) -> None:
    """Attack 40, on real parts."""
    operator.start()
    follow(witness, operator)
    tracker = Tracker("crate-1", operator.folder.parent / "crate-1").enrol(operator, "ed25519")
    tracker.publish(operator, 5)
    operator.stop()
    backup = operator.folder.with_name("backup")
    copy_all(operator.folder, backup)
    operator.start()
    tracker.publish(operator, 30)
    operator.stop()
    cosigned(operator, witness, entries(operator))
    shutil.rmtree(operator.folder)
    backup.rename(operator.folder)
    before = (operator.folder / "log" / "public" / "checkpoint").read_bytes()
    with pytest.raises(AssertionError, match="says that it has cosigned"):
        operator.start()
    assert (operator.folder / "log" / "public" / "checkpoint").read_bytes() == before
    assert operator.process is not None
    assert operator.process.wait(PATIENCE_S) == 2
    operator.process = None
    witness.kill()
    with pytest.raises(AssertionError, match="log/stopped"):
        operator.start()
    operator.stop(expect=2)


def copy_all(source: Path, target: Path) -> None:
    """With owners and modes, as a backup has them."""
    subprocess.run(["cp", "-a", os.fspath(source), os.fspath(target)], check=True)
