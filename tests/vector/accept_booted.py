"""Vectors of level "booted": a boot log, a measurement list, PCR values and a platform that go together; or do not.

The boot is that of the recorded virtual machine, with a kernel command line that switches IMA on.
"""

import dataclasses

from sigillo.core.event_log import EventType, LoggedEvent, replay
from sigillo.core.launch import Role, encode_closure
from sigillo.core.platform_trust import REQUIRED, PlatformTrust, platform_lines
from tests.adversary.machine import COMMAND_LINE, Machine, boot, by_grub, by_linux, loaded
from tests.vector.accept_ima import VIOLATION, Raw
from tests.vector.file import Value
from tests.vector.key import filler
from tests.vector.sample_tpm import CLOSURE, LAUNCHES

Vector = dict[str, Value]
INIT = loaded("/usr/lib/systemd/systemd", filler("systemd"))
FOREIGN = loaded("/opt/mosquitto", filler("a broker of the operator's own"))
KNOWN = [filler("systemd"), *(m.digest for m in CLOSURE.members if m.role not in (Role.EXECUTABLE, Role.PLUGIN))]
GRUB_LINE = "/vmlinuz-6.1.0-13-amd64 root=/dev/vda1 ro quiet ima_policy=tcb"


def machine(*more: Raw, without: Role | None = None, events: tuple[LoggedEvent, ...] | None = None) -> Machine:
    """Has loaded all of the closure but the files of one role, and *more*."""
    files = [loaded(member.name, member.digest) for member in CLOSURE.members if member.role is not without]
    return Machine(boot() if events is None else events, [INIT, *files, *more])


def _vector(found: Machine, platform: PlatformTrust | None = None, **claims: Value) -> Vector:
    made: Vector = {
        "boot_log": found.boot_log_bytes,
        "list": found.ima_list,
        "pcrs": b"".join(found.tpm().values()),
        "closure": encode_closure(CLOSURE),
        "platform": _text(platform or found.platform(KNOWN)),
    }
    return {**made, **claims}


def _text(platform: PlatformTrust) -> bytes:
    return "".join(f"{line}\n" for line in platform_lines([platform]) if line).encode()


def booted() -> dict[str, Vector]:
    """vectors/booted/accept."""
    grub = machine(events=(*boot("quiet"), by_grub(GRUB_LINE)))
    before = machine(events=(*boot(), *LAUNCHES))
    ended, longer = machine(), machine(FOREIGN)
    said: Vector = {"name": "appliance 3", "command_line": COMMAND_LINE, "files": 1 + len(CLOSURE.members), "before": 0}
    return {
        "linux": _vector(ended) | said,
        "grub": _vector(grub, grub.platform(KNOWN, command_lines=(GRUB_LINE,))) | said | {"command_line": GRUB_LINE},
        "launches-in-the-boot-log": _vector(before) | said | {"before": len(LAUNCHES)},
        "list-went-on": _vector(ended, list=longer.ima_list) | said,
    }


def _machines() -> dict[str, tuple[Machine, str]]:
    """Honest TPMs of machines that are not what the policy asks for."""
    return {
        "foreign-file": (machine(FOREIGN), "a file that is neither of the launch nor of the platform"),
        "executable-not-loaded": (machine(without=Role.EXECUTABLE), "the launch's broker was never loaded"),
        "plugin-not-loaded": (machine(without=Role.PLUGIN), "the launch's plugin was never loaded"),
        "nothing-loaded": (Machine(), "nothing was measured"),
        "violation": (machine(VIOLATION), "a file was written while it was read"),
        "sha512": (machine(Raw(digest=b"sha512:\0" + filler("file", 64))), "a file measured with SHA-512"),
        "command-line-told": (
            machine(events=boot_with(dataclasses.replace(by_grub("quiet"), data=by_grub(COMMAND_LINE).data))),
            "the data of an event name the command line, its digest is of another",
        ),
        "command-line-not-extended": (
            machine(events=boot_with(dataclasses.replace(by_linux(COMMAND_LINE), event_type=EventType.NO_ACTION))),
            "the event of the command line is one that is not extended",
        ),
        "command-line-in-pcr-11": (
            machine(events=boot_with(dataclasses.replace(by_linux(COMMAND_LINE), pcr=11))),
            "the event of the command line is of a PCR that anybody may have extended with it",
        ),
    }


def boot_with(event: LoggedEvent) -> tuple[LoggedEvent, ...]:
    """The boot with another event in the place of the command line's."""
    return tuple(event if found == by_linux(COMMAND_LINE) else found for found in boot())


def rejected() -> dict[str, Vector]:
    """vectors/booted/reject."""
    good, other = machine(), machine(events=boot("ima_policy=tcb"))
    python = next(member.digest for member in CLOSURE.members if member.role is Role.CODE)
    said_only = good.platform(digest for digest in KNOWN if digest != python)
    made = {name: _vector(found, reason=reason) for name, (found, reason) in _machines().items()}
    made |= {
        "launchers-word": _vector(good, said_only, reason="a file that the closure has, and nobody else"),
        "other-kernel": _vector(good, other.platform(KNOWN), reason="another value of PCR 9"),
        "log-of-another-boot": _vector(good, boot_log=other.boot_log_bytes, reason="the log of another boot"),
        "list-of-another-boot": _vector(good, list=other.ima_list, reason="the measurement list of another boot"),
    }
    return made


def platforms() -> dict[str, Vector]:
    """vectors/platform/accept."""
    good = machine().platform(KNOWN)
    two = replay(boot("ima_policy=tcb"))
    more = dataclasses.replace(
        good,
        name="two kernels",
        boot={**good.boot, 1: (filler("settings"),), 9: (*good.boot[9], two[9])},
        command_lines=(COMMAND_LINE, "ima_policy=tcb"),
        files=frozenset(),
    )
    zero = dataclasses.replace(good, boot={**good.boot, 8: (bytes(32),)})
    return {
        name: {
            "table": _text(platform),
            "operator": platform.operator,
            "name": platform.name,
            "values": sum(map(len, platform.boot.values())),
            "command_lines": len(platform.command_lines),
            "files": len(platform.files),
        }
        for name, platform in {"appliance": good, "two-kernels": more, "pcr-8-zero": zero}.items()
    }


def rejected_platforms() -> dict[str, Vector]:
    """vectors/platform/reject."""
    text = _text(machine().platform(KNOWN)).decode()
    zeros = f'pcr1 = ["{bytes(32).hex()}"]\n'
    cases: dict[str, tuple[str, str]] = {
        "no-ima-policy": (text.replace("ima_policy=tcb", "quiet"), "a command line that switches no policy on"),
        "ima-policy-for-init": (text.replace("ima_policy=tcb", "-- ima_policy=tcb"), "the policy is a word for init"),
        "no-command-line": (text.replace("command_line = [", "command_line = []\nmore = ["), "no command line"),
        "no-operator": (text.replace("operator = ", "# "), "no operator"),
        "pcr-10": (text + 'pcr10 = ["' + "11" * 32 + '"]\n', "a value of PCR 10"),
        "pcr-1-zero": (text + zeros, "a PCR into which nothing was measured"),
        "files-empty": (text.replace("files = [", "files = []\nmore = ["), "an empty list"),
        "key-unknown": (text.replace("files = ", "unsafe_files = "), "an unknown key"),
    }
    cases |= {
        f"no-pcr-{index}": (text.replace(f"pcr{index} = ", "# "), f"no value of PCR {index}") for index in REQUIRED
    }
    assert all(changed != text for changed, _ in cases.values())
    return {name: {"table": changed.encode(), "reason": reason} for name, (changed, reason) in cases.items()}
