"""The counted log, with a TPM in memory that dies with us: every point at which a crash or a copy may come."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sigillo import disk
from sigillo.attestation.error import TpmError
from sigillo.broker import counted
from sigillo.broker.counted import AGAIN_S, FILE, INTERVAL_S, CountedLog, counted_log
from sigillo.broker.error import BrokerError
from sigillo.broker.log_key import SigningLogKey
from sigillo.core.counter import CounterRecord, verify_counter_record
from sigillo.core.errors import MerkleError
from sigillo.core.mark import Checkpoint
from sigillo.log.error import LogError

from ..vector.key import filler

KEY = SigningLogKey(Ed25519PrivateKey.from_private_bytes(filler("counted log")), "broker.example/log")
EVER = 41
"""The highest of the counters that the TPM has deleted."""


class Crash(BaseException):
    """The process dies here."""


@dataclass
class World:
    """A TPM, the clock, the log's size; and the point (two around each effect) at which the process dies."""

    folder: Path
    value: int | None = None
    now: float = 0.0
    size: int = 3
    dies_at: int | None = None
    points: int = 0
    down: bool = False
    index: int = 0x0181_1234
    copies: list[tuple[int, bytes | None]] = field(default_factory=list)

    def read(self) -> int | None:
        if self.down:
            raise TpmError("the TPM is gone")
        return self.value

    def make(self) -> None:
        assert self.value is None
        with self.effect():
            self.value = 0

    def increment(self) -> None:
        assert self.value is not None
        with self.effect():
            self.value = self.value + 1 if self.value else EVER + 1

    def replace(self, path: Path, data: bytes, mode: int) -> None:
        """In place of `disk.replace`, whose flushes would take the test's time."""
        assert mode == disk.PRIVATE
        with self.effect():
            path.write_bytes(data)

    def effect(self) -> Effect:
        return Effect(self)

    def point(self) -> None:
        self.points += 1
        self.copies.append((self.points, self.record_bytes()))
        if self.points == self.dies_at:
            raise Crash

    def record_bytes(self) -> bytes | None:
        path = self.folder / FILE
        return path.read_bytes() if path.exists() else None

    def record(self) -> CounterRecord:
        data = self.record_bytes()
        assert data
        return verify_counter_record(data, KEY.public)

    def put_back(self, data: bytes | None) -> None:
        if data is None:
            (self.folder / FILE).unlink(missing_ok=True)
        else:
            (self.folder / FILE).write_bytes(data)

    @property
    def newest(self) -> Checkpoint:
        return Checkpoint(self.size, self.root_at(self.size))

    def root_at(self, size: int) -> bytes:
        if size > self.size:
            raise MerkleError("no such prefix")
        return Checkpoint().root if size == 0 else filler(f"root of {size}")

    def start(self) -> CountedLog:
        log = CountedLog(self.folder, KEY, self, lambda: self.now)
        log.check(self.newest, self.root_at)
        return log


class Effect:
    """Something that is there afterwards: a crash may come just before and just after it."""

    def __init__(self, world: World) -> None:
        self._world = world

    def __enter__(self) -> None:
        self._world.point()

    def __exit__(self, kind: object, _error: object, _trace: object) -> None:
        if kind is None:
            self._world.point()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path)
    monkeypatch.setattr(counted, "disk", made)
    made.PRIVATE = disk.PRIVATE  # type: ignore[attr-defined]
    return made


def live(world: World) -> None:
    """A start, two epochs, an hour, an end; the log grows meanwhile."""
    log = world.start()
    log.turn(0, world.newest)
    for epoch in (1, 2):
        world.size += 2
        log.turn(epoch, world.newest)
    world.size += 1
    world.now += INTERVAL_S
    log.turn(2, world.newest)
    world.size += 1
    log.turn(2, world.newest, ending=True)


def points(world: World) -> int:
    """How many points a life has."""
    live(world)
    return world.points


def test_it_is_raised_at_epochs_each_hour_and_at_the_end(world: World) -> None:
    log = world.start()
    assert world.value == EVER + 2
    log.turn(0, world.newest)
    assert world.value == EVER + 2
    log.turn(1, world.newest)
    assert world.value == EVER + 3
    world.size += 1
    log.turn(1, world.newest)
    assert world.value == EVER + 3
    world.now += INTERVAL_S
    log.turn(1, world.newest)
    assert world.value == EVER + 4
    world.size += 1
    log.turn(1, world.newest, ending=True)
    assert world.value == EVER + 5
    assert world.record() == CounterRecord(EVER + 5, world.newest)


def test_where_nothing_was_logged_it_is_not_worn_out(world: World) -> None:
    log = world.start()
    log.turn(1, world.newest)
    value = world.value
    world.now += INTERVAL_S
    log.turn(1, world.newest, ending=True)
    for _ in range(5):
        world.start().turn(1, world.newest, ending=True)
    assert world.value == value


POINTS = 26
"""In a life."""


def test_all_points_are_tried(world: World) -> None:
    assert points(world) == POINTS


@pytest.mark.parametrize("first", range(1, POINTS + 1))
def test_no_crash_locks_the_log_out(world: World, first: int) -> None:
    """One anywhere, maybe another one soon after; then it starts, and goes on."""
    for second in (None, 1, 2, 3, 4, 5, 6):
        world.put_back(None)
        world.value = None
        for dies_at in (first, second):
            world.points, world.dies_at = 0, dies_at
            try:
                live(world)
            except Crash:
                assert world.points == dies_at
        world.dies_at = None
        live(world)
        assert world.value == world.record().value


def test_no_copy_starts_once_the_counter_was_raised_after_it(world: World) -> None:
    """Copies from every point of a life, and of lives that a crash ended at any point and that went on."""
    lives = points(world)
    tried = 0
    for dies_at in (None, *range(1, lives + 1)):
        world.put_back(None)
        world.value, world.points, world.dies_at, world.copies, world.size = None, 0, dies_at, [], 3
        try:
            live(world)
        except Crash:
            world.dies_at = None
            live(world)
        size, copies = world.size, list(world.copies)
        world.size += 1
        live(world)
        after = world.value
        for _, copy in copies:
            if copy is not None and verify_counter_record(copy, KEY.public).value == 0:
                continue  # made in the moment in which the counter was
            world.put_back(copy)
            world.size = size
            with pytest.raises(LogError, match=r"counter: .*is an old copy .*NV index 0x01811234.*--name"):
                world.start()
            assert world.value == after
            tried += 1
    assert tried > 20 * lives


def test_what_is_said_of_an_old_copy_names_both(world: World) -> None:
    live(world)
    copy, value, size = world.record_bytes(), world.record().value, world.size
    live(world)
    world.put_back(copy)
    with pytest.raises(
        LogError, match=f"counter is at {world.value}, .* knows is {value}, when the log had {size} ent"
    ):
        world.start()


def test_a_log_that_is_older_than_its_record(world: World) -> None:
    live(world)
    world.size -= 1
    with pytest.raises(LogError, match=r"counter: the log had \d+ entries when it was counted"):
        world.start()


@pytest.mark.parametrize("value", [None, 0, 7])
def test_another_tpm_or_a_cleared_one(world: World, value: int | None) -> None:
    live(world)
    world.value = value
    with pytest.raises(LogError, match=r"replaced or cleared.*tpm2_nvundefine -C o 0x01811234"):
        world.start()
    world.put_back(None)
    if value is None:  # what the remedy says
        live(world)
        assert world.value == world.record().value


@pytest.mark.parametrize("lie", [b"", b"nonsense", "another"])
def test_a_record_that_this_log_did_not_sign(world: World, lie: Any) -> None:
    """Who has the disk cannot make the copy fit the counter."""
    live(world)
    if lie == "another":
        other = SigningLogKey(Ed25519PrivateKey.generate(), "broker.example/log")
        log = CountedLog(world.folder, other, world)
        log._write(world.value or 0, world.newest)
    else:
        world.put_back(lie)
    with pytest.raises(LogError, match=r"counter: .*restored never signs"):
        world.start()


def test_somebody_else_raises_it(world: World) -> None:
    """Two copies that run at once with one TPM."""
    log = world.start()
    log.turn(0, world.newest)
    world.increment()
    world.increment()
    with pytest.raises(LogError, match="is an old copy"):
        log.turn(1, world.newest)


def test_an_epoch_needs_its_count(world: World) -> None:
    log = world.start()
    log.turn(0, world.newest)
    world.down = True
    with pytest.raises(TpmError, match="gone"):
        log.turn(1, world.newest)


def test_an_hour_without_the_tpm_is_a_finding_once(world: World) -> None:
    log = world.start()
    log.turn(1, world.newest)
    value = world.value
    world.size += 1
    world.down = True
    for _ in range(3):
        world.now += INTERVAL_S
        log.turn(1, world.newest)
    (said,) = log.findings()
    assert "gone" in said
    assert not log.findings()
    world.down = False
    world.now += AGAIN_S
    log.turn(1, world.newest)
    assert world.value == (value or 0) + 1
    world.size += 1
    world.down = True
    log.turn(1, world.newest, ending=True)
    assert len(log.findings()) == 1


def test_a_counted_log_without_its_tpm_is_refused(world: World) -> None:
    assert counted_log(world.folder, KEY, "") is None
    live(world)
    with pytest.raises(BrokerError, match=r"counter: a TPM counts this log, .* set tpm"):
        counted_log(world.folder, KEY, "")
