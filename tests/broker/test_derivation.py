"""An operator's own mosquitto.conf: what the broker runs on, what is stated of it, what its hash covers."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from sigillo.broker import derivation
from sigillo.broker.account import own_account
from sigillo.broker.configuration import Configuration
from sigillo.broker.derivation import derive_configuration
from sigillo.broker.directive import read_directives
from sigillo.broker.error import BrokerError
from sigillo.broker.folder import OperatorFolder
from sigillo.core.statement import Carrier, MarkedFilter, PrincipalSource
from sigillo.x509 import new_key, private_pem

from .operator import SETTINGS, installed

PORT = 18883


class Own:
    """An operator folder beside a folder `etc` with a mosquitto.conf."""

    def __init__(self, path: Path) -> None:
        self.etc = path / "etc"
        (self.etc / "conf.d").mkdir(parents=True)
        self.settings = replace(SETTINGS, conf=str(self.etc / "mosquitto.conf"), listen=f"127.0.0.1:{PORT}")
        self.folder: OperatorFolder = installed(path, self.settings)

    def write(self, text: str, **files: str) -> None:
        (self.etc / "mosquitto.conf").write_text(text)
        for name, content in files.items():
            (self.etc / "conf.d" / f"{name}.conf").write_text(content)

    def file(self, name: str, data: bytes = b"x\n") -> Path:
        path = self.etc / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        return path

    def derive(self) -> Configuration:
        derived = derive_configuration(self.folder, self.settings, own_account(), self.etc)
        written = self.folder.derived_configuration
        assert read_directives(written).encode() == written.read_bytes(), "what is stated is what the broker reads"
        return derived

    def lines(self) -> list[str]:
        self.derive()
        return self.folder.derived_configuration.read_text().splitlines()

    def certificate(self) -> str:
        """The lines of a TLS listener."""
        source = self.folder.tls
        for name in ("ca.cert.pem", "server.cert.pem", "server.key.pem"):
            self.file(name, (source / name).read_bytes())
        return "cafile ca.cert.pem\ncertfile server.cert.pem\nkeyfile server.key.pem\n"


@pytest.fixture
def own(tmp_path: Path) -> Own:
    return Own(tmp_path)


def test_what_the_broker_runs_on_is_theirs_and_what_the_archive_needs(own: Own) -> None:
    own.file("passwd")
    own.file("acl", b"user a\ntopic read #")
    own.write(
        "log_dest file log/m.log\nlog_dest stdout\ninclude_dir conf.d\nmax_queued_messages 7\n"
        f"user {own_account().name}\n",
        b="listener 1884\nlistener 0 run/socket\n",
        a="password_file passwd\nacl_file acl\npersistence_location .\n",
    )
    etc = own.etc
    assert own.lines() == [
        "plugin plugin/sigillo.so",
        "per_listener_settings false",
        f"log_dest file {etc}/log/m.log",
        f"password_file {etc}/passwd",
        f"persistence_location {etc}",
        "max_queued_messages 7",
        "acl_file derived/acl",
        "upgrade_outgoing_qos true",
        "queue_qos0_messages true",
        "max_queued_bytes 268435456",
        "max_packet_size 268304383",
        "log_dest stderr",
        "listener 1884",
        f"listener 0 {etc}/run/socket",
        f"listener {PORT} 127.0.0.1",
        "cafile conf/tls/ca.cert.pem",
        "certfile conf/tls/server.cert.pem",
        "keyfile conf/tls/server.key.pem",
        "require_certificate true",
        "use_identity_as_username true",
        "use_username_as_clientid true",
    ]
    assert own.folder.derived_access_list.read_text() == (
        "user a\ntopic read #\nuser sigillo-archive\ntopic read braid/agent/+/shadow/reported/#\n"
    )
    assert own.folder.derived_configuration.stat().st_mode & 0o007 == 0


def test_their_files_are_never_written(own: Own) -> None:
    own.file("acl")
    own.write("listener 1883\nacl_file acl\n")
    before = {path: path.read_bytes() for path in own.etc.rglob("*") if path.is_file()}
    own.derive()
    assert {path: path.read_bytes() for path in own.etc.rglob("*") if path.is_file()} == before


def test_the_archive_reads_the_filters_of_every_carrier(own: Own) -> None:
    own.settings = replace(own.settings, filters=(MarkedFilter("a"), MarkedFilter("b", carrier=Carrier.TOPIC)))
    own.file("acl")
    own.write("listener 1883\nacl_file acl\n")
    own.derive()
    assert own.folder.derived_access_list.read_text().endswith("\nuser sigillo-archive\ntopic read a\ntopic read b\n")


def test_without_a_listener_it_stays_on_loopback_and_open(own: Own, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mosquitto's local only mode: our listener would end it, and who may come in is what it was."""
    monkeypatch.setattr(derivation, "_has_loopback6", lambda: True)
    own.write("allow_anonymous false\n")
    lines = own.lines()
    assert [line for line in lines if line.startswith(("listener", "allow"))] == [
        "allow_anonymous true",
        "listener 1883 127.0.0.1",
        "listener 1883 ::1",
        f"listener {PORT} 127.0.0.1",
    ]
    assert own.derive().principal_source is PrincipalSource.UNAUTHENTICATED
    monkeypatch.setattr(derivation, "_has_loopback6", lambda: False)
    assert "listener 1883 ::1" not in own.lines()


@pytest.mark.parametrize(
    ("text", "listener"),
    [
        ("port 1999\nbind_address ::1\nmax_qos 1\n", ["listener 1999 ::1", "max_qos 1"]),
        ("max_connections 9\nlistener 1884\n", ["listener 1884", "listener 1883", "max_connections 9"]),
    ],
)
def test_what_stands_above_any_listener_makes_one(own: Own, text: str, listener: list[str]) -> None:
    own.write(text)
    lines = own.lines()
    start = lines.index("log_dest stderr") + 1
    assert lines[start : start + len(listener)] == listener


@pytest.mark.parametrize("line", ["max_connections -1", "require_certificate false", "protocol mqtt", "http_dir /tmp"])
def test_what_makes_one_in_some_versions_only_is_refused(own: Own, line: str) -> None:
    own.write(f"{line}\nlistener 1884\n")
    with pytest.raises(BrokerError, match=r"mosquitto\.conf: line 1: .*stands above any `listener`"):
        own.derive()


PASSWORDS = "listener 1883\npassword_file passwd\n"
IDENTITY = "require_certificate true\nuse_identity_as_username true\n"


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("listener 1883\n{tls}" + IDENTITY, PrincipalSource.CERT_CN),
        ("listener 1883\n{tls}" + IDENTITY.replace("identity", "subject"), PrincipalSource.CERT_SUBJECT),
        ("listener 1883\n{tls}use_identity_as_username true\n", PrincipalSource.UNAUTHENTICATED),
        ("listener 1883\n{tls}require_certificate true\n", PrincipalSource.UNAUTHENTICATED),
        ("listener 1883\n{tls}require_certificate true\npassword_file passwd\n", PrincipalSource.PASSWORD),
        ("listener 1883\n{tls}" + IDENTITY + "enable_proxy_protocol 2\n", PrincipalSource.UNAUTHENTICATED),
        ("listener 1883\n" + IDENTITY, PrincipalSource.UNAUTHENTICATED),
        ("listener 1883\npsk_hint x\nuse_identity_as_username true\npsk_file passwd\n", PrincipalSource.PSK),
        ("listener 1883\npsk_hint x\nuse_identity_as_username true\n", PrincipalSource.UNAUTHENTICATED),
        ("listener 1883\npsk_hint x\npsk_file passwd\npassword_file passwd\n", PrincipalSource.PASSWORD),
        (PASSWORDS, PrincipalSource.PASSWORD),
        (PASSWORDS + "allow_anonymous true\n", PrincipalSource.UNAUTHENTICATED),
        (PASSWORDS + "allow_anonymous true\nlistener_allow_anonymous 0\n", PrincipalSource.PASSWORD),
        (PASSWORDS + "listener_allow_anonymous true\n", PrincipalSource.UNAUTHENTICATED),
        (PASSWORDS + "plugin {etc}/other.so\n", PrincipalSource.UNAUTHENTICATED),
        ("listener 1883\n", PrincipalSource.UNAUTHENTICATED),
        ("listener 1883\nplugin {etc}/mosquitto_dynamic_security.so\n", PrincipalSource.PASSWORD),
        ("plugin_load p {etc}/mosquitto_password_file.so\nlistener 1883\nplugin_use p\n", PrincipalSource.PASSWORD),
        (
            "plugin_load p {etc}/mosquitto_password_file.so\nlistener 1883\nplugin_use p\nlistener 1884\n",
            PrincipalSource.UNAUTHENTICATED,
        ),
        ("listener 1884\n{tls}" + IDENTITY + PASSWORDS, PrincipalSource.PASSWORD),
    ],
)
def test_the_weakest_of_their_listeners_is_stated(own: Own, text: str, source: PrincipalSource) -> None:
    for name in ("passwd", "other.so", "mosquitto_dynamic_security.so", "mosquitto_password_file.so"):
        own.file(name)
    own.write(text.format(tls=own.certificate(), etc=own.etc))
    assert own.derive().principal_source is source


@pytest.mark.parametrize(
    ("text", "access_list", "control"),
    [
        ("", False, False),
        ("acl_file passwd\n", True, False),
        ("plugin {etc}/mosquitto_dynamic_security.so\n", True, True),
        ("plugin {etc}/mosquitto_acl_file.so\n", True, False),
        ("plugin_load p {etc}/mosquitto_acl_file.so\n", False, False),
        ("plugin {etc}/other.so\n", False, True),
        ("enable_control_api true\n", False, True),
    ],
)
def test_what_other_plugins_do_is_stated(own: Own, text: str, access_list: bool, control: bool) -> None:
    for name in ("passwd", "other.so", "mosquitto_dynamic_security.so", "mosquitto_acl_file.so"):
        own.file(name)
    own.write("listener 1883\n" + text.format(etc=own.etc))
    derived = own.derive()
    assert derived.access_list is access_list
    assert ("control" in derived.unmarked_paths) is control


def test_sessions_are_kept_where_mosquitto_would_keep_them(own: Own) -> None:
    own.write("listener 1883\npersistence true\n")
    assert f"persistence_location {own.etc}/" in own.lines()
    own.write("listener 1883\npersistence true\npersistence false\n")
    assert not [line for line in own.lines() if line.startswith("persistence_location")]


def test_every_listener_is_stated_with_its_key(own: Own) -> None:
    own.write(f"listener 0 /run/m.sock\nlistener 9001\nprotocol websockets\nlistener 8883 ::1\n{own.certificate()}")
    stated = own.derive().listeners
    assert [key.listener for key in stated] == ["/run/m.sock", "0.0.0.0:9001", "[::1]:8883", f"127.0.0.1:{PORT}"]
    assert [key.key_hash is None for key in stated] == [True, True, False, False]


WHOLE = """\
listener 8883
{tls}crlfile crl.pem
dhparamfile dh.pem
capath capath
password_file passwd
psk_file psk
acl_file acl
plugin {etc}/other.so
plugin_opt_file {etc}/option.json
connection north
address north.example
bridge_cafile bridge.ca.pem
bridge_capath bridge.capath
bridge_certfile bridge.cert.pem
bridge_keyfile bridge.key.pem
topic # in
"""
NAMED = ["crl.pem", "dh.pem", "capath/a", "passwd", "psk", "acl", "other.so", "option.json", "bridge.ca.pem"]
NAMED += ["bridge.capath/a", "bridge.cert.pem", "ca.cert.pem", "server.cert.pem"]


@pytest.fixture
def whole(own: Own) -> Own:
    own.write(WHOLE.format(tls=own.certificate(), etc=own.etc))
    for name in NAMED[:-2]:
        own.file(name)
    own.file("bridge.key.pem", private_pem(new_key()))
    return own


@pytest.mark.parametrize("name", NAMED)
def test_one_byte_of_any_named_file_changes_the_hash(whole: Own, name: str) -> None:
    before = whole.derive().hash
    assert whole.derive().hash == before
    path = whole.etc / name
    path.write_bytes(path.read_bytes() + b"\n")
    assert whole.derive().hash != before


def test_another_key_changes_the_hash_and_another_passphrase_of_its_file_does_not(whole: Own) -> None:
    before = whole.derive().hash
    path = whole.etc / "bridge.key.pem"
    path.write_bytes(path.read_bytes() + b"\n")
    assert whole.derive().hash == before, "a private key counts by its public half"
    path.write_bytes(private_pem(new_key()))
    assert whole.derive().hash != before


def test_a_certificate_in_the_file_of_its_key_is_refused(whole: Own) -> None:
    """Of a private key's file its public half counts, so a certificate in it would not."""
    whole.file(
        "server.key.pem", b"".join((whole.folder.tls / f"server.{kind}.pem").read_bytes() for kind in ("key", "cert"))
    )
    with pytest.raises(BrokerError, match=r"server\.key\.pem: .*two files"):
        whole.derive()


def test_a_new_file_in_a_folder_of_certificates_changes_the_hash(whole: Own) -> None:
    before = whole.derive().hash
    whole.file("capath/b")
    assert whole.derive().hash != before


def test_their_lines_and_the_settings_change_the_hash_and_comments_do_not(whole: Own) -> None:
    before = whole.derive().hash
    conf = whole.etc / "mosquitto.conf"
    conf.write_text("# a word\n" + conf.read_text())
    assert whole.derive().hash == before
    conf.write_text(conf.read_text() + "retain_available false\n")
    changed = whole.derive().hash
    assert changed != before
    whole.folder.settings.write_text(whole.folder.settings.read_text() + "# a word\n")
    assert whole.derive().hash != changed


@pytest.mark.parametrize(
    "name", [*(name for name in NAMED if name not in ("capath/a", "bridge.capath/a", "option.json")), "bridge.key.pem"]
)
def test_a_missing_file_is_named_with_its_line(whole: Own, name: str) -> None:
    (whole.etc / name).unlink()
    with pytest.raises(BrokerError, match=rf"mosquitto\.conf: line \d+: .*{name}"):
        whole.derive()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("plugin /usr/lib/sigillo.so\n", "line 2: `plugin` is Sigillo's own"),
        ("plugin_load s ./sigillo.so\n", "line 2: `plugin_load` is Sigillo's own"),
        ("plugin_load s\n", "names no file"),
        ("max_packet_size 268304384\n", "line 2: `max_packet_size` must be from 20 to 268304383"),
        ("max_packet_size 19\n", "line 2: `max_packet_size`"),
        (f"listener {PORT} 0.0.0.0\n", "line 2: `listener` has the port of"),
        ("password_file nothing\n", "line 2: `password_file` names"),
        ("password_file conf.d\n", "line 2: `password_file` names"),
        ("acl_file nothing\n", "line 2: `acl_file` "),
        ("acl_file conf.d\n", "line 2: `acl_file` "),
        ("acl_file /dev/zero\n", "line 2: `acl_file` names"),
        ("capath nothing\n", "line 2: `capath` names"),
        ("plugin nothing.so\n", "line 2: `plugin` names"),
        ("plugin /bin/true\nplugin_opt_x mosquitto.conf\n", "line 3: `plugin_opt_x` may name a file"),
        ("certfile mosquitto.conf\n", "is no certificate"),
        ("pid_file nothing/x.pid\n", "line 2: `pid_file`"),
        ("persistence true\npersistence_location nothing\n", "line 3: `persistence_location`"),
        ("retained_persistence true\npersistence_location nothing\n", "line 3: `persistence_location`"),
        ("listener 1\n" * 64, "one more than the 64 listeners"),
    ],
)
def test_what_could_not_run_or_be_stated_is_refused(own: Own, text: str, reason: str) -> None:
    own.write("listener 1883\n" + text)
    with pytest.raises(BrokerError) as caught:
        own.derive()
    assert reason in str(caught.value)
    assert str(own.etc) in str(caught.value)


def test_a_pipe_is_no_access_list(own: Own) -> None:
    os.mkfifo(own.etc / "acl")
    own.write("listener 1883\nacl_file acl\n")
    with pytest.raises(BrokerError, match="line 2: `acl_file` names"):
        own.derive()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_as_root_the_broker_has_one_user(own: Own) -> None:
    own.write("listener 1883\nuser nobody\n")
    with pytest.raises(BrokerError, match="line 2: `user` must be"):
        own.derive()
