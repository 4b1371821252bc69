"""Tiles and entry bundles: C2SP tlog-tiles (spec/log.md). Paths, coordinates, contents; no files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from sigillo.core.entry import SIZE as ENTRY_SIZE
from sigillo.core.errors import DecodeError, MerkleError
from sigillo.core.field import HASH_SIZE, UINT64_MAX, byte_string, integer
from sigillo.core.merkle import Read, subtree_root

HEIGHT: Final = 8
WIDTH: Final = 1 << HEIGHT
"""Hashes of a full tile, entries of a full bundle."""

ENTRIES: Final = -1
"""Level of an entry bundle."""

MAX_LEVEL: Final = 7
"""A tree of less than 2^64 leaves has no hash on tile level 8."""

_PATH: Final = re.compile(r"tile/(entries|[0-7])/((?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")
_PREFIX: Final = ENTRY_SIZE.to_bytes(2, "big")


@dataclass(frozen=True, slots=True)
class Tile:
    """Name of a tile, or of an entry bundle: level 0…7 or ENTRIES, index in its level, width 1…256 (256: full).

    Raises DecodeError where made with anything else, or where no tree of less than 2^64 leaves has it.
    """

    level: int
    index: int
    width: int = WIDTH

    def __post_init__(self) -> None:
        integer(self.level, "tile level", ENTRIES, MAX_LEVEL)
        integer(self.width, "tile width", 1, WIDTH)
        needed = UINT64_MAX >> (HEIGHT * max(self.level, 0))
        integer(self.index, "tile index", 0, (needed - self.width) // WIDTH)

    @property
    def path(self) -> str:
        """Path below the log's prefix: `tile/L/N`, `tile/entries/N`, with `.p/W` where it is partial."""
        groups = [f"{self.index % 1000:03d}"]
        rest = self.index // 1000
        while rest:
            groups.insert(0, f"x{rest % 1000:03d}")
            rest //= 1000
        level = "entries" if self.level == ENTRIES else str(self.level)
        partial = "" if self.width == WIDTH else f".p/{self.width}"
        return f"tile/{level}/{'/'.join(groups)}{partial}"

    @classmethod
    def from_path(cls, path: str) -> Tile:
        """The tile whose `path` is exactly this. Raises DecodeError for anything else."""
        match = _PATH.fullmatch(path)
        if not match:
            raise DecodeError("tile path", "is not tile/L/N, tile/entries/N or one of these with .p/W")
        level, groups, width = match.groups()
        index = int(groups.replace("x", "").replace("/", ""))
        tile = cls(ENTRIES if level == "entries" else int(level), index, int(width or WIDTH))
        if tile.path != path:
            raise DecodeError("tile path", f"is not {tile.path}, which is how that tile is called")
        return tile


class NodeLocation(NamedTuple):
    """Where the hash of a complete subtree is: `subtree_root` of the *width* hashes from *offset* on, in that tile."""

    tile_level: int
    tile_index: int
    offset: int
    width: int


def node_location(level: int, index: int) -> NodeLocation:
    """Tile level, tile index, offset and number of hashes for the complete subtree (level, index) of the tree."""
    tile_level, height = divmod(level, HEIGHT)
    first = index << height
    return NodeLocation(tile_level, first // WIDTH, first % WIDTH, 1 << height)


def tile_in_tree(level: int, index: int, size: int) -> Tile:
    """The tile at these coordinates as a tree of *size* leaves has it, full or partial. Raises MerkleError: none."""
    width = min((size >> (HEIGHT * max(level, 0))) - index * WIDTH, WIDTH)
    if width < 1 or index < 0:
        raise MerkleError(f"a tree of {size} has no tile {index} on level {level}")
    return Tile(level, index, width)


def tiles(size: int, old_size: int = 0) -> Iterator[Tile]:
    """What a tree of *size* has and one of *old_size* had not: entry bundles, then tiles level by level upward.

    Partial ones stand last in their level. Raises MerkleError where the old tree is the larger.
    """
    if not 0 <= old_size <= size <= UINT64_MAX:
        raise MerkleError(f"a tree of {old_size} does not grow to {size}")
    for level in range(ENTRIES, MAX_LEVEL + 1):
        shift = HEIGHT * max(level, 0)
        old, new = old_size >> shift, size >> shift
        if old == new:  # and nothing above has changed either
            return
        for index in range(old // WIDTH, -(-new // WIDTH)):
            yield Tile(level, index, min(new - index * WIDTH, WIDTH))


def node_reader(size: int, read_tile: Callable[[Tile], Sequence[bytes]]) -> Read:
    """Read the complete subtrees of a tree of *size* out of its tiles.

    *read_tile* gets a tile as this tree has it, and returns its hashes (`decode_tile`); a store that has dropped a
    partial tile for the full one may return more. Reading raises MerkleError where the tree has no such subtree.
    """

    def read(level: int, index: int) -> bytes:
        place = node_location(level, index)
        tile = tile_in_tree(place.tile_level, place.tile_index, size)
        if place.offset + place.width > tile.width:
            raise MerkleError(f"a tree of {size} has no complete subtree {index} on level {level}")
        return subtree_root(read_tile(tile)[place.offset : place.offset + place.width])

    return read


def encode_tile(hashes: Sequence[bytes]) -> bytes:
    """Contents of a tile of 1…256 hashes. Raises DecodeError for another number, or a hash that is not 32 bytes."""
    integer(len(hashes), "tile width", 1, WIDTH)
    return b"".join(byte_string(item, "hash in a tile") for item in hashes)


def decode_tile(data: bytes, width: int) -> list[bytes]:
    """Hashes of a tile of this width (1…256). Raises DecodeError for contents of another length."""
    byte_string(data, "tile", integer(width, "tile width", 1, WIDTH) * HASH_SIZE)
    return [data[place : place + HASH_SIZE] for place in range(0, len(data), HASH_SIZE)]


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """Contents of a bundle of 1…256 entries of 45 bytes, each after its length. Raises DecodeError."""
    integer(len(entries), "entry bundle width", 1, WIDTH)
    return b"".join(_PREFIX + byte_string(entry, "entry in a bundle", ENTRY_SIZE) for entry in entries)


def decode_bundle(data: bytes, width: int) -> list[bytes]:
    """Entries of a bundle of this width (1…256), 45 bytes each, not decoded. Raises DecodeError."""
    step = len(_PREFIX) + ENTRY_SIZE
    byte_string(data, "entry bundle", integer(width, "entry bundle width", 1, WIDTH) * step)
    for place in range(0, len(data), step):
        if data[place : place + len(_PREFIX)] != _PREFIX:
            raise DecodeError("entry bundle", f"has no length {ENTRY_SIZE} at byte {place}")
    return [data[place + len(_PREFIX) : place + step] for place in range(0, len(data), step)]
