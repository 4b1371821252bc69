"""A story whose broker is launched as measured, quoted by a TPM in memory: honest but for what a test says."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from sigillo.core.attestation_trust import AttestationTrust, AttesterTrust
from sigillo.core.epoch import configuration_hash
from sigillo.core.event_log import LoggedEvent, encode_event_log
from sigillo.core.evidence_codec import encode_line
from sigillo.core.evidence_line import ClosureLine, ConfigurationLine, LaunchLine, Line, SharedLine
from sigillo.core.launch import Closure, EpochEvent, LaunchEvent, Member, Role, encode_closure, encode_launch_event
from sigillo.core.mark import Checkpoint
from sigillo.core.policy import Policy
from sigillo.core.quote import LAUNCH_PCR
from sigillo.core.statement import Attester, AttesterKind
from sigillo.core.verdict import Verdict
from tests.vector.sample_tpm import PROCESS

from .broker import HASHES, alone
from .log import LoggedStory
from .tpm import LyingTpm

TRUTH: Mapping[str, Any] = MappingProxyType({})
COMMAND = ("/usr/sbin/mosquitto", "-c", "/srv/operator/conf/mosquitto.conf")
CONFIGURATION = {
    "conf/mosquitto.conf": """\
per_listener_settings false
listener 8883 127.0.0.1
cafile conf/tls/ca.cert.pem
certfile conf/tls/server.cert.pem
keyfile conf/tls/server.key.pem
require_certificate true
use_identity_as_username true
use_username_as_clientid true
allow_anonymous false
acl_file conf/acl
check_retain_source true
plugin plugin/sigillo.so
max_packet_size 1048576
""",
    "conf/acl": "pattern write braid/agent/%u/shadow/reported/#\n",
}
FILES = ("conf/tls/ca.cert.pem", "conf/tls/server.cert.pem", "conf/tls/server.key.pem")


def closure_of(configuration: Mapping[str, str] = CONFIGURATION, **digests: bytes) -> Closure:
    """What the story's broker is made of; *digests*: other ones of executable, loader, library, plugin or code."""
    configured = {name: text.encode() for name, text in configuration.items()}
    members = [Member(Role.CONFIGURATION, name, hashlib.sha256(data).digest()) for name, data in configured.items()]
    members += [Member(Role.CONFIGURATION, name, hashlib.sha256(name.encode()).digest()) for name in FILES]
    for role, name in (
        (Role.EXECUTABLE, "/usr/sbin/mosquitto"),
        (Role.LOADER, "/lib64/ld-linux-x86-64.so.2"),
        (Role.LIBRARY, "/usr/lib/x86_64-linux-gnu/libc.so.6"),
        (Role.PLUGIN, "/srv/operator/plugin/sigillo.so"),
        (Role.CODE, "/usr/bin/python3.11"),
    ):
        part = role.name.lower()
        members.append(Member(role, name, digests.get(part, HASHES.get(part, hashlib.sha256(name.encode()).digest()))))
    return Closure.of(members)


def epoch_event(epoch_id: bytes) -> EpochEvent:
    """What the launcher measures before the listeners open."""
    return EpochEvent(epoch_id, PROCESS)


@dataclass
class AttestedStory(LoggedStory):
    """Each epoch is launched, quoted, and closed by a quote. *told*: the texts that the file has."""

    tpm: LyingTpm = field(default_factory=LyingTpm)
    told: dict[str, str] = field(default_factory=lambda: dict(CONFIGURATION))
    events: list[LoggedEvent] = field(default_factory=list)
    closures: dict[bytes, Closure] = field(default_factory=dict)

    def measure(self, event: LaunchEvent | EpochEvent) -> None:
        """What a launcher writes: into the log, and into the PCR."""
        logged = encode_launch_event(event)
        self.events.append(logged)
        self.tpm.extend(LAUNCH_PCR, [logged.digest])

    def launch(self, closure: Closure | None = None, event: Mapping[str, Any] = TRUTH, **lies: Any) -> None:
        """Measure a launch, start its epoch and quote it. *event*, *lies* replace fields of the launch event and of the
        statement."""
        made = closure or closure_of()
        self.closures[made.object_hash] = made
        number = (self.broker.epoch.number if self.broker.epoch else self.broker._number) + 1
        self.measure(replace(LaunchEvent(number, made.object_hash, COMMAND), **event))
        digests = {member.name: member.digest for member in made.members if member.role is Role.CONFIGURATION}
        stated = {
            "executable_hash": made.digest_of(Role.EXECUTABLE),
            "plugin_hash": made.digest_of(Role.PLUGIN),
            "configuration_hash": configuration_hash(digests),
            "attester": Attester(AttesterKind.TPM, self.tpm.key.name),
        }
        epoch = self.broker.start(**{**stated, **lies})
        self.measure(epoch_event(epoch.epoch_id))
        self.quote()

    def quote(self, checkpoint: Checkpoint | None = None, tpm: LyingTpm | None = None, **lies: Any) -> None:
        """A quote over the log as it is, or over *checkpoint*; of another TPM, or with *lies* in the attest."""
        self.log.sign()
        self.log.quote(tpm or self.tpm, checkpoint, **lies)

    @property
    def shared(self) -> list[SharedLine]:
        """What the launches were made of, and their log."""
        closures = sorted(encode_closure(closure) for closure in self.closures.values())
        texts = [ConfigurationLine(name, text) for name, text in sorted(self.told.items())]
        return [*map(ClosureLine, closures), *texts, LaunchLine(encode_event_log(self.events))]

    def file(self, shared: Sequence[SharedLine] | None = None, lines: Iterable[Line] | None = None) -> bytes:
        """The evidence file, with these shared parts and placed lines, or all."""
        self.log.append()
        header, rest = self.log.file(lines).split(b"\n", 1)
        parts = map(encode_line, self.shared if shared is None else shared)
        return b"".join((header, b"\n", *parts, rest))

    @property
    def attesters(self) -> AttestationTrust:
        """The reader pins the attestation key, and knows that it is a program's."""
        pinned = AttesterTrust(self.broker.operator, (self.tpm.key.name,), software=True)
        return AttestationTrust(attesters=(pinned,), allow_software=True)

    @property
    def policy(self) -> Policy:
        """Asks for the level "launched"."""
        digests = {m.name: m.digest for m in closure_of().members if m.role is Role.CONFIGURATION}
        values = {part: (value,) for part, value in HASHES.items()}
        trusted = replace(
            self.broker.trust(level="launched"),
            reference_values={**values, "configuration": (configuration_hash(digests),)},
        )
        return self.broker.policy(
            *self.devices, operators=(trusted,), missing=alone(allow_unlogged=False), attestation=self.attesters
        )

    def judged(
        self,
        policy: Policy | None = None,
        shared: Sequence[SharedLine] | None = None,
        lines: Iterable[Line] | None = None,
    ) -> Verdict:
        """The verdict on the file."""
        return self.verdict(self.file(shared, lines), policy)


def refused(verdict: Verdict, step: int, reason: str) -> None:
    """The step fails for this reason, and the level says nothing that the failure contradicts."""
    assert not verdict.verified
    listed = [finding.text for finding in verdict.checks[step - 1].failures.listed]
    assert any(reason in text for text in listed), (listed, verdict.reason)
    assert verdict.level == "declared" or step not in (21, 22)


def attested() -> AttestedStory:
    """Two epochs of one machine, each with marks between two quotes, both ended cleanly."""
    story = AttestedStory()
    for _ in range(2):
        story.launch()
        story.publish(2)
        story.broker.stop()
        story.quote()
    return story
