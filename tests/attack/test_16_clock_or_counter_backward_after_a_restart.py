"""Attack 16 (Sunlight's fatal rule): after a restart the clock, the sequence or the epoch's number runs backward.

On real parts: `sigillo up`, Mosquitto and the plugin, under a clock that the test sets.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from sigillo.core.epoch import decode_statement
from sigillo.core.handshake import encode_packet
from sigillo.core.statement import HowEnded, Previous
from sigillo.log.public import PublicLog

from ..e2e.conftest import SIGILLO, Operator, Tracker, export, operator, reachable_tmp, sigillo, trust
from ..plugin.conftest import plugin
from ..plugin.launcher import MOSQUITTO, broker
from ..plugin.peer import Peer
from ..plugin.test_refusal import REFUSED
from ..plugin.test_start import refused

__all__ = ["operator", "plugin", "reachable_tmp"]

SECOND = 10**9
SHIM = """\
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    int file = clock == CLOCK_REALTIME ? open(OFFSET, O_RDONLY | O_CLOEXEC) : -1;
    if (file >= 0) {
        char text[32] = {0};
        if (read(file, text, sizeof text - 1) > 0) now->tv_sec += atol(text);
        close(file);
    }
    return result;
}
"""


class Clock:
    """A clock that is some seconds off, for whoever loads it."""

    def __init__(self, folder: Path) -> None:
        self.offset, source, self.library = folder / "offset", folder / "clock.c", folder / "clock.so"
        self.set(0)
        source.write_text(SHIM)
        command = ["cc", "-shared", "-fPIC", f'-DOFFSET="{self.offset}"', "-o", self.library, source, "-ldl"]
        subprocess.run(command, check=True)

    def set(self, seconds: int) -> None:
        self.offset.write_text(str(seconds))

    @property
    def environment(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(self.library)}


@pytest.fixture
def clock(reachable_tmp: Path) -> Clock:
    folder = reachable_tmp / f"clock-{time.monotonic_ns()}"
    folder.mkdir()
    return Clock(folder)


@pytest.fixture
def story(operator: Operator) -> Tracker:
    """One epoch with three messages, which ended cleanly."""
    operator.start()
    tracker = Tracker("crate-1", operator.folder.parent / "crate-1").enrol(operator, "p256")
    tracker.publish(operator, 3)
    operator.stop()
    return tracker


def start_refused(operator: Operator, environment: dict[str, str] | None = None) -> str:
    """`sigillo up` does not come up, states no epoch, and the log stays as it is; what it says."""
    statements, size = operator.statements(), PublicLog(operator.folder / "log" / "public").size
    done = subprocess.run(
        [SIGILLO, "up", operator.folder],
        env=os.environ | (environment or {}),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0 and "Traceback" not in done.stderr, done
    assert operator.statements() == statements
    assert PublicLog(operator.folder / "log" / "public").size == size
    return done.stdout + done.stderr


def test_a_start_with_the_clock_set_back_states_no_epoch(operator: Operator, story: Tracker, clock: Clock) -> None:
    clock.set(-3600)
    assert "time never runs backward" in start_refused(operator, clock.environment)
    sigillo("log", "fsck", operator.folder)
    operator.start()  # with the right clock it goes on
    story.publish(operator, 1)
    operator.stop()
    first, second = (decode_statement(path.read_bytes()).statement for path in operator.statements())
    assert second.previous and second.start_ns > second.previous.last_time_ns > first.start_ns


def test_a_broker_with_its_clock_set_back_never_listens(clock: Clock) -> None:
    """The plugin does not take the launcher's word for the time: its own clock must be past the floor."""
    previous = Previous(HowEnded.CLEAN, bytes(32), 5, time.time_ns())
    clock.set(-3600)
    with broker(fields={"number": 2, "previous": previous}) as made:
        made.mosquitto = ("env", *(f"{name}={value}" for name, value in clock.environment.items()), MOSQUITTO)
        made.launch()
        made.launcher.send(encode_packet(made.state()))
        assert "the clock is before the end of the previous epoch" in refused(made)


@pytest.mark.parametrize("seconds", [-3600, 3600])
def test_a_clock_that_steps_while_the_broker_runs_marks_nothing_more(clock: Clock, seconds: int) -> None:
    with broker() as made:
        made.mosquitto = ("env", *(f"{name}={value}" for name, value in clock.environment.items()), MOSQUITTO)
        made.start()
        with Peer(made.port, "a") as peer:
            assert peer.publish("m/t", b"1") == 0
            clock.set(seconds)
            assert peer.publish("m/t", b"2") in REFUSED
            clock.set(0)
            assert peer.publish("m/t", b"3") in REFUSED  # also when it is right again: for the rest of the epoch
        assert len(made.spooled_marks()) == 1


def test_a_number_is_not_given_twice_where_statements_are_gone(operator: Operator, story: Tracker) -> None:
    path = operator.statements()[-1]
    data = path.read_bytes()
    owner = path.stat()
    path.unlink()
    assert path.name in start_refused(operator)
    path.write_bytes(data)
    os.chown(path, owner.st_uid, owner.st_gid)
    operator.start()
    operator.stop()


@pytest.mark.parametrize("part", ["log", "log/store", "epochs"])
def test_a_part_from_a_backup_does_not_start(operator: Operator, story: Tracker, part: str) -> None:
    """The counters of one part run backward; the others show it."""
    copy = operator.folder.parent / "backup"
    subprocess.run(["cp", "-a", operator.folder / part, copy], check=True)
    operator.start()
    story.publish(operator, 2)
    operator.stop()
    shutil.rmtree(operator.folder / part)
    subprocess.run(["cp", "-a", copy, operator.folder / part], check=True)
    shutil.rmtree(copy)
    start_refused(operator)


def test_tiles_from_a_backup_grow_to_the_same_history_again(operator: Operator, story: Tracker) -> None:
    """The store has what they lack: the same entries come in the same order, under the same roots."""
    copy, public = operator.folder.parent / "backup", operator.folder / "log" / "public"
    subprocess.run(["cp", "-a", public, copy], check=True)
    operator.start()
    story.publish(operator, 2)
    operator.stop()
    before = list(PublicLog(public).entry_bytes(0, PublicLog(public).size))
    shutil.rmtree(public)
    subprocess.run(["cp", "-a", copy, public], check=True)
    assert PublicLog(public).size < len(before)
    operator.start()
    operator.stop()
    assert list(PublicLog(public).entry_bytes(0, len(before))) == before
    sigillo("log", "fsck", operator.folder)


def test_without_its_spool_no_sequence_comes_again(operator: Operator, story: Tracker) -> None:
    shutil.rmtree(operator.folder / "spool")
    operator.start()
    story.publish(operator, 1)
    operator.stop()
    second = decode_statement(operator.statements()[1].read_bytes()).statement
    assert second.previous and (second.number, second.previous.last_sequence) == (2, 3)
    sigillo("log", "fsck", operator.folder)


def test_a_whole_folder_from_a_backup_convicts_its_operator(operator: Operator, story: Tracker) -> None:
    """Nothing on this machine can see it; whoever has evidence of both lives can."""
    folder = operator.folder.parent
    policy = trust(operator, [story], folder / "policy.toml")
    copy = folder / "backup"
    subprocess.run(["cp", "-a", operator.folder, copy], check=True)
    operator.start()
    story.publish(operator, 1)
    first = export(operator, ["crate-1"], folder / "first.jsonl", 4)
    operator.stop()
    shutil.rmtree(operator.folder)
    copy.rename(operator.folder)
    operator.start()
    story.publish(operator, 1)
    second = export(operator, ["crate-1"], folder / "second.jsonl", 4)
    operator.stop()
    said = sigillo("accuse", first, second, "--policy", policy, "-o", folder / "accusation")
    assert said.startswith("MISBEHAVIOUR PROVED: ") and "two statements of epoch 2" in said
    assert sigillo("verify", folder / "accusation", "--policy", policy, expect=1) == said
