"""The resume point saves a start the reading of an epoch, and is never believed where it is wrong."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigillo.log import source, writer
from sigillo.log.error import LogError
from sigillo.log.reader import LogReader
from sigillo.log.resume import MAGIC, read_point, write_point
from sigillo.log.writer import Log

from .operator import Operator, check, entries

SIZE = 46


@pytest.fixture
def long(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> Operator:
    """An epoch of 40 marks with heads after 20 and 40 of them, and three marks more."""
    monkeypatch.setattr(source, "HEADS_MARKS", 16)
    operator.start()
    with operator.open() as log:
        for _ in range(8):
            operator.mark(5, principals=4)
            log.round()
        operator.mark(3, principals=4)
        log.round()
    assert len(entries(operator)) == SIZE
    return operator


def point_of(operator: Operator) -> Path:
    return operator.log / "store/resume"


def decoded_at_start(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many records of the epoch a start admits one by one; the log goes on afterwards."""
    admitted = []
    with monkeypatch.context() as patch:
        original = Log._admit
        patch.setattr(Log, "_admit", lambda *values, **named: (admitted.append(1), original(*values, **named))[1])
        operator.open().close()
    operator.mark(3, principals=4)
    operator.run()
    check(operator)
    return len(admitted)


def test_a_start_reads_on_from_the_newest_heads(long: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    point = read_point(long.log / "store")
    assert point and len(point.marks) == 4
    assert point.heads == 42
    assert decoded_at_start(long, monkeypatch) == 3
    point_of(long).unlink()
    assert decoded_at_start(long, monkeypatch) == SIZE + 3


def test_with_and_without_it_is_one_state(long: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    def state() -> object:
        with long.open() as log:
            history = log._history
            table = history.head_table().heads
            return (
                *(history.size, history.begin, history.sequence, history.ended, history.epoch_id, table),
                *(history._time_ns, history._last_hash, history.heads_sequence, history.heads_index),
                history._last,
            )

    def compare() -> None:
        fast = state()
        point_of(long).unlink()
        assert state() == fast

    data = point_of(long).read_bytes()
    compare()
    point_of(long).write_bytes(data)
    long.end()
    long.run()
    compare()  # a point behind an end


def test_a_stale_point_is_used_as_far_as_it_goes(long: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    stale = point_of(long).read_bytes()
    with long.open() as log:
        long.mark(20, principals=4)
        log.round()
    assert point_of(long).read_bytes() != stale
    point_of(long).write_bytes(stale)
    assert decoded_at_start(long, monkeypatch) == 3 + 20 + 1


def test_a_point_of_an_epoch_before_is_none(long: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    stale = point_of(long).read_bytes()
    long.die()
    long.start()
    long.mark(3)
    long.run()
    point_of(long).write_bytes(stale)
    assert decoded_at_start(long, monkeypatch) == 4


def _write(operator: Operator, change: Callable[[list[int]], list[int]]) -> None:
    point = read_point(operator.log / "store")
    assert point
    heads, *marks = change([point.heads, *point.marks])
    write_point(operator.log / "store", heads, marks)


WRONG: dict[str, Callable[[list[int]], list[int]]] = {
    "a principal less": lambda p: p[:-1],
    "no principals": lambda p: p[:1],
    "a principal twice": lambda p: [*p[:2], *p[1:]],
    "an older mark of a principal": lambda p: [p[0], p[1] - 4, *p[2:]],
    "other order": lambda p: [p[0], *reversed(p[1:])],
    "later marks": lambda p: [p[0], *(mark + 4 for mark in p[1:])],
    "an entry that is no mark": lambda p: [p[0], 0, *p[1:]],
    "an entry behind the end": lambda p: [*p, 10**6],
    "a number beyond all bounds": lambda p: [*p, 2**64 - 1],
    "heads that are none": lambda p: [p[0] - 1, *p[1:]],
    "heads behind the checkpoint": lambda p: [10**6, *p[1:]],
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_point_is_seen(long: Operator, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    _write(long, WRONG[name])
    assert decoded_at_start(long, monkeypatch) == SIZE


@pytest.mark.parametrize("data", [b"", b"\0", MAGIC, MAGIC[:-1], MAGIC + b"1234567", b"x" * 64, MAGIC + bytes(64)])
def test_what_is_no_point_is_passed_over(long: Operator, monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    point_of(long).write_bytes(data)
    assert decoded_at_start(long, monkeypatch) == SIZE


@given(st.binary(max_size=100) | st.binary(max_size=100).map(lambda data: MAGIC + data))
def test_any_bytes_are_a_point_or_none(data: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "resume").write_bytes(data)
        point = read_point(Path(folder))
        if point:
            write_point(Path(folder), point.heads, point.marks)
            assert (Path(folder) / "resume").read_bytes() == data


def test_a_mark_of_the_store_that_is_not_the_entry_is_not_believed(long: Operator) -> None:
    """The point holds by itself; the record that it names was altered, and its CRC set right."""
    from sigillo.log.record import decode_record, encode_record

    point = read_point(long.log / "store")
    assert point
    index = random.Random(1).choice(point.marks)
    record = LogReader(long.log, long.broker.log_key).record(index)
    path = long.log / "store/0000000000.objects"
    data = path.read_bytes()
    other = bytearray(record.object_bytes)
    other[-1] ^= 1
    entry = bytearray(record.entry)
    for changed in (
        encode_record(index, record.entry, bytes(other)),
        encode_record(index, bytes(entry[:-1]) + b"\0", record.object_bytes),
    ):
        path.write_bytes(data[: record.offset] + changed + data[record.end :])
        decode_record(path.read_bytes(), record.offset, index)
        with pytest.raises(LogError, match=r"0000000000.objects: entry \d+"):
            long.open()
    path.write_bytes(data)
    long.open().close()


def test_head_proofs_come_from_the_point(long: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    point = read_point(long.log / "store")
    assert point
    reader = LogReader(long.log, long.broker.log_key)
    fast = reader.head_table(point.heads)
    point_of(long).unlink()
    slow = reader.head_table(point.heads)
    assert fast.heads == slow.heads and fast.prove("crate-1") == slow.prove("crate-1")


def test_disk_full_while_it_is_written_stops_the_log(long: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_values: object) -> None:
        raise OSError(28, "No space left on device", "resume")

    with long.open() as log:
        long.mark(20, principals=4)
        monkeypatch.setattr(writer, "write_point", fails)
        with pytest.raises(LogError, match="resume: No space left"):
            log.round()
    monkeypatch.undo()
    long.run()
    check(long)
