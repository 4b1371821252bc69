"""Attack 31: the disk is put back to an older state that is valid in itself. A TPM's counter does not go back."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from sigillo.broker.log_key import SigningLogKey
from sigillo.core.counter import CounterRecord, encode_counter_record, verify_counter_record
from sigillo.log.error import LogError

from ..attestation import rig
from ..broker.tpm_counted import Counted
from ..log.operator import check
from ..vector.key import Ed25519Key, filler


@pytest.fixture
def tpm(tmp_path: Path) -> Path:
    """A new one each time: the log key of these tests is always the same."""
    return rig.made(tmp_path / "t")


@pytest.fixture
def counted(tmp_path: Path, tpm: Path) -> Iterator[Counted]:
    with rig.started(tpm):
        yield Counted(tmp_path, tpm)


def test_an_older_state_of_the_disk_signs_nothing(counted: Counted) -> None:
    """Right in itself, so that fsck finds nothing; and the log stops each time, before it has signed anything."""
    size = counted.grow(3)
    copy = counted.copy()
    counted.grow(5)
    newest = counted.counter.read()
    counted.put_back(copy)
    check(counted.operator)
    before = counted.checkpoint
    for _ in range(2):
        with pytest.raises(LogError, match=rf"counter is at {newest}, .*had {size} entries: it is an old copy.*--name"):
            counted.run()
    assert counted.checkpoint == before
    assert counted.counter.read() == newest


def test_the_newest_state_starts_again(counted: Counted) -> None:
    counted.grow(3)
    old = counted.copy("old")
    size = counted.grow(5)
    newest = counted.copy("newest")
    counted.put_back(old)
    with pytest.raises(LogError):
        counted.run()
    counted.put_back(newest)
    assert counted.run().head.size == size
    assert counted.grow(1) > size


def test_a_crash_and_a_reset_of_the_tpm_are_no_rollback(tmp_path: Path, tpm: Path) -> None:
    counted = Counted(tmp_path, tpm)
    counted.operator.start()
    for marks in (3, 2, 0, 4):
        with rig.started(tpm) as process:
            counted.operator.mark(marks)
            counted.run(dies=True)
            process.terminate()
            process.wait()
    with rig.started(tpm):
        assert counted.grow(1) >= 11


@pytest.mark.parametrize("forgery", ["newest record", "no record", "signed by another", "of another log", "nonsense"])
def test_an_older_log_with_a_record_that_would_fit(counted: Counted, forgery: str) -> None:
    """Who has the disk and not the key puts the record right beside the old log."""
    counted.grow(3)
    copy = counted.copy()
    counted.grow(5)
    record = counted.record.read_bytes()
    key = counted.operator.broker.log_key
    newest = verify_counter_record(record, key)
    old = verify_counter_record((copy / "log" / "counter").read_bytes(), key)
    other = Ed25519Key(filler("whoever has the disk"))
    fitting = CounterRecord(newest.value, old.checkpoint)
    counted.put_back(copy)
    if forgery == "newest record":
        counted.record.write_bytes(record)
    elif forgery == "no record":
        counted.record.unlink()
    elif forgery == "signed by another":
        counted.record.write_bytes(encode_counter_record(fitting, key, other.sign))
    elif forgery == "of another log":
        foreign = SigningLogKey(other.private, key.name)
        counted.record.write_bytes(encode_counter_record(fitting, foreign.public, foreign.sign))
    else:
        counted.record.write_bytes(b"\xd2\x84")
    before = counted.checkpoint
    with pytest.raises(LogError, match=r"log/counter: "):
        counted.run()
    assert counted.checkpoint == before


def test_a_software_tpm_that_is_put_back_with_it_sees_nothing(tmp_path: Path, tpm: Path) -> None:
    """It is a folder, too: what docs/tpm.md says of software TPMs, and why a policy has to allow one by name."""
    state = tpm / "state"
    with rig.started(tpm) as process:
        counted = Counted(tmp_path, tpm)
        counted.grow(3)
        process.terminate()
        process.wait()
    copy = counted.copy()
    shutil.copytree(state, tmp_path / "state")
    with rig.started(tpm) as process:
        counted.grow(5)
        process.terminate()
        process.wait()
    counted.put_back(copy)
    shutil.rmtree(state)
    shutil.copytree(tmp_path / "state", state)
    with rig.started(tpm):
        counted.run()


def test_an_older_software_tpm_beside_the_newest_disk_is_seen(tmp_path: Path, tpm: Path) -> None:
    state = tpm / "state"
    with rig.started(tpm) as process:
        counted = Counted(tmp_path, tpm)
        counted.grow(3)
        process.terminate()
        process.wait()
    shutil.copytree(state, tmp_path / "state")
    with rig.started(tpm) as process:
        for _ in range(3):
            counted.grow(5)
        process.terminate()
        process.wait()
    shutil.rmtree(state)
    shutil.copytree(tmp_path / "state", state)
    with rig.started(tpm), pytest.raises(LogError, match=r"counter is at \d+ only.*replaced or cleared"):
        counted.run()
