"""A fleet of simulated wine-crate trackers: each signs, publishes and waits for acknowledgements in its own thread.

These are honest; `rogue` has one that is not.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from sigillo.core.errors import SigilloError
from sigillo.core.message import is_reading
from sigillo.device.beacon import Beacon
from sigillo.device.folder import DeviceFolder, load_device_folder
from sigillo.device.identity import reported_topic
from sigillo.device.journey import reading
from sigillo.device.link import Address, Link, Protocol
from sigillo.device.message import CONTENT_TYPE, Form, encode_message
from sigillo.device.misbehaviour import Misdeeds
from sigillo.device.signer import Signer
from sigillo.device.store import Outbox, Outgoing

WINDOW = 10
"""Messages of one tracker that may be unacknowledged at a time."""

POLL_S = 0.1
LAST_PATIENCE_S = 5.0
"""Patience of a tracker that was told to stop."""


@dataclass(frozen=True)
class Plan:
    """What each tracker does. `count` None: until stopped; 0: only send what an earlier run left in the outbox."""

    address: Address
    count: int | None
    interval_s: float
    qos: int
    form: Form
    protocol: Protocol
    seed: int
    patience_s: float


@dataclass
class Tally:
    """What became of one tracker's messages. `error` is why it stopped early, or empty."""

    device_id: str
    sent: int = 0
    """Messages, each counted once."""
    resent: int = 0
    arrived: int = 0
    """Acknowledged by the broker; at QoS 0 only written to the socket."""
    refused: Counter[str] = field(default_factory=Counter)
    """By name of the broker's reason code."""
    unsettled: int = 0
    """Still in the outbox at the end, the refused ones included: the next run sends them again."""
    last_sequence: int = 0
    connections: int = 0
    error: str = ""
    beacon_size: int | None = None
    """Size of the newest checkpoint that the tracker has verified; None: none, so it signed no beacon."""
    beacon_refused: Counter[str] = field(default_factory=Counter)
    """Checkpoints that it did not believe, by reason."""
    misdeeds: dict[str, Misdeeds] = field(default_factory=dict)
    """By kind, what a misbehaving tracker (`rogue`) did beside its numbered messages, or to them."""

    @property
    def good(self) -> bool:
        """Everything that was to be sent has arrived."""
        return not (self.error or self.unsettled or self.refused)


class Tracker:
    """One simulated tracker."""

    def __init__(self, device: DeviceFolder, plan: Plan) -> None:
        self.tally = Tally(device.device_id)
        self.finished = threading.Event()
        self._device, self._plan = device, plan
        self._topic = reported_topic(device.device_id)
        self._issued = 0
        self._beacon: Beacon | None = None
        self._refused: set[int] = set()
        self._published: set[int] = set()

    def run(self, stop: threading.Event) -> None:
        """Travel until the plan is done, *stop* is set, or nothing arrives for the plan's patience; fills `tally`."""
        error = "ended unexpectedly"
        try:
            with Outbox(self._device.path, wait_s=1.0) as outbox:
                try:
                    key = self._device.log_key()
                    self._beacon = Beacon(key) if key else None
                    error = self._travel(outbox, stop)
                finally:
                    self.tally.unsettled = len(outbox.pending)
                    self.tally.last_sequence = outbox.sequence
                    self._tell_beacon()
        except (SigilloError, OSError) as caught:
            error = str(caught)
        finally:
            self.tally.error = error
            self.finished.set()

    def _travel(self, outbox: Outbox, stop: threading.Event) -> str:
        """The journey; why it ended early, or ""."""
        error = ""
        plan, signer = self._plan, self._device.signer()
        link = Link(self._device, plan.address, plan.qos, plan.protocol, self._beacon)
        due = progress = time.monotonic()
        while not self._done(outbox, stop):
            now = time.monotonic()
            if link.connected and not self._outstanding(outbox):
                progress = now
            if now - progress > self._patience_s(stop):
                error = self._given_up(link, stop)
                break
            if link.connected:
                if now >= due and link.ready and self._may_issue(outbox, stop):
                    self._issue(outbox, signer)
                    due = max(due + plan.interval_s, now)
                self._send(outbox, link)
            link.poll(max(0.0, min(POLL_S, due - now)) if self._may_issue(outbox, stop) else POLL_S)
            if self._settle(outbox, link):
                progress = time.monotonic()
            self.tally.connections = link.connections
        link.close(self._topic, LAST_PATIENCE_S)
        return error

    def _tell_beacon(self) -> None:
        if self._beacon:
            self.tally.beacon_size = self._beacon.newest.head.size if self._beacon.newest else None
            self.tally.beacon_refused = self._beacon.refused

    def _patience_s(self, stop: threading.Event) -> float:
        return min(self._plan.patience_s, LAST_PATIENCE_S) if stop.is_set() else self._plan.patience_s

    def _given_up(self, link: Link, stop: threading.Event) -> str:
        """Why, for people."""
        patience_s, fault = self._patience_s(stop), link.fault or "no acknowledgement"
        error = f"{self._plan.address}: nothing arrived for {patience_s:g} s ({fault})"
        if not link.connections:
            error += f"; is the broker running, and is {self._device.certificate} of its operator?"
        return error

    def _all_issued(self, stop: threading.Event) -> bool:
        return stop.is_set() or self._issued == self._plan.count

    def _done(self, outbox: Outbox, stop: threading.Event) -> bool:
        return self._all_issued(stop) and not self._outstanding(outbox)

    def _outstanding(self, outbox: Outbox) -> int:
        return len(outbox.pending) - len(self._refused)

    def _may_issue(self, outbox: Outbox, stop: threading.Event) -> bool:
        return not self._all_issued(stop) and self._outstanding(outbox) < WINDOW

    def _issue(self, outbox: Outbox, signer: Signer) -> None:
        plan, device_id = self._plan, self._device.device_id
        beacon = self._beacon.hash if self._beacon else None

        def sign(number: int) -> bytes:
            body = reading(plan.seed, device_id, number, plan.interval_s)
            now_ms = time.time_ns() // 1_000_000
            return encode_message(
                plan.form, signer, device_id, self._topic, ver=number, ts=now_ms, body=body, beacon=beacon
            )

        outbox.issue(self._topic, sign)
        self._issued += 1

    def _send(self, outbox: Outbox, link: Link) -> None:
        for message in outbox.pending:
            if message.sequence in link.in_flight or message.sequence in self._refused:
                continue
            if len(link.in_flight) >= WINDOW:
                break
            link.send(message, CONTENT_TYPE[self._form(message)])
            if message.sequence in self._published:
                self.tally.resent += 1
            else:
                self._published.add(message.sequence)
                self.tally.sent += 1

    @staticmethod
    def _form(message: Outgoing) -> Form:
        """Its form, which an earlier run may have chosen otherwise."""
        return "cose" if is_reading(message.payload) else "datagram"

    def _settle(self, outbox: Outbox, link: Link) -> bool:
        outcomes = link.outcomes()
        for outcome in outcomes:
            if outcome.refusal:
                self._refused.add(outcome.sequence)
                self.tally.refused[outcome.refusal] += 1
            else:
                outbox.settle(outcome.sequence)
                self.tally.arrived += 1
        return bool(outcomes)


class Fleet:
    """Trackers that travel at the same time."""

    def __init__(
        self, folders: Iterable[Path], plan: Plan, make: Callable[[DeviceFolder, Plan], Tracker] = Tracker
    ) -> None:
        """Read the device folders. Raises DeviceError."""
        self.trackers = [make(load_device_folder(folder), plan) for folder in folders]
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=tracker.run, args=(self._stop,), daemon=True) for tracker in self.trackers
        ]

    @property
    def tallies(self) -> list[Tally]:
        """One per tracker, in the order given; they change until `wait` returns True."""
        return [tracker.tally for tracker in self.trackers]

    def start(self) -> None:
        """Let all trackers go."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Sign nothing more; wait a little for what is under way."""
        self._stop.set()

    def wait(self, timeout_s: float) -> bool:
        """Wait at most *timeout_s* seconds; whether all trackers are done.

        A Ctrl-C may interrupt it. (`Thread.join` is not used for the waiting: interrupted, that of Python 3.11 takes a
        running thread for an ended one.)
        """
        deadline = time.monotonic() + timeout_s
        if not all(tracker.finished.wait(max(0.0, deadline - time.monotonic())) for tracker in self.trackers):
            return False
        for thread in self._threads:
            thread.join()
        return True
