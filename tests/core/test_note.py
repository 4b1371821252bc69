"""Log key as a C2SP vkey."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigillo.core.errors import DecodeError
from sigillo.core.note import LogKey
from tests.vector.key import LOG

KEY = LogKey("broker.example/log", LOG.public)
# the example of golang.org/x/mod/sumdb/note
GO_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"


def test_the_key_of_the_go_documentation() -> None:
    key = LogKey.from_vkey(GO_VKEY)
    assert (key.name, key.vkey, key.note_key_id.hex()) == ("PeterNeumann", GO_VKEY, "c74f20a3")


def test_ids_by_hand() -> None:
    assert KEY.key_id32 == hashlib.sha256(LOG.public).digest()
    assert KEY.note_key_id == hashlib.sha256(b"broker.example/log\n\x01" + LOG.public).digest()[:4]
    assert LogKey.from_vkey(KEY.vkey) == KEY


@given(st.text(max_size=12))
def test_names(name: str) -> None:
    try:
        key = LogKey(name, LOG.public)
    except DecodeError:
        return
    assert LogKey.from_vkey(key.vkey) == key


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\n", "a\u00a0b", "a\u2028b", "a\0", "n" * 256, "\ud800"])
def test_names_that_a_note_cannot_carry(name: str) -> None:
    with pytest.raises(DecodeError, match="name"):
        LogKey(name, LOG.public)


def parts(**changes: str) -> str:
    values = {
        "name": KEY.name,
        "digits": KEY.note_key_id.hex(),
        "key": base64.b64encode(b"\x01" + LOG.public).decode(),
    } | changes
    return "+".join(values.values())


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "broker",
        parts(name="other.example"),
        parts(digits="00000000"),
        parts(digits=KEY.note_key_id.hex().upper()),
        parts(digits=KEY.note_key_id.hex()[:-1]),
        parts(key=base64.b64encode(b"\x04" + LOG.public).decode()),
        parts(key=base64.b64encode(LOG.public).decode()),
        parts(key=base64.b64encode(b"\x01" + bytes(32)).decode()),
        parts(key=base64.urlsafe_b64encode(b"\x01" + b"\xff" * 32).decode()),
        parts() + "\n",
        parts() + "=",
        " " + parts(),
        parts(name=""),
        parts(name="a b"),
    ],
)
def test_other_vkeys_are_refused(vkey: str) -> None:
    with pytest.raises(DecodeError, match=r"^operator\.log_key: "):
        LogKey.from_vkey(vkey, "operator.log_key")


def test_every_change_of_a_character_is_refused() -> None:
    for position, character in enumerate(KEY.vkey):
        other = "A" if character != "A" else "B"
        with pytest.raises(DecodeError):
            LogKey.from_vkey(KEY.vkey[:position] + other + KEY.vkey[position + 1 :])
