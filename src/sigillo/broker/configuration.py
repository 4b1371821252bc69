"""`conf/`: a complete, secure Mosquitto configuration, written once; what the epoch statement says of it; its hash.

The statement must not say more than the configuration does, so a directive that is not known here is refused.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from sigillo.broker.error import BrokerError
from sigillo.broker.folder import OperatorFolder
from sigillo.core.epoch import configuration_hash
from sigillo.core.statement import ListenerKey, PrincipalSource
from sigillo.x509 import spki_of

ARCHIVE_USER = "sigillo-archive"
UNMARKED_PATHS = ("broker-published", "retained-before", "sys", "will")
"""What Mosquitto does not show its plugins, in any configuration that is accepted here."""

_LISTENER_DIRECTIVES = frozenset(
    """cafile certfile keyfile require_certificate use_identity_as_username use_subject_as_username
    use_username_as_clientid protocol tls_version ciphers ciphers_tls1.3 crlfile dhparamfile max_connections
    max_topic_alias max_qos socket_domain bind_interface""".split()  # noqa: SIM905  # words read best as words
)
_BROKER_DIRECTIVES = frozenset(
    """per_listener_settings allow_anonymous acl_file plugin message_size_limit max_packet_size memory_limit persistence
    persistence_location persistence_file autosave_interval autosave_on_changes persistent_client_expiration
    queue_qos0_messages upgrade_outgoing_qos max_inflight_messages max_inflight_bytes max_queued_messages
    max_queued_bytes max_keepalive set_tcp_nodelay sys_interval retain_available log_dest log_type log_timestamp
    log_timestamp_format connection_messages""".split()  # noqa: SIM905  # as above
)
_FILES = ("cafile", "certfile", "keyfile", "crlfile", "dhparamfile", "acl_file")

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

user {archive}
"""


@dataclass(slots=True)
class _Listener:
    port: str
    host: str
    options: dict[str, str] = field(default_factory=dict)

    def is_on(self, name: str) -> bool:
        return self.options.get(name, "false").lower() == "true"


@dataclass(frozen=True, slots=True)
class Configuration:
    """What the broker will run on. `hash`: of the configuration tree; `listeners`: with their TLS key hashes."""

    hash: bytes
    listeners: tuple[ListenerKey, ...]
    principal_source: PrincipalSource
    unmarked_paths: tuple[str, ...] = UNMARKED_PATHS


def broker_configuration(host: str, port: int) -> bytes:
    """The first `mosquitto.conf`."""
    return _MOSQUITTO_CONF.format(host=host, port=port).encode()


def access_list(filters: tuple[str, ...]) -> bytes:
    """The first `acl`: devices under their own ids; the archive reads what is marked."""
    return (_ACL.format(archive=ARCHIVE_USER) + "".join(f"topic read {name}\n" for name in filters)).encode()


def read_configuration(folder: OperatorFolder, listen: str) -> Configuration:
    """Read and hash what the broker will run on. *listen* is the settings' address:port.

    Raises BrokerError naming file, directive and remedy, where the configuration says something that an epoch statement
    cannot, or contradicts the settings.
    """
    path = folder.broker_configuration
    listeners, broker = _parse(path)
    if broker.get("plugin") != "plugin/sigillo.so":
        raise BrokerError(f"{path}: must have exactly the line `plugin plugin/sigillo.so`")
    if broker.get("per_listener_settings", "false").lower() != "false":
        raise BrokerError(f"{path}: per_listener_settings must be false, or the plugin sees one listener only")
    addresses = [_address(listener) for listener in listeners]
    if listen not in addresses:
        raise BrokerError(
            f"{path}: no `listener` is {listen}, which {folder.settings.name} says (listen); change one of the two"
        )
    names = [broker.get("acl_file"), *(listener.options.get(name) for listener in listeners for name in _FILES)]
    named = {folder.settings, path, *(folder.path / name for name in names if name)}
    keys = (ListenerKey(address, _key_hash(folder, item)) for address, item in zip(addresses, listeners, strict=True))
    return Configuration(
        hash=configuration_hash({_name(folder, file): _content(file) for file in named}),
        listeners=tuple(keys),
        principal_source=min(_principal_source(listener) for listener in listeners),
    )


def file_hash(path: Path) -> bytes:
    """SHA-256 of a file. Raises BrokerError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise BrokerError(f"{path}: {error.strerror}") from None


def _parse(path: Path) -> tuple[list[_Listener], dict[str, str]]:
    listeners: list[_Listener] = []
    broker: dict[str, str] = {}
    for number, line in enumerate(_text(path).splitlines(), start=1):
        directive, _, value = line.strip().partition(" ")
        value = value.strip()
        if not directive or directive.startswith("#"):
            continue
        if directive == "listener":
            port, _, host = value.partition(" ")
            listeners.append(_Listener(port, host.strip()))
        elif directive in _LISTENER_DIRECTIVES and listeners:
            listeners[-1].options[directive] = value
        elif directive in _BROKER_DIRECTIVES and not (directive == "plugin" and "plugin" in broker):
            broker[directive] = value
        else:
            raise BrokerError(
                f"{path}: line {number}: `{directive}` has no place here: the epoch statement could not speak for it"
            )
    if not listeners:
        raise BrokerError(f"{path}: has no `listener`")
    return listeners, broker


def _address(listener: _Listener) -> str:
    host = listener.host or "0.0.0.0"  # noqa: S104  # what Mosquitto does without one
    return f"[{host}]:{listener.port}" if ":" in host else f"{host}:{listener.port}"


def _principal_source(listener: _Listener) -> PrincipalSource:
    if not (listener.is_on("require_certificate") and "cafile" in listener.options):
        return PrincipalSource.UNAUTHENTICATED
    if listener.is_on("use_identity_as_username"):
        return PrincipalSource.CERT_CN
    if listener.is_on("use_subject_as_username"):
        return PrincipalSource.CERT_SUBJECT
    return PrincipalSource.UNAUTHENTICATED


def _key_hash(folder: OperatorFolder, listener: _Listener) -> bytes | None:
    """SHA-256 of the SubjectPublicKeyInfo of the listener's certificate."""
    name = listener.options.get("certfile")
    if name is None:
        return None
    path = folder.path / name
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
    if b"PRIVATE KEY-----" not in data:
        return data
    try:
        key = load_pem_private_key(data, None)
    except (ValueError, TypeError) as error:
        raise BrokerError(f"{path}: is a private key that cannot be read ({error})") from None
    return spki_of(key.public_key())


def _text(path: Path) -> str:
    try:
        return _bytes(path).decode()
    except UnicodeDecodeError:
        raise BrokerError(f"{path}: is not UTF-8") from None


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BrokerError(f"{path}: {error.strerror}; put it back, or put the whole conf/ aside") from None
