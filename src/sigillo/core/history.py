"""What verification remembers between lines: a record for each principal, a counter for each device.

Never one for each message: memory does not grow with the length of a file (spec/evidence.md, last paragraph).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from sigillo.core.errors import DecodeError
from sigillo.core.trusted import VerifiedCertificate

MAX_PRINCIPALS = 65_536
MAX_REMEMBERED = 262_144
MAX_OPEN_GAPS = 64
_HALF_OF_8_BITS = 128


@dataclass(slots=True)
class LastMark:
    """The last mark of a principal that the file shows, of the epoch with this number."""

    epoch: int
    sequence: int
    count: int
    object_hash: bytes


@dataclass(slots=True)
class Principal:
    """What the file shows of one principal. *name*: as marked, cut to 256 characters for display.

    *complete_to*: the entry of the log up to which all of its marks are known, from the first one shown on; it stays
    where *gap* says that something is not known. *known*: epoch and sequence up to which all is known again since.
    """

    name: str
    messages: int = 0
    repeats: int = 0
    sequence_bits: int | None = None
    last: LastMark | None = None
    complete_to: int | None = None
    known: tuple[int, int] | None = None
    gap: bool = False

    def joins(self, epoch: int, last_sequence: int) -> bool:
        """Whether nothing is unknown up to this epoch. *last_sequence*: of the epoch before it."""
        if self.known is None or self.known[0] == epoch:
            return True
        return self.known[0] == epoch - 1 and self.known[1] >= last_sequence

    def reach(self, known: tuple[int, int], index: int) -> None:
        """All is known up to here, entry *index*, unless there is a gap before it."""
        self.known = known
        if not self.gap:
            self.complete_to = index


class Principals:
    """The principals of a file, by name; at most ``MAX_PRINCIPALS``."""

    def __init__(self) -> None:
        self._by_digest: dict[bytes, Principal] = {}  # by digest: a name may have 64 KiB

    def __len__(self) -> int:
        return len(self._by_digest)

    def of(self, name: str) -> Principal:
        """The record of this principal, made if new. Raises DecodeError where the file has too many."""
        digest = hashlib.sha256(name.encode()).digest()
        found = self._by_digest.get(digest)
        if found is None:
            if len(self._by_digest) >= MAX_PRINCIPALS:
                raise DecodeError("file", f"shows more than {MAX_PRINCIPALS} principals; verify it in parts")
            found = self._by_digest[digest] = Principal(name if len(name) <= 256 else f"{name[:256]}…")
        return found

    def find(self, name: str) -> Principal | None:
        """The record of this principal, or None."""
        return self._by_digest.get(hashlib.sha256(name.encode()).digest())

    def all(self) -> list[Principal]:
        """In the order in which the file shows them."""
        return list(self._by_digest.values())


class Certificates:
    """The certificates of the devices that the policy has under a maker: those that count, and why another does not."""

    def __init__(self) -> None:
        self._counting: dict[str, list[VerifiedCertificate]] = {}
        self._refusals: dict[str, str] = {}

    def keep(self, certificate: VerifiedCertificate) -> None:
        """Remember one that counts."""
        self._counting.setdefault(certificate.device.id, []).append(certificate)

    def refuse(self, device: str, reason: str) -> None:
        """Remember why one of this device does not count; the first reason stays."""
        self._refusals.setdefault(device, reason)

    def of(self, device: str) -> list[VerifiedCertificate]:
        """Those of this device that count."""
        return self._counting.get(device, [])

    def why_none(self, device: str) -> str:
        """Why there is none of this device."""
        return self._refusals.get(device, "the file has no certificate of it")


class Contents:
    """The signed contents seen last, over all devices: the newest ``MAX_REMEMBERED``, each with its first mark."""

    def __init__(self) -> None:
        self._seen: dict[bytes, tuple[int, int]] = {}
        self._marked: dict[tuple[int, int], bytes] = {}

    def first_mark(self, device: str, content_hash: bytes, mark: tuple[int, int]) -> tuple[int, int] | None:
        """Epoch and sequence of the first mark of this device's content, where it is remembered.

        Remembers it, under *mark* (epoch, sequence), where it is new: then None.
        """
        key = hashlib.sha256(device.encode() + b"\n" + content_hash).digest()[:16]
        first = self._seen.get(key)
        if first is not None:
            return first
        if len(self._seen) >= MAX_REMEMBERED:
            oldest = next(iter(self._seen))
            del self._marked[self._seen.pop(oldest)]
        self._seen[key] = mark
        self._marked[mark] = key
        return None

    def is_first(self, mark: tuple[int, int]) -> bool:
        """Whether this mark is remembered as the first one of some content."""
        return mark in self._marked


@dataclass(slots=True)
class DeviceCounter:
    """A device's own sequence numbers (spec/datagram.md, "Sequence"), content by content; repeats never come here.

    *lost* counts the numbers between the lowest and the highest that were not shown. Where more than ``MAX_OPEN_GAPS``
    gaps are open, the lowest is closed: what it lacks stays lost, and a number up to it cannot be judged any more.
    """

    bits: int
    first: int | None = None
    highest: int = 0
    lost: int = 0
    _gaps: list[tuple[int, int]] = field(default_factory=list)  # [first, end) of numbers not shown, ascending
    _closed_below: int = 0

    def show(self, number: int) -> str | None:
        """Take the number of a message with new content.

        Returns None where the number is above the highest, "reordering" where it comes late, "reused" where it was
        shown before with other content, and "untold" where that can no longer be told. 8 bits never tell "reused":
        there the counter has gone round.
        """
        if self.first is None:
            self.first = self.highest = number
            return None
        if self.bits == 8:
            number = self._unwrapped(number)
        if number > self.highest:
            if number > self.highest + 1:
                self._open_gap(self.highest + 1, number)
            self.highest = number
            return None
        if number < self._closed_below:
            return "untold"
        if number < self.first:
            self._open_lowest_gap(number + 1, self.first)
            self.first = number
            return "reordering"
        return "reordering" if self._fill_gap(number) else "reused"

    def _unwrapped(self, number: int) -> int:
        """The number that an 8-bit counter stands for: a late one only where one is missing, else the next such."""
        ahead = (number - self.highest) % 256
        late = self.highest + ahead - 256
        if ahead >= _HALF_OF_8_BITS and any(start <= late < end for start, end in self._gaps):
            return late
        return self.highest + (ahead or 256)

    def _open_gap(self, start: int, end: int) -> None:
        self.lost += end - start
        self._gaps.append((start, end))
        self._close_lowest_gap()

    def _open_lowest_gap(self, start: int, end: int) -> None:
        if start < end:
            self.lost += end - start
            self._gaps.insert(0, (start, end))
            self._close_lowest_gap()

    def _close_lowest_gap(self) -> None:
        if len(self._gaps) > MAX_OPEN_GAPS:
            self._closed_below = self._gaps.pop(0)[1]

    def _fill_gap(self, number: int) -> bool:
        for at, (start, end) in enumerate(self._gaps):
            if start <= number < end:
                parts = [(start, number), (number + 1, end)]
                self._gaps[at : at + 1] = [(first, last) for first, last in parts if first < last]
                self.lost -= 1
                self._close_lowest_gap()
                return True
        return False
