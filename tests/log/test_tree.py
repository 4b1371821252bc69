from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sigillo.core.bytes import EMPTY_ROOT
from sigillo.core.errors import MerkleError
from sigillo.core.merkle import CompactRange, leaf_hash
from sigillo.core.tile import ENTRIES, Tile, decode_bundle, decode_tile, tiles
from sigillo.log.error import LogError
from sigillo.log.tree import Tree


def entry(index: int) -> bytes:
    return index.to_bytes(45, "big")


def roots(size: int) -> list[bytes]:
    found, tree = [EMPTY_ROOT], CompactRange()
    for index in range(size):
        tree.append(leaf_hash(entry(index)))
        found.append(tree.root())
    return found


ROOTS = roots(70_000)


def grow(tree: Tree, size: int) -> None:
    for index in range(tree.grown, size):
        tree.append(entry(index))
    tree.write()


@pytest.mark.parametrize(
    "sizes", [(1, 2, 3), (255, 256, 257), (511, 513, 1024), (5, 700, 701), (65_535, 65_536, 65_792)]
)
def test_grows_as_the_reference(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    tree = Tree(tmp_path, 0, EMPTY_ROOT)
    for old, size in pairwise((0, *sizes)):
        grow(tree, size)
        assert tree.root == tree.root_on_disk(size) == ROOTS[size]
        for tile in tiles(size, old):
            data = (tmp_path / tile.path).read_bytes()
            decode_bundle(data, tile.width) if tile.level == ENTRIES else decode_tile(data, tile.width)
    tree.close()


@given(st.lists(st.integers(1, 300), min_size=1, max_size=5))
@settings(max_examples=25, deadline=None)
def test_any_steps_and_a_restart_after_each(tmp_path_factory: pytest.TempPathFactory, steps: list[int]) -> None:
    folder, size = tmp_path_factory.mktemp("public"), 0
    for step in steps:
        tree = Tree(folder, size, ROOTS[size])
        grow(tree, size + step)
        size += step
        assert tree.root_on_disk(size) == ROOTS[size]
        tree.close()


def test_root_at_every_size_also_of_what_is_not_written(tmp_path: Path) -> None:
    tree = Tree(tmp_path, 0, EMPTY_ROOT)
    grow(tree, 300)
    for index in range(300, 600):
        tree.append(entry(index))
    assert [tree.root_at(size) for size in range(601)] == ROOTS[:601]
    with pytest.raises(MerkleError):
        tree.root_at(601)
    tree.close()


def test_partial_tiles_go_once_the_full_one_is_there(tmp_path: Path) -> None:
    tree = Tree(tmp_path, 0, EMPTY_ROOT)
    grow(tree, 100)
    grow(tree, 300)
    tree.drop_partial(100)
    assert not (tmp_path / "tile/0/000.p").exists() and not (tmp_path / "tile/entries/000.p").exists()
    assert (tmp_path / "tile/0/001.p/44").exists()
    assert tree.root_on_disk(100) == ROOTS[100]  # out of the full ones
    tree.close()


def test_a_stray_of_a_crash_is_written_over(tmp_path: Path) -> None:
    tree = Tree(tmp_path, 0, EMPTY_ROOT)
    grow(tree, 1)
    (tmp_path / "tile/0/000.p/.new-2").write_bytes(b"longer than what comes" * 9)
    grow(tree, 2)
    assert tree.root_on_disk(2) == ROOTS[2]
    assert not list(tmp_path.rglob(".new-*"))
    tree.close()


@pytest.mark.parametrize("size", [600, 768, 65_536])
def test_a_missing_or_changed_tile_of_the_right_edge_is_named(tmp_path: Path, size: int) -> None:
    tree = Tree(tmp_path, 0, EMPTY_ROOT)
    grow(tree, size)
    tree.close()
    for tile in tiles(size, size - 1):
        path = tmp_path / tile.path
        data = path.read_bytes()
        path.unlink()
        with pytest.raises(LogError, match=f"{path}: is missing"):
            Tree(tmp_path, size, ROOTS[size])
        path.write_bytes(data[:-1])
        with pytest.raises(LogError, match=str(path)):
            Tree(tmp_path, size, ROOTS[size])
        if tile.level != ENTRIES:  # a bundle is compared with the store
            path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
            with pytest.raises(LogError, match="root"):
                Tree(tmp_path, size, ROOTS[size])
        path.write_bytes(data)
    Tree(tmp_path, size, ROOTS[size]).close()


def test_a_tile_name_never_gets_other_content(tmp_path: Path) -> None:
    tree = Tree(tmp_path, 0, EMPTY_ROOT)
    grow(tree, 300)
    full = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    grow(tree, 900)
    assert {path: path.read_bytes() for path in full} == full
    tree.close()


def test_folders_and_files_are_for_everyone(tmp_path: Path) -> None:
    tree = Tree(tmp_path, 0, EMPTY_ROOT)
    grow(tree, 2)
    path = tmp_path / Tile(0, 0, 2).path
    assert path.stat().st_mode & 0o777 == 0o644 and path.parent.stat().st_mode & 0o777 == 0o755
    tree.close()
