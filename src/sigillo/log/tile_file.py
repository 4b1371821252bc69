"""Tiles and bundles of a log, read from its public folder."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Final

from sigillo.core.errors import DecodeError
from sigillo.core.merkle import Read
from sigillo.core.tile import WIDTH, Tile, decode_bundle, decode_tile, node_reader
from sigillo.log.error import LogError, MissingFile

_KEPT: Final = 64
"""Tiles that stay in memory: a name never gets other content."""


class TileFiles:
    """The tile files below *public*, `log/public` of an operator."""

    def __init__(self, public: Path) -> None:
        self._public = public
        self.tile = lru_cache(_KEPT)(self._tile)
        self.bundle = lru_cache(_KEPT)(self._bundle)

    def reader(self, size: int) -> Read:
        """Every complete subtree of a tree of *size*, for `sigillo.core.merkle`."""
        return node_reader(size, self.tile)

    def path(self, tile: Tile) -> Path:
        """Where the tile is."""
        return self._public / tile.path

    def _tile(self, tile: Tile) -> list[bytes]:
        """Hashes of a tile. Raises LogError."""
        path, data, width = self._read(tile)
        try:
            return decode_tile(data, width)[: tile.width]
        except DecodeError as error:
            raise LogError(f"{path}: {error.reason}") from None

    def _bundle(self, tile: Tile) -> list[bytes]:
        """Entries of a bundle, 45 bytes each, not decoded. Raises LogError."""
        path, data, width = self._read(tile)
        try:
            return decode_bundle(data, width)[: tile.width]
        except DecodeError as error:
            raise LogError(f"{path}: {error.reason}") from None

    def _read(self, tile: Tile) -> tuple[Path, bytes, int]:
        """Content and width; a partial tile may be gone once the full one is there (D2)."""
        for found in (tile, replace(tile, width=WIDTH)):
            path = self.path(found)
            try:
                return path, path.read_bytes(), found.width
            except FileNotFoundError:
                continue
            except OSError as error:
                raise LogError(f"{path}: {error.strerror or error}") from None
        raise MissingFile(f"{self.path(tile)}: is missing")
