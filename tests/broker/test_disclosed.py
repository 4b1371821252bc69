"""Which texts of a configuration are shown; on doubt none."""

from __future__ import annotations

from pathlib import Path

import pytest

from sigillo.broker.configuration import Configuration, access_list, broker_configuration, read_configuration
from sigillo.broker.disclosed import configuration_texts, holds_secret
from sigillo.broker.folder import OperatorFolder
from sigillo.core.challenge import MAX_TEXT, Hidden

from .operator import SETTINGS, installed
from .test_derivation import Own


@pytest.mark.parametrize(
    "line",
    [
        "remote_password hunter2",
        "password hunter2",
        "local_password hunter2",
        "  remote_password hunter2",
        "remote_password\thunter2",
        "REMOTE_PASSWORD hunter2",
        "bridge_psk 1234abcd",
        "bridge_identity bridge\nbridge_psk 00",
        "plugin_opt_config_file /srv/dynamic-security.json",
        "auth_opt_pg_dsn host=db",
        "auth_opt_anything x",
        "tls_engine_kpass_sha1 0123",
        "#remote_password hunter2",
        "# the bridge's password is hunter2",
        "# passwd: hunter2",
        "# passphrase hunter2",
        "# the client secret of the gateway",
        "address mqtts://bridge:hunter2@elsewhere:8883",
        'url = "https://user:hunter2@tsa.example/"',
        "alice:$7$101$c2FsdA==$aGFzaA==",
        "device-1:0123456789abcdef",
        "device-1:0123456789ABCDEF\nother:00",
        "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN EC PRIVATE KEY-----",
        '{"clients":[{"username":"admin","password":"aGFzaA==","salt":"c2FsdA=="}]}',
        'api_key = "1"',
        "# token 1234",
        'url = "https://tsa.example/stamp?k=hunter2"',
        "# Bearer abc",
        "my_password_file_password hunter2",
        "password_file /etc/passwd hunter2\npassword hunter2",
    ],
)
def test_what_may_hold_a_secret(line: str) -> None:
    assert holds_secret(line)
    assert holds_secret(f"listener 8883\n{line}\nallow_anonymous false\n")
    assert holds_secret(f"listener 8883\r\n{line}\r\n")


@pytest.mark.parametrize(
    "text",
    [
        "",
        broker_configuration("127.0.0.1", 8883).decode(),
        access_list(()).decode(),
        "password_file conf/passwords\n",
        "psk_file conf/keys\npsk_hint broker\n",
        "plugin /usr/lib/mosquitto_password_file.so\n",
        "listener 8883 ::1\ncafile conf/tls/ca.cert.pem\n",
        "connection up\naddress elsewhere:8883\ntopic # out 1\nremote_username bridge\n",
        'witness = "https://witness.example/prefix"\n',
        "topic read a:b/c\n",
    ],
)
def test_what_holds_none(text: str) -> None:
    assert not holds_secret(text)


@pytest.fixture
def folder(tmp_path: Path) -> OperatorFolder:
    return installed(tmp_path)


def texts(folder: OperatorFolder, measured: Configuration | None = None) -> dict[str, str | Hidden | None]:
    """What is shown of each file: its text, or why not. *measured*: before something was changed."""
    configuration = measured or read_configuration(folder, SETTINGS.listen)
    found = configuration_texts(folder, configuration)
    assert [item.name for item in found] == sorted(configuration.digests)
    return {item.name: item.text if item.text is not None else item.hidden for item in found}


def test_what_sigillo_wrote_is_shown_but_no_key_and_no_certificate(folder: OperatorFolder) -> None:
    shown = texts(folder)
    for name in ("sigillo.toml", "conf/mosquitto.conf", "conf/acl"):
        assert shown.pop(name) == (folder.path / name).read_text()
    assert shown == dict.fromkeys(
        ("conf/tls/ca.cert.pem", "conf/tls/server.cert.pem", "conf/tls/server.key.pem"), Hidden.OTHER
    )


def test_a_bridges_password_takes_the_whole_text_with_it_and_no_other(folder: OperatorFolder) -> None:
    path = folder.broker_configuration
    path.write_text(f"{path.read_text()}connection up\naddress elsewhere:8883\nremote_password hunter2\n")
    shown = texts(folder)
    assert shown["conf/mosquitto.conf"] is Hidden.SECRET
    assert shown["conf/acl"] == (folder.path / "conf/acl").read_text()
    assert "hunter2" not in repr(shown)


@pytest.mark.parametrize("directive", ["password_file", "psk_file"])
def test_password_and_psk_files_are_names_only(folder: OperatorFolder, directive: str) -> None:
    """Whatever is in them: this content looks harmless."""
    path = folder.broker_configuration
    path.write_text(f"{path.read_text()}{directive} conf/words\n")
    (folder.path / "conf/words").write_text("hunter2\n")
    shown = texts(folder)
    assert shown["conf/words"] is Hidden.OTHER
    assert "hunter2" not in repr(shown)
    assert f"{directive} conf/words" in str(shown["conf/mosquitto.conf"])


@pytest.mark.parametrize("name", ["conf/mosquitto.conf", "conf/acl", "sigillo.toml"])
def test_what_was_changed_since_it_was_measured_is_not_shown(folder: OperatorFolder, name: str) -> None:
    measured = read_configuration(folder, SETTINGS.listen)
    path = folder.path / name
    path.write_text(f"{path.read_text()}# changed\n")
    assert texts(folder, measured)[name] is Hidden.CHANGED


@pytest.mark.parametrize("name", ["conf/mosquitto.conf", "conf/acl"])
def test_what_is_gone_is_not_shown(folder: OperatorFolder, name: str) -> None:
    measured = read_configuration(folder, SETTINGS.listen)
    (folder.path / name).unlink()
    shown = texts(folder, measured)
    assert shown[name] in (Hidden.CHANGED, Hidden.OTHER)
    assert not isinstance(shown["conf/tls/server.key.pem"], str) or shown["conf/tls/server.key.pem"] is Hidden.OTHER


def test_a_file_that_takes_the_access_lists_place_is_not_shown(folder: OperatorFolder) -> None:
    """A link from the access list to the log key, made after the start: its digest is another."""
    measured = read_configuration(folder, SETTINGS.listen)
    folder.access_list.unlink()
    folder.access_list.symlink_to(folder.authority / "ca.key.pem")
    shown = texts(folder, measured)
    assert shown["conf/acl"] is Hidden.CHANGED
    assert "PRIVATE" not in repr(shown)


def test_what_is_too_long_or_no_text_is_not_shown(folder: OperatorFolder) -> None:
    folder.access_list.write_text("#\n" * (MAX_TEXT // 2 + 1))
    assert texts(folder)["conf/acl"] is Hidden.SIZE
    folder.access_list.write_bytes(b"topic read \xff\n")
    assert texts(folder)["conf/acl"] is Hidden.SIZE


def test_of_an_own_configuration_what_is_derived_counts(tmp_path: Path) -> None:
    own = Own(tmp_path)
    own.file("acl", b"user a\ntopic read #\n")
    own.write("listener 1884\nallow_anonymous false\nacl_file acl\n")
    shown = {item.name: item.text for item in configuration_texts(own.folder, own.derive())}
    assert shown["derived/mosquitto.conf"] == own.folder.derived_configuration.read_text()
    assert str(shown["derived/acl"]).startswith("user a\n")
    own.write("listener 1884\nconnection up\naddress a:1\ntopic # out\nremote_password hunter2\n")
    hidden = {item.name: item.hidden for item in configuration_texts(own.folder, own.derive())}
    assert hidden["derived/mosquitto.conf"] is Hidden.SECRET
