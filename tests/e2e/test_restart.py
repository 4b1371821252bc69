"""Restarts and sudden deaths: the chain of epochs holds, and no delivered mark is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

from sigillo.core.spool import decode_segment

from .conftest import PATIENCE_S, SIGILLO, Operator, Tracker, export, sigillo, trust

RESTARTS = 10


def test_ten_restarts_under_load_leave_a_chain_that_one_policy_accepts(operator: Operator) -> None:
    folder = operator.folder.parent
    operator.start()
    trackers = [
        Tracker("crate-1", folder / "crate-1", qos=1).enrol(operator, "p256"),
        Tracker("crate-2", folder / "crate-2", qos=2).enrol(operator, "ed25519"),
    ]
    policy = trust(operator, trackers, folder / "policy.toml")
    for restart in range(RESTARTS):
        count = 15
        load = [subprocess.Popen([str(SIGILLO), *t.command(operator, count, interval=0.02)]) for t in trackers]
        operator.stop()
        operator.start()
        for process in load:
            assert process.wait(120) == 0, f"restart {restart}: {operator.log.read_text()[-4000:]}"
    evidence = export(operator, ["crate-1", "crate-2"], folder / "evidence.jsonl", 2 * 15 * RESTARTS)
    operator.stop()
    assert len(operator.statements()) == RESTARTS + 1
    verdict = json.loads(sigillo("verify", evidence, "--policy", policy, "--json"))
    assert verdict["verified"] is True


def test_kill_9_of_the_broker_loses_no_acknowledged_mark(operator: Operator) -> None:
    folder = operator.folder.parent
    operator.start()
    tracker = Tracker("crate-1", folder / "crate-1", qos=1).enrol(operator, "p256")
    tracker.publish(operator, 25)
    os.kill(broker_of(operator), signal.SIGKILL)
    assert operator.process is not None
    assert operator.process.wait(PATIENCE_S) == 1, operator.log.read_text()
    records = [
        record
        for path in sorted((operator.folder / "spool" / "0000000001").glob("*.spool"))
        for record in decode_segment(path.read_bytes()).records
    ]
    assert sum(record.kind == 1 for record in records) >= 25
    operator.start()
    tracker.publish(operator, 1)
    operator.stop()
    second = sigillo("inspect", export(operator, ["crate-1"], folder / "evidence.jsonl", 1), "--json")
    assert "unclean" in second


def broker_of(operator: Operator) -> int:
    """The process id of the Mosquitto that this `sigillo up` started."""
    assert operator.process is not None
    configuration = str(operator.folder / "conf" / "mosquitto.conf").encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue  # it ended while we looked
            if configuration in words and b"mosquitto" in words[0]:
                return int(entry.name)
    raise AssertionError(f"no broker runs on {operator.folder}")
