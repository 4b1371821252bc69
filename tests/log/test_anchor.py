"""Anchors: what is kept of each token, whatever dies; how evidence finds them; what fsck says of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from sigillo import disk
from sigillo.core.checkpoint import encode_checkpoint, sign_checkpoint
from sigillo.core.entry import Kind
from sigillo.core.errors import DecodeError
from sigillo.core.revocation import MAX_CRL
from sigillo.log import anchor as anchor_module
from sigillo.log.anchor import Anchor, AnchorReader, AnchorStore, decode_anchor, encode_anchor
from sigillo.log.error import LogError
from sigillo.log.incoming import submit

from ..adversary.maker import der
from ..adversary.tsa import Tsa, integer
from .operator import Operator, check, fault

TSA = Tsa()
CHAIN = der([TSA.root.certificate])


@pytest.fixture
def begun(operator: Operator) -> Operator:
    operator.start()
    operator.mark(3)
    operator.run()
    return operator


def note(operator: Operator) -> bytes:
    return (operator.log / "public/checkpoint").read_bytes()


def anchored(operator: Operator, serial: int = 7, note_bytes: bytes | None = None) -> Anchor:
    note_bytes = note_bytes or note(operator)
    return Anchor(
        "Example Time", "http://tsa.example/", note_bytes, TSA.stamp(note_bytes, serial=integer(serial)), CHAIN
    )


def found(operator: Operator) -> list[tuple[int, int]]:
    return [(anchor.index, anchor.size) for anchor in AnchorReader(operator.log).anchors()]


def test_a_token_becomes_an_entry_and_keeps_its_note(begun: Operator) -> None:
    kept, store = anchored(begun), AnchorStore(begun.log)
    store.add(kept)
    assert store.settle() == [] and found(begun) == []
    begun.mark(2)
    begun.run()
    (settled,) = store.settle()
    assert (settled.index, settled.size) == (4, 4)  # a statement and three marks; then the token
    assert begun.public().entry(4).kind is Kind.TOKEN
    assert list(AnchorReader(begun.log).anchors()) == [settled]
    assert (settled.note_bytes, settled.token, settled.chain) == (kept.note_bytes, kept.token, CHAIN)
    assert (settled.tsa, settled.url) == ("Example Time", "http://tsa.example/")
    assert store.pending == [] and store.settle() == []
    check(begun)


def test_the_anchors_around_an_entry(begun: Operator) -> None:
    store, reader = AnchorStore(begun.log), AnchorReader(begun.log)
    assert reader.newest_before(10**6) is reader.first_over(0) is None
    for serial in range(3):
        store.add(anchored(begun, serial))
        begun.mark(2)
        begun.run()
        store.settle()
    assert found(begun) == [(4, 4), (7, 7), (10, 10)]
    for index, before, after in ((0, None, 4), (3, None, 4), (4, None, 7), (5, 4, 7), (8, 7, 10), (12, 10, None)):
        newest, first = reader.newest_before(index), reader.first_over(index)
        assert (newest.index if newest else None, first.size if first else None) == (before, after)
    assert [anchor.index for anchor in reader.anchors(5)] == [7, 10]


def test_a_late_token_over_an_early_note_is_not_taken_for_a_late_one(begun: Operator) -> None:
    early, store = anchored(begun), AnchorStore(begun.log)
    begun.mark(4)
    begun.run()
    late = anchored(begun)
    for kept in (late, early):
        store.add(kept)
        begun.run()
        store.settle()
    assert found(begun) == [(8, 8), (9, 4)]
    assert AnchorReader(begun.log).first_over(7).index == 8
    assert AnchorReader(begun.log).first_over(8) is None
    check(begun)


class Killed(BaseException):
    """Nobody catches it."""


@pytest.mark.parametrize("crash", ["A1 A2", "A2", "A2 A3", "A3"])
def test_whatever_dies_the_note_of_a_logged_token_is_kept(
    crash: str, begun: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, store = anchored(begun), AnchorStore(begun.log)

    def die(*_arguments: object) -> None:
        raise Killed

    def submit_and_die(log: Path, kind: Kind, data: bytes) -> None:
        submit(log, kind, data)
        die()

    with monkeypatch.context() as patched, suppress(Killed):
        if crash == "A1 A2":
            patched.setattr(anchor_module, "submit", die)
        elif crash == "A2":
            patched.setattr(anchor_module, "submit", submit_and_die)
        store.add(kept)
        begun.run()
        if crash == "A3":
            patched.setattr(anchor_module.os, "replace", die)
            store.settle()
    begun.run()
    check(begun)  # pending is kept
    store = AnchorStore(begun.log)
    assert store.pending == [kept]
    store.resubmit()
    begun.run()
    assert [settled.index for settled in store.settle()] == [4]
    assert found(begun) == [(4, 4)]
    assert [entry.kind for entry in begun.public().entries(0, begun.public().size)].count(Kind.TOKEN) == 1
    check(begun)


def test_a_stray_of_a_crash_is_swept(begun: Operator) -> None:
    AnchorStore(begun.log)
    stray = begun.log / "anchors/pending/.new-x.json"
    stray.write_bytes(b"half")
    assert AnchorStore(begun.log).pending == []
    assert not stray.exists()
    assert (begun.log / "anchors").stat().st_mode & 0o777 == 0o700


def test_a_full_disk_is_an_error_that_can_be_tried_again(begun: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, store = anchored(begun), AnchorStore(begun.log)

    def full(path: Path, *_arguments: object) -> None:
        raise OSError(28, "No space left on device", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(disk, "replace", full)
        with pytest.raises(LogError, match="No space left"):
            store.add(kept)
    store.add(kept)
    begun.run()
    assert len(store.settle()) == 1


def test_only_tokens_over_their_note_are_kept(begun: Operator) -> None:
    store, good = AnchorStore(begun.log), anchored(begun)
    text = good.note_bytes.decode()
    for bad in (
        replace(good, token=TSA.stamp(b"other")),
        replace(good, token=b"\x30\x00"),
        replace(good, note_bytes=b"note"),
        anchored(begun, note_bytes=(text + text.splitlines()[-1].replace("log ", "witness ") + "\n").encode()),
    ):
        with pytest.raises(DecodeError):
            store.add(bad)
    assert store.pending == []


def test_a_file_is_read_back_as_it_was_written(begun: Operator) -> None:
    data = encode_anchor(anchored(begun))
    assert decode_anchor(data) == anchored(begun)
    with_crl = replace(anchored(begun), crls=(TSA.root.revocations(),))
    assert decode_anchor(encode_anchor(with_crl)) == with_crl
    values = json.loads(data)
    for bad in (
        b"",
        data[:-1],
        data + b"\n",
        b" " + data,
        data.replace(b'"version":1', b'"version":2'),
        data.replace(b'"version":1', b'"version":true'),
        data.replace(b'"tsa":', b'"name":'),
        json.dumps(values | {"more": 1}).encode(),
        json.dumps(values | {"chain": ["AA"] * 9}).encode(),
        json.dumps(values | {"chain": "AA"}).encode(),
        encode_anchor(replace(anchored(begun), crls=(b"\0",) * 5)),
        encode_anchor(replace(anchored(begun), crls=(bytes(MAX_CRL + 1),))),
        data.replace(b"]}", b'],"crls":[]}'),
        json.dumps(values | {"token": 1}).encode(),
        b"[" * 5000,
        bytes(2**20),
    ):
        with pytest.raises(DecodeError):
            decode_anchor(bad)


def spoilt(operator: Operator, change: Callable[[Path], None]) -> tuple[int, str]:
    store = AnchorStore(operator.log)
    store.add(anchored(operator))
    operator.run()
    store.settle()
    check(operator)
    change(operator.log / "anchors/0000000000/00000000000000000004.json")
    error = fault(operator)
    return error.check, error.reason


def rewritten(change: Callable[[Anchor], Anchor]) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(encode_anchor(change(decode_anchor(path.read_bytes())))) and None


def test_fsck_names_a_token_without_its_note(begun: Operator) -> None:
    assert spoilt(begun, Path.unlink) == (8, "entry 4 is a token whose note is not kept")


def test_fsck_names_an_anchor_that_is_not_of_this_entry(begun: Operator) -> None:
    check_number, reason = spoilt(begun, lambda path: path.rename(path.with_name("00000000000000000003.json")) and None)
    assert (check_number, reason) == (8, "its token is not that of the entry whose number it has")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda anchor: replace(anchor, token=TSA.stamp(anchor.note_bytes, serial=integer(9))),
            "not that of the entry",
        ),
        (lambda anchor: replace(anchor, token=TSA.stamp(b"other")), "about something else"),
        (lambda anchor: replace(anchor, note_bytes=anchor.note_bytes[:-9]), "note"),
    ],
    ids=["another token", "over another note", "no note"],
)
def test_fsck_names_what_was_changed(change: Callable[[Anchor], Anchor], reason: str, begun: Operator) -> None:
    check_number, said = spoilt(begun, rewritten(change))
    assert check_number == 8 and reason in said


def test_fsck_names_a_token_over_the_note_of_another_history(begun: Operator) -> None:
    """Signed by the same key: what a log does that shows two histories."""
    head = begun.public().checkpoint().head
    forked = sign_checkpoint(replace(head, root=bytes(32)), begun.broker.log_key, begun.broker.log_private.sign)
    store = AnchorStore(begun.log)
    store.add(anchored(begun, note_bytes=encode_checkpoint(forked)))
    begun.run()
    store.settle()
    error = fault(begun)
    assert error.check == 8 and "not this log's" in error.reason
