"""Each parser of the plugin under libFuzzer and sanitizers; `make check` replays the corpus where there is no clang."""

from __future__ import annotations

import fcntl
import shutil
import subprocess

import pytest

from .launcher import CHECKOUT

PLUGIN = CHECKOUT / "plugin"
TARGETS = sorted(path.stem for path in (PLUGIN / "fuzz").glob("*.c") if path.stem != "replay")


def fuzz(target: str, runs: int) -> None:
    if not shutil.which("clang"):
        pytest.skip("clang is not installed (packages/<release>/slow.txt)")
    with (CHECKOUT / "build" / f"fuzz-{target}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        command = ["make", "-C", PLUGIN, f"fuzz-{target}", f"RUNS={runs}"]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert f"Done {runs} runs" in done.stderr


def test_every_target_has_a_corpus() -> None:
    assert {path.name for path in (PLUGIN / "fuzz" / "corpus").iterdir()} == set(TARGETS)
    sizes = [path.stat().st_size for path in (PLUGIN / "fuzz" / "corpus").rglob("*") if path.is_file()]
    assert sum(sizes) < 200_000  # it is for everybody who clones


@pytest.mark.parametrize("target", TARGETS)
def test_a_short_run_finds_nothing(target: str) -> None:
    fuzz(target, 20_000)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_a_long_run_finds_nothing(target: str) -> None:
    fuzz(target, 1_000_000)
