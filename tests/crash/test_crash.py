"""Whatever dies, whenever: no mark that was delivered or acknowledged is missing in the log (spec/log-storage.md)."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .rig import PLUGIN, Rig

ROUNDS = 25
MANY = int(os.environ.get("CRASH_ROUNDS", "0"))
"""Rounds of the long run, both durabilities together: as many as that, however long it takes."""

BUDGET_S = 8 * 60.0
EACH = 50
SEED = 4

pytestmark = pytest.mark.skipif(
    not PLUGIN.exists() or shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin") is None,
    reason="needs Mosquitto and the plugin: make setup plugin",
)


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="sigillo-crash-"))
    made.chmod(0o755)  # the broker's user has to get in
    yield made
    shutil.rmtree(made, ignore_errors=True)


def run(rig: Rig, rounds: int, budget_s: float) -> int:
    """Rounds until there are enough or the time is over; the log is checked now and then, and at the end."""
    deadline, done = time.monotonic() + budget_s, 0
    try:
        while done < rounds and time.monotonic() < deadline:
            rig.round()
            done += 1
            if done % EACH == 0:
                rig.settle()
                rig.check()
        rig.settle()
        size = rig.check()
    finally:
        rig.close()
    acknowledged, delivered = len(rig.seen.acknowledged), len(rig.seen.delivered)
    marks = f"{acknowledged} marks acknowledged, {delivered} delivered, {len(rig.seen.submitted)} tokens submitted"
    print(f"{rig.options}: {done} rounds, kills {dict(rig.killed)}: {marks}; fsck accepts {size} entries")
    assert min(acknowledged, delivered) > done, "there was a load"
    return done


@pytest.mark.parametrize("durability", ["buffered"])
def test_kill_9_of_anything_loses_no_mark(folder: Path, durability: str) -> None:
    assert run(Rig(folder, SEED, "--durability", durability), ROUNDS, float("inf")) == ROUNDS


@pytest.mark.slow
@pytest.mark.parametrize("durability", ["buffered", "strict"])
def test_kill_9_many_times(folder: Path, durability: str) -> None:
    """As many rounds as CRASH_ROUNDS says, or else as fit the time; how many it were is printed."""
    rounds, budget_s = (-(-MANY // 2), float("inf")) if MANY else (250, BUDGET_S / 2)
    done = run(Rig(folder, int.from_bytes(os.urandom(4)), "--durability", durability), rounds, budget_s)
    assert done == rounds if MANY else done > ROUNDS
