"""Time-stamp authorities in `sigillo.toml`."""

from __future__ import annotations

from pathlib import Path

import pytest

from sigillo.broker.error import BrokerError
from sigillo.broker.settings import TsaSetting, load, merge

FIRST = TsaSetting.at("http://127.0.0.1:8318/")
CRLS = ("/etc/tsa/root.crl", "http://tsa.example/crl?y=2")
SECOND = TsaSetting("https://tsa.example/tsr?x=1", "Example Time", "/etc/tsa/root.pem", CRLS)

NINE = [f'{{ url = "http://a{number}/" }}' for number in range(9)]


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "sigillo.toml"
    settings = merge(path, {"name": "host", "tsa": (FIRST, SECOND), "anchor_interval": 5})
    path.write_bytes(settings.encode())
    assert load(path) == settings
    assert settings.tsa[0].name == "127.0.0.1:8318"


def test_without_one_nothing_is_said_of_any(tmp_path: Path) -> None:
    settings = merge(tmp_path / "sigillo.toml", {"name": "host"})
    assert (settings.tsa, settings.anchor_interval) == ((), 60)
    assert b"tsa" not in settings.encode()


def test_tables_may_be_written_as_toml_likes_them(tmp_path: Path) -> None:
    path = tmp_path / "sigillo.toml"
    path.write_text(
        'version = 1\nname = "h"\noperator = "o"\n[[tsa]]\nurl = "http://a:1/"\n[[tsa]]\nurl = "http://b/"\n'
    )
    assert load(path).tsa == (TsaSetting("http://a:1/", "a:1"), TsaSetting("http://b/", "b"))


def test_the_options_name_the_urls_and_the_file_may_say_more(tmp_path: Path) -> None:
    path = tmp_path / "sigillo.toml"
    path.write_bytes(merge(path, {"name": "host", "tsa": (SECOND,)}).encode())
    assert merge(path, {"tsa": (TsaSetting.at(SECOND.url),)}).tsa == (SECOND,)
    with pytest.raises(BrokerError, match=r"tsa is https://tsa\.example/tsr\?x=1, --tsa says http://127"):
        merge(path, {"tsa": (FIRST,)})


@pytest.mark.parametrize(
    "value",
    [
        '"http://a/"',
        '["http://a/"]',
        "[{}]",
        '[{ name = "a" }]',
        "[{ url = 1 }]",
        '[{ url = "http://a/", roots = "x" }]',
        '[{ url = "ftp://a/" }]',
        '[{ url = "http://" }]',
        '[{ url = "http://:80/" }]',
        '[{ url = "http://a:0/" }]',
        '[{ url = "http://a:99999/" }]',
        '[{ url = "http://[::1/" }]',
        '[{ url = "http://user:secret@a/" }]',
        '[{ url = "http://a/#part" }]',
        '[{ url = "http://a/ b" }]',
        '[{ url = "http://a/\\r\\nX: y" }]',
        '[{ url = "http://a/", name = "" }]',
        '[{ url = "http://a/", name = "a\\u0007" }]',
        '[{ url = "http://a/", certificates = "root.pem" }]',
        '[{ url = "http://a/", crls = "/root.crl" }]',
        '[{ url = "http://a/", crls = [1] }]',
        '[{ url = "http://a/", crls = ["root.crl"] }]',
        '[{ url = "http://a/", crls = ["ldap://a/"] }]',
        '[{ url = "http://a/", crls = ["/1", "/2", "/3", "/4", "/5"] }]',
        '[{ url = "http://a/", name = "x" }, { url = "http://b/", name = "x" }]',
        f"[{', '.join(NINE)}]",
    ],
)
def test_what_is_no_authority_is_named(tmp_path: Path, value: str) -> None:
    path = tmp_path / "sigillo.toml"
    path.write_text(f'version = 1\nname = "h"\noperator = "o"\ntsa = {value}\n')
    with pytest.raises(BrokerError, match=r"sigillo\.toml: tsa"):
        load(path)


@pytest.mark.parametrize("name", ["anchor_interval", "quote_interval"])
@pytest.mark.parametrize("seconds", ["0", "86401", '"60"', "1.5"])
def test_an_interval_out_of_range_is_named(tmp_path: Path, seconds: str, name: str) -> None:
    path = tmp_path / "sigillo.toml"
    path.write_text(f'version = 1\nname = "h"\noperator = "o"\n{name} = {seconds}\n')
    with pytest.raises(BrokerError, match=rf"sigillo\.toml: {name}"):
        load(path)
