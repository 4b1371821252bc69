"""Debian's control files (deb822(5)): paragraphs of fields. Pure; a field that comes twice is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from sigillo.core.errors import DecodeError

_FIELD = re.compile(r"([!-9;-~]+):[ \t]*(.*)")
_FILE = re.compile(r"([0-9a-f]{64}) +([0-9]{1,15}) +([!-~]+)")
_RELATION = re.compile(r"([a-z0-9][a-z0-9+.-]*)(?::[a-z0-9-]+)? \(= ([A-Za-z0-9.+:~-]+)\)")


@dataclass(frozen=True)
class ListedFile:
    """A line of a `Checksums-Sha256` or `SHA256` field: `sha256` in hex, `size` in bytes."""

    sha256: str
    size: int
    name: str


def paragraphs(text: str) -> Iterator[dict[str, str]]:
    """Paragraph after paragraph: field → value, continuation lines joined by newlines. Raises DecodeError."""
    fields: dict[str, str] = {}
    name = ""
    for line in text.split("\n"):
        if not line.strip():
            if fields:
                yield fields
            fields, name = {}, ""
        elif line.startswith("#"):
            continue
        elif line[0] in " \t":
            if not name:
                raise DecodeError("control file", f"begins with a continued line: {line[:60]!r}")
            fields[name] += "\n" + line.strip()
        else:
            found = _FIELD.fullmatch(line.rstrip("\r"))
            if not found:
                raise DecodeError("control file", f"has a line that is no field: {line[:60]!r}")
            name = found[1]
            if name in fields:
                raise DecodeError(name, "comes twice in one paragraph")
            fields[name] = found[2].strip()
    if fields:
        yield fields


def paragraph(text: str, *required: str) -> dict[str, str]:
    """The only paragraph of a file, with these fields in it. Raises DecodeError."""
    found = list(paragraphs(text))
    if len(found) != 1:
        raise DecodeError("control file", f"has {len(found)} paragraphs, not one")
    for name in required:
        if name not in found[0]:
            raise DecodeError(name, "is missing")
    return found[0]


def listed_files(value: str, field: str) -> dict[str, ListedFile]:
    """Name → file of a field that lists SHA-256, size, name. Raises DecodeError, also where a name comes twice."""
    files: dict[str, ListedFile] = {}
    for line in value.split("\n"):
        if not line.strip():
            continue
        found = _FILE.fullmatch(line.strip())
        if not found or found[3] in files:
            raise DecodeError(field, f"has a line that is not `sha256 size name`, or names it twice: {line[:90]!r}")
        files[found[3]] = ListedFile(found[1], int(found[2]), found[3])
    return files


def installed_depends(buildinfo: str) -> dict[str, str]:
    """Package → version of `Installed-Build-Depends` in a .buildinfo. Raises DecodeError."""
    value = paragraph(buildinfo, "Installed-Build-Depends")["Installed-Build-Depends"]
    found = {}
    for part in filter(None, (part.strip() for part in value.replace("\n", "").split(","))):
        relation = _RELATION.fullmatch(part)
        if not relation:
            raise DecodeError("Installed-Build-Depends", f"is not `package (= version)`: {part[:60]!r}")
        found[relation[1]] = relation[2]
    return found
