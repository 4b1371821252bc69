"""kill -9 of the log at random points while marks come: nothing is lost, and fsck accepts what is there."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sigillo.core.checkpoint import decode_checkpoint

from .operator import Operator, check, entries

PROGRAM = """\
import sys
from pathlib import Path
from tests.log.operator import Operator

operator = Operator(Path(sys.argv[1]))
with operator.open(heads_interval_s=0.05) as log:
    while True:
        if signed := log.round():
            print(signed.head.size, flush=True)
"""


def writer(operator: Operator) -> subprocess.Popen[str]:
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", PROGRAM, str(operator.folder)]
    return subprocess.Popen(command, env=os.environ | {"PYTHONPATH": path}, stdout=subprocess.PIPE, text=True)


def storm(operator: Operator, kills: int, seed: int) -> None:
    chance = random.Random(seed)
    marks = 0
    operator.start()
    handed_out = operator.public().checkpoint().head.checkpoint
    for _ in range(kills):
        process = writer(operator)
        assert process.stdout
        try:
            process.stdout.readline() if chance.random() < 0.5 and marks == 0 else None
            until = time.monotonic() + chance.uniform(0.2, 1.0)
            while time.monotonic() < until and process.poll() is None:
                count = chance.randrange(1, 60)
                operator.mark(count)
                marks += count
                time.sleep(chance.uniform(0, 0.02))
            assert process.poll() is None
        finally:
            process.kill()
            said = [int(line) for line in process.communicate()[0].split()]
        kept = operator.public().checkpoint().head
        assert kept.size >= max([handed_out.size, *said])
        handed_out = kept.checkpoint
        operator.checkpoint = handed_out  # what the plugin names from now on: the log must know it for ever
        if chance.random() < 0.2:
            with operator.open() as log:
                while log.round():
                    pass
                assert log.findings == []
            if chance.random() < 0.5:
                operator.end()
            else:
                operator.die()
            operator.start()
    operator.run()
    decode_checkpoint((operator.log / "public/checkpoint").read_bytes())
    logged = [entry for entry in entries(operator) if entry[0] == 1]
    assert len(logged) == marks == len(set(logged))
    check(operator)


def test_kill_at_random_points(operator: Operator) -> None:
    storm(operator, 25, seed=4)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_kill_at_random_points_again_and_again(operator: Operator, seed: int) -> None:
    storm(operator, 25, seed)
