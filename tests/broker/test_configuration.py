from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sigillo.broker.configuration import access_list, read_configuration
from sigillo.broker.error import BrokerError
from sigillo.broker.folder import OperatorFolder
from sigillo.core.epoch import configuration_hash
from sigillo.core.statement import Carrier, MarkedFilter, PrincipalSource
from sigillo.x509 import new_key, private_pem

from ..vector.key import digests
from .operator import SETTINGS, installed


@pytest.fixture
def folder(tmp_path: Path) -> OperatorFolder:
    return installed(tmp_path)


def replace(folder: OperatorFolder, old: str, new: str) -> None:
    text = folder.broker_configuration.read_text()
    assert old in text
    folder.broker_configuration.write_text(text.replace(old, new))


def test_the_first_configuration_is_secure(folder: OperatorFolder) -> None:
    configuration = read_configuration(folder, SETTINGS.listen)
    assert configuration.principal_source is PrincipalSource.CERT_CN
    assert configuration.unmarked_paths == ("broker-published", "retained-before", "sys", "will")
    certificate = x509.load_pem_x509_certificate((folder.tls / "server.cert.pem").read_bytes())
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    (listener,) = configuration.listeners
    assert (listener.listener, listener.key_hash) == ("127.0.0.1:8883", hashlib.sha256(spki).digest())


def test_the_hash_is_that_of_the_spec(folder: OperatorFolder) -> None:
    """spec/epoch.md, "Configuration tree hash": every file named, and the settings; a key by its public half."""
    files = {}
    for name in ("sigillo.toml", "conf/mosquitto.conf", "conf/acl", "conf/tls/ca.cert.pem", "conf/tls/server.cert.pem"):
        files[name] = (folder.path / name).read_bytes()
    certificate = x509.load_pem_x509_certificate(files["conf/tls/server.cert.pem"])
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    files["conf/tls/server.key.pem"] = spki
    assert read_configuration(folder, SETTINGS.listen).hash == configuration_hash(digests(files))


@pytest.mark.parametrize(
    "name", ["sigillo.toml", "conf/mosquitto.conf", "conf/acl", "conf/tls/ca.cert.pem", "conf/tls/server.key.pem"]
)
def test_every_file_counts(folder: OperatorFolder, name: str) -> None:
    before = read_configuration(folder, SETTINGS.listen).hash
    path = folder.path / name
    path.write_bytes(private_pem(new_key()) if "key" in name else path.read_bytes() + b"\n# changed\n")
    assert read_configuration(folder, SETTINGS.listen).hash != before


def test_the_hash_does_not_depend_on_where_the_folder_is(folder: OperatorFolder, tmp_path: Path) -> None:
    before = read_configuration(folder, SETTINGS.listen).hash
    folder.path.rename(tmp_path / "moved")
    assert read_configuration(OperatorFolder.at(tmp_path / "moved"), SETTINGS.listen).hash == before


@pytest.mark.parametrize(
    ("old", "new", "source"),
    [
        ("require_certificate true", "require_certificate false", PrincipalSource.UNAUTHENTICATED),
        ("use_identity_as_username true\n", "", PrincipalSource.UNAUTHENTICATED),
        ("use_identity_as_username true", "use_subject_as_username true", PrincipalSource.CERT_SUBJECT),
        ("acl_file conf/acl", "acl_file conf/acl\nlistener 1883 127.0.0.1", PrincipalSource.UNAUTHENTICATED),
        ("require_certificate true", "require_certificate 1", PrincipalSource.CERT_CN),
        ("require_certificate true", "#\x0brequire_certificate true", PrincipalSource.UNAUTHENTICATED),
    ],
)
def test_the_weakest_listener_decides(folder: OperatorFolder, old: str, new: str, source: PrincipalSource) -> None:
    replace(folder, old, new)
    assert read_configuration(folder, SETTINGS.listen).principal_source is source


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("plugin plugin/sigillo.so", "", "plugin plugin/sigillo.so"),
        ("plugin plugin/sigillo.so", "plugin /tmp/other.so", "plugin plugin/sigillo.so"),
        ("plugin plugin/sigillo.so", "plugin plugin/sigillo.so\nplugin /usr/lib/x.so", "line 18: `plugin`"),
        ("per_listener_settings false", "per_listener_settings true", "per_listener_settings"),
        ("listener 8883 127.0.0.1", "listener 8884 127.0.0.1", "no `listener` is 127.0.0.1:8883"),
        ("listener 8883 127.0.0.1", "listener 8883", "no `listener` is 127.0.0.1:8883"),
        ("acl_file conf/acl", "acl_file conf/acl\ntls_engine pkcs11", "`tls_engine`"),
        ("max_packet_size 1048576", "", "max_packet_size 1048576"),
        ("max_packet_size 1048576", "max_packet_size 268304384", "268304383"),
        ("max_packet_size 1048576", "max_packet_size 0", "from 20"),
        ("max_packet_size 1048576", "max_packet_size 1e6", "must be a number"),
        ("acl_file conf/acl", "include_dir /etc/mosquitto/conf.d", "`include_dir`"),
        ("acl_file conf/acl", "password_file /nowhere", "line 13: `password_file` names /nowhere"),
        ("acl_file conf/acl", "allow_anonymos true", "`allow_anonymos`"),
        ("require_certificate true", "require_certificate yes", "must be true or false"),
        ("acl_file conf/acl", "plugin_opt_x y", "`plugin_opt_x`"),
        ("listener 8883 127.0.0.1", "# none", "`cafile`"),
    ],
)
def test_what_a_statement_could_not_speak_for_is_refused(
    folder: OperatorFolder, old: str, new: str, reason: str
) -> None:
    replace(folder, old, new)
    with pytest.raises(BrokerError) as caught:
        read_configuration(folder, SETTINGS.listen)
    assert reason in str(caught.value)
    assert str(folder.broker_configuration) in str(caught.value)


def test_a_missing_file_is_named(folder: OperatorFolder) -> None:
    folder.access_list.unlink()
    with pytest.raises(BrokerError, match="conf/acl"):
        read_configuration(folder, SETTINGS.listen)


def test_devices_write_under_their_own_id_only() -> None:
    text = access_list((MarkedFilter("a/#"), MarkedFilter("b/+"))).decode()
    assert "pattern write braid/agent/%u/shadow/reported/#" in text
    assert [line for line in text.splitlines() if "sigillo/" in line] == ["pattern read sigillo/checkpoint"]
    assert [line for line in text.splitlines() if line.startswith("topic")] == ["topic read a/#", "topic read b/+"]


def test_everybody_may_read_the_marks_of_the_carrier_topic() -> None:
    assert (
        "pattern read sigillo/mark/braid/agent/%u/#"
        in access_list((MarkedFilter("a/#", carrier=Carrier.TOPIC),)).decode()
    )


def test_the_plugin_hears_whether_there_is_an_access_list(folder: OperatorFolder) -> None:
    assert read_configuration(folder, SETTINGS.listen).access_list is True
    replace(folder, "acl_file conf/acl\n", "")
    assert read_configuration(folder, SETTINGS.listen).access_list is False


def test_the_plugin_of_every_listener_is_none_that_is_loaded_by_name(folder: OperatorFolder) -> None:
    """In Mosquitto 2.1 `plugin_load` serves only the listeners that say `plugin_use`: others would go unmarked."""
    replace(folder, "plugin plugin/sigillo.so", "plugin_load sigillo plugin/sigillo.so")
    with pytest.raises(BrokerError, match=r"exactly one line `plugin plugin/sigillo\.so`"):
        read_configuration(folder, SETTINGS.listen)
