"""What third parties say of a file as it is read: TSAs, witnesses, and devices that signed checkpoints as beacons.

Steps 17 to 20 of spec/verification.md, and the part of step 9 that waits for a mark's upper bound. Memory is flat: a
bound for each stop, a bounded number of groups of marks that wait, of stops and of beacons.
"""

from __future__ import annotations

import hashlib

from sigillo.core import step_third
from sigillo.core.bracket import Anchor, At, Beacon, Bound, Group, Inside, Need, Waiting
from sigillo.core.checkpoint import SignedCheckpoint
from sigillo.core.decoded import DecodedCheckpoint, DecodedToken
from sigillo.core.errors import VerificationError
from sigillo.core.evidence_line import StopLine
from sigillo.core.inclusion import Stop, Stops
from sigillo.core.ledger import Ledger
from sigillo.core.mark import Mark
from sigillo.core.policy import OperatorTrust, Policy
from sigillo.core.run import Run
from sigillo.core.trusted import VerifiedMark, VerifiedMessage

MAX_BEACONS = 65_536
UNANCHORED, UNWITNESSED, NO_BEACON = "missing.allow_unanchored", "missing.allow_unwitnessed", "missing.allow_no_beacon"
PENDING = "pending: no upper bound, so nothing but the broker's clock says by when these marks existed"
NO_LOWER = "no lower bound: nothing but the broker's clock says that these marks were not made earlier"
NAMED_NOTHING = "no lower bound: these marks name no checkpoint (size 0)"
NO_ANCHOR = "no time-stamp token that counts: the times are the broker's own claim"
NO_WITNESS = "one history; a split view would not be seen"
NO_BEACONS = "no beacon: nothing says after what these messages were signed"
UNPROVEN_BEACON = "devices signed beacons; the file has no log proof to find them in, so they bound nothing"
OWN_TIME = "the mark is of"


class ThirdParties:
    """One walk through a file. *stops*: of its log proof; None where it has none."""

    def __init__(self, policy: Policy | None, now_ns: int, ledger: Ledger, run: Run) -> None:
        self._policy, self._now_ns, self._ledger, self._run = policy, now_ns, ledger, run
        self._inside, self._waiting = Inside(), Waiting()
        self._beacons: dict[bytes, Beacon] = {}
        self._word: Bound | None = None  # the newest time of a mark or statement shown
        self._tokens = 0
        self.stops: Stops | None = None

    @property
    def _quorum(self) -> int:
        """How many TSAs make a bound; without a policy, or a TSA in it, no token counts at all."""
        return self._policy.anchors.quorum if self._policy and self._policy.anchors else 1

    def stop(self, line: StopLine) -> None:
        """A size that lines name, or that a token is about."""
        assert self.stops is not None  # decode_lines refuses a stop without a log
        self.stops.add(line.size, Stop(line.root, self._inside.bound(self._quorum), self._inside.latest()))
        if self.bounds:
            self._waiting.cut()

    def checkpoint(self, decoded: DecodedCheckpoint) -> None:
        """The text whose hash is a beacon: what it bounds is known here, directly below its stop."""
        beacon = hashlib.sha256(decoded.line.note.encode("utf-8")).digest()
        if len(self._beacons) >= MAX_BEACONS:
            del self._beacons[next(iter(self._beacons))]
        self._beacons[beacon] = Beacon(decoded.head.size, self._inside.bound(self._quorum) or self._word)

    def time(self, time_ns: int, operator: str) -> None:
        """The broker says that it is this time, in a statement or mark."""
        self._word = Bound(time_ns, operator=operator)

    def token(self, decoded: DecodedToken) -> None:
        """Step 17, and the marks that have their upper bound by it."""
        assert self.stops is not None  # decode_lines refuses an entry with an index without a log
        if not self._run.attempt(step_third.check_note, decoded, self.stops)[0]:
            return
        if self._policy is None:
            self._tokens += 1
            self._ledger.skipped(17)
            return
        if not self._run.attempt(step_third.check_note_key, decoded.checkpoint, self._policy)[0]:
            return
        token = step_third.trusted_token(decoded, self._policy.tsas)
        if isinstance(token, str):
            self._ledger.noted(17, f"a token that counts for nothing: {token}")
            return
        size, index = decoded.checkpoint.head.size, decoded.line.index
        assert index is not None  # with a log every entry has one
        anchor = Anchor(token.tsa, size, index, token.not_before_ns, token.not_after_ns)
        self._tokens += 1
        self._ledger.anchored(token, self._now_ns)
        stop = self.stops.at(size)
        if not self._run.step(17, step_third.check_agreement, anchor, stop.latest if stop else None)[0]:
            return
        self._inside.add(anchor)
        for group, bound in self._waiting.cover(anchor, self._quorum):
            self._bounded(group, bound)

    def mark(
        self, verified: VerifiedMark, message: VerifiedMessage | None, line: int | None, index: int | None
    ) -> None:
        """Steps 18 and 20 of one mark, as far as its upper bound does not matter; it waits for that.

        *message*: what a device signed, where that is known and held.
        """
        mark = verified.mark
        self.time(mark.time_ns, verified.statement.statement.operator)
        if self._policy is None:
            self._ledger.skipped(18)
            return
        beacon = self._beacon(message, line) if message else None
        lower = self._lower(mark, self._policy, beacon)
        latest = At(mark.time_ns - self._error_ns(mark, self._policy), line)
        group = Group(-1 if index is None else index, latest, lower=(lower, line) if lower else None)
        if message:
            group.clock = At(message.device_time_ns, line)
            if message.certified and self.bounds:
                self._wait(message, group, line)
        self._waiting.add(group)

    @property
    def bounds(self) -> bool:
        """Whether an upper bound may come."""
        return self.stops is not None and self._policy is not None and bool(self._policy.tsas)

    def certified(self, message: VerifiedMessage) -> bool:
        """Step 9 of a key that a maker certifies: at once where no upper bound can come, else it passes for now."""
        if not message.certified or self.bounds:
            return True
        maker, mark = message.device.maker, message.mark
        assert maker  # nobody else certifies
        self._by_own_time(maker.name, mark.statement.statement.operator)
        device, time_ns = message.device.id, mark.mark.time_ns
        return self._run.attempt(step_third.check_certified, message.certified, time_ns, device, OWN_TIME)[0]

    def _wait(self, message: VerifiedMessage, group: Group, line: int | None) -> None:
        maker, mark, at_mark = message.device.maker, message.mark, None
        assert maker  # nobody else certifies
        try:
            step_third.check_certified(message.certified, mark.mark.time_ns, message.device.id, OWN_TIME)
        except VerificationError as error:
            at_mark = error
        operator = mark.statement.statement.operator
        name = message.device.id, message.certified[0].key.fingerprint
        group.needs[name] = Need(line, maker.name, operator, message.certified, at_mark)

    def _by_own_time(self, maker: str, operator: str) -> None:
        judged = "are judged at the broker's own times: nothing bounds those"
        self._ledger.limit(f'certificates of maker "{maker}" {judged}')
        self._ledger.certified_by(Bound(0, operator=operator))

    def _error_ns(self, mark: Mark, policy: Policy) -> int:
        return policy.clock.max_error_ns if mark.clock.bound_ns is None else mark.clock.bound_ns

    def _lower(self, mark: Mark, policy: Policy, beacon: Beacon | None) -> Bound | None:
        """The later of what the named checkpoint and the beacon give; that the mark's time is not below it."""
        error_ns = self._error_ns(mark, policy)
        stop = self.stops.at(mark.checkpoint.size) if self.stops else None
        inside = stop.lower if stop and stop.root == mark.checkpoint.root else None
        signed = beacon.bound if beacon and beacon.bound and beacon.bound.anchors else None
        for bound, what in ((inside, "the checkpoint that it names was"), (signed, "its message was signed")):
            if bound:
                self._run.attempt(step_third.check_not_before, mark.time_ns, error_ns, bound, what)
        found = max((bound for bound in (inside, signed) if bound), key=lambda bound: bound.time_ns, default=None)
        self._ledger.marked_after.add(found)
        if found is None and self.bounds:
            self._run.absent(UNANCHORED, 18, NO_LOWER if mark.checkpoint.size else NAMED_NOTHING)
        return found

    def _beacon(self, message: VerifiedMessage, line: int | None) -> Beacon | None:
        """Step 20."""
        if message.beacon is None or self.stops is None:
            if message.beacon is not None:
                self._ledger.limit(UNPROVEN_BEACON)
            self._ledger.signed_after.add(None)
            self._run.absent(NO_BEACON, 20, NO_BEACONS)
            return None
        _, beacon = self._run.step(20, step_third.check_beacon, message.beacon, self._beacons)
        bound = beacon.bound if beacon else None
        self._ledger.signed_after.add(bound)
        if bound:
            self._compare(20, At(message.device_time_ns + message.device_resolution_ns, line), after=bound)
        return beacon

    def _bounded(self, group: Group, upper: Bound) -> None:
        """Steps 18 and 9 of a group of marks that have their upper bound."""
        assert self._policy and self._policy.anchors  # no token counts without
        self._ledger.ran(18, group.count)
        self._ledger.not_later.add(upper, group.count)
        with self._ledger.about(group.latest.line):
            self._run.attempt(step_third.check_not_after, group.latest.time_ns, upper)
        if group.lower:
            lower, line = group.lower
            self._ledger.bracket(upper.time_ns - lower.time_ns)
            with self._ledger.about(line):
                self._run.attempt(step_third.check_width, lower, upper, self._policy.anchors.max_bracket_ns)
        if group.clock:
            self._compare(18, group.clock, by=upper)
        for (device, _), need in group.needs.items():
            self._ledger.certified_by(upper)
            with self._ledger.about(need.line):
                there = (need.candidates, upper.time_ns, device, "the message was there by")
                self._run.attempt(step_third.check_certified, *there)

    def _compare(self, step: int, clock: At, by: Bound | None = None, after: Bound | None = None) -> None:
        """The clock of a device with a bound of its message."""
        self._ledger.clock_compared()
        if (by and clock.time_ns > by.time_ns) or (after and clock.time_ns < after.time_ns):
            signed = f"by {step_third.moment(by.time_ns)}" if by else "later"
            says = f"it says {step_third.moment(clock.time_ns)}, and the device signed {signed}"
            with self._ledger.about(clock.line):
                self._ledger.contradicted(step, f"the device's clock is contradicted: {says}")

    def trailer(self, checkpoint: SignedCheckpoint, operator: OperatorTrust | None) -> None:
        """Step 19. *operator*: whose log it is; None where step 3 failed."""
        if self._policy is None or operator is None:
            self._ledger.skipped(19)
            return
        witnesses, quorum = self._policy.witnesses, self._policy.witness_quorum
        passed, found = self._run.attempt(step_third.cosigners, checkpoint, witnesses, operator)
        if not passed or found is None:
            return
        counted, own = found
        for witness in own:
            self._ledger.noted(19, f'witness "{witness.name}" does not count: operator "{operator.name}" runs it')
        if quorum is None or len(counted) < quorum:
            of = f" ({len(counted)} of {quorum} witnesses)" if quorum else ""
            self._run.absent(UNWITNESSED, 19, f"{NO_WITNESS}{of}")
            return
        self._ledger.ran(19, len(counted))
        able = sum(witness.counts_for(operator) for witness in witnesses)
        names = tuple(witness.name for witness in counted)
        self._ledger.witnessed(names, quorum, able, operator.name)

    def end(self) -> None:
        """What is still pending, and what the whole file lacks."""
        if not self._tokens:
            self._ledger.absent(17, NO_ANCHOR)
        for group in self._waiting.rest():
            self._ledger.not_later.add(None, group.count)
            with self._ledger.about(group.latest.line):
                self._run.absent(UNANCHORED, 18, PENDING, group.count)
            for need in group.needs.values():
                self._by_own_time(need.maker, need.operator)
                if need.at_mark:
                    with self._ledger.about(need.line):
                        self._ledger.failed(need.at_mark)
        if self.stops is None:
            self._run.absent(UNWITNESSED, 19, NO_WITNESS)
