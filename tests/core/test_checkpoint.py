"""Signed checkpoint."""

from __future__ import annotations

import base64
import dataclasses
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigillo.core.bytes import EMPTY_ROOT
from sigillo.core.checkpoint import (
    SignedCheckpoint,
    TreeHead,
    decode_checkpoint,
    decode_tree_head,
    encode_checkpoint,
    encode_tree_head,
    sign_checkpoint,
    verify_checkpoint,
)
from sigillo.core.errors import DecodeError, SignatureError
from sigillo.core.mark import Checkpoint
from sigillo.core.note import LogKey, Note, NoteSignature, sign_note
from tests.vector.key import EPOCH, LOG, filler

KEY = LogKey("broker.example/log", LOG.public)
HEAD = TreeHead(KEY.name, 4711, filler("root"))
SIGNED = sign_checkpoint(HEAD, KEY, LOG.sign)
lines = st.text(st.characters(min_codepoint=0x20, codec="utf-8"), min_size=1, max_size=20)


@given(st.integers(1, 2**64 - 1), st.binary(min_size=32, max_size=32), st.lists(lines, max_size=4))
def test_round_trip(size: int, root: bytes, extensions: list[str]) -> None:
    head = TreeHead(KEY.name, size, root, tuple(extensions))
    decoded = decode_checkpoint(encode_checkpoint(sign_checkpoint(head, KEY, LOG.sign)))
    assert verify_checkpoint(decoded, KEY) == head
    assert head.checkpoint == Checkpoint(size, root)


@given(st.text(alphabet="abc0123456789=\n ", max_size=80))
def test_what_decodes_re_encodes_to_itself(text: str) -> None:
    padded = f"origin\n12\n{base64.b64encode(bytes(32)).decode()}\n{text}"
    for candidate in (text, padded):
        try:
            head = decode_tree_head(candidate)
        except DecodeError:
            continue
        assert encode_tree_head(head) == candidate


def test_by_hand() -> None:
    text = f"broker.example/log\n4711\n{base64.b64encode(HEAD.root).decode()}\n"
    assert encode_tree_head(HEAD) == text
    assert SIGNED.beacon_hash == hashlib.sha256(text.encode()).digest()
    line = base64.b64encode(KEY.note_key_id + LOG.sign(text.encode())).decode()
    assert encode_checkpoint(SIGNED) == f"{text}\n\u2014 broker.example/log {line}\n".encode()


def test_a_cosignature_changes_neither_head_nor_beacon() -> None:
    cosignature = NoteSignature("witness.example", bytes(4), bytes(72))
    cosigned = SignedCheckpoint(Note(SIGNED.note.text, (cosignature, *SIGNED.note.signatures)), HEAD)
    decoded = decode_checkpoint(encode_checkpoint(cosigned))
    assert verify_checkpoint(decoded, KEY) == HEAD
    assert decoded.beacon_hash == SIGNED.beacon_hash


def test_the_beacon_follows_every_part_of_the_text() -> None:
    changed = [
        dataclasses.replace(HEAD, size=4712),
        dataclasses.replace(HEAD, root=filler("another")),
        dataclasses.replace(HEAD, extensions=("x",)),
    ]
    hashes = {sign_checkpoint(head, KEY, LOG.sign).beacon_hash for head in changed}
    assert len(hashes - {SIGNED.beacon_hash}) == 3


@pytest.mark.parametrize(
    "head",
    [
        dataclasses.replace(HEAD, origin=""),
        dataclasses.replace(HEAD, origin="a\n1"),
        dataclasses.replace(HEAD, size=-1),
        dataclasses.replace(HEAD, size=2**64),
        dataclasses.replace(HEAD, size=0),
        dataclasses.replace(HEAD, root=bytes(31)),
        dataclasses.replace(HEAD, extensions=("",)),
        dataclasses.replace(HEAD, extensions=("a\nb",)),
        dataclasses.replace(HEAD, extensions=("a", "")),
    ],
)
def test_a_head_that_would_be_read_as_another_is_not_written(head: TreeHead) -> None:
    with pytest.raises(DecodeError):
        encode_tree_head(head)


def test_an_empty_log_has_the_empty_root() -> None:
    empty = TreeHead(KEY.name, 0, EMPTY_ROOT)
    assert decode_tree_head(encode_tree_head(empty)) == empty


def test_a_log_signs_its_own_origin_only() -> None:
    with pytest.raises(DecodeError, match="not the name of the key"):
        sign_checkpoint(dataclasses.replace(HEAD, origin="other.example"), KEY, LOG.sign)


def test_another_origin_is_refused_though_the_key_signed_it() -> None:
    text = encode_tree_head(dataclasses.replace(HEAD, origin="other.example"))
    note = sign_note(text, KEY, LOG.sign)
    with pytest.raises(SignatureError, match=r"of the log 'other\.example'"):
        verify_checkpoint(SignedCheckpoint(note, decode_tree_head(text)), KEY)


def test_another_key_of_the_same_name_is_refused() -> None:
    with pytest.raises(SignatureError, match="no signature by"):
        verify_checkpoint(SIGNED, LogKey(KEY.name, EPOCH.public))


def test_every_change_of_a_byte_is_refused() -> None:
    data = encode_checkpoint(SIGNED)
    for position in range(len(data)):
        for bit in (0x01, 0x02, 0x20, 0x80):
            changed = bytes(byte ^ (bit if at == position else 0) for at, byte in enumerate(data))
            with pytest.raises((DecodeError, SignatureError)):
                verify_checkpoint(decode_checkpoint(changed), KEY)
