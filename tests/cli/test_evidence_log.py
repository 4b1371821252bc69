"""`sigillo evidence` with the operator's log: the file proves its marks, and says up to which entry it is complete."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from sigillo.archive.export import export
from sigillo.archive.selection import KnownEpoch, Selection, Tally
from sigillo.archive.store import Message, Store
from sigillo.archive.subscriber import read_marked
from sigillo.cli.evidence_log import OperatorLog
from sigillo.core.appraise import appraise
from sigillo.core.bytes import base64url_encode
from sigillo.core.checkpoint import SignedCheckpoint
from sigillo.core.evidence_codec import encode_line
from sigillo.core.evidence_line import MessageLine
from sigillo.core.line import split_lines
from sigillo.core.verdict import Result, Verdict

from ..adversary.broker import NOW_NS, alone
from ..adversary.device import Device
from ..log.operator import Operator, small_segments

CRATES = (Device("crate-1"), Device("crate-2"))


class Scene:
    """Two epochs of an operator with a log; the archive misses one message of the first tracker."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.operator, self.store, self.known = Operator(folder).create(), store, []
        self.devices = CRATES[0], CRATES[1]
        for device in self.devices:
            device.number = 0

    def start(self) -> None:
        self.operator.start()
        self.known.append(len(self.known) + 1)

    def publish(
        self, device: Device, *, kept: bool = True, spooled: bool = True, beacon: SignedCheckpoint | None = None
    ) -> None:
        from sigillo.core.entry import Kind

        broker = self.operator.broker
        payload = device.datagram(beacon=beacon.beacon_hash if beacon else None)
        line = broker.mark(device.topic, payload, device.id, checkpoint=self.operator.checkpoint)
        assert broker.epoch and line.payload is not None
        if spooled:
            self.operator.record(Kind.MARK, broker.epoch.sequence, line.mark)
        if kept:
            message = read_marked(line.topic.encode(), line.payload, [base64url_encode(line.mark)])
            assert isinstance(message, Message)
            self.store.add([message], [])

    def log(self) -> SignedCheckpoint:
        signed = self.operator.run()
        self.operator.checkpoint = signed.head.checkpoint
        return signed

    def export(self, *, cosigned: bool = False, **changes: object) -> tuple[bytes, Tally]:
        epochs = []
        for number in self.known:
            path = self.operator.epochs / f"{number:010}.cose"
            epochs.append(KnownEpoch.decode(path.read_bytes(), None))
        find = OperatorLog.find_cosigned if cosigned else OperatorLog.find
        found, tally = find(self.operator.log), Tally()
        assert found
        selection = dataclasses.replace(Selection(devices=tuple(device.id for device in self.devices)), **changes)
        lines = export(
            self.store,
            epochs,
            selection,
            spooled=found.marks,
            tally=tally,
            progress=lambda: None,
            log=found.view(),
        )
        return b"".join(map(encode_line, lines)), tally

    def verdict(self, data: bytes, **missing: bool) -> Verdict:
        policy = self.operator.broker.policy(*self.devices, missing=alone(**missing))
        return appraise(split_lines([data]), policy, NOW_NS)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with Store.open(tmp_path / "messages.sqlite") as store:
        made = Scene(tmp_path / "operator", store)
        made.start()
        for _ in range(3):
            for device in made.devices:
                made.publish(device)
            made.log()
        yield made


def complete_to(verdict: Verdict) -> int | None:
    assert verdict.summary.log
    return verdict.summary.log.complete_to


def test_a_file_with_a_log_proof_verifies(scene: Scene) -> None:
    scene.operator.die()
    scene.start()
    scene.publish(scene.devices[0])
    scene.log()
    data, tally = scene.export()
    verdict = scene.verdict(data)
    assert verdict.verified, verdict.reason
    assert tally.messages == 7
    assert b'"type":"stop"' in data
    assert verdict.summary.log and complete_to(verdict)
    assert {check.result for check in verdict.checks[13:16]} == {Result.PASSED}


def test_what_the_checkpoint_does_not_cover_is_left_out(scene: Scene) -> None:
    scene.publish(scene.devices[0])
    data, tally = scene.export()
    assert (tally.messages, tally.pending) == (6, 1)
    assert scene.verdict(data).verified


@pytest.mark.parametrize("last", [True, False], ids=["after the last one kept", "in between"])
def test_what_nobody_kept_is_admitted(scene: Scene, last: bool) -> None:
    """The mark store has the mark, so the file has it too; the last one shows by the heads."""
    scene.publish(scene.devices[0], kept=False)
    if not last:
        scene.publish(scene.devices[0])
    scene.operator.end()
    scene.log()
    data, tally = scene.export()
    assert tally.not_held == 1
    verdict = scene.verdict(data)
    assert [check.step for check in verdict.checks if check.failures.count] == ([10] if last else [10, 11])
    allowed = scene.verdict(data, allow_not_held=True, allow_lost=True)
    assert allowed.verified, allowed.reason
    assert allowed.summary.not_held_count == 1


def test_a_period_is_complete_up_to_its_end(scene: Scene) -> None:
    """Later marks are not asked for: the heads would name them, so no head stands there."""
    lines = [line for line in scene.operator.broker.signed if line.entry.kind == 1]
    scene.operator.end()
    scene.log()
    from sigillo.core.mark import decode_mark

    to_ns = decode_mark(lines[3].object_bytes).mark.time_ns
    data, tally = scene.export(to_ns=to_ns)
    assert tally.messages == 4
    verdict = scene.verdict(data)
    assert verdict.verified, verdict.reason
    assert b'"type":"head"' not in data


def test_only_the_newest(scene: Scene) -> None:
    scene.operator.end()
    scene.log()
    data, tally = scene.export(last=1)
    assert (tally.messages, tally.not_held) == (2, 0)
    assert scene.verdict(data).verified


def test_every_message_line_has_its_entry(scene: Scene) -> None:
    data, _ = scene.export()
    from ..adversary.forge import body

    entries = [line.index for line in body(data) if isinstance(line, MessageLine)]
    public = scene.operator.public()
    assert [public.entry(index or 0).sequence for index in entries] == [1, 2, 3, 4, 5, 6]


def test_what_retention_deleted_is_said_and_what_is_left_verifies(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    small_segments(monkeypatch, 4)
    scene: Scene = request.getfixturevalue("scene")
    scene.operator.end()
    scene.log()
    scene.start()
    scene.publish(scene.devices[0])
    scene.log()
    with scene.operator.open(keep_entries=1) as log:
        log.round()
    found = OperatorLog.find(scene.operator.log)
    assert found and found.missed_before is None
    data, tally = scene.export()
    assert tally.messages == 7
    verdict = scene.verdict(data)
    assert verdict.verified, verdict.reason
    list(found.marks(1))
    assert found.missed_before == 8
    assert found.view().heads(1) is None
    assert [len(list(found.marks(epoch))) for epoch in (1, 2)] == [0, 1]
