"""Go's own note and tlog accept our checkpoints, tiles and proofs, and refuse them altered (tests/oracle/go)."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sigillo.core.checkpoint import TreeHead, encode_checkpoint, sign_checkpoint
from sigillo.core.cosignature import WitnessKey, WitnessKeyType
from sigillo.core.merkle import consistency_proof, inclusion_proof
from sigillo.core.note import LogKey, Note, NoteSignature, encode_note
from sigillo.core.tile import ENTRIES, Tile, encode_bundle, encode_tile, tiles
from tests.vector import tree
from tests.vector.cosign import ED25519, cosigned
from tests.vector.file import paths, read_vector
from tests.vector.key import EPOCH, LOG, filler

CHECKOUT = Path(__file__).resolve().parents[2]
SOURCE = Path(__file__).with_name("go")
GOPATH = Path("/usr/share/gocode")  # where Debian's golang-*-dev packages are
KEY = LogKey("broker.example/log", LOG.public)
PROOFS = 200
SIZES = (1, 2, 255, 256, 257, 4711, 65_536, tree.SIZE)
Job = dict[str, Any]
Ask = Callable[[list[Job]], list[str]]
pytestmark = pytest.mark.skipif(
    not (shutil.which("go") and (GOPATH / "src/golang.org/x/mod/sumdb/tlog").exists()),
    reason="no second opinion: Debian's golang-go and golang-golang-x-mod-dev are not installed",
)


@pytest.fixture(scope="module")
def ask() -> Ask:
    """Reason of refusal per job, empty where accepted."""
    folder = CHECKOUT / "build/oracle-go"
    folder.mkdir(parents=True, exist_ok=True)
    own = {"GO111MODULE": "off", "GOPATH": str(GOPATH), "GOCACHE": str(folder / "cache"), "CGO_ENABLED": "0"}
    program = folder / "oracle"
    built = subprocess.run(
        ["go", "build", "-o", str(program), "."], cwd=SOURCE, env=os.environ | own, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr

    def run(jobs: list[Job]) -> list[str]:
        done = subprocess.run([program], input=json.dumps(jobs), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        answers: list[str] = json.loads(done.stdout)
        assert len(answers) == len(jobs)
        return answers

    return run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the sample log as it stood at each of the sizes."""
    top = tmp_path_factory.mktemp("log")
    old_size = 0
    for size in SIZES:
        for tile in tiles(size, old_size):
            path = top / tile.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(contents(tile))
        old_size = size
    return top


def contents(tile: Tile) -> bytes:
    first = tile.index * 256
    places = range(first, first + tile.width)
    if tile.level == ENTRIES:
        return encode_bundle([tree.entry(place) for place in places])
    return encode_tile([tree.read()(8 * tile.level, place) for place in places])


def note_job(data: bytes, text: str, key: LogKey = KEY) -> Job:
    return {"kind": "note", "vkey": key.vkey, "note": data.hex(), "text": text.encode().hex()}


def hexadecimal(hashes: list[bytes]) -> list[str]:
    return [item.hex() for item in hashes]


def inclusion_job(index: int, size: int, kind: str = "inclusion") -> Job:
    return {
        "kind": kind,
        "index": index,
        "size": size,
        "leaf": tree.leaves()[index].hex(),
        "root": tree.root(size).hex(),
        "proof": hexadecimal(inclusion_proof(index, size, tree.read())),
    }


def consistency_job(old_size: int, size: int, kind: str = "consistency") -> Job:
    return {
        "kind": kind,
        "old_size": old_size,
        "size": size,
        "old_root": tree.root(old_size).hex(),
        "root": tree.root(size).hex(),
        "proof": hexadecimal(consistency_proof(old_size, size, tree.read())),
    }


def random_jobs() -> list[Job]:
    """The proofs: of random leaves and sizes, the same each time."""
    chance = random.Random(4)
    jobs = []
    for _ in range(PROOFS):
        size = chance.randint(1, tree.SIZE)
        jobs.append(inclusion_job(chance.randrange(size), size))
        jobs.append(consistency_job(chance.randint(1, size), size))
    return jobs


def altered(job: Job) -> list[Job]:
    """Everything that one change makes of a job: each hash, the order and number of them, the numbers."""
    proof = job["proof"]
    extra = filler("one hash more").hex()
    jobs = [job | {"proof": [*proof, extra]}, job | {"proof": [extra, *proof]}]
    for place, item in enumerate(proof):
        jobs.append(job | {"proof": proof[:place] + proof[place + 1 :]})
        jobs.append(job | {"proof": [*proof[:place], flipped(item), *proof[place + 1 :]]})
    for name in ("root", "old_root", "leaf"):
        if name in job and not (name == "old_root" and job["old_size"] == job["size"]):
            jobs.append(job | {name: flipped(job[name])})
    if job["kind"] == "inclusion":
        jobs += [job | {"index": job["index"] + step} for step in (-1, 1)]
    return jobs


def flipped(text: str) -> str:
    return f"{int(text[0], 16) ^ 1:x}{text[1:]}"


def test_notes_and_checkpoints(ask: Ask) -> None:
    jobs = []
    for name in ("signed-note", "checkpoint"):
        for path in paths(name, "accept"):
            fields = read_vector(path)
            data = bytes.fromhex(fields["note"])
            text = data.decode().rpartition("\n\n")[0] + "\n"
            jobs.append(note_job(data, text, LogKey.from_vkey(fields["vkey"])))
    assert ask(jobs) == [""] * len(jobs)


def test_an_altered_checkpoint_is_refused(ask: Ask) -> None:
    head = TreeHead(KEY.name, 4711, tree.root(4711))
    signed = sign_checkpoint(head, KEY, LOG.sign)
    data, text, [own] = encode_checkpoint(signed), signed.note.text, signed.note.signatures
    assert ask([note_job(data, text)]) == [""]
    jobs = []
    for position in range(len(text.encode())):
        changed = bytes(byte ^ (at == position) for at, byte in enumerate(data))
        jobs.append(note_job(changed, changed.decode().rpartition("\n\n")[0] + "\n"))
    for position in range(len(own.signature)):
        changed = bytes(byte ^ (at == position) for at, byte in enumerate(own.signature))
        jobs.append(note_job(encode_note(Note(text, (NoteSignature(own.name, own.key_id, changed),))), text))
    jobs.append(note_job(encode_note(Note(text, (NoteSignature("other", own.key_id, own.signature),))), text))
    jobs.append(note_job(encode_note(Note(text, (NoteSignature(own.name, bytes(4), own.signature),))), text))
    jobs.append(note_job(data, text, LogKey(KEY.name, EPOCH.public)))
    assert all(ask(jobs))


def cosignature_job(data: bytes, vkey: str) -> Job:
    text = data.decode().rpartition("\n\n")[0] + "\n"
    return {"kind": "cosignature", "vkey": vkey, "note": data.hex(), "text": text.encode().hex()}


def test_cosignatures(ask: Ask) -> None:
    """Type 4, by a verifier of ours on Go's Ed25519; Go has no ML-DSA yet, so type 6 has no second opinion."""
    jobs = []
    for path in paths("cosignature", "accept"):
        fields = read_vector(path)
        if WitnessKey.from_vkey(fields["witness_vkey"]).type is WitnessKeyType.ED25519:
            jobs.append(cosignature_job(bytes.fromhex(fields["note"]), fields["witness_vkey"]))
    assert len(jobs) >= 8
    assert ask(jobs) == [""] * len(jobs)


def test_cosignatures_that_do_not_count_are_refused_there_too(ask: Ask) -> None:
    """It takes any time, and any text: C2SP has no limit that a note.Verifier sees."""
    wider = {"ed25519-time-0", "ed25519-time-2-63", "ed25519-no-checkpoint"}
    for path in paths("cosignature", "reject"):
        if path.stem.startswith("ed25519-") and path.stem not in wider:
            fields = read_vector(path)
            assert ask([cosignature_job(bytes.fromhex(fields["note"]), fields["witness_vkey"])]) != [""], path


def test_an_altered_cosignature_is_refused(ask: Ask) -> None:
    note = cosigned(sign_checkpoint(TreeHead(KEY.name, 4711, tree.root(4711)), KEY, LOG.sign).note, ED25519)
    *others, own = note.signatures
    assert ask([cosignature_job(encode_note(note), ED25519.vkey)]) == [""]
    jobs = []
    for position in range(len(own.signature)):
        changed = bytes(byte ^ (at == position) for at, byte in enumerate(own.signature))
        line = NoteSignature(own.name, own.key_id, changed)
        jobs.append(cosignature_job(encode_note(Note(note.text, (*others, line))), ED25519.vkey))
    data = encode_note(note)
    for position in range(len(note.text.encode()) - 1):
        if data[position] != ord("\n"):
            changed = bytes(byte ^ (at == position) for at, byte in enumerate(data))
            jobs.append(cosignature_job(changed, ED25519.vkey))
    assert all(ask(jobs))


def test_malformed_notes_are_refused_there_too(ask: Ask) -> None:
    """Go takes more: loose bits in base64, longer notes, a second signature by a key, which it drops."""
    wider = {
        "base64-loose-bits",
        "name-long",
        "name-unprintable",
        "second-of-key",
        "second-of-key-other-bytes",
        "second-of-unknown-key",
        "signatures-65",
        "too-long",
    }
    for path in paths("signed-note", "reject"):
        if path.stem not in wider:
            data = bytes.fromhex(read_vector(path)["note"])
            text = data.decode(errors="replace").rpartition("\n\n")[0] + "\n"
            assert ask([note_job(data, text)]) != [""], path


def test_proofs_are_accepted(ask: Ask) -> None:
    jobs = random_jobs()
    assert len(jobs) == 2 * PROOFS
    assert ask(jobs) == [""] * len(jobs)


def test_altered_proofs_are_refused(ask: Ask) -> None:
    jobs = [job for good in random_jobs() for job in altered(good)]
    assert len(jobs) > 20 * PROOFS
    reasons = ask(jobs)
    assert [job for job, reason in zip(jobs, reasons, strict=True) if not reason] == []


def test_go_makes_the_same_proofs_out_of_our_tiles(ask: Ask, folder: Path) -> None:
    chance = random.Random(5)
    jobs = []
    for size in SIZES:
        for index in {0, size - 1, *(chance.randrange(size) for _ in range(12))}:
            jobs.append(inclusion_job(index, size, "prove-record") | {"folder": str(folder)})
            jobs.append(consistency_job(index + 1, size, "prove-tree") | {"folder": str(folder)})
    assert ask(jobs) == [""] * len(jobs)


@pytest.mark.parametrize(
    "name", ["tile/0/000", "tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1", "tile/entries/000"]
)
def test_altered_tiles_are_refused(ask: Ask, folder: Path, tmp_path: Path, name: str) -> None:
    copy = tmp_path / "log"
    shutil.copytree(folder, copy)
    tile = copy / name
    data = tile.read_bytes()
    first = 69_999 if name in {"tile/0/273.p/112", "tile/1/001.p/17"} else 0
    job = inclusion_job(first, tree.SIZE, "prove-record") | {"folder": str(copy)}
    assert ask([job]) == [""]
    for changed in (
        data[:-1],
        data + b"\0",
        bytes([data[0] ^ 1]) + data[1:],
        data[:2] + bytes([data[2] ^ 1]) + data[3:],
    ):
        if name == "tile/entries/000" and changed[:47] == data[:47]:
            continue  # nothing reads the bundle's end for its first entry
        tile.write_bytes(changed)
        assert ask([job]) != [""]
    tile.unlink()
    assert ask([job]) != [""]


def test_paths_of_tiles(ask: Ask) -> None:
    jobs = []
    for path in paths("tile", "accept"):
        fields = read_vector(path)
        numbers = {key: int(fields[key]) for key in ("level", "index", "width")}
        jobs.append({"kind": "path", "path": fields["path"], **numbers})
    assert ask(jobs) == [""] * len(jobs)
