"""Disks that fail: the log stops, signs nothing, and goes on from what it has when the cause is gone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .operator import Operator, check, entries

SHIM = """\
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
static int left = -2;
static int fails(void) {
    if (left == -2) left = getenv("FAIL_FLUSH") ? atoi(getenv("FAIL_FLUSH")) : -1;
    return left > 0 && __sync_sub_and_fetch(&left, 1) == 0;
}
#define FLUSH(name) int name(int fd) { \\
    if (fails()) { errno = EIO; return -1; } \\
    return ((int (*)(int))dlsym(RTLD_NEXT, #name))(fd); }
FLUSH(fsync)
FLUSH(fdatasync)
"""
PROGRAM = """\
import sys
from pathlib import Path
from sigillo.log.error import LogError
from tests.log.operator import Operator

operator = Operator(Path(sys.argv[1]))
signed = 0
def sign(message):
    global signed
    signed += 1
    return operator.broker.log_private.sign(message)
try:
    with operator.open(sign=sign) as log:
        try:
            log.round()
        except LogError as error:
            before = signed
            try:
                log.round()
            except LogError:
                pass
            assert signed == before
            raise
except LogError as error:
    print(signed, error)
    sys.exit(3)
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shim")
    (folder / "shim.c").write_text(SHIM)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", folder / "shim.so", folder / "shim.c", "-ldl"], check=True)
    return folder / "shim.so"


def run(operator: Operator, **environment: str) -> subprocess.CompletedProcess[str]:
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, operator.folder],
        env=os.environ | {"PYTHONPATH": path} | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


FLUSHES = 16
"""A start and a round of 300 entries flush so often, and a few times more."""


@pytest.mark.parametrize("number", range(1, FLUSHES + 1))
def test_a_failing_flush_stops_the_log(operator: Operator, shim: Path, number: int) -> None:
    operator.start()
    operator.mark(5)
    operator.run()
    old = (operator.log / "public/checkpoint").read_bytes()
    operator.mark(300)
    done = run(operator, LD_PRELOAD=str(shim), FAIL_FLUSH=str(number))
    assert done.returncode == 3, done
    assert "Traceback" not in done.stderr and "the log has stopped" in done.stdout, done
    now = operator.public().checkpoint()
    assert (operator.log / "public/checkpoint").read_bytes() == old or now.head.size == 306
    operator.run()
    assert len(entries(operator)) == 306
    check(operator)


def test_what_was_signed_is_never_ahead_of_a_failed_flush(operator: Operator, shim: Path, tmp_path: Path) -> None:
    """The flush of the store is the first of a round: nothing after it is written, and nothing signed."""
    operator.start()
    operator.run()
    operator.mark(5)
    old = (operator.log / "public/checkpoint").read_bytes()
    for number in range(1, 20):
        copy = Operator(tmp_path / f"copy-{number}")
        shutil.copytree(operator.folder, copy.folder)
        done = run(copy, LD_PRELOAD=str(shim), FAIL_FLUSH=str(number))
        # one signature is the start's own, over the same size
        if done.stdout.startswith("1 ") and "store/0000000000.objects: Input/output error" in done.stdout:
            assert (copy.log / "public/checkpoint").read_bytes() == old
            assert not (copy.log / "public/tile/0/000.p/6").exists()
            return
    raise AssertionError("no failing flush was the store's in the round")


def mount(folder: Path, *options: str) -> None:
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", folder], capture_output=True)
    if done.returncode:
        pytest.skip("mounting a tmpfs needs root")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount(folder, "size=400k")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_stops_the_log(small_disk: Path, tmp_path: Path) -> None:
    operator = Operator(tmp_path / "operator")
    operator.folder.mkdir()
    (operator.folder / "log").symlink_to(small_disk / "log")
    operator.log = small_disk / "log"
    operator.create()
    operator.start()
    operator.mark(100)
    operator.run()
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(250_000))
    operator.mark(300)
    done = run(operator)
    assert done.returncode == 3 and "No space left on device" in done.stdout, done
    assert operator.public().size == 101
    ballast.unlink()
    operator.run()
    assert len(entries(operator)) == 401
    check(operator)


def test_a_disk_that_is_read_only_stops_the_log(small_disk: Path, tmp_path: Path) -> None:
    operator = Operator(tmp_path / "operator")
    operator.folder.mkdir()
    (operator.folder / "log").symlink_to(small_disk / "log")
    operator.log = small_disk / "log"
    operator.create()
    operator.start()
    operator.run()
    operator.mark(3)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    done = run(operator)
    assert done.returncode == 3 and "Read-only file system" in done.stdout and done.stdout.startswith("0 "), done
    check(operator)
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    operator.run()
    assert len(entries(operator)) == 4
