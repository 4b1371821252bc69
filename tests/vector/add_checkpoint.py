"""Vectors of a witness's request: spec/witness.md."""

from __future__ import annotations

from sigillo.core.checkpoint import SignedCheckpoint, encode_checkpoint
from sigillo.core.merkle import consistency_proof
from sigillo.core.note import Note
from sigillo.core.witness import MAX_REQUEST, AddCheckpoint, encode_add_checkpoint
from tests.vector import tree
from tests.vector.accept_log import WITNESS, Vector, checkpoint, numbered
from tests.vector.key import filler


def accepted() -> dict[str, Vector]:
    """vectors/add-checkpoint/accept."""
    cases = {
        "first": (8, checkpoint(13)),
        "from-nothing": (0, checkpoint(13)),
        "same-size": (13, checkpoint(13)),
        "empty-tree": (0, checkpoint(0)),
        "large": (4711, checkpoint(70_000)),
        "extensions": (8, checkpoint(13, "an extension", "another: +/= è")),
        "cosigned": (8, _cosigned(checkpoint(13))),
    }
    made = {
        name: AddCheckpoint(old, tuple(consistency_proof(old, signed.head.size, tree.read())), signed)
        for name, (old, signed) in cases.items()
    }
    made["proof-63"] = AddCheckpoint(8, tuple(filler(f"hash {n}") for n in range(63)), checkpoint(13))
    return {
        name: {
            "old": request.old_size,
            **numbered("proof", request.proof),
            "note": encode_checkpoint(request.checkpoint),
            "request": encode_add_checkpoint(request),
        }
        for name, request in made.items()
    }


def _cosigned(signed: SignedCheckpoint) -> SignedCheckpoint:
    return SignedCheckpoint(Note(signed.note.text, (*signed.note.signatures, WITNESS)), signed.head)


def rejected() -> dict[str, Vector]:
    """vectors/add-checkpoint/reject."""
    good = accepted()["first"]["request"]
    assert isinstance(good, bytes)
    head, _, note = good.partition(b"\n\n")
    old, *proof = head.split(b"\n")
    line = proof[0]
    [own] = [item for item in note.split(b"\n") if item.startswith("\u2014".encode())]
    cases: dict[str, tuple[bytes, str]] = {
        "empty": (b"", "nothing"),
        "checkpoint-only": (note, "no old size"),
        "no-checkpoint": (head + b"\n\n", "no checkpoint"),
        "empty-line-missing": (head + b"\n" + note, "no empty line before the checkpoint"),
        "empty-line-first": (b"\n" + good, "an empty line first"),
        "empty-line-twice": (head + b"\n\n\n" + note, "two empty lines before the checkpoint"),
        "carriage-return": (good.replace(b"\n", b"\r\n", 1), "a carriage return"),
        "old-missing": (b"\n".join(proof) + b"\n\n" + note, "a proof without old size"),
        "old-last": (b"\n".join([*proof, old]) + b"\n\n" + note, "the old size after the proof"),
        "old-twice": (old + b"\n" + good, "two old sizes"),
        "old-upper": (good.replace(b"old", b"Old", 1), "an upper-case letter"),
        "old-two-spaces": (good.replace(b"old ", b"old  ", 1), "two spaces"),
        "old-no-space": (good.replace(b"old ", b"old", 1), "no space"),
        "old-empty": (good.replace(b"old 8", b"old ", 1), "no number"),
        "old-leading-zero": (good.replace(b"old 8", b"old 08", 1), "a leading zero"),
        "old-plus": (good.replace(b"old 8", b"old +8", 1), "a plus sign"),
        "old-negative": (good.replace(b"old 8", b"old -8", 1), "a negative size"),
        "old-space-after": (good.replace(b"old 8", b"old 8 ", 1), "a space after the number"),
        "old-full-width": (good.replace(b"old 8", "old \uff18".encode(), 1), "a digit that is not ASCII"),
        "old-too-large": (good.replace(b"old 8", b"old 18446744073709551616", 1), "2^64"),
        "proof-31-bytes": (good.replace(line, b"AA" * 20 + b"AA==", 1), "a hash of 31 bytes"),
        "proof-33-bytes": (good.replace(line, b"AAAA" * 11, 1), "a hash of 33 bytes"),
        "proof-empty-line": (old + b"\n\n" + b"\n".join(proof) + b"\n\n" + note, "an empty line after the old size"),
        "proof-no-padding": (good.replace(line, line.rstrip(b"="), 1), "no padding"),
        "proof-loose-bits": (good.replace(line, b"A" * 42 + b"B=", 1), "unused bits that are not zero"),
        "proof-url-alphabet": (good.replace(line, b"-_" + line[2:], 1), "the other alphabet"),
        "proof-space": (good.replace(line, line + b" ", 1), "a space after a hash"),
        "proof-two-a-line": (good.replace(line + b"\n", line + b" ", 1), "two hashes in a line"),
        "proof-64": (old + b"\n" + (line + b"\n") * 64 + b"\n" + note, "64 hashes"),
        "checkpoint-cut": (good[:-1], "the last byte is missing"),
        "checkpoint-two-of-key": (good + own + b"\n", "two signatures of one key"),
        "checkpoint-size": (good.replace(b"\n13\n", b"\n013\n", 1), "a leading zero in the checkpoint's size"),
        "too-long": (good + b"x" * (MAX_REQUEST - len(good) + 1), "more than 135,168 bytes"),
    }
    return {name: {"request": data, "reason": reason} for name, (data, reason) in cases.items()}
