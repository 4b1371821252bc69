"""The whole chain, and the stock clients' view of it."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest

from sigillo.core.bytes import base64url_decode
from sigillo.core.checkpoint import decode_checkpoint, verify_checkpoint
from sigillo.core.datagram import decode_datagram
from sigillo.core.mark import decode_mark
from sigillo.core.note import LogKey

from .conftest import PATIENCE_S, Operator, Story, Tracker, export, sigillo, trust


def test_a_stranger_verifies_what_three_parties_made(story: Story) -> None:
    verdict = json.loads(sigillo("verify", story.evidence, "--policy", story.policy, "--json"))
    assert verdict["verified"] is True
    assert verdict["level"]["name"] == "declared"


def test_without_a_policy_nothing_is_verified(story: Story) -> None:
    first = sigillo("verify", story.evidence, expect=1).splitlines()[0]
    assert first.startswith("NOT VERIFIED: no policy says whom to trust")


def test_another_operators_log_key_is_refused(story: Story, operator: Operator, tmp_path: Path) -> None:
    operator.start()
    operator.stop()
    stranger = trust(operator, story.trackers, tmp_path / "policy.toml")
    assert sigillo("verify", story.evidence, "--policy", stranger, expect=1).startswith("NOT VERIFIED")


def test_a_strict_policy_refuses_an_unsynchronised_clock(story: Story, tmp_path: Path) -> None:
    """Where this machine's clock is synchronised with an unknown bound, the same policy refuses that."""
    strict = story.policy.read_text().replace("allow_unsynchronised = true", "allow_unsynchronised = false")
    strict = strict.replace("allow_unknown_bound = true", "allow_unknown_bound = false").replace('"1s"', '"1ns"')
    (tmp_path / "strict.toml").write_text(strict)
    verdict = json.loads(sigillo("verify", story.evidence, "--policy", tmp_path / "strict.toml", "--json", expect=1))
    assert "clock" in json.dumps(verdict)


def test_inspect_needs_no_trust(story: Story) -> None:
    assert "crate-1" in sigillo("inspect", story.evidence)


@pytest.mark.parametrize("version", ["5", "311"])
def test_a_stock_subscriber_sees_the_untouched_payload(operator: Operator, version: str) -> None:
    operator.start()
    folder = operator.folder.parent
    reader = Tracker("reader", folder / "reader").enrol(operator, "p256")
    sender = Tracker("crate-1", folder / "crate-1").enrol(operator, "p256")
    operator.stop()
    acl = operator.folder / "conf" / "acl"
    acl.write_text(acl.read_text() + "\nuser reader\ntopic read braid/#\n")
    operator.start()
    tls = ["--cafile", reader.folder / "ca.cert.pem", "--cert", reader.folder / "tls.cert.pem"]
    tls += ["--key", reader.folder / "tls.key.pem"]
    session = ["-V", version, "-i", "reader", "-c", "-q", "1", "-t", "braid/#"]
    session += ["-x", "300"] if version == "5" else []
    subscriber = ["mosquitto_sub", "-h", "localhost", "-p", operator.port, *tls, *session]
    # the session exists before the message is sent, so that nothing depends on who is faster
    stock(*subscriber, "-E")
    sender.publish(operator, 1)
    seen = stock(*subscriber, "-C", "1", "-W", "30", "-F", "%x %P" if version == "5" else "%x")
    evidence = export(operator, ["crate-1"], folder / "evidence.jsonl", 1)
    line = next(json.loads(text) for text in evidence.read_text().splitlines() if '"message"' in text)
    assert base64url_decode(line["payload"]).hex() in seen
    assert (f"time-mark:{line['mark']}" in seen) == (version == "5")


def test_with_the_carrier_topic_a_device_of_mqtt_3_reads_the_marks(operator: Operator) -> None:
    """One that the operator lets read the companions of all; and the archive's evidence is as ever."""
    operator.options = ("--carrier", "topic")
    operator.start()
    operator.stop()
    with (operator.folder / "conf" / "acl").open("a") as access_list:
        access_list.write("\nuser reader\ntopic read sigillo/mark/#\n")
    operator.start()
    folder = operator.folder.parent
    reader = Tracker("reader", folder / "reader").enrol(operator, "p256")
    sender = Tracker("crate-1", folder / "crate-1").enrol(operator, "p256")
    tls = ["--cafile", reader.folder / "ca.cert.pem", "--cert", reader.folder / "tls.cert.pem"]
    tls += ["--key", reader.folder / "tls.key.pem"]
    session = ["-V", "311", "-i", "reader", "-c", "-q", "1", "-t", "sigillo/mark/#"]
    subscriber = ["mosquitto_sub", "-h", "localhost", "-p", operator.port, *tls, *session]
    stock(*subscriber, "-E")
    sender.publish(operator, 1)
    topic, companion = stock(*subscriber, "-C", "1", "-W", "30", "-F", "%t %x").split()
    evidence = export(operator, ["crate-1"], folder / "evidence.jsonl", 1)
    line = next(json.loads(text) for text in evidence.read_text().splitlines() if '"message"' in text)
    assert topic == f"sigillo/mark/{line['topic']}"
    assert companion == base64url_decode(line["mark"]).hex()
    policy = trust(operator, [sender], folder / "policy.toml")
    assert json.loads(sigillo("verify", evidence, "--policy", policy, "--json"))["verified"] is True


def stock(*command: object) -> str:
    return subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True, timeout=60).stdout


def test_a_device_reads_the_beacon_and_later_marks_name_it(operator: Operator) -> None:
    operator.start()
    folder = operator.folder.parent
    crate = Tracker("crate-1", folder / "crate-1").enrol(operator, "p256")
    log_key = LogKey.from_vkey((operator.folder / "log" / "log.vkey").read_text().strip())
    tls = ["--cafile", crate.folder / "ca.cert.pem", "--cert", crate.folder / "tls.cert.pem"]
    tls += ["--key", crate.folder / "tls.key.pem", "-i", "crate-1"]
    subscriber = ["mosquitto_sub", "-h", "localhost", "-p", operator.port, *tls, "-t", "sigillo/checkpoint"]
    crate.publish(operator, 3)
    deadline = time.monotonic() + PATIENCE_S
    size = 0
    while size < 4:  # the statement and three marks
        assert time.monotonic() < deadline, operator.log.read_text()
        note = stock(*subscriber, "-C", "1", "-W", "30", "-N").encode()
        size = verify_checkpoint(decode_checkpoint(note), log_key).size
    said = json.loads(sigillo(*crate.command(operator, 1), "--json"))
    echoed = said["devices"][0]["beacon"]
    assert echoed["size"] >= size and not echoed["refused"]
    evidence = export(operator, ["crate-1"], folder / "evidence.jsonl", 4)
    lines = [json.loads(text) for text in evidence.read_text().splitlines()]
    named = [
        decode_mark(base64url_decode(line["mark"])).mark.checkpoint.size for line in lines if line["type"] == "message"
    ]
    assert named == sorted(named)
    assert named[-1] >= size > named[0]
    beacons = [decode_datagram(base64url_decode(line["payload"])).beacon for line in lines if line["type"] == "message"]
    assert None not in beacons and beacons[-1] not in beacons[:-1]
