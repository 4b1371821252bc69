"""What other processes submit: logged once, whatever dies, and nothing else in the folder matters."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import cbor2
import pytest

from sigillo import disk
from sigillo.core.entry import Kind
from sigillo.core.errors import DecodeError
from sigillo.log import incoming, recent, writer
from sigillo.log.error import LogError
from sigillo.log.incoming import submit

from .operator import Operator, check, entries, fault
from .test_start import POINTS, crash

TOKEN = b"\x30\x05token"
EVIDENCE = cbor2.dumps({1: b"evidence"})


def kinds(operator: Operator) -> list[int]:
    return [entry[0] for entry in entries(operator)]


def files(operator: Operator) -> list[str]:
    return sorted(path.name for path in (operator.log / "incoming").iterdir())


@pytest.fixture
def begun(operator: Operator) -> Operator:
    operator.start()
    operator.mark(2)
    operator.run()
    return operator


def test_each_kind_is_logged_with_the_sequence_so_far(begun: Operator) -> None:
    submit(begun.log, Kind.TOKEN, TOKEN)
    submit(begun.log, Kind.ATTESTATION_EVIDENCE, EVIDENCE)
    submit(begun.log, Kind.KEY_CHANGE, EVIDENCE)
    begun.mark()
    begun.run()
    assert sorted(kinds(begun)[3:6]) == [6, 7, 8] and kinds(begun)[6:] == [1]
    public = begun.public()
    assert {(entry.epoch, entry.sequence) for entry in public.entries(3, 6)} == {(1, 2)}
    assert files(begun) == []
    check(begun)


def test_also_after_an_end(begun: Operator) -> None:
    begun.end()
    begun.run()
    submit(begun.log, Kind.TOKEN, TOKEN)
    begun.run()
    begun.start()
    begun.run()
    assert kinds(begun) == [2, 1, 1, 3, 5, 6, 2]
    check(begun)


def test_before_the_first_epoch_it_waits(operator: Operator) -> None:
    operator.run()
    submit(operator.log, Kind.TOKEN, TOKEN)
    operator.run()
    assert entries(operator) == [] and len(files(operator)) == 1
    operator.start()
    with operator.open() as log:
        log.round()
        log.round()
    assert kinds(operator) == [2, 6]


def test_submitted_again_and_again_it_is_logged_once(begun: Operator) -> None:
    with begun.open() as log:
        for _ in range(3):
            submit(begun.log, Kind.TOKEN, TOKEN)
            submit(begun.log, Kind.TOKEN, TOKEN)
            log.round()
    submit(begun.log, Kind.TOKEN, TOKEN)
    begun.run()
    begun.end()
    begun.start()
    begun.run()
    submit(begun.log, Kind.TOKEN, TOKEN)
    begun.run()
    assert kinds(begun).count(Kind.TOKEN) == 1 and files(begun) == []
    check(begun)


@pytest.mark.parametrize("name", [name for name in POINTS if name not in ("before S1", "after S2")])
@pytest.mark.parametrize("marks", [0, 3])
def test_a_crash_loses_nothing_and_logs_nothing_twice(begun: Operator, name: str, marks: int) -> None:
    submit(begun.log, Kind.TOKEN, TOKEN)
    begun.mark(marks)
    if name == "in T3" or (name == "after D1" and not marks):
        begun.mark(300)
    crash(begun, POINTS[name])
    assert len(files(begun)) == 1
    begun.run()
    assert kinds(begun).count(Kind.TOKEN) == 1 and files(begun) == []
    check(begun)


def test_a_deletion_that_a_power_cut_undid(begun: Operator) -> None:
    """In an epoch that is over, so that the newest one does not show the object."""
    begun.end()
    submit(begun.log, Kind.TOKEN, TOKEN)
    begun.run()
    assert files(begun) == []
    begun.start()
    begun.run()
    submit(begun.log, Kind.TOKEN, TOKEN)
    begun.run()
    assert kinds(begun).count(Kind.TOKEN) == 1 and files(begun) == []
    check(begun)


def test_it_may_come_again_beyond_reach_and_fsck_agrees(begun: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "REACH", 8)
    monkeypatch.setattr(writer, "REACH", 8)
    submit(begun.log, Kind.TOKEN, TOKEN)
    begun.mark(6)
    begun.run()
    assert kinds(begun)[3:] == [6, *[1] * 6]
    submit(begun.log, Kind.TOKEN, TOKEN)
    begun.run()
    assert kinds(begun).count(Kind.TOKEN) == 1  # entry 3, and the next is 10
    begun.mark()
    begun.run()
    submit(begun.log, Kind.TOKEN, TOKEN)
    begun.run()
    assert kinds(begun)[11:] == [6]
    check(begun)
    monkeypatch.setattr(recent, "REACH", 9)
    assert (fault(begun).check, fault(begun).reason) == (3, "entry 11: its object is that of entry 3")


def test_what_is_foreign_or_malformed_is_a_finding_once_and_stops_nothing(begun: Operator) -> None:
    folder = begun.log / "incoming"
    submit(begun.log, Kind.TOKEN, TOKEN)
    good = files(begun)[0]
    zeros = "0" * 64
    (folder / "README").write_text("hello")
    (folder / f"token-{zeros}").write_bytes(TOKEN)
    (folder / f"heads-{zeros}").write_bytes(TOKEN)
    (folder / f"key-change-{'1' * 64}").write_bytes(b"\xa1")
    (folder / f"token-{'2' * 64}").mkdir()
    (folder / f"token-{'3' * 64}").symlink_to(folder / good)
    os.mkfifo(folder / f"token-{'4' * 64}")
    (folder / f"token-{'5' * 64}").write_bytes(b"\x30\x83\x01\x00\x00".ljust(65_541, b"\0"))
    (folder / ".new-token-half").write_bytes(b"half")
    with begun.open() as log:
        begun.mark()
        assert log.round()
        findings = log.findings
        assert len(findings) == 8 and all(str(folder) in finding for finding in findings)
        assert any("another hash than its file's name" in finding for finding in findings)
        begun.mark()
        assert log.round() and log.findings == []
        assert log.round() is None
    assert kinds(begun).count(Kind.TOKEN) == 1 and good not in files(begun)
    assert len(files(begun)) == 9
    check(begun)


def test_a_file_that_cannot_go_is_not_logged_again(begun: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    submit(begun.log, Kind.TOKEN, TOKEN)

    def fails(_path: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    with begun.open() as log:
        log.round()
        with monkeypatch.context() as patch:
            patch.setattr(Path, "unlink", fails)
            assert log.round() is None and log.round() is None
        (finding,) = log.findings
        assert "its file stays" in finding
    assert kinds(begun).count(Kind.TOKEN) == 1


def test_a_round_is_bounded(begun: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming, "MAX_OBJECTS", 3)
    for number in range(7):
        submit(begun.log, Kind.TOKEN, b"\x30\x01" + bytes([number]))
    with begun.open() as log:
        sizes = [signed.head.size for signed in iter(log.round, None)]
    assert sizes == [6, 9, 10]
    check(begun)


def test_what_is_no_object_or_has_nowhere_to_go_is_refused(begun: Operator, tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match="token"):
        submit(begun.log, Kind.TOKEN, b"token")
    with pytest.raises(LogError, match="incoming"):
        submit(tmp_path / "none", Kind.TOKEN, TOKEN)
    assert files(begun) == []


def test_a_stray_of_a_submission_that_died_goes_with_the_next(begun: Operator) -> None:
    (begun.log / "incoming/.new-token-x").write_bytes(b"half")
    submit(begun.log, Kind.TOKEN, TOKEN)
    assert len(files(begun)) == 1
    assert (begun.log / "incoming" / files(begun)[0]).stat().st_mode & 0o777 == disk.PRIVATE


def _submit_many(log: Path, first: int) -> None:
    for number in range(first, first + 20):
        submit(log, Kind.TOKEN, b"\x30\x01" + bytes([number]))


def test_many_processes_submit_while_the_log_runs(begun: Operator) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_submit_many, args=(begun.log, first)) for first in (0, 10, 20)]
    with begun.open() as log:
        for process in processes:
            process.start()
        while any(process.is_alive() for process in processes):
            log.round()
        for process in processes:
            process.join()
        while log.round():
            pass
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert kinds(begun).count(Kind.TOKEN) == 40 and files(begun) == []
    check(begun)
