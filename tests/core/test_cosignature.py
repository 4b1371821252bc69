"""Cosignatures by hand, and every change of one; vectors are read in tests/vector."""

from __future__ import annotations

import base64
import hashlib
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sigillo.core.checkpoint import TreeHead, encode_tree_head, sign_checkpoint
from sigillo.core.cosignature import (
    TIME_MAX,
    Cosignature,
    WitnessKey,
    WitnessKeyType,
    cosigned_bytes,
    sign_cosignature,
    verify_cosignature,
)
from sigillo.core.errors import DecodeError, SignatureError
from sigillo.core.note import LogKey, Note, NoteSignature, decode_note, encode_note
from tests.vector.cosign import ED25519, ML_DSA_44, SIGN, TIME_S, cosigned
from tests.vector.key import LOG, WITNESS, filler

KEY = LogKey("broker.example/log", LOG.public)
HEAD = TreeHead(KEY.name, 4711, filler("root"), ("an extension",))
NOTE = sign_checkpoint(HEAD, KEY, LOG.sign).note
BOTH = pytest.mark.parametrize("key", [ED25519, ML_DSA_44], ids=["ed25519", "ml-dsa-44"])
origins = st.text(st.characters(categories=["L", "N", "P"], exclude_characters="+"), min_size=1, max_size=40)
lines = st.text(st.characters(min_codepoint=0x20, codec="utf-8"), min_size=1, max_size=20)


def test_messages_by_hand() -> None:
    root = base64.b64encode(HEAD.root).decode()
    text = f"cosignature/v1\ntime {TIME_S}\nbroker.example/log\n4711\n{root}\nan extension\n"
    assert cosigned_bytes(NOTE.text, ED25519, TIME_S) == text.encode()
    struct_bytes = (
        b"subtree/v1\n\0\x12witness.example/w2"
        + struct.pack(">Q", TIME_S)
        + b"\x12broker.example/log"
        + struct.pack(">QQ", 0, 4711)
        + HEAD.root
    )
    assert cosigned_bytes(NOTE.text, ML_DSA_44, TIME_S) == struct_bytes


def test_ids_by_hand() -> None:
    expected = hashlib.sha256(b"witness.example/w1\n\x04" + WITNESS.public).digest()[:4]
    assert ED25519.note_key_id == expected != LogKey(ED25519.name, WITNESS.public).note_key_id
    expected = hashlib.sha256(b"witness.example/w2\n\x06" + ML_DSA_44.public_key).digest()[:4]
    assert ML_DSA_44.note_key_id == expected


def test_the_example_of_the_standard() -> None:
    """Name and key id of the witness line in C2SP tlog-cosignature; its public key is not in the document."""
    data = (
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
        "\u2014 witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5"
        "nNo0xUe+mbIUBkBIfZ+qnA==\n"
    ).encode()
    [line] = decode_note(data).signatures
    assert (len(line.signature), int.from_bytes(line.signature[:8], "big")) == (72, 1679315147)


@BOTH
def test_round_trip_of_vkeys(key: WitnessKey) -> None:
    assert WitnessKey.from_vkey(key.vkey) == key


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        KEY.vkey,
        ED25519.vkey[:-4],
        ED25519.vkey + "\n",
        ED25519.vkey.replace("w1", "w2"),
        ED25519.vkey.replace("witness", "wit ness"),
        ML_DSA_44.vkey[:-4],
        "w+00000000+=",
        "w+00000000+A",
    ],
)
def test_other_vkeys_are_refused(vkey: str) -> None:
    with pytest.raises(DecodeError, match=r"^witness\.key: "):
        WitnessKey.from_vkey(vkey, "witness.key")


def test_keys_that_may_not_be_used() -> None:
    for key in (bytes(32), b"\xff" * 32, bytes(31), ML_DSA_44.public_key):
        with pytest.raises(DecodeError):
            WitnessKey("w", WitnessKeyType.ED25519, key)
    with pytest.raises(DecodeError):
        WitnessKey("w", WitnessKeyType.ML_DSA_44, WITNESS.public)


@given(st.text(max_size=80) | st.text(alphabet="w+0123456789abcdef=A/", max_size=80))
def test_what_is_read_as_a_vkey_is_written_the_same(text: str) -> None:
    try:
        key = WitnessKey.from_vkey(text)
    except DecodeError:
        return
    assert key.vkey == text


@settings(max_examples=40)
@given(
    st.sampled_from([ED25519, ML_DSA_44]),
    origins,
    st.integers(1, 2**64 - 1),
    st.binary(min_size=32, max_size=32),
    st.lists(lines, max_size=3),
    st.integers(1, TIME_MAX),
)
def test_round_trip(key: WitnessKey, origin: str, size: int, root: bytes, extensions: list[str], time_s: int) -> None:
    text = encode_tree_head(TreeHead(origin, size, root, tuple(extensions)))
    note = decode_note(encode_note(cosigned(Note(text, ()), key, time_s)))
    assert verify_cosignature(note, key) == Cosignature(key, time_s)


@BOTH
def test_every_byte_of_a_cosignature_counts(key: WitnessKey) -> None:
    note = cosigned(NOTE, key)
    own = note.signatures[-1]
    for position in range(0, len(own.signature), 1 if key is ED25519 else 97):
        changed = bytes(byte ^ (at == position) for at, byte in enumerate(own.signature))
        with pytest.raises(SignatureError):
            verify_cosignature(Note(NOTE.text, (NoteSignature(own.name, own.key_id, changed),)), key)


@BOTH
@pytest.mark.parametrize("time_s", [0, 2**63])
def test_a_time_out_of_range_counts_for_nothing(key: WitnessKey, time_s: int) -> None:
    with pytest.raises(DecodeError, match="time"):
        sign_cosignature(NOTE, key, time_s, SIGN[key])
    right = cosigned_bytes(NOTE.text, key, 1)
    stamp = time_s.to_bytes(8, "big")
    message = right.replace(b"\ntime 1\n", f"\ntime {time_s}\n".encode()).replace(bytes(7) + b"\1", stamp, 1)
    line = NoteSignature(key.name, key.note_key_id, stamp + SIGN[key](message))
    with pytest.raises(SignatureError, match="time"):
        verify_cosignature(Note(NOTE.text, (line,)), key)


def test_only_the_key_that_is_asked_for_counts() -> None:
    note = cosigned(cosigned(NOTE, ED25519), ML_DSA_44, TIME_S + 1)
    assert verify_cosignature(note, ED25519).time_s == TIME_S
    assert verify_cosignature(note, ML_DSA_44).time_s == TIME_S + 1
    with pytest.raises(SignatureError, match=r"no cosignature by w "):
        verify_cosignature(note, WitnessKey("w", WitnessKeyType.ED25519, WITNESS.public))


def test_a_logs_own_signature_is_no_cosignature() -> None:
    """The log key signs the text alone, and under another key id: not even moved does it count."""
    as_witness = WitnessKey(KEY.name, WitnessKeyType.ED25519, KEY.public_key)
    with pytest.raises(SignatureError, match="no cosignature"):
        verify_cosignature(NOTE, as_witness)
    moved = NoteSignature(KEY.name, as_witness.note_key_id, TIME_S.to_bytes(8, "big") + NOTE.signatures[0].signature)
    with pytest.raises(SignatureError, match="does not verify"):
        verify_cosignature(Note(NOTE.text, (moved,)), as_witness)


def test_no_more_than_a_checkpoint_is_cosigned() -> None:
    for text in ("free text\n", "origin\n5\nAAAA\n", "origin\n\n5\n"):
        with pytest.raises(DecodeError):
            sign_cosignature(Note(text, ()), ED25519, TIME_S, WITNESS.sign)
    with pytest.raises(DecodeError, match="63 bytes"):
        sign_cosignature(NOTE, ED25519, TIME_S, lambda _: bytes(63))
