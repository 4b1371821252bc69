"""Trackers that misbehave: the broker stands it, an honest one beside loses nothing, the verdict names it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sigillo.core.bytes import base64url_decode
from sigillo.core.datagram import decode_datagram
from sigillo.core.mark import decode_mark
from sigillo.device.misbehaviour import GARBAGE
from tests.device.plain_broker import until

from ..port import free_port
from .conftest import PATIENCE_S, PLUGIN, SIGILLO, Operator, Tracker, export, sigillo, trust

ROOM_FOR_THE_MARK = 4096
YEAR_NS = 365 * 86_400 * 10**9


@pytest.fixture(scope="module")
def operator(reachable_tmp: Path) -> Iterator[Operator]:
    """One broker for all of them. Its access list lets the device `thief` write on the topic of `victim`."""
    if not PLUGIN.exists() or shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin") is None:
        pytest.skip("needs Mosquitto and the plugin: make setup plugin")
    folder = reachable_tmp / "misbehaviour"
    folder.mkdir()
    made = Operator(folder / "operator", free_port())
    made.start()
    made.stop()
    acl = made.folder / "conf" / "acl"
    acl.write_text(acl.read_text() + "\nuser thief\ntopic write braid/agent/victim/shadow/reported/\n")
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def honest(operator: Operator) -> Iterator[Honest]:
    made = Honest(Tracker("honest", operator.folder.parent / "honest").enrol(operator, "p256"), operator)
    yield made
    made.lost_nothing()


@dataclass
class Honest:
    """The tracker that nobody may disturb."""

    tracker: Tracker
    operator: Operator

    @contextmanager
    def travelling(self) -> Iterator[None]:
        """Meanwhile it stays on one connection, before, during and after, and all that it sends is acknowledged."""
        command = [str(SIGILLO), "device", "simulate", str(self.tracker.folder), "--broker", self.operator.address]
        process = subprocess.Popen([*command, "--interval", "0.05", "--json"], stdout=subprocess.PIPE, text=True)
        try:
            self._goes_on()
            yield
            self._goes_on()
        finally:
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=PATIENCE_S)
        tally = json.loads(output)["devices"][0]
        assert (process.returncode, tally["connections"], tally["refused"], tally["unsettled"]) == (0, 1, {}, 0), tally
        assert tally["acknowledged"] == tally["sent"] > 0
        assert self.operator.process is not None and self.operator.process.poll() is None, self.operator.log.read_text()

    def lost_nothing(self) -> None:
        sent = self._sequence()
        court = Court(self.operator, self.tracker, sent)
        assert court.verified, court.verdict["reason"]
        assert [decode_datagram(payload).ver for payload in court.payloads()] == list(range(1, sent + 1))

    def _goes_on(self) -> None:
        """Two more messages: the second is not signed while the broker does not answer the ones before for long."""
        start = self._sequence()
        until(lambda: self._sequence() >= start + 2)

    def _sequence(self) -> int:
        return int((self.tracker.folder / "sequence").read_text())


def misbehave(operator: Operator, name: str, honest: Honest, kinds: str, *options: object, count: int = 3) -> Rogue:
    """Enrol a tracker, let it do these *kinds* wrong beside the honest one."""
    tracker = Tracker(name, operator.folder.parent / name).enrol(operator, "p256")
    with honest.travelling():
        return again(operator, tracker, kinds, *options, count=count)


def again(operator: Operator, tracker: Tracker, kinds: str, *options: object, count: int = 3) -> Rogue:
    chosen = [option for kind in kinds.split() for option in ("--misbehave", kind)]
    command = [*tracker.command(operator, count, interval=0.0), *chosen, *options, "--json"]
    tally = json.loads(sigillo(*command))["devices"][0]
    assert (tally["error"], tally["unsettled"], tally["refused"]) == (None, 0, {}), tally
    assert tally["sent"] == count == tally["written" if tally["acknowledged"] is None else "acknowledged"]
    return Rogue(tracker, tally["misbehaviour"], tally["connections"])


@dataclass
class Rogue:
    """What became of its misdeeds, by kind, as it tells it; its own numbered messages were all accepted."""

    tracker: Tracker
    misdeeds: dict[str, Any]
    connections: int


def accepted(number: int) -> dict[str, object]:
    return {"sent": number, "accepted": number, "refused": {}, "disconnected": 0}


class Court:
    """An exported file of one tracker, and what a stranger finds in it."""

    def __init__(self, operator: Operator, tracker: Tracker, at_least: int, *policy_options: str) -> None:
        folder = operator.folder.parent
        self.evidence = export(operator, [tracker.name], folder / f"{tracker.name}.jsonl", at_least)
        policy = trust(operator, [tracker], folder / f"{tracker.name}.toml")
        if policy_options:
            policy.write_text(policy.read_text().replace(*policy_options))
        done = subprocess.run(
            [str(SIGILLO), "verify", str(self.evidence), "--policy", str(policy), "--json"],
            capture_output=True,
            text=True,
        )
        assert done.returncode in (0, 1), done.stderr
        self.verdict = json.loads(done.stdout)
        self.verified: bool = self.verdict["verified"]

    def failures(self, step: int) -> list[str]:
        return self._texts(step, "failures")

    def notes(self, step: int) -> list[str]:
        return self._texts(step, "notes")

    @property
    def failed_steps(self) -> list[int]:
        return [check["step"] for check in self.verdict["checks"] if check["failures"]["count"]]

    def lines(self) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.evidence.read_text().splitlines()]
        return [line for line in lines if line["type"] == "message"]

    def payloads(self) -> list[bytes]:
        return [base64url_decode(line["payload"]) for line in self.lines()]

    def _texts(self, step: int, what: str) -> list[str]:
        check = next(check for check in self.verdict["checks"] if check["step"] == step)
        return [finding["text"] for finding in check[what]["listed"]]


def test_a_bad_signature_fails_step_9(operator: Operator, honest: Honest) -> None:
    rogue = misbehave(operator, "forger", honest, "bad-signature")
    assert rogue.misdeeds == {"bad-signature": accepted(3)}
    court = Court(operator, rogue.tracker, 6)
    assert court.failed_steps == [9]
    assert len(court.failures(9)) == 3 and "signature does not verify" in court.failures(9)[0]


def test_a_gap_fails_step_11(operator: Operator, honest: Honest) -> None:
    rogue = misbehave(operator, "forgetful", honest, "gap")
    assert rogue.misdeeds == {"gap": accepted(3)}
    court = Court(operator, rogue.tracker, 3)
    numbers = [decode_datagram(payload).ver for payload in court.payloads()]
    missing = numbers[-1] - numbers[0] + 1 - 3
    assert missing >= 2 and court.failed_steps == [11]
    assert court.failures(11) == [
        f'{missing} number(s) of device "forgetful" between the first and the last shown are missing'
    ]


def test_a_repeat_is_named_and_does_no_harm(operator: Operator, honest: Honest) -> None:
    rogue = misbehave(operator, "parrot", honest, "repeat")
    assert (rogue.misdeeds, rogue.connections) == ({"repeat": accepted(9)}, 4)
    court = Court(operator, rogue.tracker, 12)
    assert court.verified and court.verdict["summary"]["repeat_count"] == 9
    assert {decode_mark(base64url_decode(line["mark"])).mark.qos for line in court.lines()} == {1, 2}
    assert 'repeat: number 2 of device "parrot" was shown before' in court.notes(11)


def test_a_wrong_clock_changes_nothing_about_the_brokers_time(operator: Operator, honest: Honest) -> None:
    """The device's own time is its own claim; what is verified is when the broker got the message."""
    rogue = misbehave(operator, "dreamer", honest, "wrong-clock")
    assert rogue.misdeeds == {"wrong-clock": accepted(3)}
    court = Court(operator, rogue.tracker, 3)
    assert court.verified
    for line in court.lines():
        marked_ns = decode_mark(base64url_decode(line["mark"])).mark.time_ns
        assert abs(decode_datagram(base64url_decode(line["payload"])).ts_ns - marked_ns) > 9 * YEAR_NS


def test_another_devices_topic_is_refused_by_the_access_list(operator: Operator, honest: Honest) -> None:
    rogue = misbehave(operator, "burglar", honest, "other-topic", "--other", "honest")
    assert rogue.misdeeds == {
        "other-topic": {"sent": 3, "accepted": 0, "refused": {"Not authorized": 3}, "disconnected": 0}
    }
    court = Court(operator, rogue.tracker, 3)
    assert court.verified and len(court.lines()) == 3


def test_another_devices_topic_that_the_access_list_forgot_fails_step_9(operator: Operator, honest: Honest) -> None:
    rogue = misbehave(operator, "thief", honest, "other-topic", "--other", "victim")
    assert rogue.misdeeds == {"other-topic": accepted(3)}
    court = Court(operator, rogue.tracker, 6)
    assert court.failed_steps == [9]
    assert court.failures(9) == ['topic of "victim", delivered by "thief"'] * 3


def test_eight_bits_need_a_policy_that_says_so(operator: Operator, honest: Honest) -> None:
    """As shipped firmware: 8 bits and indefinite maps. The number on disk does not wrap."""
    name = "shipped"
    misbehave(operator, name, honest, "eight-bit indefinite", count=0)
    tracker = Tracker(name, operator.folder.parent / name)
    (tracker.folder / "sequence").write_text("253\n")
    rogue = again(operator, tracker, "eight-bit indefinite", count=5)
    assert rogue.misdeeds == {"eight-bit": accepted(5), "indefinite": accepted(5)}
    court = Court(operator, tracker, 5, "sequence_bits = 64", "sequence_bits = 8")
    assert [decode_datagram(payload).ver for payload in court.payloads()] == [254, 255, 0, 1, 2]
    assert {payload[0] for payload in court.payloads()} == {0xBF}
    assert court.verified and (tracker.folder / "sequence").read_text() == "258\n"
    assert Court(operator, tracker, 5).failed_steps == [11]


@pytest.mark.parametrize("protocol", ["5", "311"])
def test_garbage_fails_step_9_and_forged_marks_are_gone(operator: Operator, honest: Honest, protocol: str) -> None:
    name = f"drunk-{protocol}"
    rogue = misbehave(operator, name, honest, "garbage", "--protocol", protocol, count=1)
    assert rogue.misdeeds == {"garbage": accepted(len(GARBAGE) + 1)}
    court = Court(operator, rogue.tracker, len(GARBAGE) + 2)
    assert court.failed_steps == [9]
    failures = court.failures(9)
    assert len(failures) == len(GARBAGE) and all("is no signed device message" in failure for failure in failures)
    assert court.notes(11) == [f'repeat: number 1 of device "{name}" was shown before']  # with the broker's own mark


def test_a_packet_beyond_the_brokers_limit_costs_its_sender_the_connection(operator: Operator, honest: Honest) -> None:
    rogue = misbehave(operator, "glutton", honest, "huge", count=2)
    assert rogue.misdeeds == {"huge": {"sent": 2, "accepted": 0, "refused": {}, "disconnected": 2}}
    court = Court(operator, rogue.tracker, 2)
    assert court.verified and len(court.lines()) == 2


def test_the_largest_payload_within_the_limit_fails_step_9(operator: Operator, honest: Honest) -> None:
    rogue = misbehave(operator, "gourmet", honest, "huge", "--size", 1024 * 1024 - 1024, count=1)
    assert rogue.misdeeds == {"huge": accepted(1)}
    assert Court(operator, rogue.tracker, 2).failed_steps == [9]


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_flood_is_a_flood_of_repeats(operator: Operator, honest: Honest, qos: int) -> None:
    rogue = misbehave(operator, f"river-{qos}", honest, "flood", "--qos", qos, "--burst", 500, count=1)
    flood = rogue.misdeeds["flood"]
    assert flood["disconnected"] == 0 and flood["accepted"] + sum(flood["refused"].values()) == flood["sent"] == 500
    assert set(flood["refused"]) <= ({"Quota exceeded"} if qos == 2 else set())
    court = Court(operator, rogue.tracker, 501)  # what the quota refuses is marked before that
    assert court.verified and court.verdict["summary"]["repeat_count"] == 500


def test_a_misbehaving_tracker_talks_to_this_machine_only(operator: Operator, tmp_path: Path) -> None:
    sigillo("device", "new", "crate-1", "-o", tmp_path / "crate-1")
    command = [str(SIGILLO), "device", "simulate", str(tmp_path / "crate-1"), "--misbehave", "flood"]
    done = subprocess.run([*command, "--broker", "192.0.2.1:8883"], capture_output=True, text=True)
    assert done.returncode == 2 and "on this machine only" in done.stderr


@pytest.mark.slow
def test_the_largest_packet_of_mqtt_where_the_operator_set_the_largest_limit(reachable_tmp: Path) -> None:
    """256 MB, marked and archived, where the mark and the archive's queue have room; nobody else's message is lost."""
    folder = reachable_tmp / "largest"
    folder.mkdir()
    operator = Operator(folder / "operator", free_port())
    operator.start()
    operator.stop()
    configuration = operator.folder / "conf" / "mosquitto.conf"
    limits = "max_packet_size 1048576\n", "max_queued_bytes 268435456\n"
    text = configuration.read_text()
    assert all(limit in text for limit in limits)
    configuration.write_text(
        text.replace(limits[0], "max_packet_size 268304383\n").replace(limits[1], "max_queued_bytes 1073741824\n")
    )
    operator.start()
    try:
        honest = Honest(Tracker("honest", folder / "honest").enrol(operator, "p256"), operator)
        rogue = misbehave(operator, "whale", honest, "huge", "--size", 268_304_383 - ROOM_FOR_THE_MARK, count=1)
        assert rogue.misdeeds == {"huge": accepted(1)}
        honest.lost_nothing()
    finally:
        operator.stop()
