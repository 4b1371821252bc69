"""Any day of a measured broker, against a model that knows only log order and resets: which marks are attested."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import example, given, settings
from hypothesis import strategies as st

from sigillo.core.event_log import LoggedEvent, encode_event_log
from sigillo.core.evidence_line import LaunchLine, SharedLine, shared_order
from sigillo.core.mark import Checkpoint

from ..adversary.attested import AttestedStory

ACTIONS = ("launch", *3 * ("publish",), *4 * ("quote",), "old quote", "slow quote", "reset", "stop")


@dataclass(frozen=True)
class Quoted:
    """A quote of the model: its entry, the size it is about, the TPM's resets by then."""

    epoch: int
    index: int
    size: int
    resets: int


@dataclass
class Day(AttestedStory):
    """Does what it is told, as far as a broker could, and remembers what the model needs."""

    logs: list[list[LoggedEvent]] = field(default_factory=list)
    quoted: list[Quoted] = field(default_factory=list)
    marks: list[tuple[int, int]] = field(default_factory=list)
    seen: list[Checkpoint] = field(default_factory=list)
    number: int = 0

    def act(self, action: str) -> None:
        running = self.broker.epoch is not None
        if action == "launch":
            self.number += 1
            self.seen = []
            self.launch()
        elif action == "publish" and running:
            self.broker.publish(self.first)
            self.log.append()
            self.marks.append((self.number, len(self.log.entries) - 1))
        elif action == "quote":
            self.quote()
        elif action == "old quote":
            self.quote(self.seen[0])
        elif action == "slow quote":
            about = self.log.sign().checkpoint
            self.act("publish")
            self.quote(about)
        elif action == "reset":
            self.logs.append(self.events)
            self.events = []
            self.tpm.pcrs.clear()
            self.tpm.resets += 1
        elif action == "stop" and running:
            self.broker.stop()
            self.log.append()

    def quote(self, checkpoint: Checkpoint | None = None, *_: object, **__: object) -> None:
        about = self.log.sign().checkpoint
        self.seen.append(about)
        super().quote(checkpoint)
        size = (checkpoint or about).size
        self.quoted.append(Quoted(self.number, len(self.log.entries) - 1, size, self.tpm.resets))

    @property
    def shared(self) -> list[SharedLine]:
        logs = [LaunchLine(encode_event_log(events)) for events in (*self.logs, self.events) if events]
        return [*super().shared[:-1], *sorted(logs, key=shared_order)]

    @property
    def bad(self) -> list[Quoted]:
        """Quotes of whose epoch the one before is from before a reset."""
        pairs = zip(self.quoted, self.quoted[1:], strict=False)
        return [later for one, later in pairs if one.epoch == later.epoch and one.resets != later.resets]

    def attested(self, epoch: int, index: int) -> bool:
        """Between two good quotes of the mark's epoch and of one reset."""
        good = [quoted for quoted in self.quoted if quoted.epoch == epoch and quoted not in self.bad]
        return any(
            first.index < index < last.size and first.resets == last.resets
            for first in good
            for last in good
            if first.index < last.index
        )


@example(["reset", "quote", "quote", "publish", "quote"])
@example(["reset", "quote", "reset", "quote", "publish", "quote"])
@example(["quote", "slow quote", "publish", "old quote", "stop", "quote", "launch", "reset", "quote"])
@settings(max_examples=120, deadline=None)
@given(st.lists(st.sampled_from(ACTIONS), min_size=3, max_size=18))
def test_a_mark_is_attested_where_the_model_says_so(actions: list[str]) -> None:
    day = Day()
    for action in ("launch", "publish", *actions):
        day.act(action)
    expected = [day.attested(*mark) for mark in day.marks]
    verdict = day.judged()
    found = verdict.summary.attestation
    assert (found.attested_count, found.unattested_count) == (expected.count(True), expected.count(False))
    assert verdict.verified == (all(expected) and not day.bad), verdict.reason
    assert verdict.level == ("declared" if day.bad else "launched")
