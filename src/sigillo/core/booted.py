"""Level "booted": what a boot log and IMA's measurement list show of a launch, by a quote (spec/booted.md).

A launcher writes down what it wants; the kernel below it measures what is loaded. So nothing here counts because the
launch says so: the kernel has to be one that the reader knows, and every file that it has measured too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from sigillo.core.errors import AttestationError, DecodeError
from sigillo.core.event_log import EventLog, EventType, LoggedEvent, check_replay
from sigillo.core.ima import Measurement, verify_measurements
from sigillo.core.launch import Closure, Role
from sigillo.core.platform_trust import PlatformTrust
from sigillo.core.quote import LAUNCH_PCR, Quote

BOOT_PCRS: Final = range(10)
GRUB_PCR: Final = 8
LINUX_PCR: Final = 9
_LOADED: Final = (Role.EXECUTABLE, Role.PLUGIN)


@dataclass(frozen=True, slots=True)
class Booted:
    """A boot, and what was loaded in it up to a quote.

    *platform*: its name in the policy. *files*: how many were measured.
    *before*: what the boot log has of the launches' PCR, with which the launch log has to begin (`verify_launch_log`).
    """

    platform: str
    command_line: str
    files: int
    before: tuple[LoggedEvent, ...]


def find_platform(platforms: Sequence[PlatformTrust], operator: str, quote: Quote) -> PlatformTrust:
    """The first platform of *operator* that boots as the quote says. Raises AttestationError: how each differs."""
    reasons = []
    for platform in platforms:
        if platform.operator == operator:
            try:
                _check_values(platform, quote.pcrs)
            except AttestationError as error:
                reasons.append(error.reason)
                continue
            return platform
    raise AttestationError("; ".join(reasons) or f'the policy has no [[platform]] of operator "{operator}"')


def verify_booted(
    boot_log: EventLog,
    ima_list: bytes,
    quote: Quote,
    closure: Closure,
    platform: PlatformTrust,
    *,
    vouched: Collection[bytes] = (),
) -> Booted:
    """Verify that the quoted machine booted as *platform*, and loaded broker and plugin of *closure*, and no other file
    that the reader does not know.

    *vouched*: SHA-256 (32 bytes) of further files that the reader knows of, beside the platform's: those of a build
    manifest. Raises AttestationError with the first thing that is wrong.
    """
    check_replay(boot_log.events, quote.pcrs, BOOT_PCRS)
    _check_values(platform, quote.pcrs)
    command_line = _command_line(boot_log, platform)
    try:
        _, *files = verify_measurements(ima_list, quote.pcrs)
    except DecodeError as error:
        raise AttestationError(str(error)) from error
    _check_files(files, closure, platform, vouched)
    _check_loaded(files, closure)
    return Booted(platform.name, command_line, len(files), before_launches(boot_log))


def before_launches(boot_log: EventLog) -> tuple[LoggedEvent, ...]:
    """What a boot has extended into the launches' PCR, before any launch: with that a launch log has to begin."""
    extended = (event for event in boot_log.events if event.event_type != EventType.NO_ACTION)
    return tuple(event for event in extended if event.pcr == LAUNCH_PCR)


def explain(booted: Booted) -> tuple[str, ...]:
    """What level "booted" shows of this boot, and what it does not, in sentences."""
    return (
        f'booted as platform "{booted.platform}": firmware, boot loader, kernel, command line and initrd are those of '
        "the policy, and the kernel had IMA measure programs from its start",
        f"{booted.files} files measured up to the quote: broker, plugin, and others that the policy knows; nothing "
        "else was loaded of what the IMA policy measures",
        "not shown: memory. IMA measures a file when it is loaded, not what its process makes of itself, nor what root "
        "writes into it, or into the kernel, later",
        "not shown: what the IMA policy does not measure, such as scripts that a known interpreter reads",
        "not shown: devices with direct access to memory, firmware that lies to the TPM below it, the wires between",
    )


def _check_values(platform: PlatformTrust, pcrs: Sequence[bytes]) -> None:
    for index, accepted in platform.boot.items():
        if pcrs[index] not in accepted:
            raise AttestationError(
                f'PCR {index} is {pcrs[index].hex()}, which platform "{platform.name}" does not have: the machine '
                "booted something else"
            )


def _command_line(log: EventLog, platform: PlatformTrust) -> str:
    """The accepted command line that the boot measured; by digest, since what an event says of itself is in none."""
    extended = {(event.pcr, event.digest) for event in log.events if event.event_type != EventType.NO_ACTION}
    for line in platform.command_lines:
        by_linux = (LINUX_PCR, hashlib.sha256(f"{line}\0".encode("utf-16-le")).digest())
        by_grub = (GRUB_PCR, hashlib.sha256(line.encode()).digest())
        if by_linux in extended or by_grub in extended:
            return line
    raise AttestationError(
        f'the boot measured none of the command lines of platform "{platform.name}": nothing shows that IMA was on'
    )


def _check_files(
    files: Sequence[Measurement], closure: Closure, platform: PlatformTrust, vouched: Collection[bytes]
) -> None:
    known = platform.files | {*vouched, *(closure.digest_of(role) for role in _LOADED)}
    stated = {member.digest for member in closure.members}
    foreign = []
    for file in files:
        name = _shown(file.path_bytes)
        if file.violated:
            raise AttestationError(
                f"{name} (so the list says) was open for writing while it was read: who knows what it was"
            )
        if file.algorithm != "sha256":
            raise AttestationError(f"{name} was measured with {file.algorithm}, and only SHA-256 can be compared")
        if file.digest not in known:
            what = (
                "part of the launch by the launcher's word alone: name it among the platform's files, if you know it"
                if file.digest in stated
                else "neither part of the launch nor of the platform"
            )
            foreign.append(f"{name}, SHA-256 {file.digest.hex()}, was loaded, and is {what}")
    if foreign:
        others = f" (and {len(foreign) - 1} more)" if foreign[1:] else ""
        raise AttestationError(f"{foreign[0]}{others}")


def _check_loaded(files: Sequence[Measurement], closure: Closure) -> None:
    measured = {file.digest for file in files}
    for member in closure.members:
        if member.role in _LOADED and member.digest not in measured:
            raise AttestationError(f"the launch says that {member.name} was started; IMA never saw it")


def _shown(path_bytes: bytes) -> str:
    """A path for people, on one line whatever is in it."""
    text = path_bytes.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
