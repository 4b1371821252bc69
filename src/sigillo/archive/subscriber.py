"""The archive's subscriber: MQTT 5 over TLS with a persistent session, in the caller's thread.

A message is acknowledged only after it is committed, so that whatever dies, the broker sends it again. What came
without a mark is counted; what came with a mark that cannot be read is kept aside.
"""

from __future__ import annotations

import encodings.idna  # noqa: F401  # loaded now: the process may not be able to read the interpreter's files later
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from sigillo.archive.error import ArchiveError
from sigillo.archive.store import Aside, Message, Store
from sigillo.core.bytes import base64url_decode
from sigillo.core.errors import DecodeError
from sigillo.core.mark import decode_mark, is_committed
from sigillo.core.marked_datagram import marked_datagram
from sigillo.x509 import client_context

PROPERTY = "time-mark"
_FOREVER = 0xFFFFFFFF  # session expiry that means never (MQTT 5 section 3.1.2.11.2)
_KEEPALIVE_S = 15
_CONNECT_TIMEOUT_S = 5.0
_RECEIVE_MAXIMUM = 200
_BATCH = 200
_IDLE_S, _GATHER_S = 0.2, 0.01
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 1.0


@dataclass(frozen=True, slots=True)
class Access:
    """How the archive reaches the broker. `authority`: the CA that signed the broker's certificate."""

    host: str
    port: int
    client_id: str
    authority: Path
    certificate: Path
    key: Path
    filters: tuple[str, ...]


@dataclass(slots=True)
class Counts:
    """What came since the start: `stored` are new messages with a mark."""

    stored: int = 0
    unmarked: int = 0
    aside: int = 0


class Subscriber:
    """Takes messages from the broker into a store until it is told to stop."""

    def __init__(self, access: Access, store: Store, on_link: Callable[[bool], None]) -> None:
        """*on_link* hears True when the subscription stands, False when the connection is lost. Raises ArchiveError."""
        self.counts = Counts()
        self._access, self._store, self._on_link = access, store, on_link
        self._messages: list[Message] = []
        self._aside: list[Aside] = []
        self._to_acknowledge: list[tuple[int, int]] = []
        self._linked = False
        self._pause_s = _FIRST_PAUSE_S
        client = Client(CallbackAPIVersion.VERSION2, access.client_id, protocol=MQTTv5, manual_ack=True)
        client.tls_set_context(_tls_context(access))
        client.connect_timeout = _CONNECT_TIMEOUT_S
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_subscribe, client.on_message = self._on_subscribe, self._on_message
        self._client = client

    def run(self, stop: Callable[[], bool]) -> None:
        """Until *stop* says so: connect, take, commit, acknowledge; connect again. Raises ArchiveError."""
        while not stop():
            if self._client.socket() is None:
                self._connect()
                continue
            waiting = bool(self._messages or self._aside or self._to_acknowledge)
            before = len(self._to_acknowledge)
            result = self._client.loop(_GATHER_S if waiting else _IDLE_S)
            quiet = len(self._to_acknowledge) == before
            if result != MQTTErrorCode.MQTT_ERR_SUCCESS or quiet or len(self._to_acknowledge) >= _BATCH:
                self._settle()
        self._settle()
        self._client.disconnect()

    def _connect(self) -> None:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho has no types here
        properties.SessionExpiryInterval = _FOREVER
        properties.ReceiveMaximum = _RECEIVE_MAXIMUM
        try:
            self._client.connect(
                self._access.host, self._access.port, _KEEPALIVE_S, clean_start=False, properties=properties
            )
        except ssl.SSLCertVerificationError as error:
            raise ArchiveError(f"the broker's certificate does not verify: {error.verify_message}") from None
        except OSError:
            time.sleep(self._pause_s)
            self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)

    def _settle(self) -> None:
        """Commit what came, then acknowledge it."""
        if self._messages or self._aside:
            self.counts.stored += self._store.add(self._messages, self._aside)
            self.counts.aside += len(self._aside)
            self._messages.clear()
            self._aside.clear()
        for number, qos in self._to_acknowledge:
            self._client.ack(number, qos)
        self._to_acknowledge.clear()

    def _on_connect(
        self, client: Client, _data: object, _flags: ConnectFlags, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        if reason.is_failure:
            raise ArchiveError(f"the broker refused the archive: {reason}; is conf/tls/ca.cert.pem still ours?")
        options = SubscribeOptions(qos=1)
        client.subscribe([(name, options) for name in self._access.filters])

    def _on_subscribe(
        self, _client: Client, _data: object, _number: int, reasons: list[ReasonCode], _properties: Properties | None
    ) -> None:
        refused = [name for name, reason in zip(self._access.filters, reasons, strict=False) if reason.is_failure]
        if refused:
            raise ArchiveError(f"the broker refused the archive's subscription to {refused[0]}; see conf/acl")
        self._linked, self._pause_s = True, _FIRST_PAUSE_S
        self._on_link(True)

    def _on_disconnect(
        self,
        _client: Client,
        _data: object,
        _flags: DisconnectFlags,
        _reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        self._to_acknowledge.clear()  # those numbers are of the lost connection; it sends what they stood for again
        if self._linked:
            self._linked = False
            self._on_link(False)

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        if message.qos:
            self._to_acknowledge.append((message.mid, message.qos))
        marks = [value for name, value in _user_properties(message) if name == PROPERTY]
        kept = read_marked(bytes(message._topic), bytes(message.payload), marks)  # `.topic` raises on bad UTF-8
        if kept is None:
            self.counts.unmarked += 1
        elif isinstance(kept, Message):
            self._messages.append(kept)
        else:
            self._aside.append(kept)


def read_marked(topic: bytes, payload: bytes, marks: list[str]) -> Message | Aside | None:
    """What to keep of a message with these `time-mark` properties; None: it has no mark. Nothing is verified.

    A marked datagram is kept as the device sent it: its mark says all that the broker's two keys say.
    """
    inside = marked_datagram(payload)
    text = "\n".join(marks)
    try:
        if marks:
            if len(marks) != 1:
                raise DecodeError(PROPERTY, f"occurs {len(marks)} times")
            data = base64url_decode(marks[0], PROPERTY)
        elif inside:
            data = inside.token
        else:
            return None
        signed = decode_mark(data)
        mark = signed.mark
        name = topic.decode()
    except (DecodeError, UnicodeDecodeError) as error:
        return Aside(topic, payload, text, str(error))
    if inside and is_committed(signed, inside.received):
        payload = inside.received
    message = Message(
        signed.epoch_id, mark.sequence, signed.object_hash, mark.principal, mark.time_ns, name, payload, data
    )
    return message if message.storable else Aside(topic, payload, text, "sequence or time beyond 63 bits")


def _user_properties(message: MQTTMessage) -> list[tuple[str, str]]:
    return list(getattr(message.properties, "UserProperty", []))


def _tls_context(access: Access) -> ssl.SSLContext:
    try:
        return client_context(access.authority, access.certificate, access.key)
    except OSError as error:
        raise ArchiveError(
            f"{access.certificate}: cannot be used with its key and {access.authority} ({error})"
        ) from None
