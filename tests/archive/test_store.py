from __future__ import annotations

import os
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from sigillo.archive.error import ArchiveError
from sigillo.archive.store import Aside, Message, Store

MESSAGE = Message(b"\1" * 32, 1, b"\2" * 32, "crate-1", 10, "t", b"payload", b"mark")


def test_what_is_committed_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "messages.sqlite"
    with Store.open(path) as store:
        assert store.add([MESSAGE, replace(MESSAGE, sequence=2, principal="crate-2")], []) == 2
        with Store.open_to_read(path) as reader:
            assert list(reader.messages(MESSAGE.epoch_id, ["crate-1"])) == [MESSAGE]
            assert reader.principals() == ["crate-1", "crate-2"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_redelivered_message_is_kept_once(tmp_path: Path) -> None:
    with Store.open(tmp_path / "a") as store:
        assert store.add([MESSAGE, MESSAGE], []) == 1
        assert store.add([MESSAGE], []) == 0
        assert len(list(store.messages(MESSAGE.epoch_id, ["crate-1"]))) == 1


def test_a_forged_mark_does_not_keep_the_real_one_out(tmp_path: Path) -> None:
    forged = replace(MESSAGE, object_hash=b"\3" * 32, payload=b"forged")
    with Store.open(tmp_path / "a") as store:
        assert store.add([forged], []) == 1
        assert store.add([MESSAGE], []) == 1
        assert len(list(store.messages(MESSAGE.epoch_id, ["crate-1"]))) == 2


def test_order(tmp_path: Path) -> None:
    with Store.open(tmp_path / "a") as store:
        store.add([replace(MESSAGE, sequence=n) for n in (3, 1, 2)], [])
        assert [m.sequence for m in store.messages(MESSAGE.epoch_id, ["crate-1"])] == [1, 2, 3]
        assert [m.sequence for m in store.messages(MESSAGE.epoch_id, ["crate-1"], newest_first=True)] == [3, 2, 1]
        assert list(store.messages(MESSAGE.epoch_id, ["crate-9"])) == []
        assert list(store.messages(rb"\9" * 32, ["crate-1"])) == []


def test_the_newest_marks_of_an_epoch(tmp_path: Path) -> None:
    with Store.open(tmp_path / "a") as store:
        store.add([MESSAGE, replace(MESSAGE, sequence=7, mark=b"seven")], [])
        assert list(store.newest_marks(MESSAGE.epoch_id)) == [b"seven", b"mark"]
        assert list(store.newest_marks(rb"\9" * 32)) == []


def test_unreadable_marks_are_kept_aside(tmp_path: Path) -> None:
    with Store.open(tmp_path / "a") as store:
        assert store.add([], [Aside(b"\xff", b"p", "no mark", "why")]) == 0
    rows = sqlite3.connect(tmp_path / "a").execute("SELECT topic, payload, mark, reason FROM aside").fetchall()
    assert rows == [(b"\xff", b"p", "no mark", "why")]


def test_what_is_no_archive_is_named(tmp_path: Path) -> None:
    path = tmp_path / "messages.sqlite"
    with pytest.raises(ArchiveError, match=r"messages\.sqlite"):
        Store.open_to_read(path)
    assert not path.exists()
    path.write_bytes(b"nonsense" * 1000)
    with pytest.raises(ArchiveError, match=r"messages\.sqlite"):
        Store.open(path)
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ArchiveError, match="version 99"):
        Store.open(path)


def test_a_full_disk_is_an_error_not_a_loss(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with Store.open(path) as store:
        store._connection.execute("PRAGMA max_page_count = 8")
        with pytest.raises(ArchiveError, match="cannot be written"):
            store.add([replace(MESSAGE, payload=os.urandom(200_000))], [])
        assert list(store.messages(MESSAGE.epoch_id, ["crate-1"])) == []


def test_numbers_beyond_sqlites_are_not_storable() -> None:
    assert MESSAGE.storable
    assert not replace(MESSAGE, sequence=2**63).storable
    assert not replace(MESSAGE, time_ns=2**63).storable
