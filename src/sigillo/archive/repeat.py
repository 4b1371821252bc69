"""Marks that no subscriber got: which of them only repeat a message that the archive holds.

Mosquitto asks the plugin before it sees that a QoS 2 PUBLISH is a duplicate (spec/mark.md, "Repeats"). The duplicate
has a mark, which is in the spool, but is not delivered again; without it the counts of the evidence have a hole, as if
the broker had withheld a message. Its commitment shows which message it repeats, so it is shown with that payload; the
verifier checks it like any other. A mark whose payload nobody holds is shown without one: admitted, not held.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace

from sigillo.archive.store import Message
from sigillo.core.errors import DecodeError
from sigillo.core.mark import Mark, SignedMark, decode_mark, is_committed

REMEMBERED = 64
"""Messages of a device among which the original is looked for: more than a device has under way at once."""


@dataclass(frozen=True, slots=True)
class Unheld:
    """A mark, as the spool has it, whose message the archive does not hold."""

    mark: bytes
    signed: SignedMark

    @property
    def sequence(self) -> int:
        """Its sequence in its epoch."""
        return self.signed.mark.sequence

    @property
    def topic(self) -> str:
        """The topic that was marked."""
        return self.signed.mark.topic

    @property
    def principal(self) -> str:
        """Who sent it, as marked."""
        return self.signed.mark.principal


class Holes:
    """The counts that are missing between the marks of each principal in one epoch.

    *marks*: of the messages that are held, in order. *shown*: principals with a message in an epoch before, of which
    all marks of this epoch count; of another one those after its first message. *heads*: how many marks the log says
    that a principal had in this epoch, where that is known and what is missing after the last message counts too.
    """

    def __init__(self, marks: Iterable[Mark], shown: Collection[str], heads: Callable[[str], int]) -> None:
        self._missing: dict[str, list[range]] = {}
        last = dict.fromkeys(shown, 0)
        for mark in marks:
            before = last.get(mark.principal, mark.count)
            self._miss(mark.principal, before + 1, mark.count)
            last[mark.principal] = max(before, mark.count)
        for principal, count in last.items():
            self._miss(principal, count + 1, heads(principal) + 1)

    def _miss(self, principal: str, first: int, end: int) -> None:
        if first < end:
            self._missing.setdefault(principal, []).append(range(first, end))

    def __bool__(self) -> bool:
        return bool(self._missing)

    def marks(self, spooled: Iterable[bytes]) -> Iterator[tuple[int, Unheld]]:
        """Those of an epoch's marks, in order, that lie in a hole, each with its place among all."""
        for place, data in enumerate(spooled):
            try:
                signed = decode_mark(data)
            except DecodeError:
                continue  # what is not a mark fills no hole
            if any(signed.mark.count in hole for hole in self._missing.get(signed.mark.principal, ())):
                yield place, Unheld(data, signed)


@dataclass(slots=True)
class Recent:
    """The newest messages of each device, over epochs."""

    _messages: dict[str, deque[Message]]

    @classmethod
    def none(cls) -> Recent:
        """Nothing yet."""
        return cls({})

    def remember(self, message: Message) -> None:
        """A message that the archive holds."""
        self._messages.setdefault(message.principal, deque(maxlen=REMEMBERED)).append(message)

    def original(self, unheld: Unheld) -> Message | None:
        """The message that this mark repeats, under the mark; None where it is none of them."""
        mark = unheld.signed.mark
        for held in reversed(self._messages.get(mark.principal, ())):
            if held.topic == mark.topic and is_committed(unheld.signed, held.payload):
                return replace(
                    held,
                    epoch_id=unheld.signed.epoch_id,
                    sequence=mark.sequence,
                    object_hash=unheld.signed.object_hash,
                    time_ns=mark.time_ns,
                    mark=unheld.mark,
                )
        return None
