"""Publishers and subscribers: paho where that is enough, bare packets where every byte counts."""

from __future__ import annotations

import queue
import socket
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from sigillo.core.bytes import base64url_decode
from sigillo.core.mark import SignedMark, decode_mark, payload_commitment

from .launcher import PATIENCE_S

TIME_MARK = "time-mark"


def properties(**values: object) -> Properties:
    made = Properties(PacketTypes.PUBLISH)
    for name, value in values.items():
        setattr(made, name, value)
    return made


@dataclass(frozen=True)
class Received:
    topic: str
    payload: bytes
    retain: bool
    properties: Properties | None

    @property
    def user_properties(self) -> list[tuple[str, str]]:
        return getattr(self.properties, "UserProperty", [])

    @property
    def carriers(self) -> list[str]:
        return [value for name, value in self.user_properties if name == TIME_MARK]

    def carrier_bytes(self) -> bytes:
        """The tagged mark in the one property."""
        assert len(self.carriers) == 1
        return base64url_decode(self.carriers[0], TIME_MARK)

    def mark(self) -> SignedMark:
        """The one mark, last of the user properties, of this topic and payload; its signature is not looked at."""
        assert len(self.carriers) == 1
        assert self.user_properties[-1][0] == TIME_MARK
        signed = decode_mark(base64url_decode(self.carriers[0], TIME_MARK))
        assert signed.salt is not None
        assert signed.mark.commitment == payload_commitment(signed.salt, self.payload)
        assert signed.mark.topic == self.topic
        return signed


class Peer:
    """A paho client, connected."""

    def __init__(self, port: int, client_id: str, *, v5: bool = True, user: str | None = None) -> None:
        protocol = paho.MQTTv5 if v5 else paho.MQTTv311
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id, protocol=protocol)
        self.client.max_inflight_messages_set(0)
        if user:
            self.client.username_pw_set(user, "secret")
        self.received: queue.Queue[Received] = queue.Queue()
        self.answers: queue.Queue[int] = queue.Queue()
        self.granted: queue.Queue[list[int]] = queue.Queue()
        self.disconnected: queue.Queue[bool] = queue.Queue()
        connected: queue.Queue[bool] = queue.Queue()
        self.client.on_connect = lambda c, u, f, code, p: connected.put(not code.is_failure)
        self.client.on_disconnect = lambda c, u, f, code, p: self.disconnected.put(True)
        self.client.on_subscribe = lambda c, u, m, codes, p: self.granted.put([code.value for code in codes])
        # 0x10, no matching subscribers, is a success too
        self.client.on_publish = lambda c, u, m, code, p: self.answers.put(code.value if code.is_failure else 0)
        self.client.on_message = lambda c, u, m: self.received.put(
            Received(m.topic, m.payload, m.retain, getattr(m, "properties", None))
        )
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert connected.get(timeout=PATIENCE_S)

    def subscribe(self, topic: str, qos: int = 2, *, retain_as_published: bool = False) -> list[int]:
        if self.client.protocol == paho.MQTTv5:
            self.client.subscribe(topic, options=SubscribeOptions(qos, retainAsPublished=retain_as_published))
        else:
            self.client.subscribe(topic, qos)
        return self.granted.get(timeout=PATIENCE_S)

    def publish(self, topic: str, payload: bytes = b"x", qos: int = 1, retain: bool = False, **values: object) -> int:
        """Publish and wait for the answer; its reason code (3.1.1: 0)."""
        self.send(topic, payload, qos, retain, **values)
        return self.answers.get(timeout=PATIENCE_S)

    def send(self, topic: str, payload: bytes = b"x", qos: int = 1, retain: bool = False, **values: object) -> None:
        self.client.publish(topic, payload, qos, retain, properties(**values) if values else None)

    def take(self, count: int = 1) -> list[Received]:
        return [self.received.get(timeout=PATIENCE_S) for _ in range(count)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.client.disconnect()
        self.client.loop_stop()


# Bare MQTT 5


def number(value: int) -> bytes:
    """Variable byte integer."""
    encoded = bytearray()
    while True:
        value, low = divmod(value, 128)
        encoded.append(low | (0x80 if value else 0))
        if not value:
            return bytes(encoded)


def text(value: str) -> bytes:
    return len(value.encode()).to_bytes(2, "big") + value.encode()


def packet(first: int, body: bytes) -> bytes:
    return bytes([first]) + number(len(body)) + body


def publish_packet(
    topic: str,
    payload: bytes,
    properties_bytes: bytes = b"",
    qos: int = 0,
    *,
    message_id: int = 1,
    retain: bool = False,
) -> bytes:
    id_bytes = message_id.to_bytes(2, "big") if qos else b""
    head = text(topic) + id_bytes + number(len(properties_bytes))
    return packet(0x30 | qos << 1 | retain, head + properties_bytes + payload)


def user_property(name: str, value: str) -> bytes:
    return b"\x26" + text(name) + text(value)


class Wire:
    """A bare connection."""

    def __init__(self, port: int, client_id: str, user: str | None = None) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        self.file = self.socket.makefile("rb")
        flags, credentials = (b"\xc2", text(user) + text("secret")) if user else (b"\x02", b"")
        body = text("MQTT") + b"\x05" + flags + b"\x00\x3c\x00" + text(client_id) + credentials
        self.socket.sendall(packet(0x10, body))
        first, body = self.read()
        assert (first, body[1]) == (0x20, 0)

    def read(self) -> tuple[int, bytes]:
        first = self.file.read(1)
        length = shift = 0
        while True:
            byte = self.file.read(1)[0]
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return first[0], self.file.read(length)

    def subscribe(self, topic: str) -> None:
        self.socket.sendall(packet(0x82, b"\x00\x01\x00" + text(topic) + b"\x00"))
        assert self.read()[0] == 0x90

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def barrier(self) -> None:
        """Return once the broker has read everything sent so far."""
        self.socket.sendall(b"\xc0\x00")
        assert self.read() == (0xD0, b"")

    def read_publish(self) -> tuple[str, bytes, bytes]:
        """Topic, bytes of the properties, payload of a PUBLISH with QoS 0."""
        first, body = self.read()
        assert first == 0x30
        end = 2 + int.from_bytes(body[:2], "big")
        length = shift = 0
        at = end
        while True:
            byte = body[at]
            length |= (byte & 0x7F) << shift
            shift, at = shift + 7, at + 1
            if byte < 0x80:
                return body[2:end].decode(), body[at : at + length], body[at + length :]

    def close(self) -> None:
        self.file.close()
        self.socket.close()
