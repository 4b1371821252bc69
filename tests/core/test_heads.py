"""Heads and head proofs: one answer for each principal, and no other can be made out of its parts."""

from __future__ import annotations

import dataclasses
import hashlib

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigillo.core import cbor
from sigillo.core.bytes import EMPTY_ROOT, object_hash
from sigillo.core.errors import DecodeError, MerkleError
from sigillo.core.heads import (
    AbsenceProof,
    Head,
    Heads,
    HeadTable,
    PresenceProof,
    decode_head_proof,
    decode_heads,
    encode_head_proof,
    encode_heads,
    head_key,
    head_of,
    verify_head_proof,
)
from sigillo.core.mark import decode_batch_mark, decode_mark
from tests.vector import sample
from tests.vector.key import filler
from tests.vector.sample import EPOCH_ID

NAMES = [f"crate-{number}" for number in range(12)] + ["", "Società"]


@st.composite
def tables(draw: st.DrawFn, least: int = 0) -> tuple[HeadTable, dict[str, Head]]:
    """Heads of some marks of some principals."""
    marks = draw(st.lists(st.sampled_from(NAMES), min_size=least, max_size=40))
    heads: dict[str, Head] = {}
    for sequence, name in enumerate(marks, start=1):
        count = heads[name].count + 1 if name in heads else 1
        heads[name] = Head(count, filler(f"mark {sequence}"), sequence, filler(f"blind {sequence}"))
    return HeadTable(EPOCH_ID, len(marks), heads), heads


@given(tables())
def test_every_principal_has_one_answer(made: tuple[HeadTable, dict[str, Head]]) -> None:
    table, heads = made
    under = decode_heads(encode_heads(table.heads))
    assert under == table.heads
    for name in [*NAMES, "never seen"]:
        proof = decode_head_proof(encode_head_proof(table.prove(name)))
        assert proof == table.prove(name)
        assert verify_head_proof(proof, under, name) == heads.get(name)


@given(tables(), st.sampled_from(NAMES), st.sampled_from(NAMES))
def test_a_proof_answers_for_no_principal_that_has_another(
    made: tuple[HeadTable, dict[str, Head]], asked: str, other: str
) -> None:
    """An absence proof may fit several absent principals of one gap, and says the same of each; nothing else passes."""
    table, heads = made
    proof = table.prove(other)
    if proof == table.prove(asked):
        assert verify_head_proof(proof, table.heads, asked) == heads.get(asked)
    else:
        with pytest.raises(MerkleError):
            verify_head_proof(proof, table.heads, asked)


@given(tables(least=1), st.data())
def test_every_change_of_a_byte_is_refused(made: tuple[HeadTable, dict[str, Head]], data: st.DataObject) -> None:
    table = made[0]
    name = data.draw(st.sampled_from(NAMES))
    encoded = encode_head_proof(table.prove(name))
    position, bit = data.draw(st.integers(0, len(encoded) - 1)), data.draw(st.integers(0, 7))
    changed = bytes(byte ^ (1 << bit if at == position else 0) for at, byte in enumerate(encoded))
    with pytest.raises((DecodeError, MerkleError)):
        verify_head_proof(decode_head_proof(changed), table.heads, name)


@given(tables(least=1), st.data())
def test_two_leaves_that_do_not_enclose_the_key_prove_nothing(
    made: tuple[HeadTable, dict[str, Head]], data: st.DataObject
) -> None:
    """Absence of a present principal, out of any two true leaves."""
    table, heads = made
    name = data.draw(st.sampled_from(sorted(heads)))
    absences = [proof for proof in map(table.prove, map(str, range(60))) if isinstance(proof, AbsenceProof)]
    leaves = [proof.before for proof in absences] + [proof.after for proof in absences]
    forged = AbsenceProof(data.draw(st.sampled_from(leaves)), data.draw(st.sampled_from(leaves)))
    with pytest.raises(MerkleError):
        verify_head_proof(forged, table.heads, name)


@given(tables(least=1), st.data())
def test_heads_that_say_something_else_are_refused(
    made: tuple[HeadTable, dict[str, Head]], data: st.DataObject
) -> None:
    table, heads = made
    name = data.draw(st.sampled_from([*sorted(heads), "never seen"]))
    proof, true = table.prove(name), table.heads
    changed = data.draw(
        st.sampled_from(
            [
                dataclasses.replace(true, root=filler("another root")),
                dataclasses.replace(true, epoch_id=filler("another epoch")),
                dataclasses.replace(true, leaves=0, last_sequence=0, root=EMPTY_ROOT),
            ]
        )
    )
    try:
        found = verify_head_proof(proof, changed, name)
    except MerkleError:
        return
    # under another epoch id the name has another key, which may lie in the same gap
    assert found is None
    assert isinstance(proof, AbsenceProof)
    assert changed.root == true.root


def test_a_head_after_the_last_mark_covered_is_refused() -> None:
    table = HeadTable(EPOCH_ID, 3, {"a": Head(3, bytes(32), 3, bytes(32))})
    early = dataclasses.replace(table.heads, last_sequence=2)
    with pytest.raises(MerkleError, match="after the last one"):
        verify_head_proof(table.prove("a"), early, "a")


def test_keys_leaves_and_root_by_hand() -> None:
    head = Head(3, filler("mark"), 3, filler("blind"))
    table = HeadTable(EPOCH_ID, 3, {"crate-1": head})
    prefixed = (32).to_bytes(8, "big") + EPOCH_ID + (7).to_bytes(8, "big") + b"crate-1"
    key = hashlib.sha256(b"sigillo/v1/heads-leaf\n" + prefixed).digest()
    assert head_key(EPOCH_ID, "crate-1") == key
    value = cbor2.dumps([3, filler("mark"), 3, filler("blind")])
    value_hash = hashlib.sha256(b"sigillo/v1/heads-value\n" + len(value).to_bytes(8, "big") + value).digest()
    assert table.heads.root == hashlib.sha256(b"\0" + key + value_hash).digest()
    assert encode_heads(table.heads) == cbor2.dumps({1: 1, 2: EPOCH_ID, 3: 3, 4: 1, 5: table.heads.root})
    assert table.heads.object_hash == object_hash("heads", encode_heads(table.heads))


@pytest.mark.parametrize("kind", ["signed", "batch"])
def test_head_of_a_mark(kind: str) -> None:
    if kind == "signed":
        mark = decode_mark(sample.FIRST_MARK_OBJECT)
    else:
        mark = decode_batch_mark(sample.FIRST_BATCH_MARK_OBJECT)
    head = head_of(mark)
    assert (head.count, head.last_mark, head.last_sequence) == (1, mark.object_hash, 1)
    assert head.blind == object_hash("heads-blind", mark.sign1.payload)


def test_others_are_shown_by_hashes_only() -> None:
    """Nothing of the two leaves around an absent principal: no name, count, mark or blind."""
    heads = {f"crate-{n}": Head(1000, filler(f"mark {n}"), 1000 * n, filler(f"blind {n}")) for n in range(1, 9)}
    table = HeadTable(EPOCH_ID, 8000, heads)
    shown = encode_head_proof(table.prove("crate-9")) + encode_head_proof(table.prove("crate-1"))
    own = heads.pop("crate-1")
    assert own.last_mark in shown
    for name, head in heads.items():
        assert name.encode() not in shown
        assert head.last_mark not in shown
        assert head.blind not in shown
        assert cbor.encode(head.last_sequence) not in shown


def test_an_empty_epoch() -> None:
    table = HeadTable(EPOCH_ID, 0, {})
    assert table.heads == Heads(EPOCH_ID, 0, 0, EMPTY_ROOT)
    assert table.prove("crate-1") == AbsenceProof(None, None)
    assert verify_head_proof(table.prove("crate-1"), table.heads, "crate-1") is None


@pytest.mark.parametrize(
    "heads",
    [
        {"a": Head(0, bytes(32), 1, bytes(32))},
        {"a": Head(2, bytes(32), 1, bytes(32))},
        {"a": Head(1, bytes(31), 1, bytes(32))},
        {"a": Head(1, bytes(32), 1, bytes(33))},
        {"a": Head(1, bytes(32), 0, bytes(32))},
        {"a": Head(1, bytes(32), 2, bytes(32))},
        {"a": Head(2, bytes(32), 2, bytes(32))},
        {"a": Head(1, bytes(32), 1, bytes(32)), "b": Head(1, bytes(32), 1, bytes(32))},
        {"\ud800": Head(1, bytes(32), 1, bytes(32))},
        {},
    ],
)
def test_heads_that_cannot_be_are_not_made(heads: dict[str, Head]) -> None:
    with pytest.raises(DecodeError):
        HeadTable(EPOCH_ID, 1, heads)


@given(st.binary(max_size=120))
def test_garbage(data: bytes) -> None:
    for decode in (decode_heads, decode_head_proof):
        with pytest.raises(DecodeError):
            decode(data)


def test_a_presence_proof_is_small() -> None:
    heads = {f"crate-{n}": Head(1, filler(f"{n}"), n, filler(f"b{n}")) for n in range(1, 1001)}
    table = HeadTable(EPOCH_ID, 1000, heads)
    proof = table.prove("crate-7")
    assert isinstance(proof, PresenceProof)
    assert len(proof.path) <= 10
