"""A story with third parties: two time-stamp authorities, three witnesses, and trackers that sign beacons."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from sigillo.core.policy import AnchorTrust, MissingTrust, Policy
from sigillo.core.verdict import Verdict

from .broker import SECOND
from .cosigner import Witness
from .device import Device
from .log import LoggedStory
from .tsa import Tsa

MINUTE = 60 * SECOND
ONE, TWO = AnchorTrust(1, 10 * MINUTE), AnchorTrust(2, 10 * MINUTE)


@dataclass
class ThirdStory(LoggedStory):
    """The log is anchored by both TSAs, and cosigned by all witnesses, unless a test says otherwise.

    *skew_ns*: how far true time, which the TSAs tell, is ahead of the broker's clock.
    """

    skew_ns: int = 0
    tsas: list[Tsa] = field(default_factory=lambda: [Tsa("A"), Tsa("B")])
    witnesses: list[Witness] = field(default_factory=lambda: [Witness(f"w{number}") for number in (1, 2, 3)])

    def anchor(self, *tsas: Tsa, **lies: Any) -> None:
        """A token of each of these TSAs, or of both, over the log as it is; and a checkpoint that has them inside.

        The tokens are two seconds apart from what comes before and after: they state no accuracy, so 1 s is taken.
        """
        self.log.append()
        self.broker.clock_ns += 2 * SECOND
        note = self.log.note()
        for tsa in tsas or self.tsas:
            self.log.anchor(tsa, self.broker.clock_ns + self.skew_ns, note, **{"accuracy": b"", **lies})
        self.broker.clock_ns += 2 * SECOND
        self.log.sign()

    def signed(self, device: Device, beacon: bytes | None = None, **lies: Any) -> None:
        """The device publishes a message with this beacon, by default the log's newest checkpoint."""
        payload = device.datagram(ts=self.broker.clock_ns // SECOND + 1, beacon=beacon or self.log.beacon())
        self.broker.publish(device, payload=payload, **lies)

    def trust(self, **changes: Any) -> Policy:
        """A policy that demands everything: both TSAs, two of three witnesses, a beacon."""
        demands: dict[str, Any] = {
            "missing": MissingTrust(),
            "tsas": tuple(tsa.trust() for tsa in self.tsas),
            "anchors": TWO,
            "witnesses": tuple(witness.trust for witness in self.witnesses),
            "witness_quorum": 2,
        }
        return dataclasses.replace(self.policy, **{**demands, **changes})

    def note(self, *witnesses: Witness) -> str:
        """The checkpoint over all, cosigned by these witnesses, or by all."""
        note = self.log.note()
        for witness in witnesses or self.witnesses:
            note = witness.cosign(note)
        return note

    def file(self, **changes: Any) -> bytes:
        """The evidence file, under a cosigned checkpoint."""
        self.log.append()
        return self.log.file(**{"note": self.note(), **changes})

    def judged(self, policy: Policy | None = None, **changes: Any) -> Verdict:
        """The verdict on it, by a reader who demands everything or by another."""
        return self.verdict(self.file(**changes), policy or self.trust())


def bracketed(**parts: Any) -> ThirdStory:
    """Anchored, then a message of each of two trackers with a beacon, then anchored again."""
    story = ThirdStory(**parts)
    story.broker.start()
    story.log.sign()
    story.anchor()
    for device in (story.first, story.second):
        story.signed(device)
    story.anchor()
    return story
