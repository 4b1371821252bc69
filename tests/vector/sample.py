"""Sample objects that vectors and tests share: one tracker's first epoch."""

import dataclasses
from typing import Any

from sigillo.core.epoch import (
    EndReason,
    EpochEnd,
    Seal,
    countersign,
    decode_statement,
    encode_epoch_end,
    encode_seal,
    encode_statement,
)
from sigillo.core.mark import (
    Checkpoint,
    Clock,
    Mark,
    decode_mark,
    encode_batch_mark,
    encode_mark,
    mark_salt,
    payload_commitment,
)
from sigillo.core.note import LogKey
from sigillo.core.statement import (
    Attester,
    AttesterKind,
    Carrier,
    Durability,
    EpochStatement,
    HowEnded,
    ListenerKey,
    MarkedFilter,
    Mode,
    OnBadClock,
    Previous,
    PrincipalSource,
    StatementFields,
)
from tests.vector.key import EPOCH, LOG, SALT_KEY, filler

U64_MAX = 2**64 - 1
START_NS = 1_764_000_000_123_456_789
TOPIC = "braid/agent/crate-1/shadow/reported/"
BODY = {"FW_VER": "1.4.2", "DELAY": 0, "HUMID": 61.5, "TEMP": 14.25, "LAT": 43.4625, "LON": 11.1389, "ALT": 312}
PAYLOAD = b"a reading"
LOG_KEY = LogKey("broker.example/log", LOG.public)

FIRST_FIELDS = StatementFields(
    number=1,
    previous=None,
    clock_daemon="chrony",
    clock_authenticated=False,
    clock_correction_ns=0,
    on_bad_clock=OnBadClock.REFUSE,
    durability=Durability.BUFFERED,
    operator="Example Broker",
    log_origin=LOG_KEY.name,
    log_key_id=LOG_KEY.key_id32,
    log_checkpoint=Checkpoint(),
    executable_hash=filler("executable"),
    plugin_hash=filler("plugin"),
    configuration_hash=filler("configuration"),
    manifest_hash=None,
    filters=(MarkedFilter("braid/agent/+/shadow/reported/#"),),
    principal_source=PrincipalSource.CERT_CN,
    unmarked_paths=("broker-published", "retained-before", "sys", "will"),
    tls_keys=(ListenerKey("127.0.0.1:8883", filler("tls key")),),
    attester=None,
    separated=False,
)

CARRIER_FIELDS = dataclasses.replace(
    FIRST_FIELDS,
    filters=(
        MarkedFilter("braid/agent/+/shadow/reported/#", Mode.EACH, Carrier.DATAGRAM),
        MarkedFilter("cantina/+", Mode.EACH, Carrier.TOPIC),
        MarkedFilter("#"),
    ),
    bridge_principals=("bridge-1", "bridge-2"),
)


def whole(fields: StatementFields, start_ns: int = START_NS, token_key: bytes | None = None) -> EpochStatement:
    """The statement that the plugin makes of the launcher's half."""
    half: dict[str, Any] = {field.name: getattr(fields, field.name) for field in dataclasses.fields(fields)}
    return EpochStatement(**half, epoch_key=EPOCH.public, start_ns=start_ns, token_key=token_key)


FIRST_STATEMENT = encode_statement(whole(FIRST_FIELDS), EPOCH.sign)
FIRST_COUNTERSIGNED = countersign(FIRST_STATEMENT, LOG_KEY.key_id32, LOG.sign)
EPOCH_ID = decode_statement(FIRST_STATEMENT).epoch_id

NEXT_FIELDS = dataclasses.replace(
    FIRST_FIELDS,
    number=2,
    previous=Previous(HowEnded.CLEAN, EPOCH_ID, 4711, START_NS + 10**12),
    clock_daemon="systemd-timesyncd",
    clock_correction_ns=-1_500_000_000,
    on_bad_clock=OnBadClock.MARK_UNSYNCHRONISED,
    log_checkpoint=Checkpoint(4712, filler("root at start")),
    manifest_hash=filler("manifest"),
    filters=(MarkedFilter("braid/agent/+/shadow/reported/#"), MarkedFilter("cantina/+"), MarkedFilter("#")),
    principal_source=PrincipalSource.PASSWORD,
    unmarked_paths=("broker-published", "control", "listener-without-plugin", "retained-before", "sys", "will"),
    tls_keys=(ListenerKey("[::1]:8883", filler("tls key 2")), ListenerKey("127.0.0.1:1883", None)),
    separated=True,
)
UNCLEAN_FIELDS = dataclasses.replace(
    FIRST_FIELDS,
    number=2**32 - 1,
    previous=Previous(HowEnded.UNCLEAN, filler("epoch before"), 0, 0),
    clock_daemon="none",
    clock_correction_ns=2**63 - 1,
    operator="Cantina Società Agricola",
    principal_source=PrincipalSource.UNAUTHENTICATED,
    unmarked_paths=(),
    tls_keys=(),
)
ALL_FIELDS = dataclasses.replace(
    FIRST_FIELDS,
    number=3,
    previous=Previous(HowEnded.LOGGED_UP_TO, filler("epoch before"), U64_MAX, START_NS),
    clock_daemon="ntpd",
    clock_authenticated=True,
    clock_correction_ns=-(2**63),
    durability=Durability.STRICT,
    filters=(
        MarkedFilter("braid/agent/+/shadow/reported/#", Mode.EACH, Carrier.DATAGRAM),
        MarkedFilter("live/#", Mode.BATCH, Carrier.TOPIC),
    ),
    principal_source=PrincipalSource.PSK,
    attester=Attester(AttesterKind.TPM, b"\0\x0b" + filler("ak name")),
    bridge_principals=("bridge-1", "bridge-2"),
)


def mark(**changes: Any) -> Mark:
    """The first mark of the epoch, with changes."""
    values: dict[str, Any] = {
        "sequence": 1,
        "time_ns": START_NS + 1_000_000,
        "clock": Clock("bounded", 250_000),
        "topic": TOPIC,
        "client_id": "crate-1",
        "principal": "crate-1",
        "qos": 1,
        "retain": False,
        "count": 1,
        "previous": EPOCH_ID,
        "checkpoint": Checkpoint(),
    } | changes
    salt = mark_salt(SALT_KEY, values["sequence"])
    values.setdefault("commitment", payload_commitment(salt, PAYLOAD))
    return Mark(**values)


FIRST_MARK = mark()
FIRST_MARK_OBJECT = encode_mark(FIRST_MARK, EPOCH_ID, mark_salt(SALT_KEY, 1), EPOCH.sign)
FIRST_BATCH_MARK_OBJECT = encode_batch_mark(FIRST_MARK, EPOCH_ID, mark_salt(SALT_KEY, 1))
FIRST_END = EpochEnd(
    1, START_NS + 10**9, Clock("bounded", 260_000), EndReason.STOP, decode_mark(FIRST_MARK_OBJECT).object_hash
)
FIRST_END_OBJECT = encode_epoch_end(FIRST_END, EPOCH_ID, EPOCH.sign)
FIRST_SEAL = Seal(1, 1000, filler("seal root"))
FIRST_SEAL_OBJECT = encode_seal(FIRST_SEAL, EPOCH_ID, EPOCH.sign)
