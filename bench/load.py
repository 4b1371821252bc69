"""The load: four publishers that never wait, one MQTT 5 subscriber. All packets are made before anything is measured.

The subscriber takes QoS 0 whatever the publishers send: what it would acknowledge would cost a bare broker as much as a
marking one, and so make the ratio look better. It counts messages by bytes that only their payloads have. Nobody sleeps
until the broker writes, all look after it every half millisecond: else its writes would pay for waking them, a
microsecond or two, and those of the slower broker more often.
"""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass

from bench.broker import PATIENCE_S, Broker
from sigillo.core.datagram import encode_datagram

PUBLISHERS = 4
PAYLOAD = 300
FRESH = 4  # bytes at the end of each payload, and so of its device signature, that change from block to block
ONCE = b"eDELAY"  # in each payload once, in no mark
ACKNOWLEDGEMENT = 4  # bytes of a PUBACK
TURN_S = 0.0005
READING = {
    "DELAY": 0,
    "HUMID": 61.5,
    "TEMP": 14.25,
    "ACC_X": 0.015625,
    "ACC_Y": -0.03125,
    "ACC_Z": 0.984375,
    "LAT": 43.4625,
    "LON": 11.1389,
    "HSPEED": 0.0,
    "DIR": 271.5,
    "ALT": 312,
    "H_ACC": 2.5,
}


def device(publisher: int) -> str:
    """Client id, user name and id of the tracker behind a publisher."""
    return f"7c:9e:bd:01:02:{publisher:02x}"


def datagram(number: int) -> bytes:
    """A BRAID datagram of PAYLOAD bytes. Its signature is none: the broker never looks at it."""

    def make(version: str) -> bytes:
        body = {"FW_VER": version, **READING}
        return encode_datagram(ts=1_790_000_000, ver=100_000 + number, body=body, sign=lambda _: bytes(64))

    return make("1.4.2" + "-" * (PAYLOAD - len(make("1.4.2"))))


@dataclass(frozen=True)
class Block:
    """A stream of packets for each publisher: *count* distinct messages, all packets of one length."""

    streams: tuple[bytearray, ...]
    count: int
    qos: int

    @classmethod
    def make(cls, count: int, qos: int) -> Block:
        """*count*: messages of one publisher, at most 65,535: each has a packet identifier of its own."""
        streams = (
            b"".join(_publish(publisher, number, count, qos) for number in range(count))
            for publisher in range(PUBLISHERS)
        )
        return cls(tuple(bytearray(stream) for stream in streams), count, qos)

    @property
    def messages(self) -> int:
        return PUBLISHERS * self.count

    def freshen(self, number: int) -> None:
        """Make every payload another than in any block with another *number*."""
        for stream in self.streams:
            stride = len(stream) // self.count
            for place, byte in enumerate(number.to_bytes(FRESH, "big")):
                stream[stride - FRESH + place :: stride] = bytes([byte]) * self.count


class Load:
    """The connections to one broker."""

    def __init__(self, broker: Broker) -> None:
        """Connect and subscribe."""
        self._broker = broker
        self._subscriber = _connect(broker.port, "bench-subscriber")
        self._subscriber.sendall(_packet(0x82, b"\x00\x01\x00" + _text("#") + b"\x00"))
        if self._subscriber.recv(64)[:1] != b"\x90":
            raise SystemExit("bench: the broker refused the subscription")
        self._publishers = [_connect(broker.port, device(number)) for number in range(PUBLISHERS)]
        for connection in (self._subscriber, *self._publishers):
            connection.setblocking(False)

    def seconds(self, block: Block) -> float:
        """CPU seconds of the broker for one message of the block, sent, delivered and acknowledged."""
        before = self._broker.cpu_s()
        self._pass(block)
        return (self._broker.cpu_s() - before) / block.messages

    def close(self) -> None:
        for connection in (self._subscriber, *self._publishers):
            connection.close()

    def _pass(self, block: Block) -> None:
        """Send all streams at once; return when all was delivered and, at QoS 1, acknowledged."""
        left = [memoryview(stream) for stream in block.streams]
        delivered, tail, acknowledgements = 0, b"", ACKNOWLEDGEMENT * block.messages * block.qos
        deadline = time.monotonic() + PATIENCE_S
        while delivered < block.messages or acknowledgements > 0:
            if time.monotonic() > deadline:
                raise SystemExit(f"bench: the broker delivered {delivered} of {block.messages} messages")
            for number, publisher in enumerate(self._publishers):
                left[number] = left[number][_send(publisher, left[number]) :]
                acknowledgements -= len(_receive(publisher))
            data = tail + _receive(self._subscriber)
            delivered, tail = delivered + data.count(ONCE), data[1 - len(ONCE) :]
            time.sleep(TURN_S)


def _send(connection: socket.socket, data: memoryview) -> int:
    """How many bytes the kernel took."""
    try:
        return connection.send(data)
    except BlockingIOError:
        return 0


def _receive(connection: socket.socket) -> bytes:
    """What the kernel has."""
    try:
        data = connection.recv(1 << 20)
    except BlockingIOError:
        return b""
    if not data:
        raise SystemExit("bench: the broker closed a connection; its log is above")
    return data


def _text(value: str) -> bytes:
    return len(value).to_bytes(2, "big") + value.encode()


def _packet(first: int, body: bytes) -> bytes:
    """An MQTT packet with less than 16 KiB behind its header."""
    length = len(body)
    return bytes([first, length] if length < 128 else [first, length & 127 | 128, length >> 7]) + body


def _publish(publisher: int, number: int, count: int, qos: int) -> bytes:
    identifier = (number + 1).to_bytes(2, "big") if qos else b""
    topic = f"braid/agent/{device(publisher)}/shadow/reported/"
    return _packet(0x30 | qos << 1, _text(topic) + identifier + b"\x00" + datagram(publisher * count + number))


def _connect(port: int, name: str) -> socket.socket:
    """MQTT 5, clean start, the name as client id and user name."""
    connection = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(_packet(0x10, _text("MQTT") + b"\x05\x82\x00\x00\x00" + _text(name) + _text(name)))
    if connection.recv(256)[:1] != b"\x20":
        raise SystemExit("bench: the broker refused a connection")
    return connection
