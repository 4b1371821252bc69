"""A tracker that misbehaves on request, against a broker on this machine only: it is a weapon for tests.

Its numbers stay honest on disk. Each message takes the next number from the outbox, altered or not, and leaves the
outbox once the broker has accepted it; a number that `gap` skips is one whose message is signed and thrown away. What
is sent beside the message uses no number. So the next honest run goes on after it and never uses a number twice. It
also sends what is left in the outbox, which a rogue leaves alone.
"""

from __future__ import annotations

import ipaddress
import threading
import time
from collections.abc import Callable
from random import Random

from sigillo.device.error import DeviceError
from sigillo.device.folder import DeviceFolder
from sigillo.device.journey import reading
from sigillo.device.link import Address, Link
from sigillo.device.message import CONTENT_TYPE, encode_message
from sigillo.device.misbehaviour import BEHAVIOURS, Draft, Mischief, Misdeeds, Scene, Shot, chance_of
from sigillo.device.signer import Signer
from sigillo.device.simulate import LAST_PATIENCE_S, POLL_S, Plan, Tracker
from sigillo.device.store import Outbox, Outgoing


def check_loopback(address: Address) -> None:
    """Raises DeviceError where *address* is not an address of this machine's loopback, or the name `localhost`."""
    try:
        loopback = ipaddress.ip_address(address.host).is_loopback
    except ValueError:
        loopback = address.host == "localhost"
    if not loopback:
        raise DeviceError(
            f"--broker {address}: a misbehaving tracker talks to a broker on this machine only; "
            "use 127.0.0.1, ::1 or localhost, or leave out --misbehave"
        )


class Rogue(Tracker):
    """One misbehaving tracker. It sends one message after the other, to know what the broker did over which."""

    def __init__(self, mischief: Mischief, device: DeviceFolder, plan: Plan) -> None:
        """Raises DeviceError where the plan's broker is not on this machine."""
        check_loopback(plan.address)
        super().__init__(device, plan)
        self._mischief = mischief
        self._misdeeds = self.tally.misdeeds = {kind: Misdeeds() for kind in mischief.kinds}
        self._shots = 0

    def _travel(self, outbox: Outbox, stop: threading.Event) -> str:
        plan, signer = self._plan, self._device.signer()
        link = Link(self._device, plan.address, plan.qos, plan.protocol, self._beacon)
        due = time.monotonic()
        while not self._all_issued(stop):
            if (wait_s := due - time.monotonic()) > 0:
                link.poll(min(POLL_S, wait_s))
                continue
            self._report(outbox, link, signer, stop)
            due = max(due + plan.interval_s, time.monotonic())
        link.close(self._topic, LAST_PATIENCE_S)
        return ""

    def _report(self, outbox: Outbox, link: Link, signer: Signer, stop: threading.Event) -> None:
        """One reading, with everything that is done wrong about it."""
        if self._beacon:
            self._await(link, lambda: link.ready, stop)
        self._skip(outbox, signer)
        draft = self._draft(outbox.sequence + 1)
        message = outbox.issue(self._topic, lambda _number: self._sign(signer, draft))
        self._issued += 1
        own = Shot(self._topic, message.payload, self._plan.qos)
        result = self._fire(link, own, stop)
        self.tally.sent += 1
        self.tally.arrived += result.accepted
        self.tally.refused += result.refused
        if result.accepted:
            outbox.settle(message.sequence)
        for kind, misdeeds in self._misdeeds.items():
            behaviour = BEHAVIOURS[kind]
            if behaviour.skips or behaviour.alters:
                misdeeds.add(result)
            if behaviour.adds:
                chance = self._chance(message.sequence, kind)
                for shot in behaviour.adds(Scene(draft, own, signer.sign, self._mischief, chance)):
                    misdeeds.add(self._fire(link, shot, stop))

    def _skip(self, outbox: Outbox, signer: Signer) -> None:
        for kind in self._mischief.kinds:
            if skips := BEHAVIOURS[kind].skips:
                for _ in range(skips(self._chance(outbox.sequence + 1, kind))):
                    thrown = outbox.issue(self._topic, lambda number: self._sign(signer, self._draft(number)))
                    outbox.settle(thrown.sequence)

    def _draft(self, number: int) -> Draft:
        """The reading of this number as this tracker tells it."""
        plan = self._plan
        body = reading(plan.seed, self._device.device_id, number, plan.interval_s)
        beacon = self._beacon.hash if self._beacon else None
        draft = Draft(number, time.time_ns() // 1_000_000, body, beacon=beacon, seen=self._beacon)
        for kind in self._mischief.kinds:
            if alters := BEHAVIOURS[kind].alters:
                draft = alters(draft, self._chance(number, kind))
        return draft

    def _sign(self, signer: Signer, draft: Draft) -> bytes:
        return encode_message(
            self._plan.form,
            signer,
            self._device.device_id,
            self._topic,
            ver=draft.ver,
            ts=draft.ts,
            body=draft.body,
            beacon=draft.beacon,
            indefinite=draft.indefinite,
        )

    def _chance(self, number: int, kind: str) -> Random:
        return chance_of(self._plan.seed, self._device.device_id, number, kind)

    def _fire(self, link: Link, shot: Shot, stop: threading.Event) -> Misdeeds:
        """Send all copies, and wait until each is answered or the connection is gone."""
        if shot.reconnects:
            link.leave()
        self._await(link, lambda: link.connected, stop)
        for _ in range(shot.copies):
            self._shots += 1
            message = Outgoing(self._shots, shot.topic, shot.payload)
            link.send(message, CONTENT_TYPE[self._plan.form], qos=shot.qos, user_properties=shot.properties)
        self._await(link, lambda: not (link.connected and link.in_flight), stop)
        if shot.qos == 0 and link.connected:
            link.drain(self._topic, self._patience_s(stop))  # whoever is cut off for it is so by then
        result = Misdeeds(sent=shot.copies, disconnected=int(not link.connected))
        for outcome in link.outcomes():
            if outcome.refusal:
                result.refused[outcome.refusal] += 1
            else:
                result.accepted += 1
        if not link.connected:
            link.forget()
        self.tally.connections = link.connections
        return result

    def _await(self, link: Link, done: Callable[[], bool], stop: threading.Event) -> None:
        """Let the link work until *done*. Raises DeviceError after the plan's patience."""
        begin = time.monotonic()
        while not done():
            if time.monotonic() - begin > self._patience_s(stop):
                raise DeviceError(self._given_up(link, stop))
            link.poll(POLL_S)
