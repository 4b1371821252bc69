"""The rebuild statement: what a rebuilder made of a manifest, compared output by output (spec/rebuild-statement.md)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sigillo.core.canonical import canonical_object, encode_object
from sigillo.core.dsse import DsseKey, Envelope, decode_envelope, encode_envelope
from sigillo.core.errors import DecodeError
from sigillo.core.field import ascending, hex_hash, integer, members, text
from sigillo.core.manifest import (
    MAX_BUILDS,
    MAX_OUTPUTS,
    Output,
    Root,
    SignedManifest,
    by,
    decode_root,
    few,
    moment,
    moment_text,
    named,
    relative_path,
    root_value,
)

KIND: Final = "rebuild-statement"
FORMAT: Final = "sigillo-rebuild-statement"
VERSION: Final = 1


class Equality(StrEnum):
    """How an output of the rebuild compares with that of the manifest."""

    IDENTICAL = "identical"
    IDENTICAL_WITHOUT = "identical-without"
    DIFFERENT = "different"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class RebuiltOutput:
    """An output as it was rebuilt. `size` and `sha256` (32 bytes) are null where it is missing.

    `without`: the sections after whose removal it is equal.
    """

    name: str
    equality: Equality
    size: int | None
    sha256: bytes | None
    without: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A build as it was rebuilt. `root`: None where it was the very root of the manifest."""

    name: str
    outputs: tuple[RebuiltOutput, ...]
    root: Root | None = None


@dataclass(frozen=True, slots=True)
class RebuildStatement:
    """Payload of a rebuild statement. `manifest`: its hash, 32 bytes; `date`: seconds of Unix time."""

    rebuilder: str
    manifest: bytes
    date: int
    builds: tuple[Rebuilt, ...]


@dataclass(frozen=True, slots=True)
class SignedRebuild:
    """A decoded rebuild statement, not verified."""

    statement: RebuildStatement
    envelope: Envelope


def decode_rebuild(data: bytes) -> SignedRebuild:
    """Decode a rebuild statement by itself (`check_about` compares). Raises DecodeError; nothing is verified."""
    envelope = decode_envelope(KIND, data)
    return SignedRebuild(_statement(canonical_object(envelope.payload, "statement")), envelope)


def encode_rebuild(statement: RebuildStatement, key: DsseKey, sign: Callable[[bytes], bytes]) -> bytes:
    """The file. *sign* gets the bytes to sign and returns 64. Raises DecodeError for one out of its format."""
    payload = encode_object(_statement_value(statement), "statement")
    _statement(canonical_object(payload, "statement"))
    return encode_envelope(KIND, payload, key, sign)


def compare(
    output: Output, size: int | None, sha256: bytes | None, equal_without: tuple[str, ...] = ()
) -> RebuiltOutput:
    """An output of a manifest next to what a rebuild made of it: its size and hash, or None where it made none.

    *equal_without*: sections after whose removal the caller found both equal.
    """
    if size is None or sha256 is None:
        return RebuiltOutput(output.name, Equality.MISSING, None, None)
    if (size, sha256) == (output.size, output.sha256):
        return RebuiltOutput(output.name, Equality.IDENTICAL, size, sha256)
    equality = Equality.IDENTICAL_WITHOUT if equal_without else Equality.DIFFERENT
    return RebuiltOutput(output.name, equality, size, sha256, equal_without)


def check_about(statement: RebuildStatement, signed: SignedManifest) -> None:
    """The statement is about this manifest, about all outputs of each build it has, and says what its hashes say.

    Raises DecodeError.
    """
    if statement.manifest != signed.sha256:
        raise DecodeError("manifest", "is another one")
    for rebuilt in statement.builds:
        build = signed.manifest.build(rebuilt.name)
        if build is None:
            raise DecodeError(f"build {rebuilt.name}", "is none of the manifest")
        if [output.name for output in rebuilt.outputs] != [output.name for output in build.outputs]:
            raise DecodeError(f"build {rebuilt.name}, outputs", "are not those of the manifest")
        for made, output in zip(rebuilt.outputs, build.outputs, strict=True):
            if made != compare(output, made.size, made.sha256, made.without):
                raise DecodeError(f"output {made.name}", f"is said to be {made.equality}, which its hashes do not say")


def reproduced(statement: RebuildStatement, signed: SignedManifest) -> frozenset[bytes]:
    """SHA-256 of every output of the manifest that the rebuilder says it made bit for bit. Raises as `check_about`."""
    check_about(statement, signed)
    outputs = (output for rebuilt in statement.builds for output in rebuilt.outputs)
    return frozenset(
        output.sha256 for output in outputs if output.equality is Equality.IDENTICAL and output.sha256 is not None
    )


def _statement(value: dict[str, Any]) -> RebuildStatement:
    found = members(value, "statement", "format", "version", "rebuilder", "manifest", "date", "builds")
    if found["format"] != FORMAT or found["version"] != VERSION or type(found["version"]) is not int:
        raise DecodeError("format", f'this program reads format "{FORMAT}" version {VERSION}')
    builds = (_rebuilt(item) for item in few(found["builds"], "builds", 1, MAX_BUILDS))
    return RebuildStatement(
        text(found["rebuilder"], "rebuilder", 1, 255),
        hex_hash(found["manifest"], "manifest"),
        moment(found["date"], "date"),
        by(builds, lambda rebuilt: rebuilt.name.encode(), "builds"),
    )


def _rebuilt(value: object) -> Rebuilt:
    found = members(value, "build", "name", "root", "outputs")
    name = named(found["name"], "build, name")
    root = None if found["root"] is None else decode_root(found["root"], f"build {name}, root")
    outputs = (_output(item) for item in few(found["outputs"], f"build {name}, outputs", 1, MAX_OUTPUTS))
    return Rebuilt(name, by(outputs, lambda output: output.name.encode(), f"build {name}, outputs"), root)


def _output(value: object) -> RebuiltOutput:
    found = members(value, "output", "name", "equality", "size", "sha256", "without")
    name = relative_path(found["name"], "output, name")
    where = f"output {name}"
    equality = text(found["equality"], where)
    if equality not in list(Equality):
        raise DecodeError(f"{where}, equality", f"must be one of {', '.join(Equality)}")
    few_sections = few(found["without"], f"{where}, without", *((1, 16) if equality == "identical-without" else (0, 0)))
    sections = [text(section, f"{where}, section", 1, 255) for section in few_sections]
    if (found["size"] is None, found["sha256"] is None) != (equality == "missing",) * 2:
        raise DecodeError(where, "size and sha256 are null exactly where it is missing")
    return RebuiltOutput(
        name,
        Equality(equality),
        None if found["size"] is None else integer(found["size"], f"{where}, size"),
        None if found["sha256"] is None else hex_hash(found["sha256"], f"{where}, sha256"),
        ascending(sections, f"{where}, without"),
    )


def _statement_value(statement: RebuildStatement) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "rebuilder": statement.rebuilder,
        "manifest": statement.manifest.hex(),
        "date": moment_text(statement.date),
        "builds": [
            {
                "name": rebuilt.name,
                "root": None if rebuilt.root is None else root_value(rebuilt.root),
                "outputs": [
                    {
                        "name": output.name,
                        "equality": str(output.equality),
                        "size": output.size,
                        "sha256": output.sha256 and output.sha256.hex(),
                        "without": list(output.without),
                    }
                    for output in rebuilt.outputs
                ],
            }
            for rebuilt in statement.builds
        ],
    }
