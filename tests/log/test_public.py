from __future__ import annotations

from pathlib import Path

import pytest

from sigillo.core.entry import Kind
from sigillo.core.heads import encode_head_proof, encode_heads, head_of, verify_head_proof
from sigillo.core.mark import decode_mark
from sigillo.core.merkle import consistency_proof, tree_root, verify_consistency
from sigillo.core.proof import decode_proof, encode_proof, verify_proof
from sigillo.core.tile import WIDTH
from sigillo.log.error import LogError
from sigillo.log.public import PublicLog
from sigillo.log.reader import LogReader, read_vkey

from .operator import Operator


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Operator:
    operator = Operator(tmp_path_factory.mktemp("story") / "operator").create()
    with operator.open() as log:
        for marks in (WIDTH, 0, 3, 40):
            operator.start()
            operator.mark(marks, principals=7)
            log.round()
            if marks % 2:
                operator.die()
            else:
                operator.end()
            log.round()
    return operator


def test_find_is_what_a_walk_finds(story: Operator) -> None:
    public = story.public()
    entries = list(public.entries(0, public.size))
    for index, entry in enumerate(entries):
        assert public.find(entry.kind, entry.epoch, entry.sequence) == index
    for kind, epoch, sequence in ((Kind.MARK, 1, 257), (Kind.MARK, 2, 1), (Kind.EPOCH_END, 3, 3), (Kind.HEADS, 9, 0)):
        assert public.find(kind, epoch, sequence) is None


def test_reads_for_merkle(story: Operator) -> None:
    public = story.public()
    head = public.checkpoint().head
    assert tree_root(head.size, public.read) == head.root
    for old in range(head.size + 1):
        proof = consistency_proof(old, head.size, public.read)
        verify_consistency(old, tree_root(old, public.read), head.size, head.root, proof)


def test_what_is_not_there(story: Operator, tmp_path: Path) -> None:
    public = story.public()
    for index in (-1, public.size):
        with pytest.raises(LogError):
            public.entry(index)
    with pytest.raises(LogError, match="checkpoint"):
        PublicLog(tmp_path)
    (tmp_path / "checkpoint").write_bytes(b"garbage")
    with pytest.raises(LogError, match="checkpoint"):
        PublicLog(tmp_path)


def test_every_entry_is_proven_and_has_its_object(story: Operator) -> None:
    reader = LogReader(story.log, read_vkey(story.log))
    for index in range(reader.checkpoint.head.size):
        proof = decode_proof(encode_proof(reader.proof(index)))
        verify_proof(proof, reader.public.entry(index).leaf_hash, story.broker.log_key)
    marks = [record for record in reader.records(0, reader.checkpoint.head.size) if record.entry[0] == Kind.MARK]
    assert len(marks) == WIDTH + 3 + 40


def test_heads_are_derived_again(story: Operator) -> None:
    reader = LogReader(story.log, story.broker.log_key)
    for epoch, sequence in ((1, WIDTH), (2, 0), (3, 3), (4, 40)):
        index = reader.public.find(Kind.HEADS, epoch, sequence)
        assert index is not None
        table = reader.head_table(index)
        assert encode_heads(table.heads) == reader.record(index).object_bytes
        assert table.heads.leaves == min(7, sequence)
        last: dict[str, bytes] = {}
        for number in range(1, sequence + 1):
            mark = reader.public.find(Kind.MARK, epoch, number)
            assert mark is not None
            last[decode_mark(reader.record(mark).object_bytes).mark.principal] = reader.record(mark).object_bytes
        for principal, data in last.items():
            proof = table.prove(principal)
            assert verify_head_proof(proof, table.heads, principal) == head_of(decode_mark(data))
            encode_head_proof(proof)
        assert verify_head_proof(table.prove("nobody"), table.heads, "nobody") is None
    with pytest.raises(LogError, match="not HEADS"):
        reader.head_table(0)


def test_a_reader_follows_the_log(operator: Operator) -> None:
    reader = LogReader(operator.log, operator.broker.log_key)
    operator.start()
    operator.run()
    assert reader.checkpoint.head.size == 0
    assert reader.refresh().head.size == reader.public.size == 1


def test_a_checkpoint_of_another_key_is_not_read(story: Operator) -> None:
    from ..adversary.broker import Broker

    with pytest.raises(LogError, match="no signature"):
        LogReader(story.log, Broker(seed="other").log_key)
