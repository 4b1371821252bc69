from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from sigillo import disk


@pytest.fixture
def strict_umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


def test_the_product_sets_the_mode_of_its_own_files_and_the_umask_that_of_a_persons(
    tmp_path: Path, strict_umask: None
) -> None:
    disk.create(tmp_path / "created", b"1", disk.PUBLIC)
    disk.replace(tmp_path / "replaced", b"2", disk.PUBLIC)
    with disk.writing(tmp_path / "written", replaces=False) as file:
        file.write(b"3")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"created": 0o644, "replaced": 0o644, "written": 0o640}


def test_a_full_disk_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int, _data: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    for write in (disk.create, disk.replace):
        with pytest.raises(OSError, match="No space left") as caught:
            write(tmp_path / "file", b"1", disk.PUBLIC)
        assert caught.value.filename == str(tmp_path / "file")


def test_what_is_written_piece_by_piece_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "evidence.jsonl"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), disk.writing(path, replaces=True) as file:
        file.write(b"half")
        file.write(b"%d" % (1 // 0))
    assert path.read_bytes() == b"old"
    with disk.writing(path, replaces=True) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("taken", ["file", "dangling link"])
def test_a_name_that_is_taken_is_refused(tmp_path: Path, taken: str) -> None:
    path = tmp_path / "policy.toml"
    if taken == "file":
        path.write_bytes(b"old")
    else:
        path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError), disk.writing(path, replaces=False) as file:
        file.write(b"new")
    assert list(tmp_path.iterdir()) == [path]
    assert path.is_symlink() or path.read_bytes() == b"old"


def test_a_lock_keeps_others_out_until_it_is_closed(tmp_path: Path) -> None:
    first, second = disk.open_folder(tmp_path), disk.open_folder(tmp_path)
    try:
        disk.lock(first, None)
        with pytest.raises(BlockingIOError):
            disk.lock(second, 0.0)
        os.close(first)
        disk.lock(second, 0.0)
    finally:
        os.close(second)


def test_a_new_file_is_there_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process may look at any moment: what it finds under the name is complete, and never changes."""
    path = tmp_path / "0000000001.cose"
    seen: list[bool] = []
    monkeypatch.setattr(
        disk, "write_all", lambda descriptor, data: seen.append(path.exists() or os.write(descriptor, data) < 0)
    )
    disk.create(path, b"statement", disk.PUBLIC)
    assert seen == [False]
    with pytest.raises(FileExistsError) as taken:
        disk.create(path, b"another", disk.PUBLIC)
    assert taken.value.filename == str(path)
    assert path.read_bytes() == b"statement"
    (tmp_path / "link").symlink_to("elsewhere")
    with pytest.raises(FileExistsError):
        disk.create(tmp_path / "link", b"x", disk.PUBLIC)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["0000000001.cose", "link"]
