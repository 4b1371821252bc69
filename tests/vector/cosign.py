"""Vectors of cosignatures: spec/cosignature.md."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import cache

from sigillo.core.checkpoint import TreeHead, encode_tree_head
from sigillo.core.cosignature import (
    TIME_MAX,
    WitnessKey,
    WitnessKeyType,
    cosigned_bytes,
    sign_cosignature,
    verify_cosignature,
)
from sigillo.core.errors import SignatureError
from sigillo.core.note import LogKey, Note, NoteSignature, decode_note, encode_note, sign_note
from tests.vector import tree
from tests.vector.accept_log import Vector, checkpoint
from tests.vector.file import VECTORS, read_vector
from tests.vector.key import EPOCH, LOG, WITNESS, WITNESS_ML_DSA_44, Sign, filler
from tests.vector.sample import LOG_KEY, U64_MAX

TIME_S = 1_795_536_000
ED25519 = WitnessKey("witness.example/w1", WitnessKeyType.ED25519, WITNESS.public)
ML_DSA_44 = WitnessKey("witness.example/w2", WitnessKeyType.ML_DSA_44, WITNESS_ML_DSA_44.public)
SIGN: dict[WitnessKey, Sign] = {ED25519: WITNESS.sign, ML_DSA_44: WITNESS_ML_DSA_44.sign}


def cosigned(note: Note, key: WitnessKey, time_s: int = TIME_S, name: str = "") -> Note:
    """The note with this key's cosignature. *name*: the vector whose ML-DSA signature is kept while it verifies."""
    return Note(note.text, (*note.signatures, _signature(note.text, key, time_s, name)))


@cache
def _signature(text: str, key: WitnessKey, time_s: int, name: str) -> NoteSignature:
    """ML-DSA signatures are never the same twice: one that was committed stays."""
    path = VECTORS / "cosignature" / f"{name}.txt"
    if key.type is WitnessKeyType.ML_DSA_44 and path.is_file():
        before = decode_note(bytes.fromhex(read_vector(path)["note"]))
        for line in before.signatures:
            with suppress(SignatureError):
                if verify_cosignature(Note(text, (line,)), key).time_s == time_s:
                    return line
    return sign_cosignature(Note(text, ()), key, time_s, SIGN[key])


def accepted() -> dict[str, Vector]:
    """vectors/cosignature/accept."""
    plain, extended = checkpoint(13).note, checkpoint(13, "an extension", "another: +/= è").note
    limits = sign_note(encode_tree_head(TreeHead(LOG_KEY.name, U64_MAX, filler("root"))), LOG_KEY, LOG.sign)
    cases: dict[str, tuple[Note, WitnessKey, int]] = {
        "ed25519": (plain, ED25519, TIME_S),
        "ed25519-extensions": (extended, ED25519, TIME_S),
        "ed25519-limits": (limits, ED25519, TIME_MAX),
        "ed25519-first-second": (plain, ED25519, 1),
        "ed25519-without-log": (Note(plain.text, ()), ED25519, TIME_S),
        "ed25519-empty-tree": (checkpoint(0).note, ED25519, TIME_S),
        "ml-dsa-44": (plain, ML_DSA_44, TIME_S),
        "ml-dsa-44-extensions": (extended, ML_DSA_44, TIME_S),
        "ml-dsa-44-limits": (limits, ML_DSA_44, TIME_MAX),
    }
    made = {name: (cosigned(note, key, time, f"accept/{name}"), key, time) for name, (note, key, time) in cases.items()}
    both = cosigned(made["ed25519"][0], ML_DSA_44, TIME_S, "accept/both-asked-first")
    made["both-asked-first"] = (both, ED25519, TIME_S)
    made["beside-a-bad-one"] = (_beside_a_bad_one(made["ed25519"][0]), ED25519, TIME_S)
    return {
        name: {
            "witness_vkey": key.vkey,
            "seed": {ED25519: WITNESS.seed, ML_DSA_44: WITNESS_ML_DSA_44.seed}[key],
            "time": time,
            "message": cosigned_bytes(note.text, key, time),
            "note": encode_note(note),
        }
        for name, (note, key, time) in made.items()
    }


def _beside_a_bad_one(note: Note) -> Note:
    return Note(note.text, (NoteSignature("other.example/w", filler("key id", 4), b"x"), *note.signatures))


def rejected() -> dict[str, Vector]:
    """vectors/cosignature/reject: a well-formed note whose cosignature by the key does not count."""
    return {
        name: {"witness_vkey": key.vkey, "note": encode_note(note), "reason": reason}
        for name, (note, key, reason) in (_ed25519_cases() | _ml_dsa_44_cases()).items()
    }


Cases = dict[str, tuple[Note, WitnessKey, str]]


def _ed25519_cases() -> Cases:
    note = checkpoint(13).note
    own, message = _line(note, ED25519), cosigned_bytes(note.text, ED25519, TIME_S)
    time, signature = own.signature[:8], own.signature[8:]
    zero = bytes(8) + WITNESS.sign(f"cosignature/v1\ntime 0\n{note.text}".encode())
    future = (2**63).to_bytes(8, "big") + WITNESS.sign(f"cosignature/v1\ntime {2**63}\n{note.text}".encode())
    free = sign_note("no checkpoint\n", LogKey(LOG_KEY.name, LOG.public), LOG.sign)
    free_signature = WITNESS.sign(f"cosignature/v1\ntime {TIME_S}\n{free.text}".encode())
    as_log_key = LogKey(ED25519.name, WITNESS.public)
    lines: dict[str, tuple[Note, NoteSignature | None, str]] = {
        "missing": (note, None, "no cosignature"),
        "other-name": (note, replace(own, name="witness.example/w3"), "the name of another witness"),
        "other-id": (note, replace(own, key_id=bytes(4)), "another key id"),
        "key-id-of-log-type": (note, replace(own, key_id=as_log_key.note_key_id), "the key id of type 01"),
        "other-key": (note, replace(own, signature=time + EPOCH.sign(message)), "signed by another key"),
        "other-time": (note, replace(own, signature=time[:-1] + b"\1" + signature), "another time than signed"),
        "time-0": (note, replace(own, signature=zero), "time 0"),
        "time-2-63": (note, replace(own, signature=future), "time 2^63"),
        "time-missing": (note, replace(own, signature=signature), "no time before the signature"),
        "short": (note, replace(own, signature=own.signature[:-1]), "a byte less"),
        "long": (note, replace(own, signature=own.signature + b"\0"), "a byte more"),
        "signature-bit": (note, replace(own, signature=_flipped(own.signature)), "one bit of the signature"),
        "plain-note-signature": (
            note,
            replace(own, signature=time + WITNESS.sign(note.text.encode())),
            "signed like a log's note, without the two lines",
        ),
        "other-size": (checkpoint(12).note, own, "the cosignature of another checkpoint"),
        "other-extension": (checkpoint(13, "x").note, own, "an extension line that was not cosigned"),
        "no-checkpoint": (free, replace(own, signature=time + free_signature), "a note that is no checkpoint"),
    }
    return {f"ed25519-{name}": (_with(base, line), ED25519, reason) for name, (base, line, reason) in lines.items()}


def _ml_dsa_44_cases() -> Cases:
    note = checkpoint(13).note

    def kept(name: str) -> NoteSignature:
        return _line(note, ML_DSA_44, f"accept/{name}")

    own = kept("ml-dsa-44")
    ed25519 = _line(note, ED25519)
    other_root = Note(encode_tree_head(TreeHead(LOG_KEY.name, 13, tree.root(12))), note.signatures)
    lines: dict[str, tuple[Note, NoteSignature, str]] = {
        "other-name": (note, replace(own, name="witness.example/w3"), "the name of another witness"),
        "other-time": (note, replace(own, signature=bytes(7) + b"\1" + own.signature[8:]), "another time than signed"),
        "time-0": (note, replace(own, signature=bytes(8) + own.signature[8:]), "time 0: no statement about the newest"),
        "short": (note, replace(own, signature=own.signature[:-1]), "a byte less"),
        "long": (note, replace(own, signature=own.signature + b"\0"), "a byte more"),
        "signature-bit": (note, replace(own, signature=_flipped(own.signature)), "one bit of the signature"),
        "ed25519-signature": (note, replace(own, signature=ed25519.signature), "a signature of the other type"),
        "other-size": (checkpoint(12).note, own, "the cosignature of another size"),
        "other-root": (other_root, own, "the cosignature of another root"),
        "other-origin": (Note(note.text.replace("broker", "b"), note.signatures), own, "that of another log"),
    }
    cases = {
        f"ml-dsa-44-{name}": (_with(base, line), ML_DSA_44, reason) for name, (base, line, reason) in lines.items()
    }
    renamed = replace(ML_DSA_44, name="witness.example/w3")
    stolen = replace(own, name=renamed.name, key_id=renamed.note_key_id)
    cases["ml-dsa-44-same-key-other-name"] = (_with(note, stolen), renamed, "signed under another name of this key")
    return cases


def _with(note: Note, line: NoteSignature | None) -> Note:
    return note if line is None else Note(note.text, (*note.signatures, line))


def _line(note: Note, key: WitnessKey, name: str = "") -> NoteSignature:
    return cosigned(note, key, TIME_S, name).signatures[-1]


def _flipped(signature: bytes) -> bytes:
    return signature[:-1] + bytes([signature[-1] ^ 1])
