"""The tree of the log on disk, for its one writer: steps T1 to T4 and D2, and the root that C1 reads back.

In memory are the right edge (at most 255 hashes a level) and what a round adds; all else is read from tiles.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final

from sigillo import disk
from sigillo.core.errors import MerkleError
from sigillo.core.merkle import leaf_hash, node_hash, subtree_root, tree_root
from sigillo.core.tile import (
    ENTRIES,
    HEIGHT,
    MAX_LEVEL,
    WIDTH,
    Tile,
    encode_bundle,
    encode_tile,
    node_reader,
    tile_in_tree,
    tiles,
)
from sigillo.log.error import RESTORED, LogError, MissingFile
from sigillo.log.tile_file import TileFiles

_FLUSHERS: Final = 8
"""Threads that flush: on ext4 nine times as many files a second as one."""


class Tree:
    """A tree of *size* leaves whose tiles are durable, and leaves behind it that are not written yet."""

    def __init__(self, public: Path, size: int, root: bytes) -> None:
        """R2: read the right edge. Raises LogError where a tile of it is missing, or they do not give *root*."""
        self.size = size
        self._edge: dict[int, list[bytes]] = {}
        self._public = public
        self._files = TileFiles(public)
        self._pending: list[bytes] = []  # entries behind `size`
        self._leaves: list[bytes] = []  # their leaf hashes
        self._pool = ThreadPoolExecutor(_FLUSHERS, "flush")
        try:
            self._edge = self._read_edge()
            found = self.root_on_disk(size)
        except MissingFile as error:
            raise LogError(f"{error}, but the checkpoint has size {size}; {RESTORED}") from None
        if found != root:
            raise LogError(f"{public / 'tile'}: the tiles do not give the root of the checkpoint at {size}; {RESTORED}")

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    @property
    def grown(self) -> int:
        """Size with the leaves that are not written yet."""
        return self.size + len(self._pending)

    def append(self, entry: bytes) -> None:
        """Take an entry (45 bytes) behind the others, in memory."""
        self._pending.append(entry)
        self._leaves.append(leaf_hash(entry))

    def root_at(self, size: int) -> bytes:
        """Root of the first *size* leaves, at most those taken so far. Raises MerkleError, LogError."""
        if size > self.grown:
            raise MerkleError(f"a tree of {self.grown} has no prefix of {size}")
        return tree_root(size, self._node)

    @property
    def root(self) -> bytes:
        """Root of the tree of `size`, as it was computed here: nothing is read."""
        return tree_root(self.size, node_reader(self.size, lambda tile: self._edge[tile.level]))

    def root_on_disk(self, size: int) -> bytes:
        """Root of the tree of *size* as anyone would compute it from the files that are there now. Raises LogError."""
        return tree_root(size, TileFiles(self._public).reader(size))

    def write(self) -> None:
        """T1 to T4: write what the tree has with the leaves taken, and had not without them. Raises OSError."""
        contents = list(self.contents())
        for folder in dict.fromkeys(self._path(tile).parent for tile, _ in contents):
            self._make_folder(folder)
        descriptors = []
        try:
            for tile, data in contents:
                descriptors.append(_create(_fresh(self._path(tile))))
                disk.write_all(descriptors[-1], data)  # T1
            list(self._pool.map(os.fsync, descriptors))  # T2
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        for tile, _ in contents:
            os.replace(_fresh(self._path(tile)), self._path(tile))  # T3
        folders = dict.fromkeys(self._path(tile).parent for tile, _ in contents)
        list(self._pool.map(disk.sync_folder, folders))  # T4
        self.size = self.grown
        self._pending, self._leaves = [], []
        self._files = TileFiles(self._public)

    def drop_partial(self, old_size: int) -> None:
        """D2: delete the partial tiles that became full since *old_size*. Raises OSError."""
        for tile in tiles(self.size, old_size):
            if tile.width == WIDTH:
                folder = self._path(tile).with_name(f"{self._path(tile).name}.p")
                with suppress(FileNotFoundError):
                    for path in folder.iterdir():
                        path.unlink()
                    folder.rmdir()

    def contents(self) -> Iterator[tuple[Tile, bytes]]:
        """The tiles to write, and what is in them. It moves the edge, so it is for once."""
        first = self.size // WIDTH
        bundles = self._chunks(ENTRIES, self._pending)
        yield from ((Tile(ENTRIES, at, len(part)), encode_bundle(part)) for at, part in enumerate(bundles, first))
        hashes = self._leaves
        for level in range(MAX_LEVEL + 1):
            if not hashes:
                return
            first = (self.size >> (HEIGHT * level)) // WIDTH
            chunks = self._chunks(level, hashes)
            yield from ((Tile(level, at, len(part)), encode_tile(part)) for at, part in enumerate(chunks, first))
            hashes = [subtree_root(part) for part in chunks if len(part) == WIDTH]

    def _chunks(self, level: int, fresh: Sequence[bytes]) -> list[list[bytes]]:
        """What stands in the tiles of a level from its edge on, now that *fresh* items have come."""
        items = [*self._edge.get(level, ()), *fresh]
        chunks = [items[at : at + WIDTH] for at in range(0, len(items), WIDTH)]
        self._edge[level] = chunks[-1] if chunks and len(chunks[-1]) < WIDTH else []
        return chunks

    def _read_edge(self) -> dict[int, list[bytes]]:
        """Hashes of the partial tile of each level, and entries of the partial bundle.

        Where the last tile of a level is full, it is read too: it must give its hash in the tile above.
        """
        edge = {}
        for level in range(ENTRIES, MAX_LEVEL + 1):
            count = self.size >> (HEIGHT * max(level, 0))
            if count == 0:
                continue
            tile = tile_in_tree(level, (count - 1) // WIDTH, self.size)
            items = self._files.bundle(tile) if level == ENTRIES else self._files.tile(tile)
            if tile.width < WIDTH:
                edge[level] = items
            elif level != ENTRIES and subtree_root(items) != self._hash_above(tile):
                raise LogError(f"{self._path(tile)}: its root is not the hash in the tile above; {RESTORED}")
        return edge

    def _hash_above(self, tile: Tile) -> bytes:
        """The hash of a full tile, as the tile above has it."""
        above = tile_in_tree(tile.level + 1, tile.index // WIDTH, self.size)
        return self._files.tile(above)[tile.index % WIDTH]

    def _node(self, level: int, index: int) -> bytes:
        """Hash of a complete subtree, out of the tiles as far as they reach."""
        if (index + 1) << level <= self.size:
            return self._files.reader(self.size)(level, index)
        if level == 0:
            return self._leaves[index - self.size]
        return node_hash(self._node(level - 1, 2 * index), self._node(level - 1, 2 * index + 1))

    def _path(self, tile: Tile) -> Path:
        return self._files.path(tile)

    def _make_folder(self, folder: Path) -> None:
        """Make a folder; it is flushed into its parent before a file in it counts. Raises OSError."""
        if not folder.is_dir():
            self._make_folder(folder.parent)
            folder.mkdir(exist_ok=True)
            folder.chmod(0o755)
            disk.sync_folder(folder.parent)


def _fresh(path: Path) -> Path:
    return path.with_name(f".new-{path.name}")


def _create(path: Path) -> int:
    """A new file; a stray of that name, which a crash left, is written over."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, disk.PUBLIC)
    os.fchmod(descriptor, disk.PUBLIC)
    return descriptor
