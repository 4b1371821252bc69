"""A measured story on a machine whose boot and whose loading of files are measured too: firmware, kernel, launcher."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from sigillo.core.evidence_line import BootLine, ImaLine, SharedLine
from sigillo.core.ima import IMA_PCR, decode_measurements
from sigillo.core.launch import Role
from sigillo.core.platform_trust import PlatformTrust
from sigillo.core.policy import Policy

from ..vector.accept_ima import Raw
from ..vector.key import filler
from .attested import AttestedStory, closure_of
from .machine import Machine, loaded

SYSTEMD = loaded("/usr/lib/systemd/systemd", filler("systemd"))
ROGUE = loaded("/opt/mosquitto", filler("mosquitto with a byte more"))


def broker_files(*but: Role) -> list[Raw]:
    """What IMA measures where this broker is started."""
    return [loaded(member.name, member.digest) for member in closure_of().members if member.role not in but]


@dataclass
class BootedStory(AttestedStory):
    """*machine*: its boot, and what IMA has measured so far."""

    machine: Machine = field(default_factory=lambda: Machine(files=[SYSTEMD]))

    def __post_init__(self) -> None:
        super().__post_init__()
        for index, digest in self.machine.extensions():
            self.tpm.extend(index, [digest])

    def load(self, files: Iterable[Raw]) -> None:
        """The machine loads these files, and its kernel measures them."""
        seen = len(decode_measurements(self.machine.ima_list))
        self.machine.files.extend(files)
        for measurement in decode_measurements(self.machine.ima_list)[seen:]:
            self.tpm.extend(IMA_PCR, [measurement.extension])

    @property
    def shared(self) -> list[SharedLine]:
        """Boot log and measurement list beside the launches."""
        boots: list[SharedLine] = [BootLine(self.machine.boot_log_bytes), ImaLine(self.machine.ima_list)]
        return [*super().shared, *boots]

    @property
    def platform(self) -> PlatformTrust:
        """What the reader knows of the machine: not broker and plugin, which are reference values."""
        roles = (Role.LOADER, Role.LIBRARY, Role.CODE, Role.CONFIGURATION)
        known = [member.digest for member in closure_of().members if member.role in roles]
        return self.machine.platform([filler("systemd"), *known])

    def asks(self, level: str, *, knows_platform: bool = True) -> Policy:
        """The policy of a reader who asks for this level."""
        trusted = replace(self.policy.operators[0], level=level)
        platforms = (self.platform,) if knows_platform else ()
        return replace(self.policy, operators=(trusted,), platforms=platforms)


def booted() -> BootedStory:
    """One epoch of an honest launcher."""
    story = BootedStory()
    story.load(broker_files())
    story.launch()
    story.publish(2)
    story.quote()
    return story


def lied() -> BootedStory:
    """The launcher measures the honest broker and starts another."""
    story = BootedStory()
    story.load([*broker_files(Role.EXECUTABLE), ROGUE])
    story.launch()
    story.publish(2)
    story.quote()
    return story
