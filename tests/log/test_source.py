"""What comes next: order, heads, and what is refused or only noted."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sigillo import disk
from sigillo.core.entry import Kind
from sigillo.core.mark import Checkpoint
from sigillo.core.statement import HowEnded
from sigillo.log.cursor import SpoolCursor
from sigillo.log.error import LogError

from ..adversary.device import ed25519_key
from .operator import TOPIC, Operator, check, small_segments

S, M, E, H = Kind.EPOCH_STATEMENT, Kind.MARK, Kind.EPOCH_END, Kind.HEADS


def logged(operator: Operator) -> list[tuple[Kind, int, int]]:
    public = operator.public()
    return [(entry.kind, entry.epoch, entry.sequence) for entry in public.entries(0, public.size)]


def test_order_over_epochs_with_and_without_end(operator: Operator) -> None:
    operator.start()
    operator.mark(2)
    operator.end()
    operator.start()
    operator.mark()
    operator.die()
    operator.start()
    operator.run()
    one, two = [(S, 1, 0), (M, 1, 1), (M, 1, 2), (E, 1, 2), (H, 1, 2)], [(S, 2, 0), (M, 2, 1), (H, 2, 1)]
    assert logged(operator) == [*one, *two, (S, 3, 0)]
    check(operator)


def test_an_epoch_without_marks(operator: Operator) -> None:
    operator.start()
    operator.end()
    operator.start()
    operator.die()
    operator.start()
    operator.run()
    assert logged(operator) == [(S, 1, 0), (E, 1, 0), (H, 1, 0), (S, 2, 0), (H, 2, 0), (S, 3, 0)]
    check(operator)


def test_heads_each_interval_while_marks_come(operator: Operator) -> None:
    clock = 0.0
    with operator.open(heads_interval_s=60, now=lambda: clock) as log:
        operator.start()
        operator.mark()
        log.round()
        clock = 61.0
        operator.mark()
        log.round()
        clock = 122.0
        assert log.round() is None
        operator.mark()
        log.round()
    assert [item for item in logged(operator) if item[0] is H] == [(H, 1, 2), (H, 1, 3)]
    check(operator)


def test_segments_that_are_covered_go(operator: Operator) -> None:
    operator.start()
    operator.mark(100)
    operator.run()
    left = sorted((operator.spool / "0000000001").iterdir())
    assert left == [operator.segment_path()]
    operator.end()
    operator.start()
    operator.run()
    assert not list((operator.spool / "0000000001").iterdir())


def test_a_round_has_a_limit(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sigillo.log.writer.MAX_ROUND", 10)
    small_segments(monkeypatch, 16)
    operator.start()
    operator.mark(35)
    with operator.open() as log:
        sizes = []
        while signed := log.round():
            sizes.append(signed.head.size)
    assert sizes == [10, 20, 30, 36]
    check(operator)


Change = Callable[[Operator], None]
LIES: dict[str, tuple[Change, str]] = {
    "signed by another key": (lambda o: o.mark(signed_by=ed25519_key("other")), "signature does not verify"),
    "of another epoch": (lambda o: o.mark(kid=b"e" * 32), "of another epoch"),
    "chain broken": (lambda o: o.mark(previous=b"p" * 32), "its principal's mark before"),
    "principal's count skipped": (
        lambda o: o.record(M, 3, o.broker.mark(TOPIC, b"", "crate-0", count=3).mark),
        "before",
    ),
    "time goes back": (lambda o: o.mark(time_ns=1), "its time is before"),
    "not a mark": (lambda o: o.record(M, 3, b"garbage"), "COSE_Sign1"),
    "statement as a mark": (lambda o: o.record(M, 3, o.broker.epoch.countersigned), "typ"),  # type: ignore[union-attr]
    "a seal": (lambda o: o.record(Kind.SEAL, 2, b"seal"), "seals are not logged"),
    "end of another mark": (lambda o: o.end(last=b"l" * 32), "the end covers"),
    "end that time left behind": (lambda o: o.end(time_ns=1), "its time is before"),
}


@pytest.mark.parametrize("alive", [True, False])
@pytest.mark.parametrize(("size", "says"), [(99, "only 3 entries precede"), (2, "not of this log")])
def test_a_mark_that_names_what_this_log_never_was_stops_it(
    operator: Operator, size: int, says: str, alive: bool
) -> None:
    """The plugin has seen a checkpoint of this key: another history would be the second."""
    operator.start()
    operator.mark(2)
    operator.mark(checkpoint=Checkpoint(size, b"r" * 32))
    plugin = disk.open_folder(operator.spool / "0000000001") if alive else None
    if plugin is not None:
        disk.lock(plugin, 0)
    for _ in range(2):
        with operator.open() as log, pytest.raises(LogError, match=f"{says}.*a new log with a new origin"):
            log.round()
    assert logged(operator) == []
    if plugin is not None:
        os.close(plugin)


def lie(operator: Operator, name: str) -> str:
    """Two honest marks, then the lie. What the refusal says."""
    operator.start()
    operator.mark(2)
    change, says = LIES[name]
    change(operator)
    return says


@pytest.mark.parametrize("name", LIES)
def test_a_lie_of_a_dead_epoch_ends_it_and_is_found(operator: Operator, name: str) -> None:
    says = lie(operator, name)
    with operator.open() as log:
        log.round()
        (finding,) = log.findings
        assert says in finding and "spool/0000000001/000000.spool, byte " in finding
        assert log.findings == []
        assert log.round() is None
    assert logged(operator) == [(S, 1, 0), (M, 1, 1), (M, 1, 2)]


@pytest.mark.parametrize("name", LIES)
def test_a_lie_of_a_living_broker_stops_the_log(operator: Operator, name: str) -> None:
    says = lie(operator, name)
    plugin = disk.open_folder(operator.spool / "0000000001")
    disk.lock(plugin, 0)
    signed = 0

    def sign(message: bytes) -> bytes:
        nonlocal signed
        signed += 1
        return operator.broker.log_private.sign(message)

    with operator.open(sign=sign) as log:
        before = signed
        with pytest.raises(LogError, match="the broker that wrote it lives") as raised:
            log.round()
        assert says in str(raised.value)
        with pytest.raises(LogError, match="has stopped"):
            log.round()
        assert signed == before
    assert logged(operator) == []


def test_a_torn_tail_ends_a_dead_epoch_and_the_next_goes_on(operator: Operator) -> None:
    operator.start()
    operator.mark(3)
    operator.patch(operator._offset - 20, b"\xff" * 8)
    with operator.open() as log:
        log.round()
        assert "logged up to 2: CRC differs" in log.findings[0]
    operator.die()
    last = operator.broker.clock_ns
    operator.lose_marks(2, last)
    operator.start()
    operator.run()
    assert logged(operator)[-2:] == [(H, 1, 2), (S, 2, 0)]
    check(operator)


def test_a_truncated_segment_is_no_quiet_end(operator: Operator) -> None:
    operator.start()
    operator.mark(2)
    path = operator.segment_path()
    path.write_bytes(path.read_bytes()[: operator._offset])
    with operator.open() as log:
        log.round()
        assert "before its size" in log.findings[0]


def test_a_swapped_segment_is_named(operator: Operator) -> None:
    operator.start()
    operator.mark(100)
    first, second = operator.segment_path(0), operator.segment_path(1)
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    with operator.open() as log:
        log.round()
        (finding,) = log.findings
    assert "does not follow" in finding or "logged up to" in finding
    check_prefix = logged(operator)
    assert check_prefix[0] == (S, 1, 0) and [item[2] for item in check_prefix] == list(range(len(check_prefix)))


def test_a_deleted_segment_ends_the_epoch(operator: Operator) -> None:
    operator.start()
    operator.mark(100)
    first = len(logged_first_segment(operator))
    operator.segment_path(1).unlink()
    operator.run()
    assert len(logged(operator)) == first


def before_it_is_opened(monkeypatch: pytest.MonkeyPatch, path: Path, change: Callable[[], None]) -> None:
    """Between the look into the folder and the look into the segment *path*, something happens."""
    look = SpoolCursor._begins_in_time

    def changed(cursor: SpoolCursor, segment: Path) -> int:
        if segment == path and path.exists():
            change()
            path.unlink()
        return look(cursor, segment)

    monkeypatch.setattr(SpoolCursor, "_begins_in_time", changed)


def test_a_prepared_segment_may_go_while_the_log_looks(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clean end: the plugin writes it, then removes the prepared segment, behind the back of the log."""
    operator.start()
    operator.mark(2)
    prepared = operator.segment_path(1)
    prepared.touch()
    before_it_is_opened(monkeypatch, prepared, operator.end)
    with operator.open() as log:
        while log.round():
            pass
        assert log.findings == []
    assert not prepared.exists()
    assert logged(operator) == [(S, 1, 0), (M, 1, 1), (M, 1, 2), (E, 1, 2), (H, 1, 2)]
    check(operator)


def test_a_segment_that_is_gone_on_in_may_not_go(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    operator.start()
    operator.mark(100)
    before_it_is_opened(monkeypatch, operator.segment_path(1), operator.segment_path(2).unlink)
    with operator.open() as log:
        while log.round():
            pass
        (finding,) = log.findings
    assert "it goes on in a segment that is not there" in finding


def logged_first_segment(operator: Operator) -> tuple[Any, ...]:
    from sigillo.core.spool import decode_segment

    return decode_segment(operator.segment_path(0).read_bytes()).records


def test_a_segment_of_another_epoch_is_refused(operator: Operator) -> None:
    operator.start()
    operator.mark(3)
    data = operator.segment_path().read_bytes()
    operator.run()
    operator.die()
    operator.start()
    operator.segment_path().write_bytes(data)
    with operator.open() as log:
        log.round()
        assert "segment of another epoch" in log.findings[0]


STATEMENT_LIES: dict[str, tuple[dict[str, Any], str]] = {
    "another log": ({"log_origin": "other.example/log"}, "another log"),
    "another log key": ({"log_key_id": b"k" * 32}, "another log"),
    "skips a number": ({"number": 3}, "it is of epoch 3"),
    "names a checkpoint of another log": ({"log_checkpoint": Checkpoint(2, b"r" * 32)}, "not of this log"),
}


@pytest.mark.parametrize("name", STATEMENT_LIES)
def test_a_statement_that_does_not_fit_stops_the_log(operator: Operator, name: str) -> None:
    lies, says = STATEMENT_LIES[name]
    operator.start()
    operator.mark(2)
    operator.end()
    operator.run()
    operator.start(**lies)
    with operator.open() as log, pytest.raises(LogError, match=f"0000000002.cose: .*{says}"):
        log.round()


@pytest.mark.parametrize("change", ["sequence", "ending", "time", "epoch id"])
def test_a_statement_that_says_something_else_of_the_epoch_before(operator: Operator, change: str) -> None:
    from dataclasses import replace

    operator.start()
    operator.mark(2)
    operator.end()
    operator.run()
    before = operator.broker._ended
    assert before
    operator.broker._ended = {
        "sequence": replace(before, last_sequence=1),
        "ending": replace(before, ended=HowEnded.UNCLEAN),
        "time": replace(before, last_time_ns=before.last_time_ns - 1),
        "epoch id": replace(before, epoch_id=b"e" * 32),
    }[change]
    operator.start()
    with operator.open() as log, pytest.raises(LogError, match=r"0000000002\.cose"):
        log.round()


def test_a_statement_countersigned_by_another_key(operator: Operator) -> None:
    operator.start(countersigned_by=ed25519_key("other"))
    with operator.open() as log, pytest.raises(LogError, match="signature does not verify"):
        log.round()


def test_marks_may_name_any_checkpoint_of_this_log(operator: Operator) -> None:
    operator.start()
    with operator.open() as log:
        seen = []
        for _ in range(20):
            operator.mark(30)
            signed = log.round()
            assert signed
            seen.append(signed.head.checkpoint)
        for operator.checkpoint in reversed(seen):
            operator.mark(2)
        assert log.round()
        assert log.findings == []
    check(operator)
