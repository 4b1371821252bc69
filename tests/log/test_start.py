"""What a start may find: each row of the table in spec/log-storage.md, made on disk."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sigillo.core.mark import Checkpoint
from sigillo.log import tree
from sigillo.log.error import LogError
from sigillo.log.store import Store
from sigillo.log.writer import create_log

from .operator import Operator, check, entries, small_segments

Point = Callable[[pytest.MonkeyPatch], None]


class Crash(BaseException):
    """The process dies here."""


def at(owner: Any, name: str, number: int = 1, *, after: bool = False) -> Point:
    """Die at the call *number* of a function, or just after it."""

    def arrange(patch: pytest.MonkeyPatch) -> None:
        original, left = getattr(owner, name), [number]

        def dying(*values: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                if after:
                    original(*values)
                raise Crash
            return original(*values)

        patch.setattr(owner, name, dying)

    return arrange


POINTS: dict[str, Point] = {
    "before S1": at(Store, "_append"),
    "after S2": at(Store, "_descriptor"),
    "after I2": at(Store, "flush"),
    "after I3": at(tree.Tree, "write"),
    "in T1": at(tree, "_create", 2),
    "after T2": at(tree.os, "replace"),
    "in T3": at(tree.os, "replace", 2, after=True),
    "after T4": at(tree.Tree, "write", after=True),
    "after C2": at(tree.disk, "replace"),
    "after C5": at(tree.disk, "replace", after=True),
    "after D1": at(tree.Tree, "drop_partial"),
}


def crash(operator: Operator, point: Point) -> None:
    """One round that dies there, with all that the process held."""
    with pytest.MonkeyPatch.context() as patch:
        log = operator.open()
        point(patch)
        with pytest.raises(Crash):
            log.round()
    log.close()


@pytest.mark.parametrize("marks", [1, 40, 300])
@pytest.mark.parametrize("name", POINTS)
def test_every_crash_is_recovered(operator: Operator, name: str, marks: int) -> None:
    operator.start()
    operator.mark(50)
    operator.run()
    before = entries(operator)
    operator.mark(marks)
    crash(operator, POINTS[name] if name not in ("before S1", "after S2") else POINTS["after I2"])
    operator.run()
    after = entries(operator)
    assert after[: len(before)] == before and len(after) == 51 + marks
    check(operator)


@pytest.mark.parametrize("name", ["before S1", "after S2", "after I2", "after I3", "after T4"])
@pytest.mark.parametrize("size", [8, 16])
def test_a_crash_at_the_edge_of_a_segment(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, name: str, size: int
) -> None:
    small_segments(monkeypatch, 8)
    operator.start()
    operator.mark(size - 1)
    operator.run()
    operator.mark(11)
    points = POINTS | {"after S2": at(Store, "_descriptor")}
    crash(operator, points[name])
    operator.run()
    assert len(entries(operator)) == size + 11
    check(operator)


def test_a_quiet_end_is_signed_again_with_the_same_bytes(operator: Operator) -> None:
    operator.start()
    operator.mark(300)
    operator.run()
    files = {path: path.read_bytes() for path in operator.log.rglob("*") if path.is_file()}
    operator.run()
    assert {path: path.read_bytes() for path in operator.log.rglob("*") if path.is_file()} == files


@pytest.mark.parametrize("cut", [1, 40, 300, 900])
def test_a_record_that_does_not_hold_is_cut_off_and_comes_again(operator: Operator, cut: int) -> None:
    operator.start()
    operator.mark(10)
    operator.run()
    operator.mark(10)
    crash(operator, POINTS["after I2"])
    path = operator.log / "store/0000000000.objects"
    data = path.read_bytes()
    path.write_bytes(data[:-cut] + bytes(cut))
    operator.run()
    assert path.read_bytes() == data
    check(operator)


def test_the_tail_stands_though_the_spool_has_lost_it(operator: Operator) -> None:
    """A power cut under `buffered`: the spool ends before the store does."""
    operator.start()
    operator.mark(10)
    operator.run()
    spool = operator.segment_path().read_bytes()
    operator.mark(10)
    crash(operator, POINTS["after I3"])
    operator.segment_path().write_bytes(spool)
    operator.run()
    assert len(entries(operator)) == 21
    operator.die()
    operator.start()
    operator.run()
    check(operator)


@pytest.mark.parametrize("left", [0, 1, 2, 3])
def test_tiles_behind_the_size_are_written_again(operator: Operator, left: int) -> None:
    operator.start()
    operator.mark(10)
    operator.run()
    known = set(operator.log.rglob("*"))
    operator.mark(300)
    crash(operator, POINTS["after T4"])
    fresh = sorted(path for path in operator.log.rglob("*") if path.is_file() and path not in known)
    contents = {path: path.read_bytes() for path in fresh}
    assert len(fresh) == 5
    for path in fresh[left:]:
        path.unlink()
    operator.run()
    assert {path: path.read_bytes() for path in fresh} == contents
    check(operator)


def test_a_checkpoint_smaller_than_one_that_was_seen(operator: Operator) -> None:
    """A power cut before C5, and a mark of a plugin that had seen the larger one is in the tail."""
    operator.start()
    operator.mark(10)
    old = operator.run()
    old_bytes = (operator.log / "public/checkpoint").read_bytes()
    operator.mark(10)
    seen = operator.run()
    operator.checkpoint = seen.head.checkpoint
    operator.mark(5)
    crash(operator, POINTS["after I3"])
    (operator.log / "public/checkpoint").write_bytes(old_bytes)
    signed = operator.run()
    assert (old.head.size, seen.head.size, signed.head.size) == (11, 21, 26)
    check(operator)


def test_spool_segments_that_came_back(operator: Operator, tmp_path: Path) -> None:
    """Whole, or as zeros: nothing in them follows."""
    operator.start()
    operator.mark(100)
    folder = operator.segment_path().parent
    shutil.copytree(folder, tmp_path / "copy")
    operator.run()
    first, second = operator.segment_path(0), operator.segment_path(1)
    assert not first.exists()
    shutil.copy(tmp_path / "copy/000000.spool", first)
    second.write_bytes(bytes(operator.segment_size))
    operator.mark(60)
    with operator.open() as log:
        signed = log.round()
        assert signed and signed.head.size == 161 and log.findings == []
    assert not first.exists() and not second.exists()
    check(operator)


def test_a_spool_with_records_missing_ends_there(operator: Operator) -> None:
    operator.start()
    operator.mark(60)
    operator.segment_path(1).write_bytes(operator.segment_path(1).read_bytes()[:64].ljust(operator.segment_size, b"\0"))
    operator.run()
    size = operator.public().size
    assert 1 < size < 61
    operator.die()
    operator.lose_marks(size - 1, operator.broker.clock_ns)
    operator.start()
    operator.mark(3)
    operator.run()
    assert len(entries(operator)) == size + 1 + 1 + 3
    check(operator)


def refused(operator: Operator, says: str) -> None:
    """No start, nothing signed, and the file is named."""

    def sign(_message: bytes) -> bytes:
        raise AssertionError("the log signed")

    with pytest.raises(LogError) as raised:
        operator.open(sign=sign)
    assert says in str(raised.value), raised.value


def full(operator: Operator) -> Operator:
    operator.start()
    operator.mark(299)
    operator.run()
    return operator


@pytest.mark.parametrize(
    "name",
    [
        "public/checkpoint",
        "public/tile/0/001.p/44",
        "public/tile/1/000.p/1",
        "public/tile/entries/001.p/44",
        "store/0000000000.objects",
    ],
)
@pytest.mark.parametrize("damage", ["missing", "different", "shorter"])
def test_what_no_crash_leaves_is_refused_by_name(operator: Operator, name: str, damage: str) -> None:
    path = full(operator).log / name
    data = path.read_bytes()
    at = data.rindex(b" ") + 8 if name.endswith("checkpoint") else len(data) - 10
    path.unlink()
    if damage == "different":
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    elif damage == "shorter":
        path.write_bytes(data[:-9])
    where = "public/tile" if damage == "different" and "/tile/" in name and "entries" not in name else name
    if damage == "different" and "entries" in name:
        where = "is not that of the tiles"
    refused(operator, where)


def test_a_checkpoint_of_another_key_is_refused(operator: Operator, tmp_path: Path) -> None:
    other = Operator(tmp_path / "other")
    other.broker.log_private, other.broker.log_key = _other_key()
    other.create()
    shutil.copy(other.log / "public/checkpoint", full(operator).log / "public/checkpoint")
    refused(operator, "public/checkpoint: the note has no signature")


def _other_key() -> tuple[Any, Any]:
    from ..adversary.broker import Broker

    broker = Broker(seed="other")
    return broker.log_private, broker.log_key


def test_rolled_back_tiles_or_store_are_refused(operator: Operator, tmp_path: Path) -> None:
    operator.start()
    operator.mark(10)
    operator.run()
    shutil.copytree(operator.log, tmp_path / "old")
    operator.mark(10)
    operator.run()
    shutil.copytree(operator.log, tmp_path / "new")
    for part, says in (("public/tile", "21: is missing"), ("store", "0000000000.objects: entry 11")):
        shutil.rmtree(operator.log)
        shutil.copytree(tmp_path / "new", operator.log)
        shutil.rmtree(operator.log / part)
        shutil.copytree(tmp_path / "old" / part, operator.log / part)
        refused(operator, says)


def test_an_older_log_is_seen_where_a_mark_names_a_newer_one(operator: Operator, tmp_path: Path) -> None:
    operator.start()
    operator.mark(10)
    operator.run()
    shutil.copytree(operator.log, tmp_path / "old")
    operator.mark(10)
    operator.checkpoint = operator.run().head.checkpoint
    shutil.rmtree(operator.log)
    shutil.copytree(tmp_path / "old", operator.log)
    operator.checkpoint = Checkpoint(operator.checkpoint.size, b"x" * 32)
    operator.mark(1)
    before = entries(operator)
    with operator.open() as log, pytest.raises(LogError, match="not of this log; no crash leaves this"):
        log.round()
    assert entries(operator) == before
    refused_round(operator)


def refused_round(operator: Operator) -> None:
    """Nor in a later start, though the broker is dead."""
    operator.die()
    operator.start()
    with operator.open() as log, pytest.raises(LogError):
        log.round()


def test_two_logs_on_one_folder(operator: Operator) -> None:
    with operator.open():
        refused(operator, "log: another process writes this log")
    operator.open().close()


def test_a_log_is_not_created_where_one_is(operator: Operator) -> None:
    broker = operator.broker
    for _ in range(2):
        with pytest.raises(LogError, match="there is a log here"):
            create_log(operator.log, broker.log_key, broker.log_private.sign)
        full(operator) if broker.epoch is None else None
        (operator.log / "public/checkpoint").unlink(missing_ok=True)
    refused(operator, "checkpoint: is missing")


def test_a_creation_that_a_crash_cut_short_may_be_done_again(operator: Operator) -> None:
    (operator.log / "public/checkpoint").unlink()
    create_log(operator.log, operator.broker.log_key, operator.broker.log_private.sign)
    check(full(operator))


def test_a_checkpoint_that_another_hand_changes_while_the_log_runs(operator: Operator) -> None:
    operator.start()
    path = operator.log / "public/checkpoint"
    with operator.open() as log:
        path.write_bytes(path.read_bytes() + b"\xe2\x80\x94 witness AAAAAAAA\n")
        with pytest.raises(LogError, match="another hand has changed it"):
            log.round()
