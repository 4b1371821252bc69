"""Reject vectors of the log's formats: each differs from a good one in one thing only."""

import base64
from collections.abc import Callable, Mapping

import cbor2

from sigillo.core.bytes import EMPTY_ROOT
from sigillo.core.checkpoint import encode_checkpoint
from sigillo.core.heads import (
    HeadProof,
    Heads,
    encode_head_proof,
    encode_heads,
)
from sigillo.core.merkle import inclusion_proof
from tests.vector import accept_log, tree
from tests.vector.accept_log import EXAMPLE, TEXT, WITNESS, Vector
from tests.vector.key import EPOCH, LOG, filler
from tests.vector.sample import EPOCH_ID, LOG_KEY

Cases = dict[str, tuple[bytes, str]]
Text = Callable[[str], bytes]


def _files(cases: Mapping[str, tuple[bytes | str, str]], name: str, **more: bytes | str | int) -> dict[str, Vector]:
    return {case: {name: data, **more, "reason": reason} for case, (data, reason) in cases.items()}


def tiles() -> dict[str, Vector]:
    """vectors/tile/reject."""
    return _files(
        {
            "empty": ("", "nothing"),
            "slash-before": ("/tile/0/000", "a slash before it"),
            "slash-after": ("tile/0/000/", "a slash after it"),
            "other-folder": ("tiles/0/000", "another folder"),
            "level-8": ("tile/8/000", "level 8"),
            "level-00": ("tile/00/000", "a leading zero in the level"),
            "level-negative": ("tile/-1/000", "level -1"),
            "level-data": ("tile/data/000", "another name for the entries"),
            "index-missing": ("tile/0", "no index"),
            "index-short": ("tile/0/01", "two digits"),
            "index-long": ("tile/0/0001", "four digits"),
            "index-no-x": ("tile/0/001/234", "a group before the last without x"),
            "index-x-last": ("tile/0/x001/x234", "the last group has an x"),
            "index-zero-group": ("tile/0/x000/001", "a leading group of zeros"),
            "index-upper-x": ("tile/0/X001/234", "an upper-case X"),
            "index-full-width-digit": ("tile/0/00\uff11", "a digit that is not ASCII"),
            "index-too-big": ("tile/0/x072/x057/x594/x037/x927/935", "a full tile that needs 2^64 leaves"),
            "index-far-too-big": ("tile/7/001", "a tile that needs more than 2^64 leaves"),
            "width-0": ("tile/0/000.p/0", "width 0"),
            "width-256": ("tile/0/000.p/256", "a full tile as a partial one"),
            "width-999": ("tile/0/000.p/999", "width 999"),
            "width-01": ("tile/0/000.p/01", "a leading zero in the width"),
            "width-missing": ("tile/0/000.p/", "no width"),
            "width-no-slash": ("tile/0/000.p1", "no slash before the width"),
            "top-full": ("tile/7/000", "a full tile that needs 2^64 leaves"),
            "dots": ("tile/0/../000", "another folder on the way"),
        },
        "path",
    )


def entry_bundles() -> dict[str, Vector]:
    """vectors/entry-bundle/reject."""
    good = b"\0\x2d" + tree.entry(0) + b"\0\x2d" + tree.entry(1)
    cases: dict[str, tuple[bytes, int, str]] = {
        "width-0": (b"", 0, "width 0"),
        "width-257": (good[:47] * 257, 257, "width 257"),
        "empty": (b"", 2, "nothing"),
        "cut": (good[:-1], 2, "the last byte is missing"),
        "byte-more": (good + b"\0", 2, "a byte after the last entry"),
        "entry-less": (good[:47], 2, "one entry instead of two"),
        "entry-more": (good, 1, "two entries instead of one"),
        "length-44": (good[:48] + b"\x2c" + good[49:], 2, "a length field of 44"),
        "length-high-byte": (b"\x01" + good[1:], 2, "a length field of 301"),
        "length-little-endian": (b"\x2d\0" + good[2:], 2, "a little-endian length field"),
    }
    return {
        name: {"width": width, "bundle": bundle, "reason": reason} for name, (bundle, width, reason) in cases.items()
    }


def _line(name: str, key_id: bytes, signature: bytes) -> str:
    return f"\u2014 {name} {base64.b64encode(key_id + signature).decode()}\n"


def _own_line(text: str) -> str:
    return _line(LOG_KEY.name, LOG_KEY.note_key_id, LOG.sign(text.encode()))


def _signed(text: str) -> bytes:
    return f"{text}\n{_own_line(text)}".encode()


def signed_notes() -> dict[str, Vector]:
    """vectors/signed-note/reject."""
    own = _own_line(TEXT)
    witness = _line(WITNESS.name, WITNESS.key_id, WITNESS.signature)
    name, key_id, signature = LOG_KEY.name, LOG_KEY.note_key_id, LOG.sign(TEXT.encode())
    encoded = base64.b64encode(key_id + signature).decode()
    loose = encoded[:-2] + chr(ord(encoded[-2]) + 1) + "="

    def with_lines(*lines: str) -> bytes:
        return f"{TEXT}\n{''.join(lines)}".encode(errors="surrogateescape")

    malformed: Cases = {
        "empty": (b"", "nothing"),
        "text-only": (TEXT.encode(), "no signature lines"),
        "no-line": (with_lines(), "no signature line"),
        "no-empty-line": (f"x\n{_own_line(TEXT)}".encode(), "no empty line before the signatures"),
        "last-feed-missing": (with_lines(own)[:-1], "no line feed at the end"),
        "feed-more": (with_lines(own) + b"\n", "an empty line at the end"),
        "text-after": (with_lines(own, "text\n"), "text after the signatures"),
        "control-character": (_signed("a\tb\n"), "a tab in the text"),
        "carriage-return": (_signed("a\r\n"), "a carriage return"),
        "nul": (_signed("a\0\n"), "U+0000 in the text"),
        "not-utf8": (b"\xff" + with_lines(own), "not UTF-8"),
        "surrogate": (b"\xed\xa0\x80" + with_lines(own), "a surrogate in the text"),
        "too-long": (_signed("x" * 131_072 + "\n"), "more than 131,072 bytes"),
        "signatures-65": (with_lines(own, *(_line(f"w{n}", bytes(4), b"x") for n in range(64))), "65 signatures"),
        "hyphen": (with_lines(own.replace("\u2014", "-")), "a hyphen instead of the dash"),
        "en-dash": (with_lines(own.replace("\u2014", "\u2013")), "another dash"),
        "space-missing": (with_lines(own.replace("\u2014 ", "\u2014")), "no space after the dash"),
        "space-before": (with_lines(" " + own), "a space before the dash"),
        "space-after": (with_lines(own[:-1] + " \n"), "a space at the end of the line"),
        "space-twice": (with_lines(own.replace(f"{name} ", f"{name}  ")), "two spaces after the name"),
        "name-missing": (with_lines(f"\u2014 {encoded}\n"), "no name"),
        "name-empty": (with_lines(_line("", key_id, signature)), "an empty name"),
        "name-plus": (with_lines(_line("a+b", key_id, signature), own), "a plus sign in a name"),
        "name-space": (with_lines(_line("a\u00a0b", key_id, signature), own), "a space in a name"),
        "name-long": (with_lines(_line("n" * 256, key_id, signature), own), "a name of 256 bytes"),
        "name-unprintable": (with_lines(_line("a\u200bb", key_id, signature), own), "a character that does not print"),
        "base64-missing": (with_lines(f"\u2014 {name} \n"), "no base64"),
        "base64-loose-bits": (with_lines(f"\u2014 {name} {loose}\n"), "unused bits that are not zero"),
        "base64-padding-missing": (with_lines(f"\u2014 {name} {encoded.rstrip('=')}\n"), "no padding"),
        "base64-padding-more": (with_lines(f"\u2014 {name} {encoded}=\n"), "too much padding"),
        "base64-url": (with_lines(f"\u2014 {name} {'-_' + encoded[2:]}\n"), "the other alphabet"),
        "signature-empty": (with_lines(_line(name, key_id, b"")), "a key id without signature"),
        "second-of-key": (with_lines(own, own), "two signatures of one key"),
        "second-of-unknown-key": (with_lines(own, witness, witness), "two signatures of one unknown key"),
        "second-of-key-other-bytes": (with_lines(own, _line(name, key_id, bytes(64))), "two of one key that differ"),
    }
    failing: Cases = {
        "unknown-only": (with_lines(witness), "no signature by the key"),
        "other-id": (with_lines(_line(name, bytes(4), signature)), "another key id"),
        "other-name": (with_lines(_line("other.example", key_id, signature)), "another name"),
        "other-key": (with_lines(_line(name, key_id, EPOCH.sign(TEXT.encode()))), "signed by another key"),
        "text-changed": (with_lines(own).replace(b"terra", b"Terra"), "the text is another"),
        "text-longer": (b"x\n" + with_lines(own), "a line before the text"),
        "blank-line-signed": (with_lines(_line(name, key_id, LOG.sign(f"{TEXT}\n".encode()))), "the LF too signed"),
        "signature-bit": (with_lines(_line(name, key_id, signature[:-1] + bytes([signature[-1] ^ 1]))), "one bit"),
        "signature-short": (with_lines(_line(name, key_id, signature[:-1])), "a signature of 63 bytes"),
        "signature-long": (with_lines(_line(name, key_id, signature + b"\0")), "a signature of 65 bytes"),
        "type-byte-in-front": (with_lines(_line(name, key_id, b"\x01" + signature)), "the type before the signature"),
    }
    return _files(malformed, "note") | _files(failing, "note", vkey=LOG_KEY.vkey)


def checkpoints() -> dict[str, Vector]:
    """vectors/checkpoint/reject."""
    origin, size, root, _ = accept_log.tree_head_text(13).split("\n")
    empty = base64.b64encode(EMPTY_ROOT).decode()

    def head(*lines: str) -> bytes:
        return _signed("".join(f"{line}\n" for line in lines))

    malformed: Cases = {
        "one-line": (head(origin), "no size"),
        "two-lines": (head(origin, size), "no root"),
        "origin-empty": (head("", size, root), "an empty origin"),
        "origin-space": (head("a b", size, root), "a space in the origin"),
        "origin-plus": (head("a+b", size, root), "a plus sign in the origin"),
        "origin-long": (head("o" * 256, size, root), "an origin of 256 bytes"),
        "line-empty": (head(origin, "", size, root), "an empty line"),
        "extension-empty": (head(origin, size, root, ""), "an empty extension line"),
        "extension-after-empty": (head(origin, size, root, "", "x"), "an empty line among the extensions"),
        "size-empty-root-first": (head(origin, root, size), "root before size"),
        "size-zero-before": (head(origin, "013", root), "a leading zero"),
        "size-sign": (head(origin, "+13", root), "a sign"),
        "size-negative": (head(origin, "-13", root), "a negative size"),
        "size-space": (head(origin, "13 ", root), "a space after the size"),
        "size-hex": (head(origin, "0xd", root), "a hexadecimal size"),
        "size-underscore": (head(origin, "1_3", root), "an underscore"),
        "size-arabic-digits": (head(origin, "\u0661\u0663", root), "digits that are not ASCII"),
        "size-2-64": (head(origin, str(2**64), root), "size 2^64"),
        "size-huge": (head(origin, "9" * 5000, root), "a size of 5,000 digits"),
        "size-0-other-root": (head(origin, "0", root), "size 0 with a root that is not SHA-256('')"),
        "root-31": (head(origin, size, base64.b64encode(bytes(31)).decode()), "a root of 31 bytes"),
        "root-33": (head(origin, size, base64.b64encode(bytes(33)).decode()), "a root of 33 bytes"),
        "root-hex": (head(origin, size, EMPTY_ROOT.hex()), "a root in hex"),
        "root-padding": (head(origin, size, root.rstrip("=")), "no padding"),
        "root-loose-bits": (head(origin, size, empty[:-2] + chr(ord(empty[-2]) + 1) + "="), "loose bits"),
        "no-signature": (f"{origin}\n{size}\n{root}\n".encode(), "no signature"),
    }
    other = _line("other.example/log", LOG_KEY.note_key_id, LOG.sign(f"{origin}\n{size}\n{root}\n".encode()))
    good = encode_checkpoint(accept_log.checkpoint(13))
    failing: Cases = {
        "origin-other": (head("other.example/log", size, root), "the origin is not the name of the key"),
        "signed-by-other-name": (f"{origin}\n{size}\n{root}\n\n{other}".encode(), "signed under another name"),
        "size-changed": (good.replace(b"\n13\n", b"\n14\n"), "another size"),
        "root-changed": (good.replace(root.encode(), empty.encode()), "another root"),
        "extension-added": (good.replace(b"\n\n", b"\nextension\n\n"), "an extension line that was not signed"),
    }
    return _files(malformed, "note") | _files(failing, "note", vkey=LOG_KEY.vkey)


def inclusions() -> dict[str, Vector]:
    """vectors/inclusion/reject."""
    good = accept_log.inclusion(4, 7)
    path = inclusion_proof(4, 7, tree.read())

    def changed(reason: str, hashes: list[bytes] = path, **values: bytes | int) -> Vector:
        fixed = {name: value for name, value in good.items() if not name.startswith("path_")}
        return fixed | values | accept_log.numbered("path", hashes) | {"reason": reason}

    single = {"leaf": tree.leaves()[0], "index": 0, "size": 1, "root": tree.root(1)}
    return {
        "index-beyond": changed("the leaf is not in the tree", index=7),
        "index-next": changed("another index", index=5),
        "index-before": changed("another index", index=3),
        "size-0": changed("an empty tree", index=0, size=0, root=EMPTY_ROOT, hashes=[]),
        "size-less": changed("the leaf is not in the tree of that size", size=4),
        "size-more": changed("another size", size=9),
        "leaf-other": changed("another leaf", leaf=tree.leaves()[5]),
        "leaf-31": changed("a leaf hash of 31 bytes", leaf=tree.leaves()[4][1:]),
        "root-other": changed("another root", root=tree.root(8)),
        "root-31": changed("a root of 31 bytes", root=tree.root(7)[1:]),
        "path-empty": changed("no path", hashes=[]),
        "path-first-missing": changed("the first hash is missing", hashes=path[1:]),
        "path-last-missing": changed("the last hash is missing", hashes=path[:-1]),
        "path-first-doubled": changed("the first hash twice", hashes=[path[0], *path]),
        "path-last-doubled": changed("the last hash twice", hashes=[*path, path[-1]]),
        "path-reversed": changed("from the root down", hashes=path[::-1]),
        "path-bit": changed("one bit", hashes=[bytes([path[0][0] ^ 1]) + path[0][1:], *path[1:]]),
        "path-31": changed("a hash of 31 bytes", hashes=[path[0][1:], *path[1:]]),
        "path-33": changed("a hash of 33 bytes", hashes=[path[0] + b"\0", *path[1:]]),
        "node-as-leaf": changed("a node shown as a leaf", leaf=tree.read()(1, 2), index=2, hashes=path[1:]),
        "single-with-path": single | {"path_1": tree.leaves()[0], "reason": "a path in a tree of one"},
        "single-other-root": single | {"root": tree.root(2), "reason": "the root is not the only leaf"},
    }


def consistencies() -> dict[str, Vector]:
    """vectors/consistency/reject."""

    def changed(old: int, new: int, reason: str, **values: bytes | int) -> Vector:
        return accept_log.consistency(old, new) | values | {"reason": reason}

    def with_proof(old_size: int, new_size: int, change: Callable[[list[bytes]], list[bytes]], reason: str) -> Vector:
        good = accept_log.consistency(old_size, new_size)
        proof = [bytes(value) for name, value in good.items() if name.startswith("proof_") and isinstance(value, bytes)]
        fixed = {name: value for name, value in good.items() if not name.startswith("proof_")}
        return fixed | accept_log.numbered("proof", change(proof)) | {"reason": reason}

    extra = filler("one hash more")
    return {
        "smaller": changed(7, 7, "the new tree is smaller", new_size=6, new_root=tree.root(6)),
        "empty-to-smaller": changed(3, 3, "the new tree is empty", new_size=0, new_root=EMPTY_ROOT),
        "same-size-other-root": changed(7, 7, "two roots of one size", new_root=tree.root(8)),
        "same-size-with-proof": with_proof(7, 7, lambda _: [extra], "a proof between equal sizes"),
        "empty-with-proof": with_proof(0, 7, lambda _: [extra], "a proof from the empty tree"),
        "empty-other-root": changed(0, 7, "size 0 with another root", old_root=tree.root(1)),
        "empty-to-empty-other-root": changed(0, 0, "size 0 with another root", new_root=tree.root(1)),
        "both-empty-other-root": changed(0, 0, "size 0", old_root=tree.root(1), new_root=tree.root(1)),
        "old-root-other": changed(3, 7, "another old root", old_root=tree.root(4)),
        "new-root-other": changed(3, 7, "another new root", new_root=tree.root(8)),
        "power-old-root-other": changed(4, 7, "another old root", old_root=tree.root(3)),
        "power-old-root-31": changed(4, 7, "an old root of 31 bytes", old_root=tree.root(4)[1:]),
        "roots-swapped": changed(3, 7, "old and new root", old_root=tree.root(7), new_root=tree.root(3)),
        "old-size-other": changed(3, 7, "another old size", old_size=2),
        "new-size-other": changed(3, 7, "another new size", new_size=9),
        "proof-empty": with_proof(3, 7, lambda _: [], "no proof"),
        "power-proof-empty": with_proof(4, 7, lambda _: [], "no proof, old size a power of two"),
        "first-missing": with_proof(3, 7, lambda proof: proof[1:], "the first hash is missing"),
        "last-missing": with_proof(3, 7, lambda proof: proof[:-1], "the last hash is missing"),
        "one-more": with_proof(3, 7, lambda proof: [*proof, extra], "one hash more"),
        "one-before": with_proof(3, 7, lambda proof: [extra, *proof], "one hash more at the start"),
        "power-with-old-root": with_proof(4, 7, lambda proof: [tree.root(4), *proof], "the old root in the proof"),
        "reversed": with_proof(3, 7, lambda proof: proof[::-1], "from the root down"),
        "bit": with_proof(3, 7, lambda proof: [bytes([proof[0][0] ^ 1]) + proof[0][1:], *proof[1:]], "one bit"),
        "hash-31": with_proof(3, 7, lambda proof: [*proof[:-1], proof[-1][1:]], "a hash of 31 bytes"),
        "hash-33": with_proof(3, 7, lambda proof: [*proof[:-1], proof[-1] + b"\0"], "a hash of 33 bytes"),
    }


def streamed_proofs() -> dict[str, Vector]:
    """vectors/streamed-proof/reject. The example: skip 2, leaf 2, skip 5, stop 5, skip 6, leaf 6, leaf 7, stop 8, …"""
    skip_2, leaf_2, skip_5, stop_5, skip_6, leaf_6, leaf_7, stop_8, skip_13, stop_13 = EXAMPLE
    leaves, read, root = tree.leaves(), tree.read(), tree.root

    def rest(*steps: tree.Step, count: int) -> list[tree.Step]:
        return [*steps, *EXAMPLE[count:]]

    fork = ("stop", 5, (filler("another history"),))
    bit = ("skip", 5, (bytes([skip_5[2][0][0] ^ 1]) + skip_5[2][0][1:], *skip_5[2][1:]))
    cases: dict[str, tuple[list[tree.Step], str]] = {
        "leaf-missing": (rest(skip_2, skip_5, count=3), "a leaf was taken out: a skip after a skip"),
        "leaf-other": (rest(skip_2, ("leaf", 2, (leaves[3],)), count=2), "another leaf"),
        "leaf-doubled": (rest(skip_2, leaf_2, leaf_2, count=2), "a leaf twice"),
        "leaf-inserted": (rest(skip_2, leaf_2, ("leaf", 3, (filler("inserted"),)), count=2), "a leaf of its own"),
        "leaf-renumbered": (rest(skip_2, ("leaf", 3, leaf_2[2]), count=2), "another position"),
        "leaf-31": (rest(skip_2, ("leaf", 2, (leaf_2[2][0][1:],)), count=2), "a leaf hash of 31 bytes"),
        "leaves-swapped": (
            [*EXAMPLE[:5], ("leaf", 6, leaf_7[2]), ("leaf", 7, leaf_6[2]), *EXAMPLE[7:]],
            "two leaves in each other's place",
        ),
        "leaf-after-last-stop": ([*EXAMPLE, ("leaf", 13, (leaves[13],))], "a leaf that nothing proves"),
        "skip-after-last-stop": ([*EXAMPLE, ("skip", 14, (leaves[13],))], "a skip that leads to nothing"),
        "last-stop-missing": (EXAMPLE[:-1], "the proof ends without a stop"),
        "skip-split": (
            rest(skip_2, leaf_2, ("skip", 4, (leaves[3],)), ("skip", 5, (leaves[4],)), count=3),
            "one skip as two",
        ),
        "skip-not-covering": (rest(("skip", 2, tuple(leaves[:2])), count=1), "two leaves instead of their subtree"),
        "skip-hash-missing": (rest(skip_2, leaf_2, ("skip", 5, skip_5[2][:-1]), count=3), "a hash too few"),
        "skip-hash-more": (rest(skip_2, leaf_2, ("skip", 5, (*skip_5[2], leaves[5])), count=3), "a hash too many"),
        "skip-hashes-swapped": (rest(skip_2, leaf_2, ("skip", 5, skip_5[2][::-1]), count=3), "hashes swapped"),
        "skip-bit": (rest(skip_2, leaf_2, bit, count=3), "one bit of a hash"),
        "skip-hash-31": (rest(("skip", 2, (skip_2[2][0][1:],)), count=1), "a hash of 31 bytes"),
        "skip-nothing": (rest(skip_2, leaf_2, ("skip", 3, ()), count=2), "a skip to where it is"),
        "skip-back": (rest(skip_2, leaf_2, ("skip", 1, ()), count=2), "a skip back"),
        "skip-longer": (rest(("skip", 3, (*skip_2[2], leaves[2])), leaf_2, count=2), "a skip over the shown leaf"),
        "skip-too-far": ([("skip", 2**64, (root(8),)), stop_13], "a skip beyond 2^64 - 1"),
        "stop-other-root": (rest(skip_2, leaf_2, skip_5, fork, count=4), "another history at the first stop"),
        "stop-other-last-root": ([*EXAMPLE[:-1], ("stop", 13, (root(12),))], "another history at the last stop"),
        "stop-root-31": ([*EXAMPLE[:-1], ("stop", 13, (root(13)[1:],))], "a root of 31 bytes"),
        "stop-early": (rest(skip_2, leaf_2, stop_5, count=2), "a stop of a size that is not the position"),
        "stop-late": ([*EXAMPLE[:9], ("stop", 14, stop_13[2])], "a stop of a size beyond the position"),
        "stop-at-0-other-root": ([("stop", 0, (root(1),)), *EXAMPLE], "size 0 with another root"),
        "stops-swapped": ([*EXAMPLE[:3], stop_8, skip_6, leaf_6, leaf_7, stop_5, skip_13, stop_13], "stops swapped"),
        "subtree-as-leaf": (
            [("leaf", 0, (read(1, 0),)), ("leaf", 1, (read(1, 1),)), ("stop", 4, (root(4),))],
            "nodes shown as leaves",
        ),
    }
    return {name: accept_log.steps(steps) | {"reason": reason} for name, (steps, reason) in cases.items()}


def tlog_proofs() -> dict[str, Vector]:
    """vectors/tlog-proof/reject."""
    index, size = 4, 13
    path = [base64.b64encode(item).decode() for item in inclusion_proof(index, size, tree.read())]
    checkpoint = encode_checkpoint(accept_log.checkpoint(size)).decode()
    first = "c2sp.org/tlog-proof@v1"

    def text(*lines: str, blank: str = "\n", note: str = checkpoint) -> bytes:
        return ("".join(f"{line}\n" for line in lines) + blank + note).encode()

    malformed: Cases = {
        "empty": (b"", "nothing"),
        "version": (text("c2sp.org/tlog-proof@v2", "index 4", *path), "another version"),
        "version-missing": (text("index 4", *path), "no first line"),
        "index-missing": (text(first, *path), "no index"),
        "index-only-word": (text(first, "index", *path), "an index without number"),
        "index-zero-before": (text(first, "index 04", *path), "a leading zero"),
        "index-sign": (text(first, "index +4", *path), "a sign"),
        "index-negative": (text(first, "index -4", *path), "a negative index"),
        "index-2-64": (text(first, f"index {2**64}", *path), "index 2^64"),
        "index-space": (text(first, "index  4", *path), "two spaces"),
        "index-twice": (text(first, "index 4", "index 4", *path), "two indexes"),
        "extra-empty": (text(first, "extra ", "index 4", *path), "empty extra data"),
        "extra-only-word": (text(first, "extra", "index 4", *path), "extra without data"),
        "extra-padding": (text(first, "extra eA", "index 4", *path), "extra without padding"),
        "extra-loose-bits": (text(first, "extra eB==", "index 4", *path), "loose bits in extra"),
        "extra-after": (text(first, "index 4", "extra eA==", *path), "extra after the index"),
        "extra-twice": (text(first, "extra eA==", "extra eA==", "index 4", *path), "extra twice"),
        "extra-long": (
            text(first, f"extra {base64.b64encode(bytes(65_536)).decode()}", "index 4", *path),
            "65,536 bytes of extra data",
        ),
        "hash-31": (text(first, "index 4", base64.b64encode(bytes(31)).decode(), *path[1:]), "a hash of 31 bytes"),
        "hash-hex": (text(first, "index 4", "00" * 32, *path[1:]), "a hash in hex"),
        "path-65": (text(first, "index 4", *(path[0] for _ in range(65))), "65 hashes"),
        "carriage-return": (text(first + "\r", "index 4", *path), "a carriage return"),
        "not-ascii": (text(first, "index \u0664", *path), "a digit that is not ASCII"),
        "blank-missing": (text(first, "index 4", *path, blank=""), "no empty line before the checkpoint"),
        "blank-twice": (text(first, "index 4", *path, blank="\n\n"), "two empty lines before the checkpoint"),
        "checkpoint-missing": (text(first, "index 4", *path, note=""), "no checkpoint"),
        "checkpoint-malformed": (text(first, "index 4", *path, note=checkpoint[:-1]), "a malformed checkpoint"),
        "too-long": (text(first, "index 4", *path, note="x" * 262_144), "more than 262,144 bytes"),
    }
    extended = base64.b64encode(filler("one hash more")).decode()
    failing: Cases = {
        "index-other": (text(first, "index 5", *path), "another index"),
        "index-beyond": (text(first, "index 13", *path), "an index beyond the tree"),
        "path-shorter": (text(first, "index 4", *path[:-1]), "a hash is missing"),
        "path-longer": (text(first, "index 4", *path, extended), "one hash more"),
        "path-reversed": (text(first, "index 4", *path[::-1]), "from the root down"),
        "checkpoint-other": (
            text(first, "index 4", *path, note=encode_checkpoint(accept_log.checkpoint(14)).decode()),
            "the checkpoint of another size",
        ),
        "checkpoint-forged": (text(first, "index 4", *path, note=checkpoint.replace("\n13\n", "\n12\n")), "forged"),
    }
    leaf = tree.leaves()[index]
    files = _files(malformed, "proof") | _files(failing, "proof", vkey=LOG_KEY.vkey, leaf=leaf)
    other: Cases = {"leaf-other": (text(first, "index 4", *path), "the proof of another leaf")}
    return files | _files(other, "proof", vkey=LOG_KEY.vkey, leaf=tree.leaves()[5])


def _cbor_cases(good: dict[int, object]) -> Cases:
    """What may go wrong in any of our maps."""
    encoded = cbor2.dumps(good)
    cases: Cases = {
        "empty": (b"", "nothing"),
        "array": (cbor2.dumps(list(good.values())), "an array"),
        "trailing-byte": (encoded + b"\0", "a byte after the object"),
        "cut": (encoded[:-1], "the last byte is missing"),
        "indefinite": (b"\xbf" + encoded[1:] + b"\xff", "a map of indefinite length"),
        "unsorted": (cbor2.dumps(dict(sorted(good.items(), reverse=True))), "keys not in order"),
        "key-unknown": (cbor2.dumps(good | {9: 0}), "an unknown key"),
        "version-0": (cbor2.dumps(good | {1: 0}), "version 0"),
        "version-2": (cbor2.dumps(good | {1: 2}), "version 2"),
    }
    for key in good:
        cases[f"key-{key}-missing"] = (cbor2.dumps({k: v for k, v in good.items() if k != key}), f"no key {key}")
        cases[f"key-{key}-text"] = (cbor2.dumps(good | {key: "x"}), f"key {key} is text")
    return cases


def heads_objects() -> dict[str, Vector]:
    """vectors/heads/reject."""
    good: dict[int, object] = {1: 1, 2: EPOCH_ID, 3: 5, 4: 5, 5: filler("root")}
    cases = _cbor_cases(good)
    values: dict[str, tuple[dict[int, object], str]] = {
        "epoch-id-31": ({2: EPOCH_ID[1:]}, "an epoch id of 31 bytes"),
        "sequence-negative": ({3: -1}, "a negative sequence"),
        "sequence-float": ({3: 5.0}, "the sequence is a float"),
        "leaves-above-sequence": ({4: 6}, "more principals than marks"),
        "leaves-0": ({4: 0, 5: EMPTY_ROOT}, "marks without a principal"),
        "leaves-bool": ({4: True}, "leaves is a bool"),
        "empty-other-root": ({3: 0, 4: 0}, "no leaves with a root that is not SHA-256('')"),
        "empty-with-leaf": ({3: 0, 4: 1}, "a leaf without marks"),
        "root-31": ({5: filler("root", 31)}, "a root of 31 bytes"),
        "root-null": ({5: None}, "the root is null"),
    }
    cases |= {name: (cbor2.dumps(good | changes), reason) for name, (changes, reason) in values.items()}
    return _files(cases, "heads")


def head_proofs() -> dict[str, Vector]:
    """vectors/head-proof/reject."""
    table = accept_log.head_table(5)
    present = cbor2.loads(encode_head_proof(table.prove("crate-2")))
    name = accept_log.absent_name(table, 2)
    absent = cbor2.loads(encode_head_proof(table.prove(name)))
    return (
        _files(_malformed_head_proofs(present, absent), "proof")
        | _failing_present(present, table.heads)
        | _failing_absent(absent, table.heads, name)
    )


def _malformed_head_proofs(present: dict[int, object], absent: dict[int, object]) -> Cases:
    count, last_mark, last_sequence, blind = _items(present[3])
    index, key, value_hash, path = _items(absent[5])
    cases = _cbor_cases(present)
    cases |= {f"absent-{case}": value for case, value in _cbor_cases(absent).items()}
    of_present: dict[str, tuple[dict[int, object], str]] = {
        "both": ({5: None, 6: None}, "presence and absence"),
        "index-negative": ({2: -1}, "a negative index"),
        "value-three": ({3: [count, last_mark, last_sequence]}, "no blind"),
        "value-five": ({3: [count, last_mark, last_sequence, blind, 0]}, "five items"),
        "count-0": ({3: [0, last_mark, last_sequence, blind]}, "count 0"),
        "count-above-sequence": ({3: [3, last_mark, 2, blind]}, "count above sequence"),
        "last-mark-31": ({3: [count, bytes(31), last_sequence, blind]}, "a last mark of 31 bytes"),
        "blind-31": ({3: [count, last_mark, last_sequence, bytes(31)]}, "a blind of 31 bytes"),
        "path-hash-31": ({4: [bytes(31)]}, "a hash of 31 bytes"),
        "path-65": ({4: [bytes(32)] * 65}, "65 hashes"),
        "path-text": ({4: ["x" * 32]}, "a hash that is text"),
    }
    of_absent: dict[str, tuple[dict[int, object], str]] = {
        "leaf-three": ({5: [index, key, value_hash]}, "a leaf without path"),
        "leaf-key-31": ({5: [index, bytes(31), value_hash, path]}, "a key of 31 bytes"),
        "leaf-value-31": ({5: [index, key, bytes(31), path]}, "a value hash of 31 bytes"),
        "leaf-index-negative": ({6: [-1, key, value_hash, path]}, "a negative index"),
        "leaf-array": ({6: []}, "an empty leaf"),
    }
    cases |= {case: (cbor2.dumps(present | changes), reason) for case, (changes, reason) in of_present.items()}
    cases |= {case: (cbor2.dumps(absent | changes), reason) for case, (changes, reason) in of_absent.items()}
    return cases


def _items(value: object) -> list[object]:
    assert isinstance(value, list)
    return value


def _failing_present(present: dict[int, object], heads: Heads) -> dict[str, Vector]:
    count, last_mark, last_sequence, blind = _items(present[3])
    path = _items(present[4])
    covered = Heads(heads.epoch_id, 1, 1, heads.root)
    other_epoch = Heads(filler("other epoch"), heads.last_sequence, heads.leaves, heads.root)
    changes: dict[str, tuple[dict[int, object], str]] = {
        "wrong-index": ({2: (int(str(present[2])) + 1) % 5}, "another index"),
        "wrong-count": ({3: [1, last_mark, last_sequence, blind]}, "another count"),
        "wrong-last-mark": ({3: [count, filler("another"), last_sequence, blind]}, "another last mark"),
        "wrong-last-sequence": ({3: [count, last_mark, 4, blind]}, "another last sequence"),
        "wrong-blind": ({3: [count, last_mark, last_sequence, filler("another")]}, "another blind"),
        "wrong-path": ({4: [filler("another"), *path[1:]]}, "another hash in the path"),
        "path-shorter": ({4: path[:-1]}, "a hash is missing"),
        "path-longer": ({4: [*path, filler("more")]}, "one hash more"),
        "sequence-not-covered": ({3: [1, last_mark, 16, blind]}, "a mark that the heads do not cover"),
    }
    encoded: dict[str, tuple[bytes, Heads, str, str]] = {
        case: (cbor2.dumps(present | change), heads, "crate-2", reason) for case, (change, reason) in changes.items()
    }
    good = cbor2.dumps(present)
    encoded |= {
        "other-principal": (good, heads, "crate-4", "the head of another principal"),
        "other-epoch": (good, other_epoch, "crate-2", "the heads of another epoch"),
        "covered-less": (good, covered, "crate-2", "heads that cover less"),
    }
    return _head_files(encoded)


def _failing_absent(absent: dict[int, object], heads: Heads, name: str) -> dict[str, Vector]:
    table = accept_log.head_table(5)

    def proof(principal: str) -> dict[int, object]:
        found: HeadProof = table.prove(principal)
        loaded: dict[int, object] = cbor2.loads(encode_head_proof(found))
        return loaded

    next_one = proof(accept_log.absent_name(table, 3))
    first, last = proof(accept_log.absent_name(table, 0)), proof(accept_log.absent_name(table, 5))
    index, key, value_hash, path = _items(absent[5])
    empty = Heads(EPOCH_ID, 0, 0, EMPTY_ROOT)
    present_name = next(
        principal for principal in ("crate-1", "crate-2", "", "crate-4", "crate-5") if proof(principal)[2] == 2
    )
    changes: dict[str, tuple[dict[int, object], str]] = {
        "absent-both-null": ({5: None, 6: None}, "no leaf, where the object has some"),
        "absent-before-null": ({5: None}, "before is null, and after is not the first leaf"),
        "absent-after-null": ({6: None}, "after is null, and before is not the last leaf"),
        "absent-not-adjacent": ({6: next_one[6]}, "a leaf between the two is left out"),
        "absent-swapped": ({5: absent[6], 6: absent[5]}, "before and after swapped"),
        "absent-other-gap": ({5: next_one[5], 6: next_one[6]}, "another gap than that of the principal"),
        "absent-before-first": ({5: first[5], 6: first[6]}, "the gap before the first leaf"),
        "absent-after-last": ({5: last[5], 6: last[6]}, "the gap after the last leaf"),
        "absent-key-changed": ({5: [index, bytes(32), value_hash, path]}, "another key before"),
        "absent-value-changed": ({5: [index, key, filler("another"), path]}, "another value hash"),
        "absent-path-shorter": ({5: [index, key, value_hash, _items(path)[:-1]]}, "a hash is missing"),
    }
    encoded: dict[str, tuple[bytes, Heads, str, str]] = {
        case: (cbor2.dumps(absent | change), heads, name, reason) for case, (change, reason) in changes.items()
    }
    encoded |= {
        "absent-but-present": (cbor2.dumps(absent), heads, present_name, "the leaf after is the principal's own"),
        "absent-of-empty": (cbor2.dumps(absent), empty, name, "leaves under an object without any"),
    }
    return _head_files(encoded)


def _head_files(cases: dict[str, tuple[bytes, Heads, str, str]]) -> dict[str, Vector]:
    return {
        case: {"heads": encode_heads(heads), "principal": principal, "proof": proof, "reason": reason}
        for case, (proof, heads, principal, reason) in cases.items()
    }


REJECT_LOG = {
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
