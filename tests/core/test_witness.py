"""What a witness decides, and how its answers are read; the request's vectors are read in tests/vector."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigillo.core.checkpoint import SignedCheckpoint, TreeHead, decode_checkpoint, encode_checkpoint, sign_checkpoint
from sigillo.core.cosignature import sign_cosignature
from sigillo.core.errors import DecodeError, SignatureError
from sigillo.core.mark import Checkpoint
from sigillo.core.merkle import consistency_proof, subtree_reader, tree_root
from sigillo.core.note import LogKey, Note, NoteSignature
from sigillo.core.witness import (
    SIZE,
    AddCheckpoint,
    Answer,
    Refused,
    decide,
    decode_add_checkpoint,
    encode_add_checkpoint,
    encode_lines,
    read_lines,
    read_size,
    signed_by_one,
)
from tests.vector import tree
from tests.vector.cosign import ED25519, ML_DSA_44, TIME_S, cosigned
from tests.vector.key import EPOCH, LOG, WITNESS, filler

KEY = LogKey("broker.example/log", LOG.public)
SECOND = LogKey(KEY.name, EPOCH.public)


def checkpoint(size: int, root: bytes | None = None, *extensions: str) -> SignedCheckpoint:
    return sign_checkpoint(TreeHead(KEY.name, size, root or tree.root(size), extensions), KEY, LOG.sign)


def seen(size: int) -> Checkpoint:
    return Checkpoint(size, tree.root(size))


def request(old: int, size: int) -> AddCheckpoint:
    return AddCheckpoint(old, tuple(consistency_proof(old, size, tree.read())), checkpoint(size))


def refusal(asked: AddCheckpoint, newest: Checkpoint, *keys: LogKey) -> Refused:
    with pytest.raises(Refused) as raised:
        decide(asked, keys or (KEY,), newest)
    return raised.value


@pytest.mark.parametrize(
    ("old", "new"), [(0, 0), (0, 1), (0, 13), (1, 2), (8, 13), (13, 13), (255, 257), (4711, 70_000)]
)
def test_what_continues_is_cosigned(old: int, new: int) -> None:
    decide(request(old, new), (KEY,), seen(old))


def test_an_extension_line_is_not_compared() -> None:
    decide(AddCheckpoint(13, (), checkpoint(13, None, "an extension")), (KEY,), seen(13))


def test_a_log_that_is_not_followed() -> None:
    with pytest.raises(Refused) as raised:
        decide(AddCheckpoint(99, (filler("x"),), checkpoint(13)), (), seen(5))
    assert raised.value.answer.status == 404


def test_a_checkpoint_that_no_followed_key_signed() -> None:
    assert refusal(request(0, 13), seen(0), SECOND).answer.status == 403
    good = checkpoint(13)
    [own] = good.note.signatures
    forged = Note(good.note.text, (NoteSignature(own.name, own.key_id, bytes(64)),))
    assert refusal(AddCheckpoint(0, (), SignedCheckpoint(forged, good.head)), seen(0)).answer.status == 403


def test_any_followed_key_of_the_origin_will_do_and_only_its_line_is_kept() -> None:
    good = checkpoint(13)
    other = NoteSignature("stranger", bytes(4), b"x")
    whole = SignedCheckpoint(Note(good.note.text, (other, *good.note.signatures)), good.head)
    assert signed_by_one(whole, (SECOND, KEY)) == good
    decide(AddCheckpoint(0, (), whole), (SECOND, KEY), seen(0))


def test_an_old_size_above_the_checkpoints() -> None:
    assert refusal(AddCheckpoint(14, (), checkpoint(13)), seen(14)).answer.status == 400


@pytest.mark.parametrize(("old", "newest"), [(0, 8), (8, 0), (7, 8), (13, 8)])
def test_another_old_size_is_told_the_right_one(old: int, newest: int) -> None:
    answer = refusal(request(old, 13), seen(newest)).answer
    assert answer == Answer(409, f"{newest}\n".encode(), "text/x.tlog.size")
    assert read_size(answer) == newest


def test_a_log_that_was_rolled_back() -> None:
    """Attack 31: it has forgotten, the witness has not."""
    answer = refusal(request(5, 8), seen(13)).answer
    assert (answer.status, read_size(answer)) == (409, 13)
    assert refusal(AddCheckpoint(13, (), checkpoint(8)), seen(13)).answer.status == 400


def test_two_roots_of_one_size() -> None:
    """Attack 18: a split view."""
    refused = refusal(AddCheckpoint(13, (), checkpoint(13, filler("another root"))), seen(13))
    assert refused.forked
    assert refused.answer.status == 409


@pytest.mark.parametrize("other", ["first", "last", "shorter", "longer", "none"])
def test_a_proof_that_does_not_hold(other: str) -> None:
    good = request(8, 13)
    proof = {
        "first": (filler("x"), *good.proof[1:]),
        "last": (*good.proof[:-1], filler("x")),
        "shorter": good.proof[:-1],
        "longer": (*good.proof, filler("x")),
        "none": (),
    }[other]
    assert refusal(AddCheckpoint(8, proof, good.checkpoint), seen(8)).answer.status == 422


@pytest.mark.parametrize(("old", "new"), [(0, 13), (13, 13), (0, 0)])
def test_a_proof_where_none_is_needed(old: int, new: int) -> None:
    assert refusal(AddCheckpoint(old, (filler("x"),), checkpoint(new)), seen(old)).answer.status == 422


def test_another_tree_with_a_proof_of_its_own() -> None:
    """Attack 18: the proof fits the history that is shown now, not the one that was seen."""
    leaves = [filler(f"other leaf {n}") for n in range(13)]
    read = subtree_reader(leaves)
    forged = AddCheckpoint(8, tuple(consistency_proof(8, 13, read)), checkpoint(13, tree_root(13, read)))
    assert refusal(forged, seen(8)).answer.status == 422


@given(
    st.integers(0, 2**64 - 1),
    st.lists(st.binary(min_size=32, max_size=32), max_size=63),
    st.integers(1, 2**64 - 1),
    st.binary(min_size=32, max_size=32),
)
def test_requests_round_trip(old: int, proof: list[bytes], size: int, root: bytes) -> None:
    asked = AddCheckpoint(old, tuple(proof), checkpoint(size, root))
    assert decode_add_checkpoint(encode_add_checkpoint(asked)) == asked


GOOD = encode_add_checkpoint(request(8, 13))


@given(
    st.binary(max_size=80)
    | st.builds(
        lambda at, cut, put: GOOD[:at] + put + GOOD[at + cut :],
        st.integers(0, 300),
        st.integers(0, 9),
        st.binary(max_size=9),
    )
    | st.builds(
        lambda head: head.encode() + b"\n\n" + GOOD.partition(b"\n\n")[2], st.text("old 0189AZaz+/=\n", max_size=99)
    )
)
def test_what_decodes_re_encodes_to_itself(data: bytes) -> None:
    try:
        asked = decode_add_checkpoint(data)
    except DecodeError:
        return
    assert encode_add_checkpoint(asked) == data


def test_more_than_63_hashes_are_neither_read_nor_written() -> None:
    with pytest.raises(DecodeError, match="more than 63"):
        encode_add_checkpoint(AddCheckpoint(8, (filler("x"),) * 64, checkpoint(13)))


def test_an_answer_is_read_through_the_key_that_was_asked() -> None:
    note = checkpoint(13).note
    both = cosigned(cosigned(Note(note.text, ()), ED25519), ML_DSA_44)
    body = encode_lines([*both.signatures, NoteSignature("stranger", bytes(4), b"x")])
    for key, line in zip((ED25519, ML_DSA_44), both.signatures, strict=True):
        assert read_lines(body, note, key) == line


def test_answers_that_do_not_count() -> None:
    note = checkpoint(13).note
    line = sign_cosignature(note, ED25519, TIME_S, WITNESS.sign)
    elsewhere = sign_cosignature(checkpoint(12).note, ED25519, TIME_S, WITNESS.sign)
    text = encode_lines([line])
    for body in (b"", b"\n", text[:-1], text + text, b"x\n\n" + text, text + b"\n", text + b"\n\n" + text, b"\xff"):
        with pytest.raises((DecodeError, SignatureError)):
            read_lines(body, note, ED25519)
    for body, key in ((encode_lines([elsewhere]), ED25519), (text, ML_DSA_44)):
        with pytest.raises(SignatureError):
            read_lines(body, note, key)


@given(st.binary(max_size=200))
def test_any_body_is_an_answer_or_refused(body: bytes) -> None:
    with pytest.raises((DecodeError, SignatureError)):
        read_lines(body, checkpoint(13).note, ED25519)


@given(st.binary(max_size=24) | st.integers(0, 2**65).map(lambda n: b"%d\n" % n))
def test_sizes(body: bytes) -> None:
    try:
        size = read_size(Answer(409, body, SIZE))
    except DecodeError:
        return
    assert body == b"%d\n" % size


def test_a_size_of_another_type_is_none() -> None:
    with pytest.raises(DecodeError):
        read_size(Answer(409, b"13\n", "text/plain"))


def test_a_witnesss_answer_makes_a_whole_note() -> None:
    note = checkpoint(13).note
    line = sign_cosignature(note, ED25519, TIME_S, WITNESS.sign)
    data = encode_checkpoint(checkpoint(13)) + encode_lines([line])
    assert decode_checkpoint(data).note.signatures == (*note.signatures, line)
