"""A machine that boots and loads files: what its firmware, kernel and TPM have of that, in memory.

It boots like the virtual machine that was recorded, with another kernel command line: one that switches IMA on.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from types import MappingProxyType

from sigillo.core.attestation import verify_periodic
from sigillo.core.event_log import EventLog, EventType, LoggedEvent, decode_event_log, encode_event_log, replay
from sigillo.core.ima import IMA_PCR, decode_measurements
from sigillo.core.mark import Checkpoint
from sigillo.core.platform_trust import REQUIRED, PlatformTrust
from sigillo.core.quote import Quote, Subject

from ..vector import accept_ima
from ..vector.accept_ima import Raw
from ..vector.sample import EPOCH_ID
from .tpm import LyingTpm

OPERATOR = "Example Broker"
COMMAND_LINE = "console=ttyS0 ima_policy=tcb ima_hash=sha256 ima_template=ima-ng quiet"
RECORDED_COMMAND_LINE = "console=ttyS0 ima_hash=sha256 ima_template=ima-ng quiet"


def by_linux(command_line: str) -> LoggedEvent:
    """The event of Linux for its command line: the data are a label, the digest is of the text in UTF-16."""
    label = b"LOADED_IMAGE::LoadOptions\0"
    data = 0x8F3B22ED.to_bytes(4, "little") + len(label).to_bytes(4, "little") + label
    return LoggedEvent(9, EventType.EVENT_TAG, hashlib.sha256(f"{command_line}\0".encode("utf-16-le")).digest(), data)


def by_grub(command_line: str) -> LoggedEvent:
    """GRUB's event for the command line that it gives to Linux."""
    data = f"kernel_cmdline: {command_line}".encode()
    return LoggedEvent(8, 0xD, hashlib.sha256(command_line.encode()).digest(), data)


def recorded_boot() -> tuple[LoggedEvent, ...]:
    """The boot of the virtual machine, as it was."""
    return decode_event_log(accept_ima.recorded()["boot_log"]).events


def boot(command_line: str = COMMAND_LINE) -> tuple[LoggedEvent, ...]:
    """The same boot with another command line."""
    old = by_linux(RECORDED_COMMAND_LINE)
    events = tuple(by_linux(command_line) if event == old else event for event in recorded_boot())
    assert by_linux(command_line) in events
    return events


def loaded(path: str, digest: bytes) -> Raw:
    """The measurement of a file."""
    return Raw(path.encode() + b"\0", b"sha256:\0" + digest)


@dataclass
class Machine:
    """*events*: of its boot; *files*: what IMA has measured after that."""

    events: tuple[LoggedEvent, ...] = field(default_factory=boot)
    files: list[Raw] = field(default_factory=list)

    @property
    def boot_log(self) -> EventLog:
        return decode_event_log(self.boot_log_bytes)

    @property
    def boot_log_bytes(self) -> bytes:
        return encode_event_log(self.events)

    @property
    def ima_list(self) -> bytes:
        first = accept_ima.first(replay(self.events)[:10])
        return b"".join(entry.encode() for entry in (first, *self.files))

    def extensions(self) -> Iterator[tuple[int, bytes]]:
        """What was extended: PCR and digest, in order."""
        yield from ((e.pcr, e.digest) for e in self.events if e.event_type != EventType.NO_ACTION)
        yield from ((IMA_PCR, measurement.extension) for measurement in decode_measurements(self.ima_list))

    def tpm(self) -> LyingTpm:
        """Its TPM, with that in its PCRs."""
        tpm = LyingTpm()
        for index, digest in self.extensions():
            tpm.extend(index, [digest])
        return tpm

    def quote(self) -> Quote:
        """A verified quote of it."""
        tpm = self.tpm()
        return verify_periodic(tpm.quote(Subject(EPOCH_ID, Checkpoint())), tpm.key.name)

    def platform(self, files: Iterable[bytes] = (), **changes: object) -> PlatformTrust:
        """The platform that this boot is of, in a policy that knows these files."""
        pcrs = replay(self.events)
        platform = PlatformTrust(
            OPERATOR,
            "appliance 3",
            MappingProxyType({index: (pcrs[index],) for index in REQUIRED}),
            (COMMAND_LINE,),
            frozenset(files),
        )
        return dataclasses.replace(platform, **changes)  # type: ignore[arg-type]
