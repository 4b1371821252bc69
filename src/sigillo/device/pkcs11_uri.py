"""`pkcs11:` URIs (RFC 7512) that name one signing key in a token: what a device folder records instead of the key.

`pkcs11:token=Crate;object=crate-1?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/etc/crate.pin`

Of the path attributes `token`, `serial`, `object`, `id` and `type=private`, of the query attributes `module-path` and
`pin-source=file:…` mean something here. Any other is refused rather than passed over: it would have narrowed down which
key is meant. So is `pin-value`: a PIN in a command line or a file of settings is none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_to_bytes

from sigillo.device.error import DeviceError

SCHEME = "pkcs11:"
EXAMPLE = "pkcs11:token=Crate;object=crate-1?module-path=/usr/lib/softhsm/libsofthsm2.so"
_PATH_NAMES = frozenset({"token", "serial", "object", "id", "type"})
_QUERY_NAMES = frozenset({"module-path", "pin-source"})
_ENCODED = re.compile(r"(?:[A-Za-z0-9._~:\[\]@!$'()*+,=&/?|-]|%[0-9A-Fa-f]{2})*")
_MAX_CHARACTERS = 4096


@dataclass(frozen=True, slots=True)
class TokenUri:
    """A key in a token. *label* or *key_id* (or both) name the key, *token* or *serial* the token.

    *text*: the URI as it was given, which holds no PIN. *module*: the PKCS#11 library. *pin_file*: where the PIN is.
    """

    text: str
    token: str | None
    serial: str | None
    label: str | None
    key_id: bytes | None
    module: Path
    pin_file: Path | None

    @property
    def token_name(self) -> str:
        """What errors call the token."""
        return f"token {self.token!a}" if self.token is not None else f"token with serial number {self.serial!a}"

    @property
    def key_name(self) -> str:
        """What errors call the key."""
        named = [f"object={self.label!a}"] if self.label is not None else []
        return ", ".join([*named, *([f"id={self.key_id.hex()}"] if self.key_id is not None else [])])


def parse_token_uri(text: str) -> TokenUri:
    """The key that a URI names. Raises DeviceError, which never repeats the URI: there may be a PIN in it."""
    if not text.startswith(SCHEME):
        raise DeviceError(f"PKCS#11 URI: does not begin with `{SCHEME}`; for example {EXAMPLE}")
    if len(text) > _MAX_CHARACTERS:
        raise DeviceError(f"PKCS#11 URI: is longer than {_MAX_CHARACTERS} characters")
    path, _, query = text.removeprefix(SCHEME).partition("?")
    attributes = _attributes(path, ";", _PATH_NAMES) | _attributes(query, "&", _QUERY_NAMES)
    if attributes.get("type", b"private") != b"private":
        raise DeviceError("PKCS#11 URI: type must be private, the key that signs; or leave it out")
    if not {"token", "serial"} & attributes.keys():
        raise DeviceError(f"PKCS#11 URI: names no token; add token=… (or serial=…), as in {EXAMPLE}")
    if not {"object", "id"} & attributes.keys():
        raise DeviceError(f"PKCS#11 URI: names no key; add object=… (or id=…), as in {EXAMPLE}")
    if "module-path" not in attributes:
        raise DeviceError(f"PKCS#11 URI: does not say which library speaks to the token; add it as in {EXAMPLE}")
    source = _text(attributes, "pin-source")
    return TokenUri(
        text,
        token=_text(attributes, "token"),
        serial=_text(attributes, "serial"),
        label=_text(attributes, "object"),
        key_id=attributes.get("id"),
        module=_absolute(_text(attributes, "module-path") or "", "module-path"),
        pin_file=None if source is None else _pin_file(source),
    )


def _attributes(part: str, separator: str, known: frozenset[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for attribute in part.split(separator) if part else ():
        name, equals, value = attribute.partition("=")
        if name in ("pin-value", "x-pin-value"):
            raise DeviceError(
                "PKCS#11 URI: has a PIN in it (pin-value), for everybody to read; put the PIN into a file of yours "
                "and name it with pin-source=file:/PATH. If it was typed on a command line, change it."
            )
        if name not in known:
            raise DeviceError(f"PKCS#11 URI: attribute {name[:40]!a} is none of {', '.join(sorted(known))}")
        if name in found:
            raise DeviceError(f"PKCS#11 URI: {name} is there twice")
        if not equals or not value or not _ENCODED.fullmatch(value):
            raise DeviceError(f"PKCS#11 URI: the value of {name} is empty or not percent-encoded as RFC 7512 has it")
        found[name] = unquote_to_bytes(value)
    return found


def _text(attributes: dict[str, bytes], name: str) -> str | None:
    if name not in attributes:
        return None
    try:
        text = attributes[name].decode("utf-8")
    except UnicodeDecodeError:
        raise DeviceError(f"PKCS#11 URI: {name} is not UTF-8") from None
    if not text.isprintable():
        raise DeviceError(f"PKCS#11 URI: {name} holds a character that cannot be printed")
    return text


def _pin_file(source: str) -> Path:
    if not source.startswith("file:"):
        raise DeviceError("PKCS#11 URI: pin-source must be file:/PATH, a file with the PIN")
    return _absolute(source.removeprefix("file:").removeprefix("//"), "pin-source")


def _absolute(text: str, name: str) -> Path:
    if not text.startswith("/"):
        raise DeviceError(f"PKCS#11 URI: {name} must be an absolute path, since a device is used from anywhere")
    return Path(text)
