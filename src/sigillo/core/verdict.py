"""What an appraisal found, as values: for people (:mod:`sigillo.report.text`) and programs (spec/verdict.schema.json).

Sizes are bounded whatever the file: at most ``MAX_LISTED`` findings of a check, devices, operators and epochs are
listed, and every one is counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sigillo.core.bracket import Anchor, Bound

MAX_LISTED = 100
SCHEMA_VERSION = 1

STEPS = {
    1: "file",
    2: "epoch statement",
    3: "log key",
    4: "epoch chain",
    5: "time mark",
    6: "binding",
    7: "order",
    8: "clock",
    9: "device",
    10: "withheld",
    11: "lost",
    12: "build",
    13: "level",
    14: "log inclusion",
    15: "log order",
    16: "complete",
    17: "anchor",
    18: "bracket",
    19: "witness",
    20: "beacon",
    21: "quote",
    22: "launch",
    23: "attested",
    24: "boot",
}
LOG_STEPS = (14, 15, 16)
"""Those that are about the log alone."""
NO_LOG = "nothing shows that these marks are in a log that others can see"
LEVELS = ("declared", "launched", "booted", "image", "enclave")
LEVEL_SENTENCE = {
    "declared": "hashes self-reported by the operator",
    "launched": "the operator's own launcher reported these hashes to a TPM: catches outsiders and mistakes, not a "
    "lying operator with root",
    "booted": "TPM, boot log and IMA: nothing else that the IMA policy measures was loaded",
}


class Result(StrEnum):
    """The outcome of one check. ``NOT_CHECKED``: no policy, or a step before it failed. ``MISSING``: the file has
    nothing for it, and nobody demands that.
    """

    PASSED = "passed"
    FAILED = "failed"
    MISSING = "missing"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a check found. *line*: of the evidence file, from 1; None where it is about the whole."""

    line: int | None
    text: str


@dataclass(frozen=True, slots=True)
class Findings:
    """The first ``MAX_LISTED`` findings, and how many there are."""

    listed: tuple[Finding, ...] = ()
    count: int = 0


@dataclass(frozen=True, slots=True)
class Check:
    """One numbered step over the whole file.

    *checked*: how often it was run (once for each epoch, message or device); *failures* fail the verdict, *notes* do
    not. *liars*: alternatives; each is a smallest set of parties, all of whom must have lied or lost their key for
    this line to be false. Empty: the line was recomputed from the file, nobody is believed.
    """

    step: int
    result: Result
    detail: str
    checked: int
    failures: Findings
    notes: Findings
    liars: tuple[tuple[str, ...], ...]

    @property
    def name(self) -> str:
        """The step's name."""
        return STEPS[self.step]


@dataclass(frozen=True, slots=True)
class Link:
    """A link of the chain for which this version has no step: named, never passed."""

    name: str
    detail: str


@dataclass(frozen=True, slots=True)
class Received:
    """When the broker says that the messages arrived: its own claim. Times in ns of Unix time.

    *clock*: the weakest state over all marks ("unsynchronised" < "bound-unknown" < "bounded"); *bound_ns*: the
    largest error bound, where every mark has one.
    """

    first_ns: int
    last_ns: int
    clock: str
    bound_ns: int | None


@dataclass(frozen=True, slots=True)
class Span:
    """The bounds that messages have on one side, from the *first* in time to the *last*.

    *count*: how many have one, *lacking*: how many have none; *liars* as of a check.
    """

    first: Bound
    last: Bound
    count: int
    lacking: int
    liars: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What brackets the marks and messages of a file in time; None where nothing does, on that side.

    *widest_ns*: the widest bracket of a mark, where one has both sides; *clock*: "contradicted", "not contradicted" or
    "not compared": the devices' own.
    """

    signed_after: Span | None = None
    marked_after: Span | None = None
    not_later: Span | None = None
    widest_ns: int | None = None
    clock: str = "not compared"


@dataclass(frozen=True, slots=True)
class DeviceSummary:
    """What the file shows of one device (where nothing is verified: of one principal).

    *complete_to*: the entry of the log up to which it is complete, where the file has a log proof.
    """

    id: str
    messages: int
    repeats: int
    sequence_bits: int | None
    complete_to: int | None = None


@dataclass(frozen=True, slots=True)
class EpochSummary:
    """One epoch as its statement says; *previous_ending*: how the epoch before it ended ("none" for the first)."""

    number: int
    id: bytes
    operator: str
    separated: bool
    clock_correction_ns: int
    previous_ending: str
    unmarked_paths: tuple[str, ...]
    ended: bool


@dataclass(frozen=True, slots=True)
class LogSummary:
    """The log that the file is shown under, as its checkpoint says.

    *complete_to*: the entry up to which the file is complete (spec/verification.md); None where no step says so.
    *witnesses*: the quorum that cosigned it; empty where there is none.
    """

    origin: str
    size: int
    root: bytes
    complete_to: int | None = None
    witnesses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AttestationSummary:
    """What TPMs attest of the marks shown: how many lie between two quotes of their epoch, and how many do not.

    *attested_to*: the last entry of the log that the newest closing quote covers; *software_tpms*: the operators whose
    TPM is a program.
    """

    attested_count: int = 0
    unattested_count: int = 0
    attested_to: int | None = None
    software_tpms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BuiltBy:
    """Who built the programs of an epoch from source, and who made the same again."""

    builder: str
    rebuilders: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """What the file holds, by its own account. The tuples list at most ``MAX_LISTED``; the counts are whole.

    *not_held_count*: marks that are admitted, whose messages are not held; *message_count* is without them.
    *rebuilt_count*: epochs whose programs as many rebuilders made again as the policy asks for.
    """

    epoch_count: int
    message_count: int
    not_held_count: int
    device_count: int
    repeat_count: int
    received: Received | None
    epochs: tuple[EpochSummary, ...]
    devices: tuple[DeviceSummary, ...]
    operators: tuple[str, ...]
    log: LogSummary | None = None
    bounds: Bounds = Bounds()
    rebuilt_count: int = 0
    attestation: AttestationSummary = AttestationSummary()


@dataclass(frozen=True, slots=True)
class Relaxation:
    """A permission of the policy without which the verdict would be worse, and how often it was needed."""

    permission: str
    count: int
    consequence: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer, and everything behind it. *reason*: why not verified; empty where verified."""

    verified: bool
    reason: str
    has_policy: bool
    level: str
    summary: Summary
    checks: tuple[Check, ...]
    missing: tuple[Link, ...]
    relaxations: tuple[Relaxation, ...]
    limits: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The verdict by spec/verdict.schema.json: only str, int, bool, None, list and dict."""
        return {
            "version": SCHEMA_VERSION,
            "verified": self.verified,
            "reason": self.reason or None,
            "policy": self.has_policy,
            "level": {"name": self.level, "sentence": LEVEL_SENTENCE[self.level]},
            "attestation": _attestation(self.summary.attestation),
            "bounds": _bounds(self.summary.received, self.summary.bounds),
            "log": _log(self.summary.log),
            "summary": _summary(self.summary),
            "checks": [check_json(check) for check in self.checks],
            "missing": [{"name": link.name, "detail": link.detail} for link in self.missing],
            "relaxations": [
                {"permission": used.permission, "count": used.count, "consequence": used.consequence}
                for used in self.relaxations
            ],
            "limits": list(self.limits),
        }


def _bounds(received: Received | None, bounds: Bounds) -> dict[str, Any]:
    claim = None
    if received:
        claim = {
            "first_ns": received.first_ns,
            "last_ns": received.last_ns,
            "clock": received.clock,
            "bound_ns": received.bound_ns,
        }
    return {
        "signed_after": _span(bounds.signed_after),
        "received": claim,
        "marked_after": _span(bounds.marked_after),
        "marked_not_later_than": _span(bounds.not_later),
        "widest_ns": bounds.widest_ns,
        "device_clock": bounds.clock,
    }


def _span(span: Span | None) -> dict[str, Any] | None:
    if span is None:
        return None
    return {
        "first": _bound(span.first),
        "last": _bound(span.last),
        "count": span.count,
        "lacking": span.lacking,
        "who_must_have_lied": [list(parties) for parties in span.liars],
    }


def _bound(bound: Bound) -> dict[str, Any]:
    return {
        "time_ns": bound.time_ns,
        "operator": bound.operator or None,
        "tokens": [_anchor(anchor) for anchor in bound.anchors[:MAX_LISTED]],
    }


def _anchor(anchor: Anchor) -> dict[str, Any]:
    return {"tsa": anchor.tsa, "size": anchor.size, "entry": anchor.index}


def _attestation(attestation: AttestationSummary) -> dict[str, Any]:
    return {
        "attested_count": attestation.attested_count,
        "unattested_count": attestation.unattested_count,
        "attested_to": attestation.attested_to,
        "software_tpms": list(attestation.software_tpms),
    }


def _log(log: LogSummary | None) -> dict[str, Any] | None:
    if log is None:
        return None
    return {
        "origin": log.origin,
        "size": log.size,
        "root": log.root.hex(),
        "complete_to": log.complete_to,
        "witnesses": list(log.witnesses),
    }


def _summary(summary: Summary) -> dict[str, Any]:
    return {
        "epoch_count": summary.epoch_count,
        "message_count": summary.message_count,
        "not_held_count": summary.not_held_count,
        "device_count": summary.device_count,
        "repeat_count": summary.repeat_count,
        "operators": list(summary.operators),
        "epochs": [
            {
                "number": epoch.number,
                "id": epoch.id.hex(),
                "operator": epoch.operator,
                "separated": epoch.separated,
                "clock_correction_ns": epoch.clock_correction_ns,
                "previous_ending": epoch.previous_ending,
                "unmarked_paths": list(epoch.unmarked_paths),
                "ended": epoch.ended,
            }
            for epoch in summary.epochs
        ],
        "devices": [
            {
                "id": device.id,
                "messages": device.messages,
                "repeats": device.repeats,
                "sequence_bits": device.sequence_bits,
                "complete_to": device.complete_to,
            }
            for device in summary.devices
        ],
    }


def check_json(check: Check) -> dict[str, Any]:
    """A check as spec/verdict.schema.json has it."""
    return {
        "step": check.step,
        "name": check.name,
        "result": str(check.result),
        "detail": check.detail,
        "checked": check.checked,
        "failures": _findings(check.failures),
        "notes": _findings(check.notes),
        "who_must_have_lied": [list(parties) for parties in check.liars],
    }


def _findings(findings: Findings) -> dict[str, Any]:
    return {
        "count": findings.count,
        "listed": [{"line": finding.line, "text": finding.text} for finding in findings.listed],
    }
