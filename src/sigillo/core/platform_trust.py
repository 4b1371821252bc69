"""Which boots of an operator's machines count, and which files they may load (spec/booted.md, "Platforms")."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from sigillo.core.errors import DecodeError, PolicyError
from sigillo.core.event_log import ZERO
from sigillo.core.field import hex_hash
from sigillo.core.table import Table, decode_name, quote

REQUIRED: Final = {
    0: "the firmware's code",
    2: "code on cards",
    4: "boot loader and kernel",
    7: "Secure Boot, and whether debugging or DMA was allowed",
    8: "the boot loader's commands (zeros where there are none)",
    9: "the command line, the initrd and other files of the boot",
}
"""The PCRs of a boot that a platform has to name values of, and what is in them."""
OPTIONAL: Final = (1, 3, 5, 6)
"""Settings, partitions, and what is the maker's: compared where values are named."""
MAX_COMMAND_LINE: Final = 4096
_MAY_BE_ZERO: Final = (8,)
_WORD: Final = re.compile(r'(?:[^\s"]|"[^"]*")+')
_MEASURES_PROGRAMS: Final = "tcb"


@dataclass(frozen=True, slots=True)
class PlatformTrust:
    """A kind of machine of an *operator*, as it boots.

    *boot*: PCR (0 to 9) → the values accepted, 32 bytes each. *command_lines*: of the kernel, as the boot loader has
    them. *files*: SHA-256 of what it may load, 32 bytes each. Any combination of these counts. Raises PolicyError where
    a PCR of ``REQUIRED`` has no value, or no command line switches an IMA policy on.
    """

    operator: str
    name: str
    boot: Mapping[int, tuple[bytes, ...]]
    command_lines: tuple[str, ...]
    files: frozenset[bytes] = frozenset()

    def __post_init__(self) -> None:
        for index, what in REQUIRED.items():
            if not self.boot.get(index):
                raise PolicyError(f"boot.pcr{index}", f"is missing: {what}")
        for index, values in self.boot.items():
            if index not in REQUIRED and index not in OPTIONAL:
                raise PolicyError(f"boot.pcr{index}", "is no PCR of a boot")
            if index not in _MAY_BE_ZERO and ZERO in values:
                raise PolicyError(f"boot.pcr{index}", "has a value of zeros: of a machine that measures nothing there")
        if not self.command_lines:
            raise PolicyError("command_line", "is empty; name at least one")
        for line in self.command_lines:
            if not (1 <= len(line) <= MAX_COMMAND_LINE and line.isascii() and line.isprintable()):
                raise PolicyError("command_line", f"each must be 1 to {MAX_COMMAND_LINE} printable ASCII characters")
            if not switches_on_ima(line):
                raise PolicyError("command_line", "each must switch on an IMA policy that measures programs: tcb")


def switches_on_ima(command_line: str) -> bool:
    """Whether Linux would measure programs with this command line: `ima_policy=` with `tcb` in it, or `ima_tcb`."""
    if command_line.count('"') % 2:
        return False
    for word in _WORD.findall(command_line):
        if word == "--":  # what follows is for init
            return False
        name, _, value = word.partition("=")
        if word == "ima_tcb" or (name == "ima_policy" and _MEASURES_PROGRAMS in re.split(r"[ |]", value.strip('"'))):
            return True
    return False


def decode_platforms(top: Table) -> tuple[PlatformTrust, ...]:
    """The `[[platform]]` tables of a policy's top table, none where there are none. Raises PolicyError."""
    tables = [Table(value, f"platform[{at + 1}]") for at, value in enumerate(top.take("platform", list, []))]
    found: dict[tuple[str, str], PlatformTrust] = {}
    for table in tables:
        platform = _platform(table)
        if (platform.operator, platform.name) in found:
            raise PolicyError(table.name("name"), "occurs twice for one operator")
        found[platform.operator, platform.name] = platform
    return tuple(found.values())


def platform_lines(platforms: Iterable[PlatformTrust]) -> Iterator[str]:
    """The lines of TOML that decode to *platforms*."""
    for platform in platforms:
        yield from ("", "[[platform]]", f"operator = {quote(platform.operator)}", f"name = {quote(platform.name)}")
        yield f"command_line = {_strings(platform.command_lines)}"
        if platform.files:
            yield f"files = {_strings(sorted(digest.hex() for digest in platform.files))}"
        yield "[platform.boot]"
        for index, values in sorted(platform.boot.items()):
            yield f"pcr{index} = {_strings(value.hex() for value in values)}"


def _strings(values: Iterable[str]) -> str:
    return f"[{', '.join(map(quote, values))}]"


def _platform(table: Table) -> PlatformTrust:
    operator = decode_name(table.take("operator", str), table.name("operator"))
    name = decode_name(table.take("name", str), table.name("name"))
    boot = _boot(Table(table.take("boot", dict), table.name("boot")))
    lines = table.take("command_line", list)
    if not all(isinstance(line, str) for line in lines):
        raise PolicyError(table.name("command_line"), "must be a list of strings")
    files = _hashes(table, "files") if table.has("files") else ()
    table.end()
    try:
        return PlatformTrust(operator, name, MappingProxyType(boot), tuple(lines), frozenset(files))
    except PolicyError as error:
        raise PolicyError(table.name(error.field), error.reason) from error


def _boot(table: Table) -> dict[int, tuple[bytes, ...]]:
    indices = sorted((*REQUIRED, *OPTIONAL))
    boot = {index: _hashes(table, f"pcr{index}") for index in indices if table.has(f"pcr{index}")}
    table.end()
    return boot


def _hashes(table: Table, key: str) -> tuple[bytes, ...]:
    values = table.take(key, list)
    if not values:
        raise PolicyError(table.name(key), "is empty; leave the key out, or name a value")
    try:
        return tuple(hex_hash(value, key) for value in values)
    except DecodeError as error:
        raise PolicyError(table.name(key), f"a value {error.reason}") from error
