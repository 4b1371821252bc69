"""Tiles and entry bundles."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sigillo.core.errors import DecodeError, MerkleError
from sigillo.core.merkle import consistency_proof, inclusion_proof, subtree_root, tree_root
from sigillo.core.tile import (
    ENTRIES,
    Tile,
    decode_bundle,
    decode_tile,
    encode_bundle,
    encode_tile,
    node_location,
    node_reader,
    tile_in_tree,
    tiles,
)
from tests.vector import tree

sizes = st.integers(0, tree.SIZE)


def contents(tile: Tile) -> list[bytes]:
    """What a tile of the sample tree holds, hash by hash: the definition in C2SP."""
    first = tile.index * 256
    return [tree.read()(8 * tile.level, first + place) for place in range(tile.width)]


@given(st.integers(ENTRIES, 7), st.integers(0, 2**56), st.integers(1, 256))
def test_paths_round_trip(level: int, index: int, width: int) -> None:
    try:
        tile = Tile(level, index, width)
    except DecodeError:
        assert (index * 256 + width) << (8 * max(level, 0)) >= 2**64
        return
    assert Tile.from_path(tile.path) == tile


@given(st.text(alphabet="tile/entries/x0123p.", max_size=24) | st.from_regex(r"tile/[0-9]/[x0-9/]*(\.p/[0-9]*)?"))
def test_one_path_for_each_tile(path: str) -> None:
    try:
        tile = Tile.from_path(path)
    except DecodeError:
        return
    assert tile.path == path


def test_paths_by_hand() -> None:
    assert Tile(1, 1_234_067).path == "tile/1/x001/x234/067"
    assert Tile(ENTRIES, 1_234_067, 8).path == "tile/entries/x001/x234/067.p/8"
    assert Tile(0, 0, 1).path == "tile/0/000.p/1"


@pytest.mark.parametrize("case", [(-2, 0, 1), (8, 0, 1), (0, -1, 1), (0, 0, 0), (0, 0, 257), (0, 2**56 - 1, 256)])
def test_what_is_no_tile(case: tuple[int, int, int]) -> None:
    with pytest.raises(DecodeError):
        Tile(*case)


def test_the_example_of_c2sp() -> None:
    """A tree of 70,000: 273 full level 0 tiles and one of 112; a full and one of 17 on level 1; one of 1 on level 2."""
    found = list(tiles(70_000))
    for level, full in ((ENTRIES, 273), (0, 273), (1, 1), (2, 0)):
        assert len([tile for tile in found if tile.level == level and tile.width == 256]) == full
    partial = [(tile.level, tile.index, tile.width) for tile in found if tile.width < 256]
    assert partial == [(ENTRIES, 273, 112), (0, 273, 112), (1, 1, 17), (2, 0, 1)]
    assert [(tile.level, tile.width) for tile in tiles(256)] == [(ENTRIES, 256), (0, 256), (1, 1)]
    assert not list(tiles(0))


@given(sizes, sizes)
@settings(max_examples=50)
def test_what_a_larger_tree_adds(first: int, second: int) -> None:
    old, new = sorted((first, second))
    added, whole = list(tiles(new, old)), set(tiles(new))
    assert set(added) == whole - set(tiles(old))
    assert len(set(added)) == len(added)
    if old < new:
        with pytest.raises(MerkleError, match="does not grow"):
            list(tiles(old, new))


@given(st.integers(1, tree.SIZE))
@settings(max_examples=50)
def test_every_tile_of_a_tree_is_found_by_its_coordinates(size: int) -> None:
    assert all(tile_in_tree(tile.level, tile.index, size) == tile for tile in tiles(size))
    for level in range(3):
        beyond = -(-(size >> 8 * level) // 256)
        for index in (-1, beyond):
            with pytest.raises(MerkleError, match="has no tile"):
                tile_in_tree(level, index, size)


def test_the_largest_tree_has_tiles() -> None:
    top = tile_in_tree(7, 0, 2**64 - 1)
    assert top.width == 255
    assert list(tiles(2**64 - 1, 2**64 - 2)) == [
        Tile(ENTRIES, 2**56 - 1, 255),
        Tile(0, 2**56 - 1, 255),
    ]


@given(st.integers(0, 63), st.integers(0, 2**20))
def test_where_a_node_is(level: int, index: int) -> None:
    place = node_location(level, index)
    leaves_per_hash = 256**place.tile_level
    assert (place.tile_index * 256 + place.offset) * leaves_per_hash == index << level
    assert place.width * leaves_per_hash == 1 << level
    assert place.offset + place.width <= 256
    assert place.width in (1, 2, 4, 8, 16, 32, 64, 128)


@given(st.integers(1, tree.SIZE), st.data())
@settings(max_examples=60)
def test_proofs_out_of_tiles(size: int, data: st.DataObject) -> None:
    asked: list[Tile] = []

    def read_tile(tile: Tile) -> list[bytes]:
        asked.append(tile)
        return contents(tile)

    read = node_reader(size, read_tile)
    index, old_size = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, size))
    assert tree_root(size, read) == tree.root(size)
    assert inclusion_proof(index, size, read) == inclusion_proof(index, size, tree.read())
    assert consistency_proof(old_size, size, read) == consistency_proof(old_size, size, tree.read())
    assert set(asked) <= set(tiles(size))
    for level in range(17):
        with pytest.raises(MerkleError):
            read(level, size >> level)


def test_a_full_tile_is_one_hash_of_the_tile_above() -> None:
    for level in (0, 1):
        assert subtree_root(contents(Tile(level, 0))) == contents(Tile(level + 1, 0, 1))[0]


def test_a_full_tile_serves_for_a_partial_one() -> None:
    read = node_reader(300, lambda tile: contents(Tile(tile.level, tile.index)))
    assert tree_root(300, read) == tree.root(300)


@given(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=256))
def test_tile_contents_round_trip(hashes: list[bytes]) -> None:
    data = encode_tile(hashes)
    assert decode_tile(data, len(hashes)) == hashes
    for other in (data[:-1], data + b"\0", data + bytes(32), b""):
        with pytest.raises(DecodeError):
            decode_tile(other, len(hashes))


@pytest.mark.parametrize("hashes", [[], [bytes(31)], [bytes(32)] * 257])
def test_contents_that_no_tile_has(hashes: list[bytes]) -> None:
    with pytest.raises(DecodeError):
        encode_tile(hashes)
    for width in (0, 257):
        with pytest.raises(DecodeError):
            decode_tile(bytes(32 * width), width)


@given(st.lists(st.binary(min_size=45, max_size=45), min_size=1, max_size=256))
def test_bundles_round_trip(entries: list[bytes]) -> None:
    data = encode_bundle(entries)
    assert len(data) == 47 * len(entries)
    assert decode_bundle(data, len(entries)) == entries


@given(st.binary(max_size=200), st.integers(0, 5))
def test_what_decodes_as_a_bundle_is_one(data: bytes, width: int) -> None:
    try:
        entries = decode_bundle(data, width)
    except DecodeError:
        return
    assert encode_bundle(entries) == data


@pytest.mark.parametrize("entries", [[], [bytes(44)], [bytes(46)], [bytes(45)] * 257])
def test_entries_that_no_bundle_has(entries: list[bytes]) -> None:
    with pytest.raises(DecodeError):
        encode_bundle(entries)
