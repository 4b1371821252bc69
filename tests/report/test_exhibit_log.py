"""`inspect --export` of a file with a log proof: the note, and the proof of a message, as others read them."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from sigillo.core.bytes import base64_decode
from sigillo.core.decoded import DecodedMessage, DecodedToken, decode_objects
from sigillo.core.entry import Kind, LogEntry
from sigillo.core.errors import MerkleError
from sigillo.core.line import split_lines
from sigillo.core.merkle import verify_consistency
from sigillo.core.proof import decode_proof, verify_proof
from sigillo.report.exhibit import exhibits, message_proof, token_consistency
from sigillo.report.inspection import inspect, render_inspection

from ..adversary.log import logged
from ..adversary.third import bracketed


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


def test_the_consistency_of_each_token_verifies_by_itself() -> None:
    data = bracketed().file()
    checkpoint = inspect(split_lines([data])).checkpoint
    tokens = [line for line in decode_objects(split_lines([data])) if isinstance(line, DecodedToken)]
    assert checkpoint and len(tokens) == 4
    new = checkpoint.head
    for token in tokens:
        lines = token_consistency(split_lines([data]), token, checkpoint)
        assert lines
        proof, old = [base64_decode(line) for line in lines.decode().split()], token.checkpoint.head
        verify_consistency(old.size, old.root, new.size, new.root, proof)
        with pytest.raises(MerkleError):
            verify_consistency(old.size, new.root, new.size, new.root, proof)


def test_a_mark_goes_with_its_entry_and_what_is_hashed() -> None:
    story = logged()
    data = story.log.file()
    made = {exhibit.name: exhibit.files for exhibit in exhibits(split_lines([data]), story.policy)}
    message = next(line for line in decode_objects(split_lines([data])) if isinstance(line, DecodedMessage))
    files, mark = made[f"{message.number:06d}-mark"], message.mark
    assert hashlib.sha256(files[".hashed"]).digest() == mark.object_hash == files[".entry"][-32:]
    assert hashlib.sha256(files[".committed"]).digest() == mark.mark.commitment


def test_the_note_is_an_exhibit_and_the_inspection_shows_it() -> None:
    story = logged()
    data = story.log.file()
    last = list(exhibits(split_lines([data]), story.policy))[-1]
    assert last.files[".note"].decode() == story.log.note()
    assert last.command.startswith("openssl pkeyutl -verify -pubin -inkey ")
    text = render_inspection(inspect(split_lines([data])))
    assert "log broker.example/log: checkpoint of size 15, root " in text
    assert "passes 2 earlier checkpoint(s)" in text


def test_openssl_agrees_on_what_third_parties_signed(tmp_path: Path) -> None:
    """Tokens over their notes, at their own time, and cosignatures on the checkpoint; each fails about another text."""
    story = bracketed()
    data = story.file()
    found = [
        exhibit
        for exhibit in exhibits(split_lines([data]), story.trust())
        if "token" in exhibit.name or "cosignature" in exhibit.name
    ]
    assert len(found) == 4 + 3
    for exhibit in found:
        for suffix, content in exhibit.files.items():
            (tmp_path / f"{exhibit.name}{suffix}").write_bytes(content)
        assert subprocess.run(exhibit.command, shell=True, cwd=tmp_path, capture_output=True).returncode == 0
        about = next(suffix for suffix in (".note", ".tbs") if suffix in exhibit.files)
        (tmp_path / f"{exhibit.name}{about}").write_bytes(exhibit.files[about] + b"x")
        assert subprocess.run(exhibit.command, shell=True, cwd=tmp_path, capture_output=True).returncode != 0
    none = [item for item in exhibits(split_lines([data]), None) if "token" in item.name]
    assert {item.command[0] for item in none} == {"#"}


def test_the_inspection_shows_tokens_and_how_many_signed() -> None:
    story = bracketed()
    shown = inspect(split_lines([story.file()]))
    text = render_inspection(shown)
    assert "has 3 signature(s) beside the log's first" in text
    assert "time-stamp token of 2026-11-18 11:06:42.000 UTC ± 1 s over the checkpoint of size 1, entry 1" in text
    assert shown.to_json()["token_count"] == len(shown.to_json()["tokens"]) == 4
