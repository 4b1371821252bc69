"""The story that most tests start from, and what a reader makes of a file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from sigillo.core.appraise import appraise
from sigillo.core.errors import DecodeError, VerificationError
from sigillo.core.evidence_line import EpochLine, Line, MessageLine, shared_order
from sigillo.core.line import split_lines
from sigillo.core.policy import Policy
from sigillo.core.verdict import Verdict
from sigillo.core.verify import verify

from .broker import NOW_NS, Broker, evidence_file
from .device import Device
from .maker import Maker, line


@dataclass
class Story:
    """A broker and three trackers: both key types, both forms of message."""

    broker: Broker = field(default_factory=Broker)
    first: Device = field(default_factory=lambda: Device("crate-1", "p256"))
    second: Device = field(default_factory=lambda: Device("crate-2", "ed25519"))
    third: Device = field(default_factory=lambda: Device("crate-3", "p256"))

    @property
    def devices(self) -> tuple[Device, Device, Device]:
        return (self.first, self.second, self.third)

    def publish(self, rounds: int = 1) -> None:
        for _ in range(rounds):
            self.broker.publish(self.first)
            self.broker.publish(self.second)
            self.broker.publish(self.third, form="cose")

    @property
    def policy(self) -> Policy:
        return self.broker.policy(*self.devices)


@dataclass
class MakerStory(Story):
    """The reader pins the maker of the first two trackers, not their keys; the second's was renewed."""

    maker: Maker = field(default_factory=Maker)
    hardware: bool = False

    @property
    def policy(self) -> Policy:
        devices = [self.maker.device(device, self.hardware) for device in (self.first, self.second)]
        makers = (self.maker.trust(self.hardware),)
        return self.broker.policy(devices=(*devices, self.third.trust), makers=makers)

    @property
    def lines(self) -> list[Line]:
        """Certificates and what the broker has."""
        chains = [line(self.first, self.maker.below("Fleet").certify(self.first))]
        renewed = [self.maker.certify(self.second, serial=serial) for serial in (3, 4)]
        chains += sorted((line(self.second, chain) for chain in renewed), key=shared_order)
        return [*chains, *self.broker.lines]


def certified() -> MakerStory:
    """Each tracker publishes once, two of them with keys that their maker certifies."""
    story = MakerStory()
    story.publish()
    return story


def honest() -> Story:
    """Two epochs, six messages of three trackers in the first, three in the second; both end cleanly."""
    story = Story()
    story.publish(2)
    story.broker.stop()
    story.broker.start()
    story.publish()
    story.broker.stop()
    return story


def messages(lines: Iterable[Line]) -> list[MessageLine]:
    return [line for line in lines if isinstance(line, MessageLine)]


def epochs(lines: Iterable[Line]) -> list[EpochLine]:
    return [line for line in lines if isinstance(line, EpochLine)]


def outcome(data: bytes, policy: Policy, now_ns: int = NOW_NS) -> Verdict | DecodeError:
    """What `sigillo verify` would answer, and that `verify` and `appraise` agree on it."""
    try:
        verdict = appraise(split_lines([data]), policy, now_ns)
    except DecodeError as refusal:
        try:
            verify(split_lines([data]), policy, now_ns)
        except (DecodeError, VerificationError):
            return refusal
        raise AssertionError("verify accepts what appraise cannot read") from refusal
    try:
        verify(split_lines([data]), policy, now_ns)
    except VerificationError as failure:
        assert not verdict.verified
        assert verdict.checks[failure.step - 1].failures.count
    else:
        assert verdict.verified, verdict.reason
    return verdict


def verdict_on(lines: Iterable[Line], policy: Policy, now_ns: int = NOW_NS) -> Verdict:
    """The verdict on these lines, which must be readable."""
    result = outcome(evidence_file(lines), policy, now_ns)
    assert isinstance(result, Verdict), result
    return result


def needed(verdict: Verdict) -> list[tuple[str, int]]:
    """The permissions that were needed, with how often, beside those of a reader who has nobody but the operator."""
    third = (
        "missing.allow_unlogged",
        "missing.allow_unanchored",
        "missing.allow_unwitnessed",
        "missing.allow_no_beacon",
    )
    return [(used.permission, used.count) for used in verdict.relaxations if used.permission not in third]


def failing_steps(verdict: Verdict) -> list[int]:
    """The numbers of the steps that failed; empty where verified."""
    return [check.step for check in verdict.checks if check.failures.count]
