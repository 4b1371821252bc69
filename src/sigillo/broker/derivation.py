"""What the broker runs on where the operator has a mosquitto.conf of their own (`--conf`): derived at each start.

`derived/mosquitto.conf` means what the operator's file means to Mosquitto, and has besides: the plugin before any
other, a listener for the archive, a limit on packets, standard error as a log. `derived/acl` is the operator's access
list and what the archive may read. The operator's files are read, never written.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from sigillo import disk
from sigillo.broker.account import Account
from sigillo.broker.configuration import (
    Configuration,
    archive_access,
    check_packet_size,
    state,
)
from sigillo.broker.directive import read_directives
from sigillo.broker.error import BrokerError, configuration_refused
from sigillo.broker.folder import OperatorFolder
from sigillo.broker.settings import Settings
from sigillo.core.directive import (
    MAX_PACKET_SIZE,
    PLUGIN,
    Absolute,
    Directives,
    Line,
    Section,
    listener_address,
    plugin_path,
    with_paths,
)
from sigillo.core.listener import has_dynamic_security

_FOR_ARCHIVE = {
    "upgrade_outgoing_qos": "true",
    "queue_qos0_messages": "true",
    "max_queued_messages": "1000000",
    "max_queued_bytes": "268435456",
    "max_packet_size": str(MAX_PACKET_SIZE),
}
"""Written where the operator's file does not say otherwise: the archive misses nothing while it is away."""

_ARCHIVE_LISTENER = {
    "cafile": "conf/tls/ca.cert.pem",
    "certfile": "conf/tls/server.cert.pem",
    "keyfile": "conf/tls/server.key.pem",
    "require_certificate": "true",
    "use_identity_as_username": "true",
    "use_username_as_clientid": "true",
}
_ABOVE_THAT_COUNT = frozenset(
    """port bind_address bind_interface cafile capath certfile keyfile ciphers ciphers_tls1.3 dhparamfile crlfile
    psk_hint""".split()  # noqa: SIM905  # words read best as words
)
_ABOVE_UNLESS = {
    "require_certificate": ("false", "0"),
    "use_identity_as_username": ("false", "0"),
    "use_subject_as_username": ("false", "0"),
    "use_username_as_clientid": ("false", "0"),
    "max_connections": ("-1",),
    "max_qos": ("2",),
    "maximum_qos": ("2",),
    "protocol": ("mqtt",),
    "socket_domain": (),
}
"""What makes a default listener, unless it has one of these values (config__parse_args of 2.0)."""


@configuration_refused()
def derive_configuration(folder: OperatorFolder, settings: Settings, broker: Account, start: Path) -> Configuration:
    """Derive `derived/`, for the user *broker* to read, from the settings' own configuration; what it says; its hash.

    *start*: where relative paths begin, as for a Mosquitto that is started there. Raises BrokerError, OSError.
    """
    path = Path(settings.conf)
    given = read_directives(path, start)
    found = derive(folder, settings, given, broker, start)
    _write(folder.derived_configuration, found.encode(), broker)
    access = given.broker.get("acl_file")
    if access or has_dynamic_security(given):
        own = _read_access_list(access, start) if access else b""
        _write(folder.derived_access_list, own + archive_access(settings.filters), broker)
    derived = state(folder, folder.derived_configuration, found)
    _check_rights(folder, found, derived, broker)
    return derived


def derive(folder: OperatorFolder, settings: Settings, given: Directives, broker: Account, start: Path) -> Directives:
    """The effective configuration of the one *given*; files that are in the operator folder by relative paths.

    Raises ConfigurationError.
    """

    def absolute(path: str) -> str:
        return str(start / path)

    made = settings.conf
    found = Directives(
        broker=_broker(with_paths(given.broker, absolute), given, broker, made, start),
        plugins=[_section("plugin", PLUGIN, {}, made), *(_plugin(plugin, absolute, start) for plugin in given.plugins)],
        listeners=[with_paths(listener, absolute) for listener in _listeners(given, made)],
        bridges=[with_paths(bridge, absolute) for bridge in given.bridges],
    )
    if given.broker.get("max_packet_size"):
        check_packet_size(made, given)
    host, port = settings.address
    for listener in found.listeners:
        if listener_address(listener)[0] == port and listener.head:
            raise listener.head.refuse(
                f"has the port of {settings.listen}, where the archive connects; choose another port for it: listen in "
                f"{folder.settings}, or --listen the first time"
            )
    found.listeners.append(_section("listener", f"{port} {host}", _ARCHIVE_LISTENER, made))
    return found


def _broker(broker: Section, given: Directives, account: Account, made: str, start: Path) -> Section:
    """The broker's own lines, with what the archive and the supervisor need."""
    lines = [Line(made, 0, "per_listener_settings", "false")]
    for line in broker.lines:
        if line.name == "user" and os.geteuid() == 0 and line.value != account.name:
            raise line.refuse(f"must be {account.name}, as whom `sigillo up` runs the broker; or leave it out")
        leave_out = line.name in ("user", "per_listener_settings", "acl_file") or (
            line.name == "log_dest" and line.words[0] in ("stdout", "stderr")
        )
        if not leave_out:
            lines.append(line)
    if _is_local_only(given):
        lines = [line for line in lines if line.name != "allow_anonymous"]
        lines.append(Line(made, 0, "allow_anonymous", "true"))
    if broker.get("acl_file") or has_dynamic_security(given):
        lines.append(Line(made, 0, "acl_file", "derived/acl"))
    if _keeps(broker) and not broker.get("persistence_location"):
        lines.append(Line(made, 0, "persistence_location", f"{start}/"))
    lines += [Line(made, 0, name, value) for name, value in _FOR_ARCHIVE.items() if not broker.get(name)]
    lines.append(Line(made, 0, "log_dest", "stderr"))
    return Section(None, lines)


def _keeps(broker: Section) -> bool:
    """Whether sessions and queues are on disk; the switch has two names."""
    switches = [line.is_on for line in broker.lines if line.name in ("persistence", "retained_persistence")]
    return bool(switches) and switches[-1]


def _plugin(plugin: Section, absolute: Absolute, start: Path) -> Section:
    assert plugin.head is not None  # every plugin's section begins with its line
    if Path(plugin_path(plugin)).name == Path(PLUGIN).name:
        raise plugin.head.refuse("is Sigillo's own plugin, which `sigillo up` adds by itself; leave the line out")
    for line in plugin.lines:
        if not line.value.startswith("/") and (start / line.value).is_file():
            raise line.refuse(f"may name a file by a relative path; write it from the root: {start / line.value}")
    return with_paths(plugin, absolute)


def _is_local_only(given: Directives) -> bool:
    """Whether nothing says where to listen: then Mosquitto lets everybody in."""
    return not given.listeners and not given.above.get("port") and not given.above.get("bind_address")


def _listeners(given: Directives, made: str) -> list[Section]:
    """The listeners that Mosquitto 2.0 opens: those named, a default one for what stands above them, or loopback."""
    if given.above.lines:
        return [*given.listeners, _default_listener(given.above)]
    if given.listeners:
        return given.listeners
    hosts = ["127.0.0.1", *(["::1"] if _has_loopback6() else [])]
    return [_section("listener", f"1883 {host}", {}, made) for host in hosts]


def _default_listener(above: Section) -> Section:
    """What stands above any listener as a listener of its own."""
    first = above.lines[0]
    makes_one = any(
        line.name in _ABOVE_THAT_COUNT or (line.name in _ABOVE_UNLESS and line.words[0] not in _ABOVE_UNLESS[line.name])
        for line in above.lines
    )
    if not makes_one:
        raise first.refuse(
            "stands above any `listener`, where Mosquitto 2.0 and 2.1 differ; put it below one, or leave it out"
        )
    port, host = above.get("port"), above.get("bind_address")
    head = Line(
        first.file, first.number, "listener", f"{port.count if port else 1883} {host.value if host else ''}".strip()
    )
    return Section(head, [line for line in above.lines if line.name not in ("port", "bind_address")])


def _has_loopback6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def _section(name: str, value: str, lines: dict[str, str], made: str) -> Section:
    return Section(Line(made, 0, name, value), [Line(made, 0, each, text) for each, text in lines.items()])


def _read_access_list(line: Line, start: Path) -> bytes:
    path = start / line.value
    if path.exists() and not path.is_file():  # a device or a pipe would be read for ever
        raise line.refuse(f"names {path}, which is no file; put it back, or name the right one")
    try:
        return path.read_bytes()
    except OSError as error:
        raise line.refuse(f"{path}: {error.strerror}") from None


def _write(path: Path, data: bytes, broker: Account) -> None:
    """A file that may hold passwords of bridges: for root and the broker's user only."""
    disk.replace(path, data, disk.PRIVATE)
    if os.geteuid() == 0:
        os.chown(path, 0, broker.gid)
        path.chmod(0o640)


def _check_rights(folder: OperatorFolder, found: Directives, derived: Configuration, broker: Account) -> None:
    """The broker's user must read its files, and write where it keeps things: it is that user before it opens them.

    Raises BrokerError, ConfigurationError.
    """
    for path in derived.named:
        if path != folder.settings and not broker.may(path, os.R_OK):
            raise BrokerError(f"{path}: user {broker.name} cannot read it; allow that (chgrp {broker.name}, chmod g+r)")
    for line in found.broker.lines:
        kept = {"persistence_location": Path(line.value), "pid_file": Path(line.value).parent}.get(line.name)
        if line.name == "persistence_location" and not _keeps(found.broker):
            continue
        if kept and not broker.may(kept, os.W_OK | os.X_OK):
            raise line.refuse(f"{kept}: is no folder that user {broker.name} can write in; make it, chown it")
