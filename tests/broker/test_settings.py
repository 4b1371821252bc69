from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from sigillo.broker.error import BrokerError
from sigillo.broker.settings import DEFAULT_FILTER, Settings, load, merge
from sigillo.core.statement import Carrier, MarkedFilter
from sigillo.log.submission import WitnessAddress
from tests.vector.cosign import ED25519, ML_DSA_44
from tests.vector.sample import LOG_KEY

TWICE = f'{{ url = "http://w", key = "{ED25519.vkey}" }}'
FILTERS = (
    MarkedFilter("a/+/b"),
    MarkedFilter('c"/#', carrier=Carrier.DATAGRAM),
    MarkedFilter("d", carrier=Carrier.TOPIC),
)
GIVEN = {
    "name": "broker.example",
    "operator": 'Ex"ample',
    "filters": FILTERS,
    "listen": "[::1]:8884",
    "conf": "/etc/mosquitto/mosquitto.conf",
    "raw_tokens": True,
    "max_rate": 5,
    "max_payload": 4096,
    "bridge_principals": ("north", "south"),
    "witness": (
        WitnessAddress("http://127.0.0.1:8390", ED25519),
        WitnessAddress("https://witness.example/a/prefix", ML_DSA_44),
    ),
    "cosign_quorum": 2,
    "cosign_interval": 1,
    "keep_entries": 1_000_000,
}


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "sigillo.toml"
    settings = merge(path, dict(GIVEN))
    path.write_bytes(settings.encode())
    assert load(path) == settings
    assert settings.address == ("::1", 8884)
    assert settings.origin == "broker.example/log"
    assert tomllib.loads(path.read_text())["version"] == 1


def test_the_operator_is_called_as_the_host_unless_told(tmp_path: Path) -> None:
    assert merge(tmp_path / "sigillo.toml", {"name": "host"}).operator == "host"


def test_a_first_run_needs_a_name(tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match=r"sigillo\.toml: does not exist yet; give --name"):
        merge(tmp_path / "sigillo.toml", {})


@pytest.mark.parametrize(
    ("name", "value", "option"),
    [
        ("name", "other", "--name"),
        ("operator", "Other", "--operator"),
        ("listen", "127.0.0.1:1", "--listen"),
        ("on_bad_clock", "mark-unsynchronised", "--on-bad-clock"),
        ("durability", "strict", "--durability"),
        ("http", "", "--http"),
        ("executable", "/bin/true", "--mosquitto"),
        ("filters", (MarkedFilter("x"),), "--filter"),
        ("filters", (MarkedFilter(DEFAULT_FILTER, carrier=Carrier.TOPIC),), "(topic)"),
        ("conf", "/etc/mosquitto/mosquitto.conf", "conf is not set, --conf"),
        ("raw_tokens", True, "--raw-tokens"),
        ("max_rate", 1, "--max-rate"),
        ("max_payload", 1, "--max-payload"),
        ("bridge_principals", ("x",), "--bridge-principal"),
        ("witness", (WitnessAddress("http://127.0.0.1:8390", ED25519),), "--witness"),
        ("cosign_interval", 1, "--cosign-interval"),
        ("cosign_quorum", 2, "--cosign-quorum"),
        ("keep_entries", 1, "--keep-entries"),
    ],
)
def test_an_option_that_contradicts_the_file_names_file_and_field(
    tmp_path: Path, name: str, value: object, option: str
) -> None:
    path = tmp_path / "sigillo.toml"
    path.write_bytes(Settings("host", "Op").encode())
    with pytest.raises(BrokerError) as caught:
        merge(path, {name: value})
    assert f"{path}: {name} is " in str(caught.value)
    assert option in str(caught.value)


def test_an_option_that_says_the_same_is_fine(tmp_path: Path) -> None:
    path = tmp_path / "sigillo.toml"
    path.write_bytes(Settings("host", "Op").encode())
    assert merge(path, {"name": "host", "operator": "Op"}) == Settings("host", "Op")


@pytest.mark.parametrize(
    "line",
    [
        'name = ""',
        'name = "a b"',
        'name = "a/b"',
        "name = 1",
        'operator = ""',
        'operator = "\\u0007"',
        'listen = "8883"',
        'listen = "localhost:8883"',
        'listen = "127.0.0.1:0"',
        'listen = "127.0.0.1:65536"',
        'on_bad_clock = "ignore"',
        'durability = "none"',
        "durability = true",
        'http = "8380"',
        'http = "localhost:8380"',
        'http = "0.0.0.0:8380"',
        'http = "192.0.2.1:8380"',
        'executable = "mosquitto"',
        'boot_log = "binary_bios_measurements"',
        'ima_list = "ima"',
        "ima_list = true",
        "filters = []",
        'filters = "a"',
        'filters = ["a/#/b"]',
        'filters = ["a/ "]',
        'filters = ["a\\nuser b\\ntopic readwrite #"]',
        "filters = [1]",
        'filters = [{ topic = "a" }]',
        'filters = [{ topic = 1, carrier = "topic" }]',
        'filters = [{ topic = "a", carrier = "pigeon" }]',
        'filters = [{ topic = "a", carrier = [] }]',
        'filters = [{ topic = "a", carrier = "topic", mode = "each" }]',
        'conf = "mosquitto.conf"',
        "raw_tokens = true",
        "raw_tokens = 1",
        "max_rate = -1",
        "keep_entries = -1",
        "keep_entries = true",
        "keep_entries = 9223372036854775808",
        "max_rate = 1000001",
        "max_rate = true",
        "max_payload = 268435456",
        'bridge_principals = "a"',
        "bridge_principals = [1]",
        'bridge_principals = [""]',
        'bridge_principals = ["a", "a"]',
        "segment_size = 65537",
        "segment_size = true",
        "max_principals = 0",
        "cosign_interval = 0",
        "cosign_interval = 3601",
        "cosign_quorum = 0",
        "cosign_quorum = 2",
        "cosign_demand = true",
        "cosign_demand = 1",
        "witness = 1",
        'witness = ["http://127.0.0.1:8390"]',
        'witness = [{ url = "http://127.0.0.1:8390" }]',
        'witness = [{ url = "http://127.0.0.1:8390", key = 1 }]',
        'witness = [{ url = "http://127.0.0.1:8390", key = "w" }]',
        f'witness = [{{ url = "http://127.0.0.1:8390", key = "{LOG_KEY.vkey}" }}]',
        *(
            f'witness = [{{ url = "{url}", key = "{ED25519.vkey}" }}]'
            for url in (
                "",
                "127.0.0.1:8390",
                "ftp://w",
                "http://",
                "http://w:x",
                "http://w:0",
                "http://w?q",
                "http://w w",
            )
        ),
        f"witness = [{TWICE}, {TWICE}]",
        "version = 2",
        'unknown = "x"',
        "= 1",
    ],
)
def test_a_bad_value_names_file_and_field(tmp_path: Path, line: str) -> None:
    path = tmp_path / "sigillo.toml"
    field = line.partition(" ")[0]
    lines = [text for text in Settings("host", "Op").encode().decode().splitlines() if not text.startswith(f"{field} ")]
    path.write_text("\n".join([*lines, line]))
    with pytest.raises(BrokerError) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert field in str(caught.value) or field == "="


def test_filters_are_text_or_tables_with_a_carrier(tmp_path: Path) -> None:
    path = tmp_path / "sigillo.toml"
    path.write_text(
        'version = 1\nname = "h"\noperator = "o"\nraw_tokens = true\nbridge_principals = ["b", "a"]\n'
        'filters = ["a/#", { topic = "b/#", carrier = "datagram" }]\n'
    )
    settings = load(path)
    assert settings.filters == (MarkedFilter("a/#"), MarkedFilter("b/#", carrier=Carrier.DATAGRAM))
    assert settings.bridge_principals == ("a", "b")


def test_witnesses_are_tables(tmp_path: Path) -> None:
    path = tmp_path / "sigillo.toml"
    path.write_text(
        f'version = 1\nname = "h"\noperator = "o"\ncosign_demand = true\n'
        f'[[witness]]\nurl = "http://127.0.0.1:8390"\nkey = "{ED25519.vkey}"\n'
    )
    assert load(path).witness == (WitnessAddress("http://127.0.0.1:8390", ED25519),)


def test_beside_an_own_configuration_the_archive_has_another_port(tmp_path: Path) -> None:
    assert merge(tmp_path / "sigillo.toml", {"name": "h", "conf": "/c"}).listen == "127.0.0.1:18883"
    assert merge(tmp_path / "sigillo.toml", {"name": "h"}).listen == "127.0.0.1:8883"


def test_a_missing_name_is_named(tmp_path: Path) -> None:
    path = tmp_path / "sigillo.toml"
    path.write_text('version = 1\noperator = "Op"\n')
    with pytest.raises(BrokerError, match="name is missing"):
        load(path)


@pytest.mark.parametrize("data", [b"a = " + b"9" * 5000, b"a = " + b"[" * 5000, b"\xff", b"a" + b".a" * 5000 + b" = 1"])
def test_what_is_no_toml_is_named(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "sigillo.toml"
    path.write_bytes(data)
    with pytest.raises(BrokerError, match=r"sigillo\.toml: .*mend it"):
        load(path)
