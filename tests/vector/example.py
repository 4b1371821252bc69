"""The worked examples at the end of the specs: one vector each, in annotated hex."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import cbor2

from sigillo.core import cbor
from sigillo.core.merkle import decompose
from tests.vector.file import VECTORS, parse_vector
from tests.vector.tree import parse_step

SPECS = VECTORS.parent / "spec"
HEADING = "## Worked example"
_BYTES_PER_LINE = 24
_COMMENT_COLUMN = 2 * _BYTES_PER_LINE + 12

HEADERS = {1: "alg", 4: "kid", 11: "countersignature", 16: "typ", -65537: "salt"}
MARK = {
    1: "version",
    2: "sequence",
    3: "time",
    4: "clock",
    5: "topic",
    6: "client id",
    7: "principal",
    8: "qos",
    9: "retain",
    10: "commitment",
    11: "count",
    12: "previous",
    13: "checkpoint",
}
STATEMENT = {
    1: "version",
    2: "number",
    3: "previous",
    4: "epoch key",
    6: "start",
    7: "clock source",
    8: "clock correction",
    9: "on bad clock",
    10: "durability",
    11: "operator",
    12: "log",
    13: "hashes",
    14: "filters",
    15: "principal source",
    16: "unmarked paths",
    17: "TLS keys",
    18: "attester",
    19: "separated",
}
HEADS = {1: "version", 2: "epoch id", 3: "last sequence", 4: "leaves", 5: "root"}
ATTESTATION = {
    1: "version",
    2: "kind",
    3: "epoch id",
    4: "checkpoint",
    6: "attestation key",
    7: "quote",
    8: "quote signature",
    9: "PCR values",
}
LAUNCH = {1: "version", 2: "epoch number", 3: "closure", 4: "command", 5: "environment"}
EPOCH = {1: "version", 2: "epoch id", 3: "process state"}
PROCESS = {
    1: "user",
    2: "group",
    3: "groups",
    4: "capabilities",
    5: "no new privileges",
    6: "seccomp",
    7: "tracer",
    8: "dumpable",
    9: "core limit",
    10: "ptrace scope",
}
COUNTER = {1: "version", 2: "value", 3: "size", 4: "root"}
Names = Mapping[int, str]
Lines = Iterator[str]


def line(data: bytes, comment: str, depth: int = 0) -> Lines:
    """Bytes in hex and what they are; long ones go on in further lines."""
    for start in range(0, len(data), _BYTES_PER_LINE):
        text = "  " * depth + data[start : start + _BYTES_PER_LINE].hex()
        yield f"{text:<{_COMMENT_COLUMN}}{comment if start == 0 else ''}".rstrip()


def sign1(data: bytes, payload_names: Names) -> Lines:
    """A tagged COSE_Sign1."""
    yield from line(data[:2], "tag 18 (COSE_Sign1), array of 4")
    position = 2
    for label, names in (("protected", HEADERS), ("unprotected", HEADERS), ("payload", payload_names)):
        end = cbor.item_end(data, position)
        if data[position] >> 5 == 2:
            _, _, length, inner = cbor.read_head(data, position)
            yield from line(data[position:inner], f"{label}: {length} bytes, in which", 1)
            yield from item(data[inner:end], "", names, 2)
        else:
            yield from item(data[position:end], label, names, 1)
        position = end
    yield from line(data[position:], "signature, 64 bytes", 1)


def item(data: bytes, label: str, names: Names, depth: int, before: bytes = b"") -> Lines:
    """One CBOR item; `before` are bytes (its map key) that stand on the same line."""
    major, _, count, position = cbor.read_head(data, 0)
    prefix = f"{label}: " if label else ""
    if major not in (4, 5):
        yield from line(before + data, f"{prefix}{_shown(data)}", depth)
        return
    kind = "array" if major == 4 else "map"
    yield from line(before + data[:position], f"{prefix}{kind} of {count}", depth)
    for _ in range(count):
        key = b""
        name = ""
        if major == 5:
            end = cbor.item_end(data, position)
            key, position = data[position:end], end
            number = cbor2.loads(key)
            name = f"{number} {names[number]}" if number in names else str(number)
        end = cbor.item_end(data, position)
        yield from item(data[position:end], name, PROCESS if "process state" in name else {}, depth + 1, key)
        position = end


def _shown(data: bytes) -> str:
    value = cbor2.loads(data)
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return f'"{value}"' if isinstance(value, str) else str(value)


def log_entry(data: bytes) -> Lines:
    """A log entry."""
    yield from line(data[:1], "kind 1: mark")
    yield from line(data[1:5], f"epoch {int.from_bytes(data[1:5], 'big')}")
    yield from line(data[5:13], f"sequence {int.from_bytes(data[5:13], 'big')}")
    yield from line(data[13:], "object hash of the mark")


def datagram(data: bytes) -> Lines:
    """A signed datagram."""
    yield from item(data, "datagram", {}, 0)


def segment(data: bytes) -> Lines:
    """A spool segment, cut at a clean end."""
    parts = [
        (16, "magic"),
        (4, "epoch number 1"),
        (4, "segment number 0"),
        (32, "epoch id"),
        (8, "segment size 65,536"),
    ]
    position = 0
    for size, comment in parts:
        yield from line(data[position : position + size], comment)
        position += size
    kinds = {1: "time mark", 2: "epoch statement", 3: "epoch end"}
    while position < len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        kind, sequence = data[position + 8], int.from_bytes(data[position + 16 : position + 24], "big")
        fields = [(4, f"length {length}"), (4, "CRC-32"), (1, f"kind {kind}: {kinds[kind]}"), (7, "zero")]
        fields += [
            (8, f"sequence {sequence}"),
            (length, f"object: the {kinds[kind]}"),
            (-length % 8, "zero, to 8 bytes"),
        ]
        for size, comment in fields:
            yield from line(data[position : position + size], comment, 1)
            position += size


def proof_text(data: bytes) -> Lines:
    """A proof for one entry, line by line."""
    for text in data.decode("utf-8").splitlines(keepends=True):
        yield from line(text.encode("utf-8"), text.removesuffix("\n") or "(an empty line)")


def launch_log(data: bytes) -> Lines:
    """An event log with a launch and its epoch."""
    for size, comment in ((8, "PCR 0, EV_NO_ACTION"), (20, "no digest"), (4, "33 bytes of data")):
        yield from line(data[:size], comment)
        data = data[size:]
    for size, comment in ((16, "Spec ID Event03"), (12, "version 2.0, one bank"), (5, "SHA-256, 32 bytes; no vendor")):
        yield from line(data[:size], comment, 1)
        data = data[size:]
    for name, names in (("launch", LAUNCH), ("epoch", EPOCH)):
        parts = [(8, "PCR 13, EV_EVENT_TAG"), (6, "one digest: SHA-256"), (32, f"digest of the {name} event")]
        parts += [(4, "length of the data"), (4, f"tag of the {name} event"), (4, "length of the object")]
        for size, comment in parts:
            yield from line(data[:size], comment)
            length, data = int.from_bytes(data[:size], "little"), data[size:]
        yield from item(data[:length], name, names, 1)
        data = data[length:]


def platform(data: bytes) -> Lines:
    """A policy's table, its lists broken over lines."""
    for text in data.decode().splitlines():
        yield from text.replace(", ", ",\n    ").splitlines()


def streamed_proof() -> str:
    """The example of the streamed proof: what each step does to the hashes that the reader holds."""
    fields = parse_vector((VECTORS / "streamed-proof/accept/example.txt").read_text(encoding="utf-8"))
    lines = []
    position = 0
    for text in fields.values():
        kind, number, hashes = parse_step(text)
        if kind != "stop":
            position, start = number + (kind == "leaf"), position
            given = zip(decompose(start, position), hashes, strict=True)
            what = ", ".join(f"{subtree} {item.hex()[:8]}…" for subtree, item in given)
        else:
            what = f"root {hashes[0].hex()[:8]}…"
        held = " ".join(str(subtree) for subtree in decompose(0, position))
        lines.append(f"{kind} {number:<4}{what:<50}{held}")
    return "\n".join(lines)


def challenge_answer() -> str:
    """The members of an answer, one a line; binary ones cut."""
    text = parse_vector((VECTORS / "challenge/accept/simulated.txt").read_text(encoding="utf-8"))["answer"]
    lines = []
    for name, value in json.loads(text).items():
        if isinstance(value, str):
            lines.append(f'"{name}":"{value[:24]}…"')
        elif value is None:
            lines.append(f'"{name}":null')
        else:
            items = ",\n  ".join(json.dumps(item, separators=(",", ":"), ensure_ascii=False) for item in value)
            lines.append(f'"{name}":[\n  {items}]')
    return "{" + ",\n".join(lines) + "}"


def examples() -> dict[Path, str]:
    """The section that ends each spec file."""
    made: dict[str, tuple[str, str, Callable[[bytes], Lines]]] = {
        "mark": ("mark/accept/first", "object", lambda data: sign1(data, MARK)),
        "epoch": ("epoch-statement/accept/first", "object", lambda data: sign1(data, STATEMENT)),
        "log-entry": ("log-entry/accept/mark", "entry", log_entry),
        "datagram": ("datagram/accept/first", "payload", datagram),
        "marked-datagram": (
            "marked-datagram/accept/raw-token",
            "marked",
            lambda data: item(data, "marked datagram", {}, 0),
        ),
        "spool": ("spool/accept/clean-end", "segment", segment),
        "tlog-proof": ("tlog-proof/accept/first", "proof", proof_text),
        "attestation": (
            "attestation-evidence/accept/swtpm-closing",
            "object",
            lambda data: item(data, "attestation evidence", ATTESTATION, 0),
        ),
        "sealing": ("counter/accept/first", "object", lambda data: sign1(data, COUNTER)),
        "booted": ("platform/accept/appliance", "table", platform),
        "launch": ("launch-log/accept/first", "log", launch_log),
        "heads": ("heads/accept/first", "heads", lambda data: item(data, "heads", HEADS, 0)),
    }
    sections = {}
    for spec, (vector, field, annotate) in made.items():
        data = bytes.fromhex(parse_vector((VECTORS / f"{vector}.txt").read_text(encoding="utf-8"))[field])
        lines = "\n".join(annotate(data))
        text = f"{HEADING}\n\n`{field}` of `vectors/{vector}.txt`, {len(data)} bytes:\n\n```text\n{lines}\n```\n"
        sections[SPECS / f"{spec}.md"] = text
    sections[SPECS / "challenge.md"] = (
        f"{HEADING}\n\n`answer` of `vectors/challenge/accept/simulated.txt`, broken into lines, and each "
        f"binary member cut after 24\ncharacters:\n\n```text\n{challenge_answer()}\n```\n"
    )
    sections[SPECS / "log.md"] = (
        f"{HEADING}\n\n`vectors/streamed-proof/accept/example.txt`: a tree of 13 leaves, of which 2, 6 and 7 are\n"
        "shown, with checkpoints of sizes 5, 8 and 13. Each line: the step, what it brings, and the (level, index)\n"
        f"of the subtrees whose hashes the reader holds after it.\n\n```text\n{streamed_proof()}\n```\n"
    )
    return sections


def with_example(text: str, section: str) -> str:
    """A spec file whose last section is the worked example."""
    return text.partition(HEADING)[0].rstrip("\n") + "\n\n" + section
