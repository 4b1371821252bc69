"""RFC 7512: a URI names one key, says everything it means, and never holds a PIN."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigillo.device.error import DeviceError
from sigillo.device.pkcs11_uri import EXAMPLE, TokenUri, parse_token_uri

BASE = "pkcs11:token=Crate;object=crate-1?module-path=/lib/x.so"
text = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20)


def test_the_example() -> None:
    uri = parse_token_uri(f"{EXAMPLE}&pin-source=file:/etc/crate.pin")
    module, pin = Path("/usr/lib/softhsm/libsofthsm2.so"), Path("/etc/crate.pin")
    assert uri == TokenUri(uri.text, "Crate", None, "crate-1", None, module, pin)
    assert (uri.token_name, uri.key_name) == ("token 'Crate'", "object='crate-1'")
    assert parse_token_uri(f"{BASE}&pin-source=file:///etc/crate.pin").pin_file == pin
    assert parse_token_uri(BASE.replace("?", ";type=private?")).pin_file is None


@given(text, text, text, st.binary(min_size=1, max_size=20), text, text.filter(lambda pin: not pin.startswith("/")))
def test_every_value_comes_back(token: str, serial: str, label: str, key_id: bytes, module: str, pin: str) -> None:
    path = f"token={quote(token)};serial={quote(serial)};object={quote(label)};id={quote(key_id)}"
    uri = parse_token_uri(f"pkcs11:{path}?pin-source=file:/{quote(pin)}&module-path=/{quote(module)}")
    assert (uri.token, uri.serial, uri.label, uri.key_id) == (token, serial, label, key_id)
    assert uri.module == Path(f"/{module}")
    assert uri.pin_file == Path(f"/{pin}")


@given(st.text(max_size=60) | st.text(alphabet="pkcs11:token=objectid;?&%/0aé", max_size=60))
def test_other_text_is_refused_or_names_a_key(rest: str) -> None:
    for uri_text in (rest, f"pkcs11:{rest}", f"{BASE}{rest}"):
        try:
            uri = parse_token_uri(uri_text)
        except DeviceError:
            continue
        assert uri.text == uri_text and uri.module.is_absolute() and (uri.label or uri.key_id) and uri.token


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("", "does not begin with"),
        ("PKCS11:token=x", "does not begin with"),
        ("pkcs11:", "names no token"),
        (BASE.replace("token=Crate;", ""), "names no token"),
        (BASE.replace(";object=crate-1", ""), "names no key"),
        (BASE.partition("?")[0], "which library"),
        (BASE.replace("token=", "toke="), "'toke' is none of"),
        (BASE.replace("token=", "manufacturer=x;token="), "'manufacturer' is none of"),
        (BASE + "&module-name=x", "'module-name' is none of"),
        (BASE.replace("token=", "token=y;token="), "token is there twice"),
        (BASE.replace("Crate", ""), "token is empty"),
        (BASE.replace("=Crate", ""), "token is empty"),
        (BASE.replace("Crate", "Cr ate"), "not percent-encoded"),
        (BASE.replace("Crate", "Cr%zzate"), "not percent-encoded"),
        (BASE.replace("Crate", "Cr%2"), "not percent-encoded"),
        (BASE.replace("Crate", "%ff"), "token is not UTF-8"),
        (BASE.replace("Crate", "%00"), "cannot be printed"),
        (BASE.replace(";object", ";;object"), "'' is none of"),
        (BASE.replace("?", ";type=public?"), "type must be private"),
        (BASE.replace("/lib", "lib"), "module-path must be an absolute path"),
        (BASE + "&pin-source=/etc/pin", "pin-source must be file:/PATH"),
        (BASE + "&pin-source=file:pin", "pin-source must be an absolute path"),
        (BASE + "&pin-source=%7C/usr/bin/program", "pin-source must be file:/PATH"),
        (BASE + "&pin-value=4711", "has a PIN in it"),
        (BASE.replace("?", ";pin-value=4711?"), "has a PIN in it"),
        (f"{BASE}{'x' * 5000}", "longer than"),
    ],
)
def test_refused_by_name(uri: str, says: str) -> None:
    with pytest.raises(DeviceError) as caught:
        parse_token_uri(uri)
    assert says in str(caught.value)
    assert "4711" not in str(caught.value)
