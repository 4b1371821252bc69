"""Log key as a C2SP vkey; signed notes."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigillo.core.errors import DecodeError, SignatureError
from sigillo.core.note import LogKey, Note, NoteSignature, decode_note, encode_note, sign_note, verify_note
from tests.vector.key import EPOCH, LOG

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


OTHER = LogKey("other.example", EPOCH.public)
NOTE = sign_note("a text\n\nof two parts\n", KEY, LOG.sign)
texts = st.text(st.characters(min_codepoint=0x20, codec="utf-8") | st.just("\n"), max_size=40).map(lambda t: t + "\n")
names = st.text(st.characters(categories=["L", "N", "P"], exclude_characters="+"), min_size=1, max_size=9)


@given(texts, st.lists(st.tuples(names, st.binary(min_size=4, max_size=4), st.binary(min_size=1, max_size=90))))
def test_note_round_trip(text: str, others: list[tuple[str, bytes, bytes]]) -> None:
    unique = {(name, key_id): NoteSignature(name, key_id, signature) for name, key_id, signature in others[:63]}
    note = Note(text, (*unique.values(), *sign_note(text, KEY, LOG.sign).signatures))
    decoded = decode_note(encode_note(note))
    assert decoded == note
    assert verify_note(decoded, KEY) == text


@given(st.binary(max_size=60) | st.text(alphabet="a\n\u2014 AB=+/", max_size=60).map(str.encode))
def test_what_decodes_as_a_note_re_encodes_to_itself(data: bytes) -> None:
    try:
        note = decode_note(data)
    except DecodeError:
        return
    assert encode_note(note) == data


def test_a_note_by_hand() -> None:
    text = "a text\n\nof two parts\n"
    line = base64.b64encode(KEY.note_key_id + LOG.sign(text.encode())).decode()
    assert encode_note(NOTE) == f"{text}\n\u2014 broker.example/log {line}\n".encode()


def test_every_change_of_a_byte_is_refused() -> None:
    data = encode_note(NOTE)
    for position in range(len(data)):
        for bit in (0x01, 0x20, 0x80):
            changed = bytes(byte ^ (bit if at == position else 0) for at, byte in enumerate(data))
            with pytest.raises((DecodeError, SignatureError)):
                verify_note(decode_note(changed), KEY)
    for end in range(len(data)):
        with pytest.raises(DecodeError):
            decode_note(data[:end])


@pytest.mark.parametrize(
    "signature",
    [
        NoteSignature("", bytes(4), b"x"),
        NoteSignature("a b", bytes(4), b"x"),
        NoteSignature("a\n", bytes(4), b"x"),
        NoteSignature("\ud800", bytes(4), b"x"),
        NoteSignature("a", bytes(4), b""),
        NoteSignature("a", bytes(3), b"x"),
        NoteSignature("a", bytes(5), b"x"),
        NOTE.signatures[0],
    ],
)
def test_a_note_that_would_be_read_as_another_is_not_written(signature: NoteSignature) -> None:
    with pytest.raises(DecodeError):
        encode_note(Note(NOTE.text, (*NOTE.signatures, signature)))


@pytest.mark.parametrize("text", ["", "x", "x\r\n", "\0\n", "\ud800\n"])
def test_a_text_that_no_note_has_is_not_signed(text: str) -> None:
    with pytest.raises(DecodeError):
        sign_note(text, KEY, lambda _: bytes(64))


def test_a_signature_of_another_length_is_not_taken() -> None:
    with pytest.raises(DecodeError, match="63 bytes"):
        sign_note("x\n", KEY, lambda _: bytes(63))


def test_only_the_key_that_is_asked_for_counts() -> None:
    theirs = sign_note(NOTE.text, OTHER, EPOCH.sign)
    both = Note(NOTE.text, (*theirs.signatures, *NOTE.signatures))
    assert verify_note(both, KEY) == verify_note(both, OTHER) == NOTE.text
    with pytest.raises(SignatureError, match=r"no signature by other\.example"):
        verify_note(NOTE, OTHER)
    broken = Note(NOTE.text, (NoteSignature(OTHER.name, OTHER.note_key_id, bytes(64)), *NOTE.signatures))
    assert verify_note(broken, KEY) == NOTE.text
    with pytest.raises(SignatureError, match="does not verify"):
        verify_note(broken, OTHER)


def test_a_signature_under_another_keys_name_and_id_is_refused() -> None:
    stolen = NoteSignature(KEY.name, KEY.note_key_id, EPOCH.sign(NOTE.text.encode()))
    with pytest.raises(SignatureError, match="does not verify"):
        verify_note(Note(NOTE.text, (stolen,)), KEY)
