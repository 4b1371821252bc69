"""`inspect --export` of a file with a log proof: the note, and the proof of a message, as others read them."""

from __future__ import annotations

import pytest

from sigillo.core.decoded import DecodedMessage, decode_objects
from sigillo.core.entry import Kind, LogEntry
from sigillo.core.line import split_lines
from sigillo.core.proof import decode_proof, verify_proof
from sigillo.report.exhibit import exhibits, message_proof
from sigillo.report.inspection import inspect, render_inspection

from ..adversary.log import logged


@pytest.mark.parametrize("at", range(9))
def test_the_proof_of_each_message_verifies_by_itself(at: int) -> None:
    story = logged()
    data = story.log.file()
    checkpoint = inspect(split_lines([data])).checkpoint
    message = [line for line in decode_objects(split_lines([data])) if isinstance(line, DecodedMessage)][at]
    assert checkpoint
    proof = message_proof(split_lines([data]), message, checkpoint)
    assert proof
    epoch = 1 if at < 6 else 2
    entry = LogEntry(Kind.MARK, epoch, message.mark.mark.sequence, message.mark.object_hash)
    head = verify_proof(decode_proof(proof), entry.leaf_hash, story.broker.log_key)
    assert head.size == 15


def test_the_note_is_an_exhibit_and_the_inspection_shows_it() -> None:
    story = logged()
    data = story.log.file()
    last = list(exhibits(split_lines([data]), story.policy))[-1]
    assert last.files[".note"].decode() == story.log.note()
    assert last.command.startswith("openssl pkeyutl -verify -pubin -inkey ")
    text = render_inspection(inspect(split_lines([data])))
    assert "log broker.example/log: checkpoint of size 15, root " in text
    assert "passes 2 earlier checkpoint(s)" in text
