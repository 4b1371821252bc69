"""mosquitto.conf(5) as Mosquitto 2.0 and 2.1 read it: every directive by its section (spec/rule.md).

Invariant: what is read here is what the broker reads. So a line ends at a line feed and nowhere else, a comment is a
`#` in the first column, a directive ends at the first space, and every file begins outside any listener, bridge and
plugin, the included ones too. What is not known, or could mean two things, is refused by file and line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cmp_to_key
from typing import TypeAlias

from sigillo.core.errors import ConfigurationError

MAX_PACKET_SIZE = 268_304_383
"""A message of more bytes and its mark could fit no packet: its subscriber would never get past it."""

MAX_SIZE = 2**20
"""Bytes of a configuration, with what it includes."""
_MAX_INCLUDES = 64
PLUGIN = "plugin/sigillo.so"
"""Where the broker finds Sigillo's plugin: it runs in the operator folder."""
_BLANKS = " \t\v\f\r"
_PLUGINS = frozenset({"plugin", "auth_plugin", "global_plugin", "plugin_load"})
OPTIONS = ("plugin_opt_", "auth_opt_")
"""How the options that a plugin gets begin."""
_BROKER = frozenset(
    """acl_file allow_anonymous allow_duplicate_messages allow_zero_length_clientid auto_id_prefix autosave_interval
    autosave_on_changes check_retain_source connection_messages enable_control_api global_max_clients
    global_max_connections log_dest log_facility log_timestamp log_timestamp_format log_type max_inflight_bytes
    max_inflight_messages max_keepalive max_packet_size max_queued_bytes max_queued_messages
    message_size_limit packet_buffer_size password_file per_listener_settings persistence persistence_file
    persistence_location persistent_client_expiration pid_file psk_file queue_qos0_messages retain_available
    retain_expiry_interval retained_persistence retry_interval set_tcp_nodelay sys_interval upgrade_outgoing_qos user
    websockets_headers_size websockets_log_level""".split()  # noqa: SIM905  # words read best as words
)
_LISTENER = frozenset(
    """accept_protocol_versions bind_interface cafile capath certfile ciphers ciphers_tls1.3 crlfile dhparamfile
    disable_client_cert_date_checks enable_proxy_protocol http_dir keyfile listener_allow_anonymous
    listener_auto_id_prefix max_connections max_qos max_topic_alias max_topic_alias_broker maximum_qos mount_point
    protocol proxy_protocol_v2_require_tls psk_hint require_certificate socket_domain tls_version
    use_identity_as_username use_subject_as_username use_username_as_clientid websockets_origin""".split()  # noqa: SIM905
)
_BRIDGE = frozenset(
    """address addresses bridge_alpn bridge_attempt_unsubscribe bridge_bind_address bridge_cafile bridge_capath
    bridge_certfile bridge_ciphers bridge_ciphers_tls1.3 bridge_identity bridge_insecure bridge_keyfile
    bridge_max_packet_size bridge_max_topic_alias bridge_outgoing_retain bridge_protocol_version bridge_psk
    bridge_receive_maximum bridge_reload_type bridge_require_ocsp bridge_session_expiry_interval bridge_tcp_keepalive
    bridge_tcp_user_timeout bridge_tls_use_os_certs bridge_tls_version cleansession clientid idle_timeout
    keepalive_interval local_cleansession local_clientid local_password local_username notification_topic notifications
    notifications_local_only password remote_clientid remote_password remote_username restart_timeout round_robin
    start_type threshold topic try_private username""".split()  # noqa: SIM905
)
REFUSED = {
    "clientid_prefixes": "it would shut out the archive; Mosquitto drops it too, use an access list",
    "memory_limit": (
        "Mosquitto 2.0's count of its own memory grows with every property that a plugin adds, and never falls: in "
        "time it would refuse everybody; bound the broker from outside (systemd: MemoryMax=)"
    ),
    "tls_engine": "a key inside an engine is no file that could be measured; name PEM files",
    "tls_engine_kpass_sha1": "a key inside an engine is no file that could be measured; name PEM files",
    "tls_keyform": "a key inside an engine is no file that could be measured; name PEM files",
}
"""Directives that Mosquitto knows and that have no place here, and why."""

FILES = frozenset(
    {"acl_file", "password_file", "psk_file", "cafile", "certfile", "keyfile", "crlfile", "dhparamfile"}
    | {"bridge_cafile", "bridge_certfile", "bridge_keyfile"}
)
FOLDERS = frozenset({"capath", "bridge_capath"})
"""Whose every file the broker may read."""
OTHER_PATHS = frozenset({"pid_file", "persistence_location", "http_dir"})


@dataclass(frozen=True, slots=True)
class Line:
    """One directive, and where it stands. `value`: the rest of its line, without blanks around it; `number`: 0 where
    Sigillo adds it to *file*."""

    file: str
    number: int
    name: str
    value: str

    def refuse(self, reason: str) -> ConfigurationError:
        """The error that names file, line and directive."""
        line = f": line {self.number}" if self.number else ""
        return ConfigurationError(f"{self.file}{line}", f"`{self.name[:60]}` {reason}")

    @property
    def words(self) -> list[str]:
        """The value's words: Mosquitto parts them at spaces only."""
        return [word for word in self.value.split(" ") if word]

    @property
    def is_on(self) -> bool:
        """The value of a switch. Raises ConfigurationError where it is none."""
        word = self.words[0]
        if word not in ("true", "1", "false", "0"):
            raise self.refuse("must be true or false")
        return word in ("true", "1")

    @property
    def count(self) -> int:
        """The value of a number, 0 or more. Raises ConfigurationError where it is none."""
        word = self.words[0]
        if not (word.isascii() and word.isdigit() and len(word) < 20):
            raise self.refuse("must be a number")
        return int(word)

    def encode(self) -> str:
        """The line of a file."""
        return f"{self.name} {self.value}"


@dataclass(slots=True)
class Section:
    """Directives that belong together under `head` (a listener, a connection, a plugin; None: the broker's own)."""

    head: Line | None = None
    lines: list[Line] = field(default_factory=list)

    def get(self, name: str) -> Line | None:
        """The last line of this name, which is the one that counts."""
        return next((line for line in reversed(self.lines) if line.name == name), None)

    def is_on(self, name: str) -> bool:
        """A switch, off where it is not named. Raises ConfigurationError."""
        line = self.get(name)
        return line is not None and line.is_on

    def encode(self) -> list[str]:
        """Its lines in a file."""
        return [line.encode() for line in ([self.head] if self.head else []) + self.lines]


@dataclass(slots=True)
class Directives:
    """A whole configuration. `above`: a listener's directives above any listener, which make a default one."""

    broker: Section = field(default_factory=Section)
    above: Section = field(default_factory=Section)
    listeners: list[Section] = field(default_factory=list)
    bridges: list[Section] = field(default_factory=list)
    plugins: list[Section] = field(default_factory=list)

    def sections(self) -> Iterator[Section]:
        """All of them, in the order in which they can stand in one file."""
        yield from (*self.plugins, self.broker, self.above, *self.listeners, *self.bridges)

    def lines(self) -> Iterator[Line]:
        """Every line, heads too."""
        for section in self.sections():
            if section.head:
                yield section.head
            yield from section.lines

    def encode(self) -> bytes:
        """One file that means the same."""
        return "\n".join(
            ["\n".join(section.encode()) for section in self.sections() if section.encode()] + [""]
        ).encode()


Include: TypeAlias = Callable[[Line], Iterable[tuple[str, bytes]]]
"""What an `include_dir` line brings in: name and content of each file, in Mosquitto's order (`included`)."""


def decode_directives(file: str, data: bytes, include: Include | None = None) -> Directives:
    """The configuration in the file of this name and content, with what its `include_dir` lines bring in.

    *include*: None: there must be no such line. Raises ConfigurationError, and what *include* raises.
    """
    reading = _Reading(include)
    reading.read(file, data)
    found = reading.found
    line = found.broker.get("per_listener_settings")
    if line and line.is_on:
        raise line.refuse(
            "must be false: with it a plugin sees one listener only. Mosquitto 2.1 has listener_allow_anonymous and "
            "plugin_use for what differs between listeners"
        )
    return found


def included(names: Iterable[str]) -> list[str]:
    """The files of an included folder that Mosquitto reads, in its order: as if all were capitals, capitals first where
    that ties."""
    return sorted((name for name in names if name.endswith(".conf") and len(name) > 5), key=cmp_to_key(_order))


def plugin_path(plugin: Section) -> str:
    """Path of a plugin. Raises ConfigurationError where there is none."""
    assert plugin.head is not None  # every plugin's section begins with its line
    path = plugin.head.value
    if plugin.head.name == "plugin_load":
        path = path.partition(" ")[2].lstrip(" ")
    if not path:
        raise plugin.head.refuse("names no file")
    return path


def listener_address(listener: Section) -> tuple[int, str]:
    """Port and host of a listener's section; the host is empty where it listens on all; for port 0 it is a path.

    Raises ConfigurationError.
    """
    assert listener.head is not None  # every listener's section begins with its line
    words = listener.head.words
    host = words[1] if len(words) > 1 and not words[1].startswith("#") else ""
    port = listener.head.count
    if port >= 2**16 or (port == 0 and not host):
        raise listener.head.refuse("must be a port and an address, or 0 and the path of a socket")
    return port, host


@dataclass(slots=True)
class _Position:
    """The sections that a file's next lines belong to."""

    listener: Section | None = None
    bridge: Section | None = None
    plugin: Section | None = None


@dataclass(slots=True)
class _Reading:
    """What was read so far. `loaded`: plugins by the name that `plugin_load` gave them; `left`: bytes that may come."""

    include: Include | None
    found: Directives = field(default_factory=Directives)
    loaded: dict[str, Section] = field(default_factory=dict)
    left: int = MAX_SIZE
    includes: int = 0

    def read(self, file: str, data: bytes, *, nested: bool = False) -> None:
        """A file, and those that it includes. Raises ConfigurationError."""
        self.left -= len(data)
        if self.left < 0:
            raise ConfigurationError(file, f"is larger than {MAX_SIZE} bytes, with what is included")
        at = _Position()
        for line in _lines(file, data):
            if line.name in REFUSED:
                raise line.refuse(f"has no place here: {REFUSED[line.name]}")
            if line.name != "include_dir":
                self._place(line, at)
            elif nested or self.include is None:
                raise line.refuse("has no place here: it counts in the main file of an own configuration only (--conf)")
            else:
                self.includes += 1
                if self.includes > _MAX_INCLUDES:
                    raise line.refuse(f"is one more than {_MAX_INCLUDES} of them")
                for name, content in self.include(line):
                    self.read(name, content, nested=True)

    def _place(self, line: Line, at: _Position) -> None:
        if line.name == "listener":
            at.listener = Section(line)
            self.found.listeners.append(at.listener)
        elif line.name == "connection":
            at.bridge = Section(line)
            self.found.bridges.append(at.bridge)
        elif line.name in _PLUGINS:
            at.plugin = Section(line)
            self.found.plugins.append(at.plugin)
            if line.name == "plugin_load":
                self.loaded.setdefault(line.words[0], at.plugin)
        elif line.name == "plugin_use":
            at.plugin = self.loaded.get(line.value)
            if at.plugin is None:
                raise line.refuse("names no plugin that is loaded above it")
            _inside(at.listener, "listener", line)
        elif line.name.startswith(OPTIONS) or line.name == "auth_plugin_deny_special_chars":
            _inside(at.plugin, "plugin", line)
        elif line.name in ("port", "bind_address") and at.listener:
            raise line.refuse(
                "below a listener means one thing to Mosquitto 2.0 and another to 2.1; write `listener PORT ADDRESS`"
            )
        elif line.name in _LISTENER or line.name in ("port", "bind_address"):
            (at.listener or self.found.above).lines.append(line)
        elif line.name in _BRIDGE:
            _inside(at.bridge, "connection", line)
        elif line.name in _BROKER:
            self.found.broker.lines.append(line)
        else:
            raise line.refuse("is not known: the epoch statement could not speak for it")


def _inside(section: Section | None, kind: str, line: Line) -> None:
    if section is None:
        raise line.refuse(f"has no place here: there is no `{kind}` above it in this file")
    section.lines.append(line)


def _order(first: str, second: str) -> int:
    """As Mosquitto compares names (scmp_p of its conf.c): letter by letter, as capitals, and capitals first where that
    ties; toupper() makes a byte above 127 positive, where it is negative else."""
    ours, theirs = (name.encode("utf-8", "surrogateescape") + b"\0" for name in (first, second))
    one, other = next(((one, other) for one, other in zip(ours, theirs, strict=False) if one != other), (0, 0))
    if one and other and _capital(one) != _capital(other):
        return _capital(one) - _capital(other)
    return _signed(one) - _signed(other)


def _capital(byte: int) -> int:
    return byte - 32 if 97 <= byte <= 122 else byte


def _signed(byte: int) -> int:
    return byte - 256 if byte > 127 else byte


def _lines(file: str, data: bytes) -> Iterator[Line]:
    for number, text in enumerate(_text(file, data).split("\n"), start=1):
        if text.startswith("#"):
            continue
        name, _, value = text.rstrip("\r").lstrip(" ").partition(" ")
        if not name:
            continue
        line = Line(file, number, name, value.strip(_BLANKS))
        if not line.value:
            raise line.refuse("has no value" if name.isprintable() and name.isascii() else "is no directive")
        if not value.lstrip(" ").startswith(line.value) or (name == "include_dir" and value != line.value):
            raise line.refuse("has white space that Mosquitto may take for part of its value; write it with one blank")
        yield line


def _text(file: str, data: bytes) -> str:
    if b"\0" in data:
        raise ConfigurationError(file, "has zero bytes in it: no configuration of Mosquitto")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ConfigurationError(file, f"is not UTF-8 (byte {error.start})") from None


Absolute: TypeAlias = Callable[[str], str]


def with_paths(section: Section, absolute: Absolute) -> Section:
    """The section with every path in it changed by *absolute*."""
    return Section(
        section.head and _with_path(section.head, absolute), [_with_path(line, absolute) for line in section.lines]
    )


def _with_path(line: Line, absolute: Absolute) -> Line:
    value = line.value
    if line.name in FILES | FOLDERS | OTHER_PATHS or line.name in _PLUGINS - {"plugin_load"}:
        value = absolute(value)
    elif line.name == "plugin_load":
        name, _, path = value.partition(" ")
        value = f"{name} {absolute(path.lstrip(' '))}"
    elif line.name == "log_dest" and line.words[0] == "file":
        value = f"file {absolute(value[4:].strip(_BLANKS))}"
    elif line.name == "listener" and line.count == 0 and len(line.words) > 1:
        value = f"0 {absolute(line.words[1])}"
    return Line(line.file, line.number, line.name, value)
