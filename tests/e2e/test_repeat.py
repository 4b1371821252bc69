"""A QoS 2 message that a device sends again, because it lost the connection before PUBREC, is no hole in the evidence.

Mosquitto asks the plugin before it sees that the PUBLISH is a duplicate: the duplicate has a mark, but no subscriber
ever gets it.
"""

from __future__ import annotations

import json
import socket
import ssl
from pathlib import Path

import pytest

from .conftest import Operator, Tracker, export, sigillo, trust

CONNECT, CONNACK, PUBLISH, DUP, PUBREC, PUBREL, PUBCOMP = 0x10, 0x20, 0x34, 0x08, 0x50, 0x62, 0x70
PACKET_ID = (7).to_bytes(2, "big")


def text(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


def packet(kind: int, body: bytes) -> bytes:
    length, rest = bytearray(), len(body)
    while True:
        rest, digit = divmod(rest, 128)[0], rest % 128
        length.append(digit | (0x80 if rest else 0))
        if not rest:
            return bytes([kind]) + bytes(length) + body


class Wire:
    """MQTT 3.1.1 by hand, so that the connection can be lost at the worst moment."""

    def __init__(self, operator: Operator, tracker: Tracker) -> None:
        context = ssl.create_default_context(cafile=str(tracker.folder / "ca.cert.pem"))
        context.load_cert_chain(tracker.folder / "tls.cert.pem", tracker.folder / "tls.key.pem")
        plain = socket.create_connection(("127.0.0.1", operator.port), timeout=20)
        self.stream = context.wrap_socket(plain, server_hostname="localhost")
        session_kept = b"\x00"
        self.send(CONNECT, text(b"MQTT") + b"\x04" + session_kept + b"\x00\x3c" + text(tracker.name.encode()))
        assert self.receive()[0] == CONNACK

    def send(self, kind: int, body: bytes) -> None:
        self.stream.sendall(packet(kind, body))

    def receive(self) -> bytes:
        head = self.stream.recv(2)
        return head + self.stream.recv(head[1])

    def publish(self, tracker: Tracker, payload: bytes, flags: int = 0) -> None:
        topic = text(f"braid/agent/{tracker.name}/shadow/reported/".encode())
        self.send(PUBLISH | flags, topic + PACKET_ID + payload)
        assert self.receive() == packet(PUBREC, PACKET_ID)

    def release(self) -> None:
        self.send(PUBREL, PACKET_ID)
        assert self.receive() == packet(PUBCOMP, PACKET_ID)


@pytest.mark.parametrize("carrier", [["property"], ["datagram"], ["datagram", "--raw-tokens"]], ids=" ".join)
def test_a_duplicate_that_the_broker_swallows_is_shown_as_the_repeat_it_is(
    operator: Operator, tmp_path: Path, carrier: list[str]
) -> None:
    operator.options = ("--carrier", *carrier)
    operator.start()
    tracker = Tracker("crate-1", operator.folder.parent / "crate-1", qos=1).enrol(operator, "p256")
    tracker.publish(operator, 1)
    sigillo("device", "sign", tracker.folder, "--body", '{"TEMP": 12.5}', "-o", tmp_path / "message")
    payload = (tmp_path / "message").read_bytes()
    lost = Wire(operator, tracker)
    lost.publish(tracker, payload)
    lost.stream.close()
    again = Wire(operator, tracker)
    again.publish(tracker, payload, DUP)
    again.release()
    again.stream.close()
    tracker.publish(operator, 1)
    evidence = export(operator, ["crate-1"], tmp_path / "evidence.jsonl", 3)
    verdict = json.loads(
        sigillo("verify", evidence, "--policy", trust(operator, [tracker], tmp_path / "policy.toml"), "--json")
    )
    assert verdict["verified"] is True
    assert "repeat" in json.dumps(verdict["checks"])
    assert verdict["summary"]["repeat_count"] == 1
