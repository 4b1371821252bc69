"""fsck names each fault by file and entry; what is altered is altered as well as a forger can."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sigillo import disk
from sigillo.core.bytes import EMPTY_ROOT
from sigillo.core.checkpoint import TreeHead, encode_checkpoint, sign_checkpoint
from sigillo.core.entry import Kind, decode_entry, encode_entry
from sigillo.core.merkle import leaf_hash, tree_root
from sigillo.core.tile import ENTRIES, Tile, decode_bundle, encode_bundle
from sigillo.log.reader import LogReader
from sigillo.log.record import encode_record
from sigillo.log.tree import Tree

from ..adversary.device import ed25519_key
from .operator import Operator, check, fault

SIZE = 304


@pytest.fixture
def honest(operator: Operator) -> Operator:
    """Two epochs, 304 entries; the position in the spool is behind a mark."""
    operator.start()
    operator.mark(290)
    operator.end()
    operator.start()
    operator.mark(10)
    operator.run()
    assert operator.public().size == SIZE
    return operator


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_good(honest: Operator) -> None:
    check(honest)


def test_good_beside_a_living_log_and_with_more_in_the_spool(honest: Operator) -> None:
    with honest.open():
        honest.mark(3)
        check(honest)
    check(honest)


def put_cosigned(operator: Operator, size: int, root: bytes) -> None:
    broker = operator.broker
    signed = sign_checkpoint(TreeHead(broker.log_key.name, size, root), broker.log_key, broker.log_private.sign)
    (operator.log / "public" / "cosigned").write_bytes(encode_checkpoint(signed))


def test_what_was_cosigned_is_a_prefix(honest: Operator) -> None:
    public = honest.public()
    put_cosigned(honest, 260, tree_root(260, public.read))
    check(honest)
    put_cosigned(honest, 260, bytes(32))
    found = fault(honest)
    assert (found.check, found.place) == (1, str(honest.log / "public" / "cosigned"))
    assert "is no prefix of the log" in found.reason
    put_cosigned(honest, SIZE + 1, bytes(32))
    check(honest)  # a power cut may have taken the checkpoint


def test_what_was_cosigned_is_of_this_log(honest: Operator) -> None:
    path = honest.log / "public" / "cosigned"
    path.write_bytes((honest.log / "public" / "checkpoint").read_bytes().replace(b"\n304\n", b"\n303\n"))
    assert (fault(honest).check, fault(honest).place) == (1, str(path))
    path.write_bytes(b"x")
    assert "remove it" in fault(honest).reason


def resign(operator: Operator, entries: list[bytes]) -> None:
    """The operator lies: tiles and checkpoint of other entries, validly signed."""
    public = operator.log / "public"
    for path in sorted((public / "tile").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    tree = Tree(public, 0, EMPTY_ROOT)
    for entry in entries:
        tree.append(entry)
    tree.write()
    head = TreeHead(operator.broker.origin, tree.size, tree.root)
    signed = sign_checkpoint(head, operator.broker.log_key, operator.broker.log_private.sign)
    (public / "checkpoint").write_bytes(encode_checkpoint(signed))
    tree.close()


def public_entries(operator: Operator) -> list[bytes]:
    return list(operator.public().entry_bytes(0, operator.public().size))


def swap(items: list[bytes]) -> list[bytes]:
    items[5], items[6] = items[6], items[5]
    return items


def other_kind(items: list[bytes]) -> list[bytes]:
    entry = decode_entry(items[5])
    items[5] = encode_entry(type(entry)(Kind.TOKEN, entry.epoch, entry.sequence - 1, entry.object_hash))
    return items


def other_epoch(items: list[bytes]) -> list[bytes]:
    entry = decode_entry(items[5])
    items[5] = encode_entry(type(entry)(entry.kind, 2, entry.sequence, entry.object_hash))
    return items


def other_hash(items: list[bytes]) -> list[bytes]:
    items[5] = items[5][:-1] + bytes([items[5][-1] ^ 1])
    return items


RESIGNED: dict[str, tuple[Callable[[list[bytes]], list[bytes]], int, str]] = {
    "swapped leaves": (swap, 3, "entry 5: MARK 6 comes after mark 4"),
    "an entry left out": (lambda items: items[:5] + items[6:], 3, "entry 5: MARK 6 comes after mark 4"),
    "an entry twice": (lambda items: items[:6] + items[5:], 3, "entry 6: MARK 5 comes after mark 5"),
    "an entry of another kind": (other_kind, 3, "entry 6: MARK 6 comes after mark 4"),
    "an entry of another epoch": (other_epoch, 3, "entry 5: epoch 2, in epoch 1"),
    "another object hash": (other_hash, 4, "entry 5: is not the one of the bundle"),
    "an entry that is none": (lambda items: [*items[:5], b"\xff" * 45, *items[6:]], 3, "entry 5: kind"),
    "heads twice": (lambda items: [*items[:293], items[292], *items[293:]], 3, "entry 293: the heads are there twice"),
    "a mark after the end": (
        lambda items: [*items[:293], items[290][:5] + (291).to_bytes(8, "big") + items[290][13:], *items[293:]],
        3,
        "entry 293: MARK after the end",
    ),
}


@pytest.mark.parametrize("name", RESIGNED)
def test_a_history_written_again(honest: Operator, name: str) -> None:
    change, number, says = RESIGNED[name]
    resign(honest, change(public_entries(honest)))
    found = fault(honest)
    assert (found.check, says in found.reason) == (number, True), found


def test_signed_again_after_truncation_contradicts_what_a_mark_saw(honest: Operator) -> None:
    """The log alone is right in itself; a mark that names the longer checkpoint shows it."""
    honest.checkpoint = honest.public().checkpoint().head.checkpoint
    honest.mark(1)
    resign(honest, public_entries(honest)[:300])
    for path in (honest.log / "store").iterdir():
        if path.suffix == ".objects":
            records = LogReader(honest.log, honest.broker.log_key)._store.scan(0)
            cut = next(record.offset for record in records if record.index == 300)
            path.write_bytes(path.read_bytes()[:cut])
        else:
            path.write_bytes(path.read_bytes()[: 300 * 8])
    found = fault(honest)
    assert found.check == 7 and "spool/0000000002/000000.spool" in found.place, found


@pytest.mark.parametrize(
    ("name", "at", "number"),
    [
        ("public/checkpoint", -8, 1),
        ("public/tile/entries/000", 40, 2),
        ("public/tile/entries/000", 1, 2),
        ("public/tile/0/000", 100, 2),
        ("public/tile/0/001.p/48", 100, 2),
        ("public/tile/1/000.p/1", 0, 2),
        ("store/0000000000.objects", 0, 4),
        ("store/0000000000.objects", 2000, 4),
        ("store/0000000000.index", 20, 5),
    ],
)
def test_one_bit(honest: Operator, name: str, at: int, number: int) -> None:
    flip(honest.log / name, at)
    found = fault(honest)
    assert found.check == number, found
    assert name.split("/", maxsplit=1)[0] in found.place


@pytest.mark.parametrize("name", ["public/tile/entries/000", "public/tile/0/000", "public/tile/1/000.p/1"])
def test_a_missing_or_longer_tile(honest: Operator, name: str) -> None:
    path = honest.log / name
    data = path.read_bytes()
    path.write_bytes(data + b"x")
    assert (fault(honest).check, fault(honest).place) == (2, str(path))
    path.unlink()
    assert (fault(honest).check, fault(honest).place) == (2, str(path))


def test_a_mark_that_was_never_logged(honest: Operator) -> None:
    """The store has another mark at its place, of the right CRC: it is not the entry of the bundle."""
    path = honest.log / "store/0000000000.objects"
    reader = LogReader(honest.log, honest.broker.log_key)
    old = reader.record(300)
    forged = encode_record(300, old.entry, old.object_bytes[:-1] + bytes([old.object_bytes[-1] ^ 1]))
    data = path.read_bytes()
    path.write_bytes(data[: old.offset] + forged + data[old.end :])
    found = fault(honest)
    assert found.check == 4 and "entry 300" in found.reason


def test_a_missing_segment(honest: Operator) -> None:
    (honest.log / "store/0000000000.objects").unlink()
    assert (fault(honest).check, "entry 0" in fault(honest).reason) == (4, True)


def test_tiles_behind_the_checkpoint_that_differ(honest: Operator) -> None:
    public = honest.log / "public"
    old = (public / "checkpoint").read_bytes()
    honest.mark(2)
    honest.run()
    (public / "checkpoint").write_bytes(old)
    check(honest)
    flip(public / "tile/0/001.p/50", 49 * 32)
    assert (fault(honest).check, fault(honest).place) == (6, str(public / "tile/0/001.p/50"))


def test_statements_that_are_not_logged_or_others(honest: Operator) -> None:
    first, second = (honest.epochs / f"{number:010}.cose" for number in (1, 2))
    kept = first.read_bytes()
    first.write_bytes(second.read_bytes())
    assert (fault(honest).check, fault(honest).place) == (7, str(first))
    first.write_bytes(kept)
    third, fourth = (honest.epochs / f"{number:010}.cose" for number in (3, 4))
    third.write_bytes(kept)
    assert (fault(honest).check, fault(honest).place) == (7, str(third))
    honest.die()
    honest.start()
    check(honest)  # the newest may wait
    fourth.write_bytes(kept)
    assert (fault(honest).check, fault(honest).place) == (7, str(third))


@pytest.mark.parametrize("lie", ["signature", "hole"])
def test_a_spool_that_does_not_follow(honest: Operator, lie: str) -> None:
    if lie == "signature":
        honest.mark(signed_by=ed25519_key("other"))
    else:
        honest.mark(sequence=13)
    found = fault(honest)
    assert found.check == 7 and found.place.startswith(str(honest.spool)), found


def test_a_log_from_a_backup_below_what_the_spool_has_seen(honest: Operator, tmp_path: Path) -> None:
    """The epoch that the spool is of is not even logged there; a mark of it names a checkpoint that came later."""
    honest.end()
    honest.run()
    shutil.copytree(honest.log, tmp_path / "backup")
    honest.start()
    honest.checkpoint = honest.run().head.checkpoint
    honest.mark(1)
    check(honest)
    shutil.rmtree(honest.log)
    shutil.copytree(tmp_path / "backup", honest.log)
    found = fault(honest)
    assert found.check == 7 and found.place.startswith(str(honest.segment_path())), found
    assert "that is not of this log" in found.reason


def test_another_mark_in_the_spool_than_in_the_log(honest: Operator) -> None:
    assert honest.broker.epoch
    epoch = honest.broker.epoch
    epoch.sequence = 9
    lies = {"count": 1, "previous": epoch.epoch_id}
    line = honest.broker.mark("braid/agent/crate/shadow/reported/x", b"other", "crate-9", **lies)
    honest._offset = 64
    segment = honest.segment_path()
    segment.write_bytes(segment.read_bytes()[:64].ljust(honest.segment_size, b"\0"))
    honest.record(Kind.MARK, 10, line.mark)
    found = fault(honest)
    assert found.check == 7 and "another one than entry" in found.reason


def test_the_lock_is_let_go(honest: Operator) -> None:
    check(honest)
    descriptor = disk.open_folder(honest.log)
    disk.lock(descriptor, 0)


def test_every_entry_has_a_leaf(honest: Operator) -> None:
    """Two tiles altered together are caught by the root."""
    public = honest.log / "public"
    bundle, tile = Tile(ENTRIES, 1, 48), Tile(0, 1, 48)
    items = decode_bundle((public / bundle.path).read_bytes(), 48)
    items[0] = items[0][:-1] + bytes([items[0][-1] ^ 1])
    (public / bundle.path).write_bytes(encode_bundle(items))
    data = (public / tile.path).read_bytes()
    (public / tile.path).write_bytes(leaf_hash(items[0]) + data[32:])
    assert (fault(honest).check, "root" in fault(honest).reason) == (2, True)
