"""Each carrier through the whole chain: devices of both forms, the archive, evidence, the verdict."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import Operator, Tracker, export, sigillo, trust

CARRIERS = (["property"], ["datagram"], ["datagram", "--raw-tokens"], ["topic"])


@pytest.mark.parametrize("carrier", CARRIERS, ids=" ".join)
def test_evidence_comes_out_of_every_carrier(operator: Operator, tmp_path: Path, carrier: list[str]) -> None:
    operator.options = ("--carrier", *carrier)
    operator.start()
    folder = operator.folder.parent
    trackers = [
        Tracker("crate-1", folder / "crate-1", qos=2).enrol(operator, "p256"),
        Tracker("crate-2", folder / "crate-2", qos=0).enrol(operator, "ed25519"),
        Tracker("crate-3", folder / "crate-3", qos=1, form="cose").enrol(operator, "p256"),
    ]
    for tracker in trackers:
        tracker.publish(operator, 4)
    evidence = export(operator, [tracker.name for tracker in trackers], tmp_path / "evidence.jsonl", 12)
    policy = trust(operator, trackers, tmp_path / "policy.toml")
    verdict = json.loads(sigillo("verify", evidence, "--policy", policy, "--json"))
    assert verdict["verified"] is True
    assert verdict["summary"]["message_count"] == 12
