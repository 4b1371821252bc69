"""`sigillo up --conf` on a broker as people have them: passwords, an access list, TLS, an `include_dir`, a log file."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sigillo.broker.authority import Authority
from sigillo.core.epoch import decode_statement
from sigillo.core.statement import EpochStatement, PrincipalSource
from sigillo.x509 import new_key, private_pem

from ..port import free_port
from .conftest import PATIENCE_S, PLUGIN, SIGILLO, Operator, Tracker, export, sigillo, trust

MAIN = """\
# As Debian has it
pid_file {run}/mosquitto.pid
persistence true
persistence_location {lib}/
log_dest file {log}/mosquitto.log
include_dir {etc}/conf.d
"""
PASSWORDS = """\
password_file {etc}/passwd
acl_file {etc}/acl
"""
LISTENERS = """\
listener {plain} 127.0.0.1
listener {tls} 127.0.0.1
cafile {etc}/certs/ca.cert.pem
certfile {etc}/certs/server.pem
keyfile {etc}/certs/server.key
"""
ACCESS = """\
user crate-1
topic readwrite braid/agent/crate-1/#
user reader
topic read #
"""


@dataclass
class OwnBroker(Operator):
    """An operator with a mosquitto.conf of their own in `etc`; `port` is the archive's."""

    plain: int = field(default_factory=free_port)
    tls: int = field(default_factory=free_port)

    @property
    def etc(self) -> Path:
        return self.folder.parent / "etc"

    @property
    def conf(self) -> Path:
        return self.etc / "mosquitto.conf"

    @property
    def command(self) -> list[str]:
        command = [
            str(SIGILLO),
            "up",
            str(self.folder),
            "--name",
            "localhost",
            "--operator",
            "Example Broker",
            "--http",
            "",
        ]
        command += ["--conf", str(self.conf), "--listen", self.address, "--plugin", str(PLUGIN)]
        return [*command, "--on-bad-clock", "mark-unsynchronised"]

    def write(self, name: str, text: str) -> Path:
        path = self.etc / name
        folders = {name: self.folder.parent / name for name in ("etc", "run", "lib", "log")}
        path.write_text(text.format(**folders, plain=self.plain, tls=self.tls))
        return path

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=subprocess.STDOUT)
        self.wait_for(lambda: self.log.read_text().count("listening; the archive is connected") == self.starts + 1)
        self.starts += 1

    starts: int = 0

    def wait_for(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert self.process is not None
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def statement(self, number: int) -> EpochStatement:
        return decode_statement(self.statements()[number - 1].read_bytes()).statement

    def refused(self) -> str:
        done = subprocess.run(self.command, capture_output=True, text=True, timeout=PATIENCE_S)
        assert "Traceback" not in done.stdout + done.stderr
        assert done.returncode == 2, done.stdout + done.stderr
        return done.stderr


@pytest.fixture
def own(reachable_tmp: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnBroker]:
    if not PLUGIN.exists() or shutil.which("mosquitto_passwd") is None:
        pytest.skip("needs Mosquitto and the plugin: make setup plugin")
    top = Path(str(reachable_tmp)) / tmp_path_factory.mktemp("own").name
    for path in (top, top / "etc", top / "etc/conf.d", top / "etc/certs", top / "run", top / "lib", top / "log"):
        path.mkdir()
        path.chmod(0o755)
    made = OwnBroker(top / "operator", free_port())
    made.write("mosquitto.conf", MAIN)
    made.write("conf.d/10-passwords.conf", PASSWORDS)
    made.write("conf.d/20-listeners.conf", LISTENERS)
    made.write("acl", ACCESS)
    for user in ("crate-1", "reader"):
        create = [] if (made.etc / "passwd").exists() else ["-c"]
        run("mosquitto_passwd", "-b", *create, made.etc / "passwd", user, "secret")
    certify(made.etc / "certs")
    if os.geteuid() == 0:  # as Debian's service keeps them
        shutil.chown(made.etc / "passwd", "mosquitto")
        for name in ("run", "lib", "log"):
            shutil.chown(top / name, "mosquitto")
        shutil.chown(made.etc / "certs/server.key", "root", "mosquitto")
        (made.etc / "certs/server.key").chmod(0o640)
    yield made
    made.stop(expect=None)


def certify(folder: Path) -> None:
    """A server's certificate by a CA of its own."""
    authority, key = Authority.create(folder.parent, "another"), new_key()
    (folder.parent / "ca.cert.pem").rename(folder / "ca.cert.pem")
    (folder.parent / "ca.key.pem").unlink()
    (folder / "server.pem").write_bytes(authority.issue_server(key.public_key(), "localhost", "127.0.0.1"))
    (folder / "server.key").write_bytes(private_pem(key))


def run(*command: object) -> str:
    return subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True, timeout=60).stdout


def publish(own: OwnBroker, crate: Path, count: int, port: int, *tls: object) -> None:
    """As a stock client with a user name and a password would, signed readings."""
    for _ in range(count):
        message = crate / "message.cbor"
        message.unlink(missing_ok=True)
        sigillo("device", "sign", crate, "--body", '{"TEMP": 12.5}', "-o", message)
        to = (
            "-h",
            "localhost",
            "-p",
            port,
            *tls,
            "-i",
            "crate-1",
            "-u",
            "crate-1",
            "-P",
            "secret",
            "-q",
            "1",
            "-V",
            "5",
        )
        run("mosquitto_pub", *to, "-t", "braid/agent/crate-1/shadow/reported/", "-f", message)


def test_passwords_and_two_listeners(own: OwnBroker) -> None:
    before = {path: path.read_bytes() for path in own.etc.rglob("*") if path.is_file()}
    own.start()
    crate = own.folder.parent / "crate-1"
    sigillo("device", "new", "crate-1", "-o", crate)
    publish(own, crate, 2, own.plain)
    publish(own, crate, 1, own.tls, "--cafile", own.etc / "certs/ca.cert.pem")
    evidence = export(own, ["crate-1"], own.folder.parent / "evidence.jsonl", 3)
    own.stop()
    assert {path: path.read_bytes() for path in own.etc.rglob("*") if path.is_file()} == before
    stated = own.statement(1)
    assert stated.principal_source is PrincipalSource.PASSWORD
    assert [key.listener for key in stated.tls_keys] == [
        f"127.0.0.1:{own.plain}",
        f"127.0.0.1:{own.tls}",
        f"127.0.0.1:{own.port}",
    ]
    assert [key.key_hash is None for key in stated.tls_keys] == [True, False, False]
    assert stated.unmarked_paths == ("broker-published", "retained-before", "sys", "will")
    assert (own.folder.parent / "lib/mosquitto.db").exists()
    assert "mosquitto version" in (own.folder.parent / "log/mosquitto.log").read_text()
    policy = trust(own, [Tracker("crate-1", crate)], own.folder.parent / "policy.toml")
    verdict = json.loads(sigillo("verify", evidence, "--policy", policy, "--json"))
    assert verdict["verified"] is True


def test_their_access_list_still_holds(own: OwnBroker) -> None:
    own.start()
    crate = own.folder.parent / "crate-1"
    sigillo("device", "new", "crate-1", "-o", crate)
    to = ("-h", "localhost", "-p", own.plain, "-u", "reader", "-P", "secret", "-V", "5", "-q", "1", "-d")
    answer = subprocess.run(
        ["mosquitto_pub", *map(str, to), "-t", "braid/agent/crate-1/shadow/reported/", "-m", "x"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "RC:135" in answer.stdout + answer.stderr  # not authorized
    refused = subprocess.run(["mosquitto_pub", "-p", str(own.plain), "-t", "x", "-m", "x"], capture_output=True)
    assert refused.returncode != 0, "nobody gets in without a password"
    publish(own, crate, 1, own.plain)
    export(own, ["crate-1"], own.folder.parent / "evidence.jsonl", 1)


def test_certificates_on_every_listener(own: OwnBroker) -> None:
    """A tracker on their listener, under their server's certificate: every name is of a certificate; it verifies."""
    own.start()
    tracker = Tracker("crate-1", own.folder.parent / "crate-1").enrol(own, "p256")
    shutil.copy(own.etc / "certs/ca.cert.pem", tracker.folder / "ca.cert.pem")
    shutil.copy(own.folder / "conf/tls/ca.cert.pem", own.etc / "certs/ca.cert.pem")
    own.stop()
    identities = "require_certificate true\nuse_identity_as_username true\n"
    own.write("conf.d/20-listeners.conf", LISTENERS.partition("\n")[2] + identities)
    own.write("acl", "pattern readwrite braid/agent/%u/#\n")
    own.start()
    sigillo(
        "device", "simulate", tracker.folder, "--broker", f"127.0.0.1:{own.tls}", "--count", "2", "--interval", "0.01"
    )
    evidence = export(own, ["crate-1"], own.folder.parent / "evidence.jsonl", 2)
    own.stop()
    assert own.statement(2).principal_source is PrincipalSource.CERT_CN
    policy = trust(own, [tracker], own.folder.parent / "policy.toml")
    assert json.loads(sigillo("verify", evidence, "--policy", policy, "--json"))["verified"] is True


def test_dynamic_security_lets_the_archive_read_and_is_stated(own: OwnBroker) -> None:
    """It defers for a user that it does not know, and then the derived access list answers."""
    found = sorted(Path("/usr/lib").glob("*/mosquitto_dynamic_security.so"))
    if not found or shutil.which("mosquitto_ctrl") is None:
        pytest.skip("needs Mosquitto's dynamic security")
    data = own.folder.parent / "lib/dynamic-security.json"
    run("mosquitto_ctrl", "dynsec", "init", data, "admin", "secret")
    if os.geteuid() == 0:
        shutil.chown(data, "mosquitto")
    own.write("conf.d/10-passwords.conf", f"plugin {found[0]}\nplugin_opt_config_file {data}\n")
    own.start()
    admin = ("mosquitto_ctrl", "-h", "127.0.0.1", "-p", own.plain, "-u", "admin", "-P", "secret", "dynsec")
    for command in (
        ("createRole", "crate"),
        ("addRoleACL", "crate", "publishClientSend", "braid/agent/crate-1/#", "allow"),
        ("createClient", "crate-1", "-p", "secret"),
        ("addClientRole", "crate-1", "crate"),
    ):
        run(*admin, *command)
    crate = own.folder.parent / "crate-1"
    sigillo("device", "new", "crate-1", "-o", crate)
    publish(own, crate, 1, own.plain)
    export(own, ["crate-1"], own.folder.parent / "evidence.jsonl", 1)
    own.stop()
    assert own.statement(1).principal_source is PrincipalSource.PASSWORD
    assert own.statement(1).unmarked_paths == ("broker-published", "control", "retained-before", "sys", "will")


def test_a_reload_reads_their_files_anew(own: OwnBroker) -> None:
    """What systemd's ExecReload and logrotate do: SIGHUP to `up`, which passes it on."""
    own.start()
    own.write("conf.d/30-open.conf", "allow_anonymous true\n")
    assert own.process is not None
    own.process.send_signal(signal.SIGHUP)
    own.wait_for(lambda: own.log.read_text().count("listening; the archive is connected") == 2)
    run("mosquitto_pub", "-p", own.plain, "-t", "x", "-m", "nobody is asked for a password now")
    own.stop()
    assert "epoch 1 ended (reload)" in own.log.read_text()
    first, second = own.statement(1), own.statement(2)
    assert first.principal_source is PrincipalSource.PASSWORD
    assert second.principal_source is PrincipalSource.UNAUTHENTICATED
    assert first.configuration_hash != second.configuration_hash


def test_a_reload_of_what_cannot_be_used_changes_nothing(own: OwnBroker) -> None:
    own.start()
    broken = own.write("conf.d/30-broken.conf", "alow_anonymous true\n")
    assert own.process is not None
    own.process.send_signal(signal.SIGHUP)
    own.wait_for(lambda: "no reload, this epoch goes on" in own.log.read_text())
    assert "30-broken.conf: line 1: `alow_anonymous`" in own.log.read_text()
    broken.unlink()
    own.process.send_signal(signal.SIGHUP)
    own.wait_for(lambda: own.log.read_text().count("listening; the archive is connected") == 2)
    own.stop()


def test_other_settings_reach_the_archive_with_a_reload(own: OwnBroker) -> None:
    own.start()
    settings = own.folder / "sigillo.toml"
    settings.write_text(settings.read_text().replace('"braid/agent/+/shadow/reported/#"', '"braid/agent/+/#"'))
    assert own.process is not None
    own.process.send_signal(signal.SIGHUP)
    own.wait_for(lambda: own.log.read_text().count("listening; the archive is connected") == 2)
    own.stop()
    assert own.statement(2).filters[0].topic_filter == "braid/agent/+/#"


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("conf.d/90.conf", "plugin /usr/lib/sigillo.so\n", "90.conf: line 1: `plugin` is Sigillo's own"),
        ("mosquitto.conf", "per_listener_settings true\n", "mosquitto.conf: line 1: `per_listener_settings`"),
        ("conf.d/90.conf", "crlfile /nowhere\n", "90.conf: line 1: `crlfile` names /nowhere"),
        ("conf.d/90.conf", "listener 0\n", "90.conf: line 1: `listener`"),
        ("conf.d/90.conf", "\0\0\0", "90.conf: has zero bytes"),
        ("conf.d/90.conf", "persistence_location /proc\n", "user"),
    ],
)
def test_what_cannot_be_certified_is_named_before_anything_starts(
    own: OwnBroker, name: str, text: str, says: str
) -> None:
    own.write(name, text)
    assert says in own.refused()
    assert not own.statements()


def test_a_port_in_use_is_said(own: OwnBroker) -> None:
    own.plain = own.tls
    own.write("conf.d/20-listeners.conf", "listener {plain} 127.0.0.1\nlistener {tls} 127.0.0.1\n")
    done = subprocess.run(own.command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 1
    assert "Address already in use" in done.stdout


def test_the_archives_port_in_their_file_is_said(own: OwnBroker) -> None:
    own.write("conf.d/90.conf", f"listener {own.port}\n")
    assert "where the archive connects; choose another port" in own.refused()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize("name", ["passwd", "certs/server.key"])
def test_a_file_that_the_brokers_user_cannot_read_is_named(own: OwnBroker, name: str) -> None:
    """Mosquitto is its own user before it opens them: Debian's service could not read it either."""
    shutil.chown(own.etc / name, "root", "root")
    (own.etc / name).chmod(0o600)
    assert f"{own.etc / name}: user mosquitto cannot read it" in own.refused()
