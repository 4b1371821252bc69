"""What an evidence file holds of machines: registrations, closures, launch logs, boots, quotes. Nothing is verified."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sigillo.core.decoded import (
    Decoded,
    DecodedAttestation,
    DecodedBootLog,
    DecodedClosure,
    DecodedLaunchLog,
    DecodedMeasurements,
    DecodedRegistration,
)
from sigillo.core.evidence_line import ConfigurationLine, NumberedLine
from sigillo.core.quote import LAUNCH_PCR
from sigillo.core.tpm import decode_attest, decode_attestation_key
from sigillo.core.verdict import MAX_LISTED
from sigillo.report.escape import escape
from sigillo.report.launch import logged_launches

SHOWN_QUOTES = 10


@dataclass(slots=True)
class MachineInspection:
    """Collected line by line. *quotes*: the first ``MAX_LISTED``; the shared parts are few in any file."""

    registrations: list[DecodedRegistration] = field(default_factory=list)
    closures: list[DecodedClosure] = field(default_factory=list)
    configuration: list[str] = field(default_factory=list)
    launches: list[DecodedLaunchLog] = field(default_factory=list)
    boots: int = 0
    measurements: int = 0
    quotes: list[DecodedAttestation] = field(default_factory=list)
    quote_count: int = 0

    def add(self, decoded: Decoded) -> bool:
        """Take a line that is about a machine; whether it is one."""
        if isinstance(decoded, DecodedRegistration):
            self.registrations.append(decoded)
        elif isinstance(decoded, DecodedClosure):
            self.closures.append(decoded)
        elif isinstance(decoded, DecodedLaunchLog):
            self.launches.append(decoded)
        elif isinstance(decoded, DecodedBootLog):
            self.boots += 1
        elif isinstance(decoded, DecodedMeasurements):
            self.measurements += 1
        elif isinstance(decoded, DecodedAttestation):
            self.quote_count += 1
            self.quotes += [decoded] if len(self.quotes) < MAX_LISTED else []
        elif isinstance(decoded, NumberedLine) and isinstance(decoded.line, ConfigurationLine):
            self.configuration.append(decoded.line.name)
        else:
            return False
        return True

    def to_json(self) -> dict[str, Any]:
        """For programs; hashes and names of keys in lower-case hex."""
        return {
            "registrations": [
                {
                    "line": found.number,
                    "identity": found.registration.registration.identity,
                    "attestation_key": found.registration.registration.key.name.hex(),
                }
                for found in self.registrations
            ],
            "closures": [
                {"line": found.number, "hash": found.closure.object_hash.hex(), "files": _roles(found)}
                for found in self.closures
            ],
            "configuration": self.configuration,
            "launches": [
                {
                    "line": found.number,
                    "launches": logged_launches(found).launches,
                    "epochs": [epoch.epoch_id.hex() for epoch in logged_launches(found).epochs[:MAX_LISTED]],
                }
                for found in self.launches
            ],
            "boot_logs": self.boots,
            "measurement_lists": self.measurements,
            "quote_count": self.quote_count,
            "quotes": [_quote_json(quote) for quote in self.quotes],
        }

    def lines(self) -> Iterator[str]:
        """For people, escaped."""
        for registration in self.registrations:
            stated = registration.registration.registration
            yield f'  line {registration.number}: registration of "{escape(stated.identity)}", {stated.key.name.hex()}'
        for closure in self.closures:
            files = ", ".join(f"{count} {role}" for role, count in _roles(closure).items())
            yield f"  line {closure.number}: closure {closure.closure.object_hash.hex()}: {files}"
        for launch in self.launches:
            found = logged_launches(launch)
            yield f"  line {launch.number}: launch log, {found.launches} launch(es), {len(found.epochs)} epoch(s)"
        if self.boots or self.measurements:
            yield f"  {self.boots} boot log(s), {self.measurements} measurement list(s) of IMA"
        for quote in self.quotes[:SHOWN_QUOTES]:
            size, about = quote.evidence.subject.checkpoint.size, _quote_json(quote)
            key, when = about["attestation_key"], f"clock {about['clock_ms']} ms, reset {about['reset_count']}"
            yield f"  line {quote.number}: quote of epoch {quote.line.epoch} at size {size}, key {key}, {when}"
        if self.quote_count > SHOWN_QUOTES:
            yield f"  … and {self.quote_count - SHOWN_QUOTES} quotes more"


def _roles(decoded: DecodedClosure) -> dict[str, int]:
    counts = Counter(member.role.name.lower() for member in decoded.closure.members)
    return dict(sorted(counts.items()))


def _quote_json(decoded: DecodedAttestation) -> dict[str, Any]:
    evidence = decoded.evidence
    attest = decode_attest(evidence.attest_bytes)
    clock = attest.clock
    return {
        "line": decoded.number,
        "epoch": decoded.line.epoch,
        "epoch_id": evidence.subject.epoch_id.hex(),
        "checkpoint_size": evidence.subject.checkpoint.size,
        "attestation_key": decode_attestation_key(evidence.key_bytes).name.hex(),
        "clock_ms": clock.clock_ms,
        "reset_count": clock.reset_count,
        "restart_count": clock.restart_count,
        "firmware": f"{attest.firmware:016x}",
        "launch_pcr": evidence.pcrs[LAUNCH_PCR].hex(),
    }
