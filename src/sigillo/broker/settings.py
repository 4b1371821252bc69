"""`sigillo.toml`, the settings of one operator. Written once from the options of the first `sigillo up`, then the
operator's to edit; part of the configuration hash (spec/epoch.md)."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from sigillo.broker.error import BrokerError
from sigillo.core.errors import DecodeError, PolicyError
from sigillo.core.table import decode_toml, quote
from sigillo.core.topic import check_filter

VERSION = 1
ON_BAD_CLOCK = ("refuse", "mark-unsynchronised")
DEFAULT_FILTER = "braid/agent/+/shadow/reported/#"
_HOST = re.compile(r"(?=.{1,200}$)[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*")
_SEGMENT_STEP = 4096
_OPTIONS = {
    "name": "--name",
    "operator": "--operator",
    "listen": "--listen",
    "on_bad_clock": "--on-bad-clock",
    "executable": "--mosquitto",
    "filters": "--filter",
}


@dataclass(frozen=True)
class Settings:
    """What the operator decides.

    `name`: host name in the TLS certificate, and of the log's origin `name/log`. `listen`: address:port.
    `filters`: topics whose messages are marked. `segment_size`: bytes of a spool segment.
    `max_principals`: how many identities can have marks in one epoch.
    """

    name: str
    operator: str
    listen: str = "127.0.0.1:8883"
    on_bad_clock: str = "refuse"
    executable: str = "/usr/sbin/mosquitto"
    filters: tuple[str, ...] = (DEFAULT_FILTER,)
    segment_size: int = 8 * 1024 * 1024
    max_principals: int = 65_536

    @property
    def origin(self) -> str:
        """Origin of the log (C2SP tlog-checkpoint)."""
        return f"{self.name}/log"

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of `listen`."""
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)

    def check(self, where: str) -> Settings:
        """Raises BrokerError, naming *where* and the setting, for a value out of range."""
        _require(_HOST.fullmatch(self.name) is not None, where, "name", "must be a host name or IPv4 address")
        named = 1 <= len(self.operator.encode()) <= 255 and self.operator.isprintable()
        _require(named, where, "operator", "must be printable text of 1 to 255 bytes")
        _require(_is_address(self.listen), where, "listen", "must be ADDRESS:PORT, as 127.0.0.1:8883 or [::1]:8883")
        _require(self.on_bad_clock in ON_BAD_CLOCK, where, "on_bad_clock", f"must be one of {', '.join(ON_BAD_CLOCK)}")
        _require(self.executable.startswith("/"), where, "executable", "must be an absolute path")
        whole = self.segment_size % _SEGMENT_STEP == 0 and 65_536 <= self.segment_size <= 2**30
        _require(whole, where, "segment_size", "must be a multiple of 4096 from 65536 to 1073741824")
        _require(1 <= self.max_principals <= 2**20, where, "max_principals", "must be from 1 to 1048576")
        _require(1 <= len(self.filters) <= 64, where, "filters", "must be 1 to 64 topic filters")
        for name in self.filters:
            try:
                check_filter(name, "filters")
            except DecodeError as error:
                raise BrokerError(f"{where}: filters: {name!r} {error.reason}") from None
        return self

    def encode(self) -> bytes:
        """The file."""
        lines = [
            "# Settings of this certified broker. Part of its configuration hash: a change shows in the next epoch."
        ]
        lines.append(f"version = {VERSION}")
        for field in fields(self):
            lines.append(f"{field.name} = {_toml(getattr(self, field.name))}")
        return "\n".join([*lines, ""]).encode()


def load(path: Path) -> Settings:
    """Read and check the settings file. Raises BrokerError naming file, field and remedy."""
    try:
        values = decode_toml(path.read_bytes())
    except OSError as error:
        raise BrokerError(f"{path}: {error.strerror}") from None
    except PolicyError as error:
        raise BrokerError(f"{path}: {error.reason}; mend it or put it aside") from None
    if values.pop("version", None) != VERSION:
        raise BrokerError(f"{path}: version must be {VERSION}")
    known = {field.name: field.type for field in fields(Settings)}
    for name, value in values.items():
        if name not in known:
            raise BrokerError(f"{path}: {name} is no setting; remove it")
        _check_type(path, name, value, str(known[name]))
    missing = sorted({"name", "operator"} - set(values))
    if missing:
        raise BrokerError(f"{path}: {missing[0]} is missing")
    if "filters" in values:
        values["filters"] = tuple(values["filters"])
    return Settings(**values).check(str(path))


def merge(path: Path, given: dict[str, Any]) -> Settings:
    """The settings of an existing file, which the options *given* must not contradict; else new ones, to be written.

    Raises BrokerError where an option and the file differ, or a required option is missing.
    """
    if path.exists():
        settings = load(path)
        for name, value in given.items():
            if getattr(settings, name) != value:
                raise BrokerError(
                    f"{path}: {name} is {_shown(getattr(settings, name))}, {_OPTIONS[name]} says {_shown(value)}; "
                    "leave the option out, or change the file (and conf/, where it repeats the setting)"
                )
        return settings
    if "name" not in given:
        raise BrokerError(
            f"{path}: does not exist yet; give --name HOST, the name under which clients reach the broker"
        )
    return Settings(**{"operator": given["name"], **given}).check("options")


def _toml(value: str | int | tuple[str, ...]) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(quote, value))}]"
    return quote(value) if isinstance(value, str) else str(value)


def _shown(value: object) -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _check_type(path: Path, name: str, value: object, kind: str) -> None:
    if kind.startswith("tuple"):
        good = isinstance(value, list) and all(isinstance(item, str) for item in value)
    else:
        good = type(value).__name__ == kind
    if not good:
        raise BrokerError(f"{path}: {name} must be {'a list of text' if kind.startswith('tuple') else kind}")


def _is_address(listen: str) -> bool:
    host, colon, port = listen.rpartition(":")
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return bool(colon) and port.isascii() and port.isdigit() and 0 < int(port) < 2**16


def _require(holds: bool, where: str, name: str, remedy: str) -> None:
    if not holds:
        raise BrokerError(f"{where}: {name} {remedy}")
