"""Attack 29: files whose launch logs, quotes or waiting marks cost a reader much. Memory is bounded, work goes once."""

from __future__ import annotations

import hashlib
import tracemalloc
from collections.abc import Callable

import pytest

from sigillo.core import attestations
from sigillo.core.attestations import MAX_GROUPS, Attestations
from sigillo.core.attested import MAX_LAUNCHES, LaunchParts
from sigillo.core.build_step import Builds
from sigillo.core.decoded import DecodedAttestation, DecodedLaunchLog
from sigillo.core.epoch import decode_statement
from sigillo.core.errors import AttestationError
from sigillo.core.event_log import LoggedEvent, decode_event_log, encode_event, encode_log_header
from sigillo.core.evidence_line import AttestationLine, LaunchLine
from sigillo.core.launch import LaunchEvent, encode_launch_event
from sigillo.core.ledger import Ledger
from sigillo.core.mark import Checkpoint
from sigillo.core.quote import Subject
from sigillo.core.run import Run
from sigillo.core.step import check_log_key, check_statement

from ..adversary.attested import AttestedStory, epoch_event
from ..vector.key import filler

MIB = 2**20


def launches(first: int, count: int) -> list[LoggedEvent]:
    """As short as launches can be, each of an epoch of its own."""
    events = []
    for number in range(first, first + count):
        events.append(encode_launch_event(LaunchEvent(1, bytes(32), (str(number),))))
        events.append(encode_launch_event(epoch_event(hashlib.sha256(str(number).encode()).digest())))
    return events


def log_of(first: int, count: int) -> bytes:
    return encode_log_header() + b"".join(map(encode_event, launches(first, count)))


def peak(work: Callable[[], object]) -> int:
    """Bytes that the work has taken at most."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_launch_logs_of_a_mebibyte() -> None:
    """64 of them have a third of a million launches: from the fourth on a reader keeps nothing."""
    data = log_of(0, 5300)
    assert len(data) > MIB
    parts = LaunchParts()

    def read() -> None:
        for number in range(8):
            log = decode_event_log(log_of(5300 * number, 5300) if number < 5 else data)
            try:
                parts.add_log(log)
            except AttestationError:
                continue

    assert peak(read) < 32 * MIB
    assert len(parts.launches) == 15_900 <= MAX_LAUNCHES


class Walk:
    """One measured epoch, as the walk through a file sees it."""

    def __init__(self) -> None:
        story = AttestedStory()
        story.launch()
        assert story.broker.epoch
        self.story, self.ledger, self.size = story, Ledger(strict=False), 10
        policy = story.policy
        self.walk = Attestations(policy, Builds(), self.ledger, Run(policy, self.ledger))
        signed = decode_statement(story.broker.epoch.countersigned)
        own = check_statement(signed)
        self.epoch_id = own.epoch_id
        self.walk.epoch(own, check_log_key(signed, own, policy))
        self.quote(1)

    def quote(self, size: int) -> None:
        evidence = self.story.tpm.quote(Subject(self.epoch_id, Checkpoint(size, filler("root"))))
        line = AttestationLine(b"", 1, 0, self.size)
        self.walk.quote(DecodedAttestation(2, line, evidence), of_log=True)

    def mark(self) -> None:
        self.walk.mark(self.size, self.size)
        self.size += 1

    @property
    def waiting(self) -> int:
        assert self.walk._epoch
        return len(self.walk._epoch.waiting)


@pytest.mark.parametrize("stops", [False, True], ids=["one interval", "a stop before each"])
def test_100_000_marks_that_wait(stops: bool) -> None:
    walk = Walk()

    def wait() -> None:
        for _ in range(100_000):
            if stops:
                walk.walk.stop()
            walk.mark()

    assert peak(wait) < 2 * MIB
    assert walk.waiting <= MAX_GROUPS
    walk.quote(walk.size)
    found = walk.ledger.summary().attestation
    assert found.attested_count == 100_000
    assert walk.waiting == 0


def test_where_groups_are_joined_no_mark_is_attested_too_early() -> None:
    """A quote over the first half covers no group that reaches behind it; one over all covers all."""
    walk = Walk()
    for _ in range(3 * MAX_GROUPS):
        walk.walk.stop()
        walk.mark()
    first = walk.size - 3 * MAX_GROUPS
    walk.quote(first + MAX_GROUPS + 1)
    found = walk.ledger.summary().attestation.attested_count
    assert MAX_GROUPS - 4 <= found <= MAX_GROUPS + 1
    walk.quote(walk.size)
    assert walk.ledger.summary().attestation.attested_count == 3 * MAX_GROUPS


def test_quotes_that_cover_nothing_look_at_one_group_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """4096 groups times a hundred thousand quotes over an old checkpoint would be hours."""
    walk = Walk()
    for _ in range(MAX_GROUPS):
        walk.walk.stop()
        walk.mark()
    assert walk.walk._epoch
    looked = 0

    class Counted:
        def __init__(self, last: int) -> None:
            self._last, self.count, self.line = last, 1, None

        @property
        def last(self) -> int:
            nonlocal looked
            looked += 1
            return self._last

    walk.walk._epoch.waiting = attestations.deque(Counted(it.last) for it in walk.walk._epoch.waiting)  # type: ignore[misc]
    for _ in range(50):
        walk.quote(1)
    assert looked == 50


def test_a_failing_quote_per_mark_is_counted_and_not_kept() -> None:
    walk = Walk()
    walk.mark()

    def fail() -> None:
        for _ in range(500):
            evidence = walk.story.tpm.quote(Subject(filler("other"), Checkpoint()))
            walk.walk.quote(DecodedAttestation(2, AttestationLine(b"", 1, 0, 1), evidence), of_log=True)

    assert peak(fail) < MIB
    assert walk.ledger.steps[21].failures.count == 500


def test_a_log_line_that_is_refused_leaves_nothing_behind() -> None:
    """Neither its launches, nor a place of the 16,384."""
    walk = Walk()
    events = [*launches(0, 100), encode_launch_event(epoch_event(filler("without a launch")))]
    data = encode_log_header() + b"".join(map(encode_event, events))
    walk.walk.part(DecodedLaunchLog(2, LaunchLine(data), decode_event_log(data)))
    assert not walk.walk._parts.launches
    assert walk.ledger.steps[22].failures.count == 1
