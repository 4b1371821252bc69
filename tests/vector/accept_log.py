"""Accept vectors of the log's formats: spec/log.md, spec/tlog-proof.md, spec/heads.md."""

from collections.abc import Iterable

from sigillo.core.bytes import EMPTY_ROOT
from sigillo.core.checkpoint import SignedCheckpoint, TreeHead, encode_checkpoint, encode_tree_head, sign_checkpoint
from sigillo.core.heads import (
    Head,
    HeadProof,
    Heads,
    HeadTable,
    PresenceProof,
    encode_head_proof,
    encode_heads,
    head_of,
)
from sigillo.core.mark import decode_mark
from sigillo.core.merkle import consistency_proof, inclusion_proof
from sigillo.core.note import Note, NoteSignature, encode_note, sign_note
from sigillo.core.proof import EntryProof, encode_proof
from sigillo.core.tile import ENTRIES, Tile, encode_bundle, encode_tile
from tests.vector import sample, tree
from tests.vector.file import Value
from tests.vector.key import LOG, filler
from tests.vector.sample import EPOCH_ID, LOG_KEY, U64_MAX

Vector = dict[str, Value]
WITNESS = NoteSignature("witness.example/w1", filler("witness key id", 4), filler("cosignature", 72))
POST_QUANTUM = NoteSignature("witness.example/w2", filler("other key id", 4), filler("post-quantum", 2428))
TEXT = "Ognuno sta solo sul cuor della terra\n\nè subito sera.\n"
PAIRS = ((1, 2), (1, 8), (2, 3), (3, 4), (3, 7), (4, 7), (6, 7), (6, 8), (7, 8), (255, 256), (256, 257), (300, 70_000))


def numbered(name: str, hashes: Iterable[bytes]) -> Vector:
    """A list of hashes as vector files write it: name_1, name_2, …"""
    return {f"{name}_{number}": item for number, item in enumerate(hashes, start=1)}


def tiles() -> dict[str, Vector]:
    """vectors/tile/accept."""
    made = {
        "first": Tile(0, 0),
        "partial": Tile(0, 273, 112),
        "width-1": Tile(2, 0, 1),
        "width-255": Tile(1, 1, 255),
        "index-999": Tile(0, 999),
        "index-1000": Tile(0, 1000),
        "index-1234067": Tile(1, 1_234_067),
        "index-zeros": Tile(0, 1_000_000),
        "entries": Tile(ENTRIES, 0),
        "entries-partial": Tile(ENTRIES, 1_234_067, 8),
        "largest": Tile(0, 2**56 - 2),
        "largest-partial": Tile(0, 2**56 - 1, 255),
        "top": Tile(7, 0, 255),
    }
    return {
        name: {"level": tile.level, "index": tile.index, "width": tile.width, "path": tile.path}
        for name, tile in made.items()
    }


def entry_bundles() -> dict[str, Vector]:
    """vectors/entry-bundle/accept."""
    return {f"width-{width}": _bundle(width) for width in (1, 2, 5, 256)}


def _bundle(width: int) -> Vector:
    leaves = tree.leaves()[:width]
    return {
        "width": width,
        "bundle": encode_bundle([tree.entry(index) for index in range(width)]),
        **numbered("leaf", leaves),
        "tile": encode_tile(leaves),
        "root": tree.root(width),
    }


def signed_notes() -> dict[str, Vector]:
    """vectors/signed-note/accept."""
    first = sign_note(TEXT, LOG_KEY, LOG.sign)
    [own] = first.signatures
    same_name = NoteSignature(LOG_KEY.name, filler("key id", 4), b"x")
    same_id = NoteSignature("other.example", LOG_KEY.note_key_id, own.signature)
    made = {
        "first": first,
        "cosigned": Note(TEXT, (own, WITNESS, POST_QUANTUM)),
        "cosigned-before": Note(TEXT, (WITNESS, own)),
        "unknown-of-same-name": Note(TEXT, (same_name, own)),
        "unknown-of-same-id": Note(TEXT, (own, same_id)),
        "signatures-64": Note(TEXT, (*(NoteSignature(f"w{n}", bytes(4), b"x") for n in range(63)), own)),
        "one-line": sign_note("x\n", LOG_KEY, LOG.sign),
        "only-empty-lines": sign_note("\n\n\n", LOG_KEY, LOG.sign),
        "dash-in-text": sign_note("\u2014 not a signature\n\n\u2014 nor this\n", LOG_KEY, LOG.sign),
        "delete-in-text": sign_note("a\x7f\x85b\n", LOG_KEY, LOG.sign),
    }
    return {
        name: {
            "vkey": LOG_KEY.vkey,
            "seed": LOG.seed,
            "text": note.text.encode(),
            "note": encode_note(note),
        }
        for name, note in made.items()
    }


def checkpoint(size: int, *extensions: str) -> SignedCheckpoint:
    """Checkpoint of the tree of the vectors at this size."""
    head = TreeHead(LOG_KEY.name, size, tree.root(size), extensions)
    return sign_checkpoint(head, LOG_KEY, LOG.sign)


def checkpoints() -> dict[str, Vector]:
    """vectors/checkpoint/accept."""
    first = checkpoint(13)
    limits = TreeHead(LOG_KEY.name, U64_MAX, filler("root"))
    made = {
        "first": first,
        "cosigned": SignedCheckpoint(Note(first.note.text, (*first.note.signatures, WITNESS)), first.head),
        "empty": checkpoint(0),
        "large": checkpoint(70_000),
        "extensions": checkpoint(13, "an extension", "another: +/= è"),
        "limits": sign_checkpoint(limits, LOG_KEY, LOG.sign),
    }
    return {
        name: {
            "vkey": LOG_KEY.vkey,
            "seed": LOG.seed,
            "origin": signed.head.origin,
            "size": signed.head.size,
            "root": signed.head.root,
            **{f"extension_{n}": line for n, line in enumerate(signed.head.extensions, start=1)},
            "note": encode_checkpoint(signed),
            "beacon_hash": signed.beacon_hash,
        }
        for name, signed in made.items()
    }


def inclusion(index: int, size: int) -> Vector:
    """Inclusion of one leaf."""
    return {
        "leaf": tree.leaves()[index],
        "index": index,
        "size": size,
        "root": tree.root(size),
        **numbered("path", inclusion_proof(index, size, tree.read())),
    }


def inclusions() -> dict[str, Vector]:
    """vectors/inclusion/accept."""
    places = [(index, size) for size in (1, 2, 3, 7, 8) for index in range(size)]
    places += [(0, 256), (255, 257), (256, 257), (0, 70_000), (4711, 70_000), (69_999, 70_000)]
    return {f"{index}-of-{size}": inclusion(index, size) for index, size in places}


def consistency(old_size: int, new_size: int) -> Vector:
    """Consistency of two sizes."""
    return {
        "old_size": old_size,
        "old_root": tree.root(old_size),
        "new_size": new_size,
        "new_root": tree.root(new_size),
        **numbered("proof", consistency_proof(old_size, new_size, tree.read())),
    }


def consistencies() -> dict[str, Vector]:
    """vectors/consistency/accept."""
    sizes = [*PAIRS, (0, 0), (0, 7), (1, 1), (7, 7)]
    return {f"{old_size}-to-{new_size}": consistency(old_size, new_size) for old_size, new_size in sizes}


def steps(proof: list[tree.Step]) -> Vector:
    """A streamed proof."""
    return {f"step_{number}": tree.step_text(step) for number, step in enumerate(proof, start=1)}


EXAMPLE = tree.streamed({2, 6, 7}, {5, 8, 13})


def streamed_proofs() -> dict[str, Vector]:
    """vectors/streamed-proof/accept."""
    tree.run(EXAMPLE)
    return {
        "example": steps(EXAMPLE),
        "one-leaf": steps(tree.streamed({0}, {1})),
        "all-shown": steps(tree.streamed(set(range(9)), {9})),
        "none-shown": steps(tree.streamed(set(), {4, 7, 13})),
        "stop-at-0": steps(tree.streamed({1}, {0, 2})),
        "stop-twice": steps([*tree.streamed({1}, {3}), ("stop", 3, (tree.root(3),))]),
        "stop-before-and-after": steps(tree.streamed({3}, {3, 4})),
        "stop-at-each": steps(tree.streamed({5}, set(range(14)))),
        "large": steps(tree.streamed({17, 999, 1000, 65_535, 65_536, 69_000}, {500, 65_536, 70_000})),
    }


def tlog_proofs() -> dict[str, Vector]:
    """vectors/tlog-proof/accept."""
    return {
        "first": tlog_proof(4, 13),
        "single": tlog_proof(0, 1),
        "extra": tlog_proof(4, 13, b"extra data"),
        "extra-largest": tlog_proof(4, 13, filler("extra", 65_535)),
        "large": tlog_proof(4711, 70_000),
    }


def tlog_proof(index: int, size: int, extra: bytes | None = None) -> Vector:
    """Proof of one leaf as text."""
    path = tuple(inclusion_proof(index, size, tree.read()))
    proof = EntryProof(index, path, checkpoint(size), extra)
    return {
        "vkey": LOG_KEY.vkey,
        "seed": LOG.seed,
        "leaf": tree.leaves()[index],
        "index": index,
        "size": size,
        **({} if extra is None else {"extra": extra}),
        "proof": encode_proof(proof),
    }


FIRST_HEAD = head_of(decode_mark(sample.FIRST_MARK_OBJECT))


def head_table(principals: int) -> HeadTable:
    """Heads of crate-1 with one mark, crate-2 with the next two, … and of those without a name in place of crate-3."""
    heads = {"crate-1": FIRST_HEAD} if principals else {}
    total = len(heads)
    for count in range(2, principals + 1):
        total += count
        name = "" if count == 3 else f"crate-{count}"
        heads[name] = Head(count, filler(f"last mark {count}"), total, filler(f"blind {count}"))
    return HeadTable(EPOCH_ID, total, heads)


def heads_objects() -> dict[str, Vector]:
    """vectors/heads/accept."""
    made = {
        "first": head_table(5).heads,
        "empty": head_table(0).heads,
        "one": head_table(1).heads,
        "limits": Heads(EPOCH_ID, U64_MAX, U64_MAX, filler("root")),
        "one-of-many": Heads(EPOCH_ID, 2**32, 1, filler("root")),
    }
    return {
        name: {
            "epoch_id": heads.epoch_id,
            "last_sequence": heads.last_sequence,
            "leaves": heads.leaves,
            "root": heads.root,
            "heads": encode_heads(heads),
            "object_hash": heads.object_hash,
        }
        for name, heads in made.items()
    }


def absent_name(table: HeadTable, before: int) -> str:
    """A principal without a leaf, whose key would come after that many leaves."""
    for number in range(10_000):
        name = f"absent-{number}"
        proof = table.prove(name)
        assert not isinstance(proof, PresenceProof)
        if (0 if proof.before is None else proof.before.index + 1) == before:
            return name
    raise AssertionError("no such name")


def head_proofs() -> dict[str, Vector]:
    """vectors/head-proof/accept."""
    five, one, none = head_table(5), head_table(1), head_table(0)
    return {
        "first": head_proof(five, "crate-1"),
        "crate-5": head_proof(five, "crate-5"),
        "no-name": head_proof(five, ""),
        "only-one": head_proof(one, "crate-1"),
        "absent": head_proof(five, absent_name(five, 2)),
        "absent-first": head_proof(five, absent_name(five, 0)),
        "absent-last": head_proof(five, absent_name(five, 5)),
        "absent-before-only-one": head_proof(one, absent_name(one, 0)),
        "absent-after-only-one": head_proof(one, absent_name(one, 1)),
        "absent-of-none": head_proof(none, "crate-1"),
    }


def head_proof(table: HeadTable, principal: str) -> Vector:
    """Proof of one principal, with its head where it has one."""
    proof: HeadProof = table.prove(principal)
    vector: Vector = {
        "heads": encode_heads(table.heads),
        "principal": principal,
        "proof": encode_head_proof(proof),
    }
    if isinstance(proof, PresenceProof):
        head = proof.head
        vector |= {
            "count": head.count,
            "last_mark": head.last_mark,
            "last_sequence": head.last_sequence,
            "blind": head.blind,
        }
    return vector


def tree_head_text(size: int) -> str:
    """Text of a checkpoint, for cases that change it."""
    return encode_tree_head(TreeHead(LOG_KEY.name, size, tree.root(size) if size else EMPTY_ROOT))


ACCEPT_LOG = {
    "tile": tiles,
    "entry-bundle": entry_bundles,
    "signed-note": signed_notes,
    "checkpoint": checkpoints,
    "inclusion": inclusions,
    "consistency": consistencies,
    "streamed-proof": streamed_proofs,
    "tlog-proof": tlog_proofs,
    "heads": heads_objects,
    "head-proof": head_proofs,
}
