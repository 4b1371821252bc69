"""A plain TLS Mosquitto without our plugin, and a CA, for what trackers have to stand by themselves."""

from __future__ import annotations

import datetime
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from paho.mqtt.enums import CallbackAPIVersion

from sigillo.device.folder import DeviceFolder, make_device_folder

from ..port import free_port

PATIENCE_S = 30
MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
READER = "reader"
ONE_DAY = datetime.timedelta(days=1)


def name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


class Ca:
    """A certification authority in memory."""

    def __init__(self, common_name: str = "test CA") -> None:
        self.key = generate_private_key(SECP256R1())
        self.certificate = self._certify(name(common_name), self.key.public_key(), name(common_name), ca=True)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    def certify(
        self, common_name: str, key: object, *, server: bool = False, days: int = 2, eku: bool = True
    ) -> x509.Certificate:
        return self._certify(name(common_name), key, self.certificate.subject, server=server, days=days, eku=eku)

    def issue(self, csr_pem: bytes, device_id: str) -> bytes:
        """As the operator's CA: the id decides about the CN."""
        request = x509.load_pem_x509_csr(csr_pem)
        return self.certify(device_id, request.public_key()).public_bytes(Encoding.PEM)

    def _certify(
        self,
        subject: x509.Name,
        key: object,
        issuer: x509.Name,
        *,
        ca: bool = False,
        server: bool = False,
        days: int = 2,
        eku: bool = True,
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - ONE_DAY * 2)
            .not_valid_after(now + ONE_DAY * (days - 1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        if ca:
            usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
            builder = builder.add_extension(usage, critical=True)
        elif eku:
            purpose = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
            builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        if server:
            names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(IPv4Address("127.0.0.1"))])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self.key, hashes.SHA256())


def private_pem(key: EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_pem(key: object) -> bytes:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


class PlainBroker:
    """Mosquitto on a free loopback port; `restart` keeps the port, and persistence where asked for."""

    def __init__(self, folder: Path, acl: str = "", persistence: bool = True) -> None:
        self.folder, self.ca = folder, Ca()
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        server = generate_private_key(SECP256R1())
        certificate = self.ca.certify("localhost", server.public_key(), server=True)
        (folder / "ca.pem").write_bytes(self.ca.pem)
        (folder / "server.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
        (folder / "server.key").write_bytes(private_pem(server))
        (folder / "acl").write_text(acl or "user reader\ntopic read #\npattern write braid/agent/%u/#\n")
        (folder / "data").mkdir()
        user = "root" if os.geteuid() == 0 else ""
        lines = [
            f"listener {self.port} 127.0.0.1",
            f"cafile {folder / 'ca.pem'}",
            f"certfile {folder / 'server.pem'}",
            f"keyfile {folder / 'server.key'}",
            "require_certificate true",
            "use_identity_as_username true",
            f"acl_file {folder / 'acl'}",
            f"persistence {str(persistence).lower()}",
            f"persistence_location {folder / 'data'}/",
            "autosave_on_changes true",
            "autosave_interval 1",
            *([f"user {user}"] if user else []),
        ]
        (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        assert MOSQUITTO
        with (self.folder / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen(
                [MOSQUITTO, "-v", "-c", str(self.folder / "mosquitto.conf")], stdout=log, stderr=log
            )
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            assert self._process.poll() is None, (self.folder / "mosquitto.log").read_text()
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise AssertionError("mosquitto does not listen")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(PATIENCE_S)
            self._process = None

    def restart(self, how: signal.Signals = signal.SIGTERM) -> None:
        self.stop(how)
        self.start()

    def use(self, ca: bytes, certificate: bytes, key: bytes) -> None:
        """Restart with another CA and server certificate, all PEM."""
        for file, content in (("ca.pem", ca), ("server.pem", certificate), ("server.key", key)):
            (self.folder / file).write_bytes(content)
        self.restart()

    def make_device(self, folder: Path, device_id: str, kind: str = "p256") -> DeviceFolder:
        """A device folder with a certificate of this broker's CA."""
        device = make_device_folder(folder, device_id, kind)
        device.install(self.ca.issue(device.csr.read_bytes(), device_id), self.ca.pem)
        return device

    @contextmanager
    def reader(self) -> Iterator[list[mqtt.MQTTMessage]]:
        """What a subscriber to everything receives meanwhile, also across restarts."""
        received: list[mqtt.MQTTMessage] = []
        key = generate_private_key(SECP256R1())
        (self.folder / "reader.key").write_bytes(private_pem(key))
        (self.folder / "reader.pem").write_bytes(self.ca.certify(READER, key.public_key()).public_bytes(Encoding.PEM))
        context = ssl.create_default_context(cafile=str(self.folder / "ca.pem"))
        context.load_cert_chain(self.folder / "reader.pem", self.folder / "reader.key")
        client = mqtt.Client(CallbackAPIVersion.VERSION2, READER, clean_session=False)
        client.tls_set_context(context)
        client.reconnect_delay_set(1, 1)
        subscribed: list[int] = []
        client.on_connect = lambda c, *_: c.subscribe("#", 2) and None
        client.on_subscribe = lambda _c, _u, mid, *_: subscribed.append(mid)
        client.on_message = lambda _c, _u, message: received.append(message)
        client.connect("127.0.0.1", self.port)
        client.loop_start()
        until(lambda: bool(subscribed))
        try:
            yield received
        finally:
            client.disconnect()
            client.loop_stop()


def until(condition: object) -> None:
    """Wait until the condition holds; AssertionError after PATIENCE_S."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.02)


@contextmanager
def running(acl: str = "", persistence: bool = True) -> Iterator[PlainBroker]:
    if MOSQUITTO is None:
        pytest.skip("needs mosquitto")
    folder = Path(tempfile.mkdtemp(prefix="sigillo-broker-"))
    broker = PlainBroker(folder, acl, persistence)
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()
        shutil.rmtree(folder, ignore_errors=True)
