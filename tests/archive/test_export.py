from __future__ import annotations

import copy
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sigillo.archive.export import export
from sigillo.archive.selection import KnownEpoch, Selection, Tally
from sigillo.archive.store import Message, Store
from sigillo.archive.subscriber import read_marked
from sigillo.core.bytes import base64url_encode
from sigillo.core.evidence_codec import encode_line
from sigillo.core.evidence_line import EndLine, EpochLine, Line, MessageLine
from sigillo.core.mark import decode_mark
from sigillo.core.verify import verify

from ..adversary.broker import NOW_NS, SECOND, Broker
from ..adversary.device import Device, ed25519_key


class Scene:
    """A broker, two trackers, and an archive that has what the broker delivered."""

    def __init__(self, store: Store) -> None:
        self.store, self.broker = store, Broker()
        self.one, self.two = Device("crate-1"), Device("crate-2", "p256")
        self.spools: defaultdict[int, list[bytes]] = defaultdict(list)

    def send(self, *devices: Device) -> None:
        for device in devices:
            self.deliver(self.broker.publish(device))

    def deliver(self, line: MessageLine) -> None:
        kept = read_marked(line.topic.encode(), line.payload, [base64url_encode(line.mark)])
        assert isinstance(kept, Message)
        self.store.add([kept], [])

    @property
    def epochs(self) -> list[KnownEpoch]:
        found: list[KnownEpoch] = []
        for line in self.broker.lines:
            if isinstance(line, EpochLine):
                found.append(KnownEpoch.decode(line.statement, None))
            elif isinstance(line, EndLine):
                found[-1] = replace(found[-1], end_bytes=line.end)
        return found

    def export(self, *devices: Device, **limits: int) -> tuple[list[Line], Tally]:
        tally = Tally()
        selection = Selection(devices=tuple(device.id for device in devices), **limits)
        lines = export(
            self.store, self.epochs, selection, spooled=self.spools.__getitem__, tally=tally, progress=lambda: None
        )
        return list(lines), tally

    def numbers(self, *devices: Device, **limits: int) -> list[tuple[str, int]]:
        lines, _ = self.export(*devices, **limits)
        marks = [decode_mark(line.mark).mark for line in lines if isinstance(line, MessageLine)]
        return [(mark.principal, mark.sequence) for mark in marks]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with Store.open(tmp_path / "messages.sqlite") as store:
        yield Scene(store)


def verified(scene: Scene, lines: list[Line]) -> None:
    policy = scene.broker.policy(scene.one, scene.two)
    verify((encode_line(line)[:-1] for line in lines), policy, NOW_NS)


def test_the_whole_of_two_devices_verifies(scene: Scene) -> None:
    scene.send(scene.one, scene.two, scene.one)
    scene.broker.stop()
    scene.send(scene.two)
    lines, tally = scene.export(scene.one, scene.two)
    verified(scene, lines)
    assert (tally.messages, tally.epochs, tally.not_genuine) == (4, 2, 0)


def test_epochs_between_are_there_and_others_not(scene: Scene) -> None:
    for device in (scene.two, scene.one, scene.two, scene.one, scene.two):
        scene.send(device)
        scene.broker.stop()
    lines, tally = scene.export(scene.one)
    verified(scene, lines)
    first, between, last = ["epoch", "message", "end"], ["epoch", "end"], ["epoch", "message", "end"]
    assert [line.kind for line in lines] == ["header", *first, *between, *last, "trailer"]
    assert tally.epochs == 3


def test_the_last_of_each_device(scene: Scene) -> None:
    scene.send(scene.one, scene.one, scene.two)
    scene.broker.stop()
    scene.send(scene.one, scene.two, scene.two)
    assert scene.numbers(scene.one, last=2) == [("crate-1", 2), ("crate-1", 1)]
    assert scene.numbers(scene.one, scene.two, last=1) == [("crate-1", 1), ("crate-2", 3)]
    assert len(scene.numbers(scene.one, scene.two, last=100)) == 6
    lines, _ = scene.export(scene.one, scene.two, last=2)
    verified(scene, lines)


def test_a_range_of_time(scene: Scene) -> None:
    scene.send(*[scene.one] * 5)
    start = scene.broker.clock_ns - 4 * SECOND  # of the first mark
    assert scene.numbers(scene.one, from_ns=start + SECOND, to_ns=start + 3 * SECOND) == [
        ("crate-1", n) for n in (2, 3, 4)
    ]
    assert scene.numbers(scene.one, to_ns=start - 1) == []


def test_forged_marks_are_left_out(scene: Scene) -> None:
    """A last will passes the plugin by: one with a forged mark must not spoil the evidence of anybody."""
    scene.send(scene.one)
    scene.deliver(scene.broker.mark(scene.one.topic, b"forged", "crate-1", signed_by=ed25519_key("forger"), sequence=2))
    scene.deliver(
        scene.broker.mark(scene.one.topic, b"forged", "crate-1", signed_by=ed25519_key("forger"), sequence=2**40)
    )
    assert scene.broker.epoch is not None
    scene.broker.epoch.sequence = 1
    scene.broker.epoch.chains["crate-1"].count = 1
    scene.broker.epoch.chains["crate-1"].previous = decode_mark(scene.broker.lines[1].mark).object_hash
    scene.send(scene.one)
    lines, tally = scene.export(scene.one)
    verified(scene, lines)
    assert (tally.messages, tally.not_genuine) == (2, 2)
    assert scene.numbers(scene.one, last=1) == [("crate-1", 2)]


def test_marks_of_an_unknown_epoch_are_left_out(scene: Scene) -> None:
    scene.send(scene.one)
    stranger = Broker(seed="other")
    scene.deliver(stranger.publish(scene.one))
    assert scene.numbers(scene.one) == [("crate-1", 1)]


def test_two_genuine_marks_with_one_sequence_are_told(scene: Scene) -> None:
    scene.send(scene.one)
    scene.deliver(scene.broker.mark(scene.one.topic, b"other", "crate-1", sequence=1, count=1))
    lines, tally = scene.export(scene.one)
    assert (tally.messages, tally.twice) == (1, 1)
    assert len(lines) == 4


def swallowed(scene: Scene) -> None:
    """A message, its duplicate that only the spool has a mark of, and another message."""
    scene.send(scene.one)
    first = scene.broker.lines[-1]
    assert isinstance(first, MessageLine)
    scene.spools[1].append(scene.broker.mark(first.topic, first.payload, "crate-1").mark)
    scene.send(scene.one)


def test_a_duplicate_without_a_delivery_is_shown_as_a_repeat(scene: Scene) -> None:
    swallowed(scene)
    lines, tally = scene.export(scene.one)
    verified(scene, lines)
    assert (tally.messages, tally.repeats) == (3, 1)


def test_a_forged_mark_does_not_hide_a_repeat(scene: Scene) -> None:
    scene.send(scene.one)
    assert scene.broker.epoch is not None
    honest = copy.deepcopy((scene.broker.epoch.sequence, scene.broker.epoch.last, scene.broker.epoch.chains))
    lies = {"signed_by": ed25519_key("forger"), "sequence": 2**40, "count": 2**40}
    scene.deliver(scene.broker.mark(scene.one.topic, b"forged", "crate-1", **lies))
    scene.broker.epoch.sequence, scene.broker.epoch.last, scene.broker.epoch.chains = honest
    swallowed(scene)
    lines, tally = scene.export(scene.one)
    verified(scene, lines)
    assert (tally.messages, tally.repeats) == (4, 1)


def test_nothing_found_is_an_empty_tally(scene: Scene) -> None:
    scene.send(scene.one)
    lines, tally = scene.export(scene.two)
    assert tally == Tally()
    assert len(lines) == 2


@pytest.mark.parametrize("lie", [{"payload": b"other"}, {"topic": "braid/agent/crate-1/shadow/reported/other"}])
def test_a_good_mark_on_another_message_is_left_out(scene: Scene, lie: dict[str, Any]) -> None:
    """A last will passes the plugin by, and may carry a mark that its sender has seen."""
    scene.send(scene.one)
    scene.deliver(replace(scene.broker.publish(scene.one), **lie))
    lines, tally = scene.export(scene.one)
    verified(scene, lines)
    assert (tally.messages, tally.not_genuine) == (1, 1)


def test_a_message_too_large_for_a_line_is_left_out_and_told(scene: Scene) -> None:
    scene.send(scene.one)
    for size in (1_000_000, 1_600_000):  # one fits a line of 2 MiB, one does not
        scene.deliver(scene.broker.publish(scene.one, payload=scene.one.datagram(FILL=bytes(size))))
    scene.send(scene.one)
    lines, tally = scene.export(scene.one)
    assert (tally.messages, tally.too_large) == (3, 1)
    assert all(encode_line(line) for line in lines)


def test_what_comes_in_meanwhile_changes_nothing(scene: Scene, tmp_path: Path) -> None:
    """The archive goes on while an export runs; a mark is looked at once, and its message read again later."""
    scene.send(*[scene.one] * 4)
    expected, _ = scene.export(scene.one)
    lies = {"signed_by": ed25519_key("forger"), "sequence": 1, "count": 1}
    forged = scene.broker.mark(scene.one.topic, b"forged", "crate-1", **lies)
    tally, selection = Tally(), Selection(devices=(scene.one.id,))
    with Store.open_to_read(tmp_path / "messages.sqlite") as reader:
        lines = export(
            reader, scene.epochs, selection, spooled=scene.spools.__getitem__, tally=tally, progress=lambda: None
        )
        begun = [next(lines), next(lines)]
        scene.deliver(forged)
        assert [*begun, *lines] == expected
    assert (tally.messages, tally.not_genuine) == (4, 0)


@pytest.mark.parametrize("column", ["principal = 'crate-2'", "sequence = 7", "topic = 'other'"])
def test_a_column_that_is_not_the_marks_is_not_believed(scene: Scene, tmp_path: Path, column: str) -> None:
    scene.send(scene.one, scene.one)
    with sqlite3.connect(tmp_path / "messages.sqlite") as changed:
        changed.execute(f"UPDATE message SET {column} WHERE sequence = 2")
    lines, tally = scene.export(scene.one, scene.two)
    verified(scene, lines)
    assert (tally.messages, tally.not_genuine) == (1, 1)
