from __future__ import annotations

from pathlib import Path

import pytest

from sigillo.log.error import LogError
from sigillo.log.store import Item, Store, StoreReader

from .operator import small_segments

KEY_ID = b"k" * 32


@pytest.fixture(autouse=True)
def _segments_of_ten(monkeypatch: pytest.MonkeyPatch) -> None:
    small_segments(monkeypatch, 10)


def items(begin: int, end: int) -> list[Item]:
    return [(bytes([index]) * 45, b"object %d" % index * (index % 5 + 1)) for index in range(begin, end)]


def filled(folder: Path, *counts: int) -> Store:
    folder.mkdir()
    store = Store(folder, KEY_ID)
    store.rewrite(0, store.recover(0))
    for count in counts:
        store.append(items(store.size, store.size + count))
    return store


def shown(store: StoreReader, begin: int, end: int) -> list[Item]:
    return [(record.entry, record.object_bytes) for record in store.iterate(begin, end)]


@pytest.mark.parametrize("counts", [(1,), (9, 1), (10,), (11,), (25,), (10, 10, 1), (3, 30)])
def test_what_is_appended_is_read(tmp_path: Path, counts: tuple[int, ...]) -> None:
    store, size = filled(tmp_path / "store", *counts), sum(counts)
    reader = StoreReader(tmp_path / "store", KEY_ID)
    for of in (store, reader):
        assert shown(of, 0, size) == items(0, size)
        assert [(of.read(index).entry, of.read(index).object_bytes) for index in range(size)] == items(0, size)
    store.close()


@pytest.mark.parametrize("size", [0, 1, 9, 10, 11, 20, 24])
def test_recover_gives_the_tail_and_goes_on(tmp_path: Path, size: int) -> None:
    filled(tmp_path / "store", 24).close()
    store = Store(tmp_path / "store", KEY_ID)
    tail = store.recover(size)
    assert [record.index for record in tail] == list(range(size, 24))
    store.rewrite(size, tail)
    store.append(items(24, 41))
    assert shown(store, 0, 41) == items(0, 41)
    store.close()


@pytest.mark.parametrize("cut", [1, 8, 40, 64, 70, 100])
def test_a_torn_tail_is_cut(tmp_path: Path, cut: int) -> None:
    filled(tmp_path / "store", 15).close()
    path = tmp_path / "store/0000000001.objects"
    path.write_bytes(path.read_bytes()[:-cut])
    store = Store(tmp_path / "store", KEY_ID)
    tail = store.recover(9)
    store.rewrite(9, tail)
    assert tail[-1].index in (12, 13) and path.stat().st_size == tail[-1].end
    store.append(items(store.size, 15))
    assert shown(store, 0, 15) == items(0, 15)
    store.close()


def test_a_hole_in_the_tail_ends_it_also_before_a_whole_segment(tmp_path: Path) -> None:
    filled(tmp_path / "store", 25).close()
    first = tmp_path / "store/0000000000.objects"
    data = bytearray(first.read_bytes())
    data[-1 - 8] ^= 1
    first.write_bytes(data)
    store = Store(tmp_path / "store", KEY_ID)
    tail = store.recover(5)
    store.rewrite(5, tail)
    assert [record.index for record in tail] == [5, 6, 7, 8]
    assert sorted(path.name for path in (tmp_path / "store").glob("*.objects")) == ["0000000000.objects"]
    store.append(items(9, 25))
    assert shown(store, 0, 25) == items(0, 25)
    store.close()


def test_a_store_that_does_not_reach_the_size_is_refused(tmp_path: Path) -> None:
    filled(tmp_path / "store", 15).close()
    with pytest.raises(LogError, match=r"0000000001.objects: entry 15, .*the checkpoint has size 16"):
        Store(tmp_path / "store", KEY_ID).recover(16)


def test_a_segment_without_record_is_removed_and_made_again(tmp_path: Path) -> None:
    filled(tmp_path / "store", 10).close()
    empty = tmp_path / "store/0000000001.objects"
    filled(tmp_path / "other", 11).close()
    empty.write_bytes((tmp_path / "other/0000000001.objects").read_bytes()[:64])
    store = Store(tmp_path / "store", KEY_ID)
    store.rewrite(10, store.recover(10))
    assert not empty.exists()
    store.append(items(10, 11))
    assert shown(store, 0, 11) == items(0, 11)
    store.close()


def test_strays_are_swept(tmp_path: Path) -> None:
    filled(tmp_path / "store", 3).close()
    stray = tmp_path / "store/.new-0000000001.objects-0123"
    stray.write_bytes(b"half")
    Store(tmp_path / "store", KEY_ID).close()
    assert not stray.exists()


@pytest.mark.parametrize("damage", ["gone", "zeros", "wrong", "short"])
def test_the_index_is_only_a_cache(tmp_path: Path, damage: str) -> None:
    filled(tmp_path / "store", 15).close()
    path = tmp_path / "store/0000000001.index"
    whole = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes({"zeros": bytes(len(whole)), "wrong": whole[8:] + whole[:8], "short": whole[:9]}[damage])
    reader = StoreReader(tmp_path / "store", KEY_ID)
    assert [(reader.read(at).entry, reader.read(at).object_bytes) for at in range(15)] == items(0, 15)
    store = Store(tmp_path / "store", KEY_ID)
    store.rewrite(15, store.recover(15))
    assert path.read_bytes() == whole
    store.close()


def test_a_missing_or_foreign_segment_is_named(tmp_path: Path) -> None:
    filled(tmp_path / "store", 25).close()
    with pytest.raises(LogError, match=r"0000000000.objects: does not begin with the header"):
        StoreReader(tmp_path / "store", b"l" * 32)
    (tmp_path / "store/0000000001.objects").unlink()
    with pytest.raises(LogError, match=r"0000000001.objects: is missing"):
        StoreReader(tmp_path / "store", KEY_ID)
