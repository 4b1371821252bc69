"""How this implementation reads the vectors of the log's formats: raises what a reader must, or compares."""

from sigillo.core import heads, merkle, proof, tile
from sigillo.core.checkpoint import TreeHead, decode_checkpoint, encode_checkpoint, sign_checkpoint, verify_checkpoint
from sigillo.core.cosignature import Cosignature, WitnessKey, cosigned_bytes, verify_cosignature
from sigillo.core.note import LogKey, decode_note, encode_note, sign_note, verify_note
from tests.vector import tree
from tests.vector.key import LOG

Fields = dict[str, str]


def hexadecimal(fields: Fields, name: str) -> bytes:
    return bytes.fromhex(fields[name])


def numbered(fields: Fields, name: str) -> list[str]:
    """Values of name_1, name_2, …"""
    found = [key for key in fields if key.startswith(f"{name}_") and key.removeprefix(f"{name}_").isdecimal()]
    return [fields[f"{name}_{number}"] for number in range(1, len(found) + 1)]


def hashes(fields: Fields, name: str) -> list[bytes]:
    return [bytes.fromhex(item) for item in numbered(fields, name)]


def read_tile(fields: Fields) -> None:
    found = tile.Tile.from_path(fields["path"])
    assert (found.level, found.index, found.width) == tuple(int(fields[key]) for key in ("level", "index", "width"))
    assert found.path == fields["path"]


def read_bundle(fields: Fields) -> None:
    entries = tile.decode_bundle(hexadecimal(fields, "bundle"), int(fields["width"]))
    leaves = hashes(fields, "leaf")
    assert [merkle.leaf_hash(item) for item in entries] == leaves
    assert tile.encode_bundle(entries).hex() == fields["bundle"]
    assert tile.decode_tile(hexadecimal(fields, "tile"), len(leaves)) == leaves
    assert merkle.tree_root(len(leaves), merkle.subtree_reader(leaves)).hex() == fields["root"]


def read_note(fields: Fields) -> None:
    note = decode_note(hexadecimal(fields, "note"))
    key = LogKey.from_vkey(fields["vkey"])
    text = verify_note(note, key)
    assert text.encode().hex() == fields["text"]
    assert encode_note(note).hex() == fields["note"]
    assert sign_note(text, key, LOG.sign).signatures[0] in note.signatures


def read_checkpoint(fields: Fields) -> None:
    signed = decode_checkpoint(hexadecimal(fields, "note"))
    key = LogKey.from_vkey(fields["vkey"])
    head = verify_checkpoint(signed, key)
    extensions = tuple(numbered(fields, "extension"))
    assert head == TreeHead(fields["origin"], int(fields["size"]), hexadecimal(fields, "root"), extensions)
    assert signed.beacon_hash.hex() == fields["beacon_hash"]
    assert encode_checkpoint(signed).hex() == fields["note"]
    assert sign_checkpoint(head, key, LOG.sign).note.text == signed.note.text


def read_cosignature(fields: Fields) -> None:
    note = decode_note(hexadecimal(fields, "note"))
    key = WitnessKey.from_vkey(fields["witness_vkey"])
    time_s = int(fields.get("time", "0"))
    assert verify_cosignature(note, key) == Cosignature(key, time_s)
    assert cosigned_bytes(note.text, key, time_s).hex() == fields["message"]
    assert encode_note(note).hex() == fields["note"]


def read_inclusion(fields: Fields) -> None:
    index, size, path = int(fields["index"]), int(fields["size"]), hashes(fields, "path")
    merkle.verify_inclusion(hexadecimal(fields, "leaf"), index, size, path, hexadecimal(fields, "root"))
    assert merkle.inclusion_proof(index, size, tree.read()) == path


def read_consistency(fields: Fields) -> None:
    old_size, new_size, found = int(fields["old_size"]), int(fields["new_size"]), hashes(fields, "proof")
    old_root, new_root = hexadecimal(fields, "old_root"), hexadecimal(fields, "new_root")
    merkle.verify_consistency(old_size, old_root, new_size, new_root, found)
    assert merkle.consistency_proof(old_size, new_size, tree.read()) == found


def read_streamed(fields: Fields) -> None:
    steps = [tree.parse_step(text) for text in numbered(fields, "step")]
    found = tree.run(steps)
    assert found.proven == found.position == steps[-1][1]


def read_tlog_proof(fields: Fields) -> None:
    found = proof.decode_proof(hexadecimal(fields, "proof"))
    head = proof.verify_proof(found, hexadecimal(fields, "leaf"), LogKey.from_vkey(fields["vkey"]))
    assert (found.index, head.size) == (int(fields["index"]), int(fields["size"]))
    assert found.extra == (hexadecimal(fields, "extra") if "extra" in fields else None)
    assert proof.encode_proof(found).hex() == fields["proof"]


def read_heads(fields: Fields) -> None:
    found = heads.decode_heads(hexadecimal(fields, "heads"))
    assert found == heads.Heads(
        hexadecimal(fields, "epoch_id"),
        int(fields["last_sequence"]),
        int(fields["leaves"]),
        hexadecimal(fields, "root"),
    )
    assert heads.encode_heads(found).hex() == fields["heads"]
    assert found.object_hash.hex() == fields["object_hash"]


def read_head_proof(fields: Fields) -> None:
    found = heads.decode_head_proof(hexadecimal(fields, "proof"))
    under = heads.decode_heads(hexadecimal(fields, "heads"))
    head = heads.verify_head_proof(found, under, fields["principal"])
    assert "reason" not in fields
    assert heads.encode_head_proof(found).hex() == fields["proof"]
    if head is None:
        assert "count" not in fields
        return
    assert (head.count, head.last_sequence) == (int(fields["count"]), int(fields["last_sequence"]))
    assert (head.last_mark.hex(), head.blind.hex()) == (fields["last_mark"], fields["blind"])


LOG_READERS = {
    "tile": read_tile,
    "entry-bundle": read_bundle,
    "signed-note": read_note,
    "checkpoint": read_checkpoint,
    "cosignature": read_cosignature,
    "inclusion": read_inclusion,
    "consistency": read_consistency,
    "streamed-proof": read_streamed,
    "tlog-proof": read_tlog_proof,
    "heads": read_heads,
    "head-proof": read_head_proof,
}
