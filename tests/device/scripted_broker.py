"""A broker that follows a script, for what a real one does only when it dies at the right moment."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding

from .plain_broker import PATIENCE_S, Ca, private_pem

CONNECT, PUBLISH, PUBREL, UNSUBSCRIBE, DISCONNECT = 1, 3, 6, 10, 14
Packet = tuple[int, int, bytes]
"""Type, flags, rest."""


class Connection:
    """The broker's end of one connection."""

    def __init__(self, stream: ssl.SSLSocket, seen: list[Packet]) -> None:
        self._stream, self._seen = stream, seen

    def receive(self, kind: int) -> Packet:
        """The next packet, which must be of this type."""
        head = self._exactly(1)[0]
        length = shift = 0
        while True:
            byte = self._exactly(1)[0]
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        packet = (head >> 4, head & 0x0F, self._exactly(length))
        self._seen.append(packet)
        assert packet[0] == kind, packet
        return packet

    def send(self, hexadecimal: str) -> None:
        self._stream.sendall(bytes.fromhex(hexadecimal))

    def accept(self, *, session: bool = False, reason: int = 0) -> Packet:
        """CONNECT and its CONNACK (MQTT 5)."""
        packet = self.receive(CONNECT)
        self.send(f"20 03 0{int(session)} {reason:02x} 00")
        return packet

    def publish(self) -> tuple[bytes, str, int]:
        """A PUBLISH of QoS 1 or 2: payload as sent (properties first), message id in hex, flags."""
        _, flags, rest = self.receive(PUBLISH)
        topic_end = 2 + int.from_bytes(rest[:2], "big")
        return rest[topic_end + 2 :], rest[topic_end : topic_end + 2].hex(), flags

    def leave(self) -> None:
        """The client's farewell."""
        rest = self.receive(UNSUBSCRIBE)[2]
        self.send(f"b0 04 {rest[:2].hex()} 00 11")
        self.receive(DISCONNECT)

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self._stream.recv(size - len(data))
            assert more, "the client went away"
            data += more
        return data


class ScriptedBroker:
    """Runs one script per connection, in order; `finish` raises what went wrong in them."""

    def __init__(self, folder: Path, *scripts: Callable[[Connection], None]) -> None:
        self.ca = Ca()
        key = generate_private_key(SECP256R1())
        certificate = self.ca.certify("localhost", key.public_key(), server=True)
        (folder / "server.pem").write_bytes(certificate.public_bytes(Encoding.PEM) + private_pem(key))
        (folder / "ca.pem").write_bytes(self.ca.pem)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(folder / "server.pem")
        self._context.load_verify_locations(folder / "ca.pem")
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(PATIENCE_S)
        self.port = int(self._listener.getsockname()[1])
        self.seen: list[Packet] = []
        self._errors: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, args=(scripts,), daemon=True)
        self._thread.start()

    def _run(self, scripts: tuple[Callable[[Connection], None], ...]) -> None:
        try:
            for script in scripts:
                stream, _ = self._listener.accept()
                stream.settimeout(PATIENCE_S)
                with self._context.wrap_socket(stream, server_side=True) as secured:
                    script(Connection(secured, self.seen))
        except (AssertionError, OSError) as error:
            self._errors.append(error)
        finally:
            self._listener.close()

    def finish(self) -> None:
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        if self._errors:
            raise self._errors[0]
