"""Payload of an epoch statement: spec/epoch.md. The signed object around it is in `sigillo.core.epoch`.

It comes in two layers: `StatementFields` is what the launcher knows (spec/handshake.md); `EpochStatement` adds the keys
and the start time, which only the plugin has.
"""

from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Final

from sigillo.core.errors import DecodeError
from sigillo.core.field import UINT32_MAX, array, ascending, boolean, byte_string, choice, integer, numbered_map, text
from sigillo.core.mark import Checkpoint, decode_checkpoint
from sigillo.core.note import check_name
from sigillo.core.topic import check_filter, filter_matches

VERSION: Final = 1
MAX_NAME: Final = 255
MAX_LISTED: Final = 64
"""Filters, listeners, bridge principals: what a reader has to go through is bounded."""
DAEMONS: Final = ("chrony", "systemd-timesyncd", "ntpd", "none", "unknown")
UNMARKED_PATHS: Final = (
    "broker-published",
    "control",
    "listener-without-plugin",
    "retained-before",
    "sys",
    "will",
)
_EPOCH_KEY, _TOKEN_KEY, _START, _BRIDGES = 4, 5, 6, 20
_LAUNCHER_KEYS: Final = frozenset(range(1, 20)) - {_EPOCH_KEY, _TOKEN_KEY, _START}


class HowEnded(IntEnum):
    """How the previous epoch ended."""

    CLEAN = 1
    UNCLEAN = 2
    LOGGED_UP_TO = 3


class OnBadClock(IntEnum):
    """What the plugin does while the clock is not synchronised."""

    REFUSE = 0
    MARK_UNSYNCHRONISED = 1


class Durability(IntEnum):
    """What a mark has survived when its message is acknowledged."""

    BUFFERED = 0
    STRICT = 1


class Mode(IntEnum):
    """How the marks of a filter are signed."""

    EACH = 0
    BATCH = 1


class Carrier(IntEnum):
    """How a mark of a filter travels."""

    PROPERTY = 0
    DATAGRAM = 1
    TOPIC = 2


class PrincipalSource(IntEnum):
    """The weakest way, over all listeners, in which a principal's name was authenticated."""

    UNAUTHENTICATED = 0
    PASSWORD = 1
    PSK = 2
    CERT_SUBJECT = 3
    CERT_CN = 4


class AttesterKind(IntEnum):
    """What vouches for the launch."""

    TPM = 1
    ENCLAVE = 2


@dataclass(frozen=True, slots=True)
class Previous:
    """The epoch before; `epoch_id` 32 bytes, `last_time_ns` Unix time."""

    ended: HowEnded
    epoch_id: bytes
    last_sequence: int
    last_time_ns: int


@dataclass(frozen=True, slots=True)
class MarkedFilter:
    """A topic filter whose messages are marked."""

    topic_filter: str
    mode: Mode = Mode.EACH
    carrier: Carrier = Carrier.PROPERTY


@dataclass(frozen=True, slots=True)
class ListenerKey:
    """A listener (`address:port`) and SHA-256 of its certificate's SubjectPublicKeyInfo, None without TLS."""

    listener: str
    key_hash: bytes | None


@dataclass(frozen=True, slots=True)
class Attester:
    """A TPM with its AK name (bytes), or an enclave with its kind (text)."""

    kind: AttesterKind
    name: bytes | str


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementFields:
    """The statement as the launcher knows it; names and ranges as in the table of spec/epoch.md. Hashes are 32 bytes.

    `clock_daemon` is one of DAEMONS; `unmarked_paths` are of UNMARKED_PATHS, ascending; `bridge_principals` ascending.
    """

    number: int
    previous: Previous | None
    clock_daemon: str
    clock_authenticated: bool
    clock_correction_ns: int
    on_bad_clock: OnBadClock
    durability: Durability
    operator: str
    log_origin: str
    log_key_id: bytes
    log_checkpoint: Checkpoint
    executable_hash: bytes
    plugin_hash: bytes
    configuration_hash: bytes
    manifest_hash: bytes | None
    filters: tuple[MarkedFilter, ...]
    principal_source: PrincipalSource
    unmarked_paths: tuple[str, ...]
    tls_keys: tuple[ListenerKey, ...]
    attester: Attester | None
    separated: bool
    bridge_principals: tuple[str, ...] = ()

    def rule(self, topic: str) -> MarkedFilter | None:
        """The first filter that matches the topic: it says how its messages are marked. None: they are not."""
        return next((rule for rule in self.filters if filter_matches(rule.topic_filter, topic)), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochStatement(StatementFields):
    """The whole payload: with the epoch key, the optional token key (32 bytes each) and the start (ns, Unix time)."""

    epoch_key: bytes
    start_ns: int
    token_key: bytes | None = None


def statement_payload(statement: EpochStatement) -> dict[int, object]:
    """Payload map of a whole statement. Raises DecodeError where a field is outside the format."""
    values = _field_values(statement) | {_EPOCH_KEY: statement.epoch_key, _START: statement.start_ns}
    if statement.token_key is not None:
        values[_TOKEN_KEY] = statement.token_key
    decode_statement_payload(values)
    return values


def decode_statement_payload(value: object) -> EpochStatement:
    """A whole statement of its payload map. Raises DecodeError."""
    required = _LAUNCHER_KEYS | {_EPOCH_KEY, _START}
    values = numbered_map(value, "epoch statement", required, (_TOKEN_KEY, _BRIDGES))
    launcher_half = _launcher_fields(values)
    statement = EpochStatement(
        **{field.name: getattr(launcher_half, field.name) for field in fields(StatementFields)},
        epoch_key=byte_string(values[_EPOCH_KEY], "epoch key"),
        start_ns=integer(values[_START], "start"),
        token_key=byte_string(values[_TOKEN_KEY], "token key") if _TOKEN_KEY in values else None,
    )
    if statement.previous and statement.start_ns < statement.previous.last_time_ns:
        raise DecodeError("start", "is before the last time of the previous epoch")
    return statement


def encode_statement_fields(statement: StatementFields) -> dict[int, object]:
    """Payload map without the plugin's keys 4, 5 and 6. Raises DecodeError where a field is outside the format."""
    values = _field_values(statement)
    decode_statement_fields(values)
    return values


def decode_statement_fields(value: object) -> StatementFields:
    """The launcher's half of a statement, of its payload map without the keys 4, 5 and 6. Raises DecodeError."""
    return _launcher_fields(numbered_map(value, "epoch statement", _LAUNCHER_KEYS, (_BRIDGES,)))


def _field_values(statement: StatementFields) -> dict[int, object]:
    previous, log, attester = statement.previous, statement.log_checkpoint, statement.attester
    values: dict[int, object] = {
        1: VERSION,
        2: statement.number,
        3: previous and [int(previous.ended), previous.epoch_id, previous.last_sequence, previous.last_time_ns],
        7: [statement.clock_daemon, statement.clock_authenticated],
        8: statement.clock_correction_ns,
        9: int(statement.on_bad_clock),
        10: int(statement.durability),
        11: statement.operator,
        12: [statement.log_origin, statement.log_key_id, log.size, log.root],
        13: [statement.executable_hash, statement.plugin_hash, statement.configuration_hash, statement.manifest_hash],
        14: [[marked.topic_filter, int(marked.mode), int(marked.carrier)] for marked in statement.filters],
        15: int(statement.principal_source),
        16: list(statement.unmarked_paths),
        17: [[key.listener, key.key_hash] for key in statement.tls_keys],
        18: attester and [int(attester.kind), attester.name],
        19: statement.separated,
    }
    if statement.bridge_principals:
        values[_BRIDGES] = list(statement.bridge_principals)
    return values


def _launcher_fields(values: dict[int, object]) -> StatementFields:
    integer(values[1], "version", VERSION, VERSION)
    number = integer(values[2], "number", 1, UINT32_MAX)
    daemon, authenticated = array(values[7], "clock source", 2)
    origin, key_id, size, root = array(values[12], "log", 4)
    executable, plugin, configuration, manifest = array(values[13], "hashes", 4)
    return StatementFields(
        number=number,
        previous=_previous(values[3], number),
        clock_daemon=_one_of(daemon, "clock source", DAEMONS),
        clock_authenticated=boolean(authenticated, "clock source authenticated"),
        clock_correction_ns=integer(values[8], "clock correction", -(2**63), 2**63 - 1),
        on_bad_clock=choice(values[9], "on bad clock", OnBadClock),
        durability=choice(values[10], "durability", Durability),
        operator=text(values[11], "operator", 1, MAX_NAME),
        log_origin=check_name(origin, "log origin"),
        log_key_id=byte_string(key_id, "log key id"),
        log_checkpoint=decode_checkpoint([size, root], "log"),
        executable_hash=byte_string(executable, "executable hash"),
        plugin_hash=byte_string(plugin, "plugin hash"),
        configuration_hash=byte_string(configuration, "configuration hash"),
        manifest_hash=None if manifest is None else byte_string(manifest, "manifest hash"),
        filters=_filters(values[14]),
        principal_source=choice(values[15], "principal source", PrincipalSource),
        unmarked_paths=_unmarked_paths(values[16]),
        tls_keys=tuple(_listener_key(item) for item in _few(values[17], "TLS keys")),
        attester=None if values[18] is None else _attester(values[18]),
        separated=boolean(values[19], "separated"),
        bridge_principals=_bridge_principals(values[_BRIDGES]) if _BRIDGES in values else (),
    )


def _previous(value: object, number: int) -> Previous | None:
    if (value is None) != (number == 1):
        raise DecodeError("previous", "is null exactly where the epoch number is 1")
    if value is None:
        return None
    ended, epoch_id, last_sequence, last_time = array(value, "previous", 4)
    return Previous(
        choice(ended, "previous ending", HowEnded),
        byte_string(epoch_id, "previous epoch id"),
        integer(last_sequence, "previous last sequence"),
        integer(last_time, "previous last time"),
    )


def _filters(value: object) -> tuple[MarkedFilter, ...]:
    items = [array(item, "filter", 3) for item in _few(value, "filters")]
    if not items:
        raise DecodeError("filters", "is empty")
    return tuple(
        MarkedFilter(check_filter(name, "filter"), choice(mode, "mode", Mode), choice(carrier, "carrier", Carrier))
        for name, mode, carrier in items
    )


def _unmarked_paths(value: object) -> tuple[str, ...]:
    names = [_one_of(item, "unmarked paths", UNMARKED_PATHS) for item in array(value, "unmarked paths")]
    return ascending(names, "unmarked paths")


def _listener_key(value: object) -> ListenerKey:
    listener, key_hash = array(value, "TLS key", 2)
    checked = None if key_hash is None else byte_string(key_hash, "TLS key hash")
    return ListenerKey(text(listener, "listener", 1, MAX_NAME), checked)


def _attester(value: object) -> Attester:
    number, name = array(value, "attester", 2)
    kind = choice(number, "attester kind", AttesterKind)
    if kind is AttesterKind.TPM:
        return Attester(kind, byte_string(name, "AK name", 1, MAX_NAME))
    return Attester(kind, text(name, "enclave kind", 1, MAX_NAME))


def _bridge_principals(value: object) -> tuple[str, ...]:
    names = [text(item, "bridge principals", 1) for item in _few(value, "bridge principals")]
    if not names:
        raise DecodeError("bridge principals", "is present but empty")
    return ascending(names, "bridge principals")


def _few(value: object, field: str) -> list[object]:
    items = array(value, field)
    if len(items) > MAX_LISTED:
        raise DecodeError(field, f"has {len(items)} items, more than {MAX_LISTED}")
    return items


def _one_of(value: object, field: str, names: tuple[str, ...]) -> str:
    checked = text(value, field)
    if checked not in names:
        raise DecodeError(field, f"{checked!r} is none of {', '.join(names)}")
    return checked
