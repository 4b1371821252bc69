"""Which checkpoints devices have echoed: an evidence file shows their texts, of which beacons are the hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache

from sigillo.core.checkpoint import TreeHead, encode_tree_head
from sigillo.core.errors import DecodeError
from sigillo.core.mark import Checkpoint
from sigillo.core.merkle import Read, tree_root
from sigillo.core.message import decode_device_message

REACH = 65_536
"""Entries before a message's mark: among so many sizes of the log the one that its device echoed is looked for."""
MOST_TRIED = 16 * REACH
"""Sizes that an export tries in all, whatever devices have signed."""


class Beacons:
    """The checkpoints behind beacons: a hash does not say of which it is.

    Nearly always it is one that some mark of the file names, since broker and device get the newest one together. Else
    it is one from shortly before: then each size is tried.
    """

    def __init__(self, origin: str, read: Read) -> None:
        self._origin, self._read = origin, read
        self._named: dict[bytes, int] = {}
        self._echoed: dict[bytes, int] = {}
        self._left = 0

    def name(self, checkpoint: Checkpoint) -> None:
        """A mark names this checkpoint, so a device may echo it."""
        self._named[_hash(TreeHead(self._origin, checkpoint.size, checkpoint.root))] = checkpoint.size

    def echo(self, topic: str, payload: bytes, index: int) -> None:
        """A message, whose mark is entry *index*."""
        try:
            beacon = decode_device_message(payload, topic).beacon
        except DecodeError:
            return
        if beacon is not None:
            self._echoed.setdefault(beacon, index)

    def notes(self) -> dict[int, str]:
        """By size, the text of each checkpoint that was echoed; of what is not found in this log there is none."""
        self._left = MOST_TRIED
        hash_of = lru_cache(2 * REACH)(lambda size: _hash(self._head(size)))
        found = {self._size(beacon, index, hash_of) for beacon, index in self._echoed.items()}
        return {size: encode_tree_head(self._head(size)) for size in found if size is not None}

    def _size(self, beacon: bytes, index: int, hash_of: Callable[[int], bytes]) -> int | None:
        """The size of the checkpoint with this hash, not larger than *index*."""
        if beacon in self._named:
            return self._named[beacon]
        for size in range(index, max(index - min(REACH, self._left), -1), -1):
            self._left -= 1
            if hash_of(size) == beacon:
                return size
        return None

    def _head(self, size: int) -> TreeHead:
        return TreeHead(self._origin, size, tree_root(size, self._read))


def _hash(head: TreeHead) -> bytes:
    """Beacon hash (spec/log.md)."""
    return hashlib.sha256(encode_tree_head(head).encode("utf-8")).digest()
