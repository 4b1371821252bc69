"""Proof for one entry as text."""

from __future__ import annotations

import base64
import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sigillo.core.checkpoint import TreeHead, encode_checkpoint, sign_checkpoint
from sigillo.core.errors import DecodeError, MerkleError, SignatureError
from sigillo.core.merkle import inclusion_proof
from sigillo.core.note import LogKey
from sigillo.core.proof import EntryProof, decode_proof, encode_proof, verify_proof
from tests.vector import tree
from tests.vector.key import EPOCH, LOG, filler

KEY = LogKey("broker.example/log", LOG.public)


def proof_of(index: int, size: int, extra: bytes | None = None) -> EntryProof:
    checkpoint = sign_checkpoint(TreeHead(KEY.name, size, tree.root(size)), KEY, LOG.sign)
    return EntryProof(index, tuple(inclusion_proof(index, size, tree.read())), checkpoint, extra)


PROOF = proof_of(5, 13)
LEAF = tree.leaves()[5]


@given(st.integers(1, tree.SIZE), st.data(), st.none() | st.binary(min_size=1, max_size=99))
@settings(max_examples=40)
def test_round_trip(size: int, data: st.DataObject, extra: bytes | None) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof = proof_of(index, size, extra)
    decoded = decode_proof(encode_proof(proof))
    assert decoded == proof
    assert verify_proof(decoded, tree.leaves()[index], KEY) == proof.checkpoint.head


@given(st.text(alphabet="extraindx 01=\n", max_size=40))
def test_what_decodes_re_encodes_to_itself(middle: str) -> None:
    data = f"c2sp.org/tlog-proof@v1\n{middle}\n\n".encode() + encode_checkpoint(PROOF.checkpoint)
    try:
        proof = decode_proof(data)
    except DecodeError:
        return
    assert encode_proof(proof) == data


def test_by_hand() -> None:
    path = "".join(f"{base64.b64encode(item).decode()}\n" for item in PROOF.path)
    expected = f"c2sp.org/tlog-proof@v1\nindex 5\n{path}\n".encode() + encode_checkpoint(PROOF.checkpoint)
    assert encode_proof(PROOF) == expected
    with_extra = dataclasses.replace(PROOF, extra=b"x")
    assert encode_proof(with_extra) == expected.replace(b"\nindex", b"\nextra eA==\nindex")


def test_every_change_of_a_byte_is_refused() -> None:
    data = encode_proof(PROOF)
    for position in range(len(data)):
        for bit in (0x01, 0x02, 0x20, 0x80):
            changed = bytes(byte ^ (bit if at == position else 0) for at, byte in enumerate(data))
            with pytest.raises((DecodeError, SignatureError, MerkleError)):
                verify_proof(decode_proof(changed), LEAF, KEY)


@pytest.mark.parametrize("index", [*range(5), *range(6, 15)])
def test_another_index_is_refused(index: int) -> None:
    with pytest.raises(MerkleError):
        verify_proof(dataclasses.replace(PROOF, index=index), LEAF, KEY)


def test_another_path_leaf_checkpoint_or_key_is_refused() -> None:
    path = PROOF.path
    for other in (path[1:], path[:-1], (*path, filler("x")), (filler("x"), *path[1:]), path[::-1]):
        with pytest.raises(MerkleError):
            verify_proof(dataclasses.replace(PROOF, path=other), LEAF, KEY)
    with pytest.raises(MerkleError):
        verify_proof(PROOF, tree.leaves()[4], KEY)
    with pytest.raises(MerkleError):
        verify_proof(dataclasses.replace(PROOF, checkpoint=proof_of(5, 14).checkpoint), LEAF, KEY)
    with pytest.raises(SignatureError):
        verify_proof(PROOF, LEAF, LogKey(KEY.name, EPOCH.public))


@pytest.mark.parametrize(
    "proof",
    [
        dataclasses.replace(PROOF, index=-1),
        dataclasses.replace(PROOF, index=2**64),
        dataclasses.replace(PROOF, extra=b""),
        dataclasses.replace(PROOF, extra=bytes(65_536)),
        dataclasses.replace(PROOF, path=(bytes(31),)),
        dataclasses.replace(PROOF, path=(bytes(32),) * 65),
    ],
)
def test_what_cannot_be_decoded_is_not_encoded(proof: EntryProof) -> None:
    with pytest.raises(DecodeError):
        encode_proof(proof)
