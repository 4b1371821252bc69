"""`conf/`: a complete, secure Mosquitto configuration, written once; what the epoch statement says of one; its hash.

The statement must not say more than the configuration does, so a directive that is not known here is refused.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from sigillo.broker.directive import read_directives
from sigillo.broker.error import BrokerError, configuration_refused
from sigillo.broker.folder import OperatorFolder
from sigillo.core.directive import (
    FILES,
    FOLDERS,
    MAX_PACKET_SIZE,
    OPTIONS,
    PLUGIN,
    Directives,
    Line,
    Section,
    listener_address,
    plugin_path,
)
from sigillo.core.epoch import configuration_hash
from sigillo.core.errors import ConfigurationError
from sigillo.core.listener import has_access_list, is_controlled, is_plugin_first, principal_source
from sigillo.core.statement import MAX_LISTED, Carrier, ListenerKey, MarkedFilter, PrincipalSource
from sigillo.x509 import spki_of

ARCHIVE_USER = "sigillo-archive"
UNMARKED_PATHS = ("broker-published", "retained-before", "sys", "will")
"""What Mosquitto does not show its plugins, in any configuration that is accepted here."""

_PRIVATE_KEY = re.compile(rb"^-----BEGIN ([A-Z]+ )*PRIVATE KEY-----\r?$", re.MULTILINE)

_MOSQUITTO_CONF = """\
# Written by `sigillo up` once, then yours to edit; paths are relative to the operator folder.
# Part of the configuration hash: a change shows in the next epoch.
per_listener_settings false
listener {port} {host}
cafile conf/tls/ca.cert.pem
certfile conf/tls/server.cert.pem
keyfile conf/tls/server.key.pem
# Who connects is who its certificate says: the common name is user name and client id.
require_certificate true
use_identity_as_username true
use_username_as_clientid true
allow_anonymous false
acl_file conf/acl
# Nothing that was retained under other rights reaches anybody.
check_retain_source true

plugin plugin/sigillo.so

max_packet_size 1048576
persistence true
persistence_location persistence/
autosave_interval 60
# The archive gets every marked message at QoS 1, also those that came while it was away.
upgrade_outgoing_qos true
queue_qos0_messages true
max_inflight_messages 200
max_queued_messages 1000000
max_queued_bytes 268435456

log_dest stderr
log_type error
log_type warning
log_type notice
log_timestamp false
connection_messages false
"""

_ACL = """\
# A device publishes under its own id only, and reads what is meant for it.
pattern write braid/agent/%u/shadow/reported/#
pattern read braid/agent/%u/shadow/desired/#
# The log's newest checkpoint is for everybody.
pattern read sigillo/checkpoint
"""
_COMPANIONS = """
# The marks of the carrier `topic`: a device reads those of its own messages. Give your readers theirs.
pattern read sigillo/mark/braid/agent/%u/#
"""


@dataclass(frozen=True, slots=True)
class Configuration:
    """What the broker will run on. `file`: what it is started with; `digests`: of the configuration tree, SHA-256 by
    name; `named`: the files in that tree; `listeners`: with their TLS key hashes; `access_list`: somebody answers who
    may do what."""

    file: Path
    digests: Mapping[str, bytes]
    named: tuple[Path, ...]
    listeners: tuple[ListenerKey, ...]
    principal_source: PrincipalSource
    unmarked_paths: tuple[str, ...]
    access_list: bool

    @property
    def hash(self) -> bytes:
        """Configuration tree hash (spec/epoch.md), 32 bytes."""
        return configuration_hash(self.digests)


def broker_configuration(host: str, port: int) -> bytes:
    """The first `mosquitto.conf`."""
    return _MOSQUITTO_CONF.format(host=host, port=port).encode()


def access_list(filters: tuple[MarkedFilter, ...]) -> bytes:
    """The first `acl`: devices under their own ids; the archive reads what is marked."""
    companions = _COMPANIONS if any(marked.carrier is Carrier.TOPIC for marked in filters) else ""
    return (_ACL + companions).encode() + archive_access(filters)


def archive_access(filters: tuple[MarkedFilter, ...]) -> bytes:
    """The archive's part of an access list."""
    lines = [f"topic read {marked.topic_filter}\n" for marked in filters]
    return f"\nuser {ARCHIVE_USER}\n{''.join(lines)}".encode()


@configuration_refused()
def read_configuration(folder: OperatorFolder, listen: str) -> Configuration:
    """Read and hash the configuration in `conf/`. *listen* is the settings' address:port.

    Raises BrokerError naming file, directive and remedy, where the configuration says something that an epoch statement
    cannot, or contradicts the settings.
    """
    path = folder.broker_configuration
    found = read_directives(path)
    if [plugin_path(plugin) for plugin in found.plugins].count(PLUGIN) != 1 or not is_plugin_first(found):
        raise BrokerError(f"{path}: must have exactly one line `plugin {PLUGIN}`, before any other plugin")
    if found.above.lines:
        raise found.above.lines[0].refuse("has no place here: there is no `listener` above it")
    if not found.listeners:
        raise BrokerError(f"{path}: has no `listener`")
    if listen not in map(_address, found.listeners):
        raise BrokerError(
            f"{path}: no `listener` is {listen}, which {folder.settings.name} says (listen); change one of the two"
        )
    return state(folder, path, found)


def state(folder: OperatorFolder, path: Path, found: Directives) -> Configuration:
    """What an epoch statement says of the configuration *found*, which the broker reads from *path*.

    Raises BrokerError, ConfigurationError.
    """
    check_packet_size(str(path), found)
    for listener in found.listeners[MAX_LISTED:]:
        assert listener.head is not None  # every listener's section begins with its line
        raise listener.head.refuse(f"is one more than the {MAX_LISTED} listeners that an epoch statement can name")
    files = {folder.settings, path}
    for line, file in _named_files(folder, found):
        if not file.is_file():
            raise line.refuse(f"names {file}, which is no file; put it back, or name the right one")
        files.add(file)
    return Configuration(
        file=path,
        digests={_name(folder, file): hashlib.sha256(_content(file)).digest() for file in files},
        named=tuple(sorted(files)),
        listeners=tuple(ListenerKey(_address(item), _key_hash(folder, item)) for item in found.listeners),
        principal_source=min(principal_source(listener, found) for listener in found.listeners),
        unmarked_paths=tuple(sorted({*UNMARKED_PATHS, *({"control"} if is_controlled(found) else ())})),
        access_list=has_access_list(found),
    )


def check_packet_size(file: str, found: Directives) -> None:
    """Raises ConfigurationError where a message could be so large that no packet carries it with its mark."""
    line = found.broker.get("max_packet_size")
    if line is None:
        raise ConfigurationError(file, "has no max_packet_size; say `max_packet_size 1048576`, or what you need")
    if not 20 <= line.count <= MAX_PACKET_SIZE:
        raise line.refuse(f"must be from 20 to {MAX_PACKET_SIZE}: a message of more and its mark could fit no packet")


def file_hash(path: Path) -> bytes:
    """SHA-256 of a file. Raises BrokerError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise BrokerError(f"{path}: {error.strerror}") from None


def _named_files(folder: OperatorFolder, found: Directives) -> Iterator[tuple[Line, Path]]:
    """Every file that the broker may read because of a line; of plugins their options too, where those name files."""
    for line in found.lines():
        path = folder.path / line.value
        if line.name in FILES:
            yield line, path
        elif line.name in FOLDERS:
            if not path.is_dir():
                raise line.refuse(f"names {path}, which is no folder; put it back, or name the right one")
            yield from ((line, file) for file in sorted(path.iterdir()) if file.is_file())
        elif line.name.startswith(OPTIONS) and line.value.startswith("/") and path.is_file():
            yield line, path
    for plugin in found.plugins:
        assert plugin.head is not None  # every plugin's section begins with its line
        if plugin_path(plugin) != PLUGIN:  # which has a hash of its own
            yield plugin.head, folder.path / plugin_path(plugin)


def _address(listener: Section) -> str:
    port, host = listener_address(listener)
    if port == 0:
        return host
    host = host or "0.0.0.0"  # noqa: S104  # what Mosquitto does without one
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _key_hash(folder: OperatorFolder, listener: Section) -> bytes | None:
    """SHA-256 of the SubjectPublicKeyInfo of the listener's certificate."""
    line = listener.get("certfile")
    if line is None:
        return None
    path = folder.path / line.value
    try:
        certificate = x509.load_pem_x509_certificate(_bytes(path))
    except ValueError as error:
        raise BrokerError(f"{path}: is no certificate ({error})") from None
    return hashlib.sha256(spki_of(certificate.public_key())).digest()


def _name(folder: OperatorFolder, file: Path) -> str:
    return file.relative_to(folder.path).as_posix() if file.is_relative_to(folder.path) else file.as_posix()


def _content(path: Path) -> bytes:
    """What enters the hash: of a private key its public half."""
    data = _bytes(path)
    if not _PRIVATE_KEY.search(data):
        return data
    if b"-----BEGIN CERTIFICATE-----" in data:
        raise BrokerError(f"{path}: has a certificate beside a private key; put them into two files")
    try:
        key = load_pem_private_key(data, None)
    except (ValueError, TypeError) as error:
        raise BrokerError(f"{path}: is a private key that cannot be read ({error})") from None
    return spki_of(key.public_key())


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BrokerError(f"{path}: {error.strerror}; the configuration of the broker needs it") from None
