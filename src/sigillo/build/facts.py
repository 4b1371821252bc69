"""`build.json`: what a build was and what came out, as a manifest wants it (spec/recipe.md, "Build folder")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sigillo.build.compare import Comparison, Grade
from sigillo.core.canonical import canonical_object, encode_object
from sigillo.core.errors import DecodeError
from sigillo.core.field import array, boolean, hex_hash, members, text
from sigillo.core.manifest import (
    Build,
    ClosureFile,
    build_value,
    closure_value,
    decode_build,
    decode_closure_file,
    relative_path,
)

FORMAT: Final = "sigillo-build"
VERSION: Final = 1


@dataclass(frozen=True)
class Compared:
    """An output beside Debian's own; `reference`: SHA-256 of that, 32 bytes."""

    name: str
    comparison: Comparison
    reference: bytes


@dataclass(frozen=True)
class Varied:
    """What came out under one variation: names of the outputs."""

    name: str
    equal: tuple[str, ...]
    differing: tuple[str, ...]


@dataclass(frozen=True)
class Facts:
    """All that `build.json` says."""

    build: Build
    closure: tuple[ClosureFile, ...]
    note: str = ""
    network: bool = False
    compared: tuple[Compared, ...] = ()
    variations: tuple[Varied, ...] = ()


def encode_facts(facts: Facts) -> bytes:
    """The file. Raises DecodeError for facts that a manifest could not hold."""
    value = {
        "format": FORMAT,
        "version": VERSION,
        "build": build_value(facts.build),
        "closure": [closure_value(file) for file in facts.closure],
        "note": facts.note or None,
        "network": facts.network,
        "compared": [
            {
                "name": one.name,
                "grade": str(one.comparison.grade),
                "difference": one.comparison.difference,
                "reference": one.reference.hex(),
            }
            for one in facts.compared
        ],
        "variations": [
            {"name": one.name, "equal": list(one.equal), "differing": list(one.differing)} for one in facts.variations
        ],
    }
    data = encode_object(value, "build.json") + b"\n"
    decode_facts(data)
    return data


def decode_facts(data: bytes) -> Facts:
    """The facts of a `build.json`. Raises DecodeError."""
    if not data.endswith(b"\n"):
        raise DecodeError("build.json", "does not end with a line feed: cut off, or another kind of file")
    names = ("format", "version", "build", "closure", "note", "network", "compared", "variations")
    found = members(canonical_object(data[:-1], "build.json"), "build.json", *names)
    if found["format"] != FORMAT or found["version"] != VERSION or type(found["version"]) is not int:
        raise DecodeError("format", f'this program reads format "{FORMAT}" version {VERSION}')
    return Facts(
        decode_build(found["build"]),
        tuple(decode_closure_file(item) for item in array(found["closure"], "closure")),
        "" if found["note"] is None else text(found["note"], "note", 1),
        boolean(found["network"], "network"),
        tuple(_compared(item) for item in array(found["compared"], "compared")),
        tuple(_varied(item) for item in array(found["variations"], "variations")),
    )


def _compared(value: object) -> Compared:
    found: dict[str, Any] = members(value, "compared", "name", "grade", "difference", "reference")
    grade = text(found["grade"], "compared, grade")
    if grade not in list(Grade):
        raise DecodeError("compared, grade", f"must be one of {', '.join(Grade)}")
    comparison = Comparison(Grade(grade), text(found["difference"], "compared, difference"))
    return Compared(
        relative_path(found["name"], "compared, name"), comparison, hex_hash(found["reference"], "reference")
    )


def _varied(value: object) -> Varied:
    found: dict[str, Any] = members(value, "variation", "name", "equal", "differing")
    name = text(found["name"], "variation, name", 1, 255)
    return Varied(name, _names(found["equal"], "equal"), _names(found["differing"], "differing"))


def _names(value: object, field: str) -> tuple[str, ...]:
    return tuple(relative_path(item, field) for item in array(value, field))
