"""One tracker's connection to the broker: MQTT 5 or 3.1.1 over TLS with its client certificate, in the caller's thread.

paho's `Client` speaks the protocol; this module decides what counts as arrived. A message is settled by PUBACK (QoS 1),
PUBCOMP (QoS 2), or, at QoS 0, by having been written to the socket. Where the broker kept no session, everything that
is not settled is the caller's to send again. A `Beacon` is shown the log's newest checkpoint after each connect.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from paho.mqtt.client import (
    Client,
    ConnectFlags,
    DisconnectFlags,
    MQTTMessage,
    MQTTMessageInfo,
    MQTTv5,
    MQTTv311,
)
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from sigillo.device.beacon import CHECKPOINT_TOPIC, Beacon
from sigillo.device.error import DeviceError
from sigillo.device.folder import DeviceFolder
from sigillo.device.store import Outgoing
from sigillo.x509 import client_context

Protocol = Literal["5", "311"]
KEEPALIVE_S = 15
SESSION_S = 3600
_CONNECT_TIMEOUT_S = 5.0
_BEACON_WAIT_S = 2.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 3.0
_PASSING = frozenset({0x88, 0x89, 0x8B, 0x97, 0x9F})  # unavailable, busy, shutting down, quota, connection rate
_FAILURE = 0x80
_KEPT = frozenset(  # publish() has taken the message, though the connection may be gone
    {MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_NO_CONN, MQTTErrorCode.MQTT_ERR_CONN_LOST}
)


@dataclass(frozen=True)
class Address:
    """Where the broker listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """The address that `HOST:PORT` or `[IPV6]:PORT` names. Raises DeviceError."""
    host, _, port = text.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not host or not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65535:
        raise DeviceError(f"--broker {text!a}: must be HOST:PORT, for example 127.0.0.1:8883")
    return Address(host, int(port))


@dataclass(frozen=True)
class Outcome:
    """What became of a message: `refusal` is empty, or the name of the broker's reason code."""

    sequence: int
    refusal: str


class _Client(Client):
    """paho 2.2 drops the reason code of a PUBREC and goes on with PUBREL as if the message had been taken."""

    def __init__(self, client_id: str, protocol: Protocol) -> None:
        version = MQTTv5 if protocol == "5" else MQTTv311
        clean = None if protocol == "5" else True
        super().__init__(CallbackAPIVersion.VERSION2, client_id, clean_session=clean, protocol=version)
        self.refused_by_pubrec: dict[int, ReasonCode] = {}

    def _handle_pubrec(self) -> MQTTErrorCode:
        packet = bytes(self._in_packet["packet"])  # message id (2 bytes), then the reason code unless it is 0
        if len(packet) > 2 and packet[2] >= _FAILURE:
            message_id = int.from_bytes(packet[:2], "big")
            self.refused_by_pubrec[message_id] = ReasonCode(PacketTypes.PUBREC, identifier=packet[2])
        return super()._handle_pubrec()

    def _packet_queue(
        self, command: int, packet: bytes | bytearray, mid: int, qos: int, info: MQTTMessageInfo | None = None
    ) -> MQTTErrorCode:
        """paho copies what is left of a packet at each write, and TLS takes 16 KiB: minutes for the largest."""
        return super()._packet_queue(command, memoryview(packet), mid, qos, info)  # type: ignore[arg-type]  # slices do


class Link:
    """The connection; it reconnects by itself, and `in_flight` says which numbers need not be sent again."""

    def __init__(
        self, device: DeviceFolder, address: Address, qos: int, protocol: Protocol, beacon: Beacon | None = None
    ) -> None:
        """Prepare; nothing is sent before `poll`. *beacon*: who is shown the log's checkpoints.

        Raises DeviceError where certificates are missing or do not fit.
        """
        self.connected = False
        self.connections = 0
        self.fault = ""
        self.in_flight: set[int] = set()
        self._address, self._qos, self._protocol, self._beacon = address, qos, protocol, beacon
        self._beacon_due = 0.0
        self._numbers: dict[int, int] = {}  # MQTT message id → sequence
        self._early: dict[int, ReasonCode] = {}  # settled inside publish(), before its id was known
        self._outcomes: list[Outcome] = []
        self._pause_s, self._next_try, self._tried = _FIRST_PAUSE_S, 0.0, False
        self._drained = False
        self._client = _Client(device.device_id, protocol)
        self._client.connect_timeout = _CONNECT_TIMEOUT_S
        self._client.max_inflight_messages_set(0)  # no limit: the window is the caller's
        self._client.tls_set_context(tls_context(device))
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_publish = self._on_publish
        self._client.on_unsubscribe = self._on_unsubscribe
        self._client.on_message = self._on_message

    @property
    def ready(self) -> bool:
        """Connected, and a checkpoint is there to echo, or none came for a while, or none is wanted."""
        if not self.connected or self._beacon is None or self._beacon.newest:
            return self.connected
        return time.monotonic() >= self._beacon_due

    def send(
        self,
        message: Outgoing,
        content_type: str,
        *,
        qos: int | None = None,
        user_properties: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Publish, at the link's QoS unless told otherwise; the outcome comes from a later `outcomes`.

        MQTT 3.1.1 carries neither content type nor user properties.
        """
        properties = None
        if self._protocol == "5":
            properties = _properties(PacketTypes.PUBLISH)
            properties.ContentType = content_type
            if user_properties:
                properties.UserProperty = list(user_properties)
        self.in_flight.add(message.sequence)
        qos = self._qos if qos is None else qos
        info = self._client.publish(message.topic, message.payload, qos, properties=properties)
        if info.rc not in _KEPT:
            raise DeviceError(f"message {message.sequence}: cannot be published ({info.rc.name})")
        self._numbers[info.mid] = message.sequence
        if (reason := self._early.pop(info.mid, None)) is not None:
            self._settle(info.mid, reason)

    def outcomes(self) -> list[Outcome]:
        """What was settled since the last call."""
        settled, self._outcomes = self._outcomes, []
        return settled

    def poll(self, timeout_s: float) -> None:
        """Connect if that is due, then wait at most *timeout_s* seconds for packets and handle them.

        Raises DeviceError where trying again cannot help: the broker's certificate does not verify, or it refuses us.
        """
        if self._client.socket() is None:
            wait_s = self._next_try - time.monotonic()
            if wait_s > 0:
                time.sleep(min(wait_s, timeout_s))
                return
            self._connect()
        elif self._client.loop(timeout_s) != MQTTErrorCode.MQTT_ERR_SUCCESS:
            self._lost("the connection was lost")

    def close(self, topic: str, patience_s: float) -> None:
        """Leave properly: once the broker has read all that was written, and keeps no checkpoints for us."""
        if self.connected and self._beacon:
            self._client.unsubscribe(CHECKPOINT_TOPIC)
        if self.connected:
            self.drain(topic, patience_s)
        self._client.disconnect()

    def drain(self, topic: str, patience_s: float) -> None:
        """Wait until the broker has read all that was written: it answers an UNSUBSCRIBE. Or the connection is lost."""
        self._drained = False
        self._client.unsubscribe(topic)
        deadline = time.monotonic() + patience_s
        while self.connected and not self._drained and time.monotonic() < deadline:
            self._client.loop(0.05)

    def leave(self) -> None:
        """Disconnect; the next `poll` connects again, to the same session."""
        self._client.disconnect()
        self.connected = False

    def forget(self) -> None:
        """Drop what is in flight: it is not sent again, and has no outcome."""
        self._client.drop_out_messages()
        self._client.refused_by_pubrec.clear()
        self._numbers.clear()
        self.in_flight.clear()

    def _connect(self) -> None:
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
        self.fault = ""
        try:
            if self._tried:
                self._client.reconnect()
            else:
                self._client.connect(self._address.host, self._address.port, KEEPALIVE_S, properties=self._session())
            self._tried = True
        except ssl.SSLCertVerificationError as error:
            raise DeviceError(
                f"{self._address}: the broker's certificate does not verify ({error.verify_message}); use the name or "
                "address that it was made for, and the operator's ca.cert.pem"
            ) from None
        except OSError as error:
            self._lost(error.strerror or str(error))

    def _session(self) -> Properties | None:
        if self._protocol != "5":
            return None
        properties = _properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = SESSION_S
        return properties

    def _lost(self, fault: str) -> None:
        self.connected = False
        self.fault = self.fault or fault  # the first says most
        self._next_try = time.monotonic() + self._pause_s
        if self._qos == 0:  # paho forgets these
            self.forget()

    def _on_connect(
        self,
        _client: Client,
        _userdata: object,
        flags: ConnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            self.fault = f"the broker refused the connection: {reason}"
            if reason.value not in _PASSING:
                raise DeviceError(f"{self._address}: {self.fault}; enrol the device with `sigillo device add`")
            return
        if not flags.session_present:
            self.forget()
        self.connected, self.fault, self._pause_s = True, "", _FIRST_PAUSE_S
        self.connections += 1
        if self._beacon:
            self._beacon_due = time.monotonic() + _BEACON_WAIT_S
            self._client.subscribe(CHECKPOINT_TOPIC)

    def _on_disconnect(
        self,
        _client: Client,
        _userdata: object,
        flags: DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        by_broker = flags.is_disconnect_packet_from_server
        self._lost(f"the broker disconnected us: {reason}" if by_broker else "the connection was lost")

    def _on_publish(
        self, _client: Client, _userdata: object, message_id: int, reason: ReasonCode, _properties: Properties
    ) -> None:
        reason = self._client.refused_by_pubrec.pop(message_id, reason)
        if message_id in self._numbers:
            self._settle(message_id, reason)
        else:
            self._early[message_id] = reason

    def _on_message(self, _client: Client, _userdata: object, message: MQTTMessage) -> None:
        if self._beacon and message.topic == CHECKPOINT_TOPIC:
            self._beacon.see(bytes(message.payload))

    def _on_unsubscribe(self, *_arguments: object) -> None:
        self._drained = True

    def _settle(self, message_id: int, reason: ReasonCode) -> None:
        sequence = self._numbers.pop(message_id)
        self.in_flight.discard(sequence)
        refusal = reason.getName() if reason.is_failure else ""
        self._outcomes.append(Outcome(sequence, refusal))


def _properties(packet_type: int) -> Properties:
    return Properties(packet_type)  # type: ignore[no-untyped-call]  # paho has no types here


def tls_context(device: DeviceFolder) -> ssl.SSLContext:
    """TLS 1.2 or later, the operator's CA and no other, the device's certificate. Raises DeviceError."""
    for path in (device.certificate, device.authority):
        if not path.is_file():
            raise DeviceError(
                f"{path}: not found; the operator makes it with `sigillo device add OPERATOR_DIR {device.path}`"
            )
    try:
        return client_context(device.authority, device.certificate, device.tls_key)
    except OSError as error:
        reason = getattr(error, "reason", None) or error.strerror
        raise DeviceError(
            f"{device.path}: tls.cert.pem, tls.key.pem and ca.cert.pem cannot be used together ({reason}); "
            "have the operator issue the certificate again from tls.csr.pem"
        ) from None
