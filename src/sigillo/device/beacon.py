"""The beacon: the newest checkpoint of the log that a device has seen and verified (spec/datagram.md, "Beacon").

Pure: notes in, the hash to sign out.
"""

from __future__ import annotations

from collections import Counter

from sigillo.core.checkpoint import SignedCheckpoint, decode_checkpoint, verify_checkpoint
from sigillo.core.errors import DecodeError, SignatureError
from sigillo.core.note import LogKey

CHECKPOINT_TOPIC = "sigillo/checkpoint"


class Beacon:
    """What a device knows of a log, whose key it was given; it never goes back to an older checkpoint.

    *first*, *newest*: the checkpoints that verified; None before one did. *refused*: notes that did not, by reason.
    """

    def __init__(self, key: LogKey) -> None:
        self._key = key
        self.first: SignedCheckpoint | None = None
        self.newest: SignedCheckpoint | None = None
        self.refused: Counter[str] = Counter()

    @property
    def hash(self) -> bytes | None:
        """What the next message echoes, 32 bytes; None: nothing."""
        return self.newest.beacon_hash if self.newest else None

    def see(self, note: bytes) -> None:
        """A note that somebody says is the log's newest checkpoint: anybody's bytes."""
        try:
            signed = decode_checkpoint(note)
            verify_checkpoint(signed, self._key)
        except (DecodeError, SignatureError) as error:
            self.refused[str(error)] += 1
            return
        known = self.newest.head if self.newest else None
        if known and signed.head.size == known.size and signed.head.root != known.root:
            self.refused["it contradicts the checkpoint of the same size that was seen before"] += 1
        elif known is None or signed.head.size > known.size:
            self.first, self.newest = self.first or signed, signed
