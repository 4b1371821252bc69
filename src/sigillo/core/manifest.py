"""The build manifest: from which source, in which root, by which steps, to which bytes (spec/manifest.md)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Final, TypeVar

from sigillo.core.bytes import base64url_decode, base64url_encode
from sigillo.core.canonical import canonical_object, encode_object
from sigillo.core.dsse import DsseKey, Envelope, decode_envelope, encode_envelope
from sigillo.core.errors import DecodeError
from sigillo.core.field import array, byte_string, hex_hash, integer, matching, members, text

KIND: Final = "build-manifest"
FORMAT: Final = "sigillo-build-manifest"
VERSION: Final = 1
MAX_BUILDS: Final = 8
MAX_OUTPUTS: Final = 256
MAX_FILE: Final = 65_536
EPOCH_VARIABLE: Final = "SOURCE_DATE_EPOCH"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9+.-]{0,127}")
_VERSION: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+:~-]{0,127}")
_COMPONENT: Final = re.compile(r"[!-,.0-\[\]-~][!-.0-\[\]-~]{0,254}")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
_SIGNER: Final = re.compile(r"[0-9A-F]{40}|[0-9A-F]{64}|SHA256:[A-Za-z0-9+/]{43}")
_COMMIT: Final = {
    "git": re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}"),
    "debian": re.compile(r"dsc:sha256:[0-9a-f]{64}"),
    "tarball": re.compile(r"tar:sha256:[0-9a-f]{64}"),
}

T = TypeVar("T")


class Role(StrEnum):
    """What an output is for."""

    EXECUTABLE = "executable"
    PLUGIN = "plugin"
    LIBRARY = "library"
    PACKAGE = "package"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of the source. `sha256`, here and below: 32 bytes."""

    name: str
    size: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Source:
    """Where a build comes from. `kind`: git, debian or tarball; `signer`: fingerprint of the key that was verified."""

    kind: str
    signer: str
    files: tuple[SourceFile, ...]


@dataclass(frozen=True, slots=True)
class Package:
    """A package in a root; `sha256` of its archive."""

    name: str
    version: str
    architecture: str
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Root:
    """The root that a build ran in."""

    distribution: str
    release: str
    architecture: str
    packages: tuple[Package, ...]


@dataclass(frozen=True, slots=True)
class Output:
    """A file that a build made."""

    name: str
    role: Role
    size: int
    sha256: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """One build of a manifest; names and ranges as in the table of spec/manifest.md.

    `recipe_files`: content by name. `build_date`: seconds of Unix time. `environment`: all that the steps saw.
    """

    name: str
    version: str
    recipe: str
    recipe_files: Mapping[str, bytes] = field(default_factory=dict)
    source: Source
    source_commit: str
    build_date: int
    root: Root
    path: str
    environment: Mapping[str, str]
    steps: tuple[str, ...]
    outputs: tuple[Output, ...]


@dataclass(frozen=True, slots=True)
class ClosureFile:
    """A file that the broker's process loads besides the outputs, and the package that it is from, if any."""

    path: str
    size: int
    sha256: bytes
    package: str | None = None
    version: str | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """Payload of a build manifest."""

    builder: str
    builds: tuple[Build, ...]
    closure: tuple[ClosureFile, ...] = ()

    def build(self, name: str) -> Build | None:
        """The build of this name, or None."""
        return next((build for build in self.builds if build.name == name), None)

    def outputs(self) -> Iterator[tuple[Build, Output]]:
        """Every output, with the build that made it."""
        return ((build, output) for build in self.builds for output in build.outputs)

    def part(self, role: Role) -> tuple[Build, Output] | None:
        """The output of a role that a manifest has at most once (executable, plugin), with its build."""
        return next((made for made in self.outputs() if made[1].role is role), None)


@dataclass(frozen=True, slots=True)
class SignedManifest:
    """A decoded manifest, not verified."""

    manifest: Manifest
    envelope: Envelope

    @property
    def sha256(self) -> bytes:
        """The manifest hash, 32 bytes: SHA-256 of the file."""
        return self.envelope.sha256


def decode_manifest(data: bytes) -> SignedManifest:
    """Decode a manifest file. Raises DecodeError; nothing is verified."""
    envelope = decode_envelope(KIND, data)
    return SignedManifest(_manifest(canonical_object(envelope.payload, "manifest")), envelope)


def encode_manifest(manifest: Manifest, key: DsseKey, sign: Callable[[bytes], bytes]) -> bytes:
    """The manifest file. *sign* gets the bytes to sign and returns 64. Raises DecodeError for one out of its format."""
    payload = encode_object(_manifest_value(manifest), "manifest")
    _manifest(canonical_object(payload, "manifest"))
    return encode_envelope(KIND, payload, key, sign)


def moment_text(seconds: int) -> str:
    """`YYYY-MM-DDThh:mm:ssZ` of seconds of Unix time, of the years 1970 to 9999."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def moment(value: object, name: str) -> int:
    """Seconds of Unix time of its text. Raises DecodeError."""
    meant = "a time as 2025-05-28T22:39:38Z"
    checked = matching(value, name, _MOMENT, meant)
    try:
        seconds = integer(int(datetime.fromisoformat(checked).timestamp()), name)
    except ValueError:
        raise DecodeError(name, f"is not {meant}") from None
    if moment_text(seconds) != checked:
        raise DecodeError(name, f"is not {meant}")
    return seconds


def relative_path(value: object, name: str) -> str:
    """A path that stays below the folder it starts in. Raises DecodeError."""
    checked = text(value, name, 1, 1024)
    for component in checked.split("/"):
        if not _COMPONENT.fullmatch(component) or component in (".", ".."):
            raise DecodeError(name, f"{checked!r} is not a path of plain names that stays in its folder")
    return checked


def decode_root(value: object, name: str) -> Root:
    """A root of its JSON value. Raises DecodeError."""
    found = members(value, name, "distribution", "release", "architecture", "packages")
    packages = [_package(item, f"{name}, package") for item in few(found["packages"], f"{name}, packages", 1, 4096)]
    return Root(
        named(found["distribution"], f"{name}, distribution"),
        named(found["release"], f"{name}, release"),
        named(found["architecture"], f"{name}, architecture"),
        by(packages, lambda package: (package.name.encode(), package.architecture.encode()), f"{name}, packages"),
    )


def root_value(root: Root) -> dict[str, Any]:
    """The JSON value of a root."""
    packages = [
        {"name": it.name, "version": it.version, "architecture": it.architecture, "sha256": it.sha256.hex()}
        for it in root.packages
    ]
    return {
        "distribution": root.distribution,
        "release": root.release,
        "architecture": root.architecture,
        "packages": packages,
    }


def named(value: object, name: str) -> str:
    """A name of a build, package, release. Raises DecodeError."""
    return matching(value, name, _NAME, "a name of lower-case letters, digits and + . -, at most 128")


def few(value: object, name: str, low: int, high: int) -> list[object]:
    """A list of low…high items. Raises DecodeError."""
    items = array(value, name)
    if not low <= len(items) <= high:
        raise DecodeError(name, f"has {len(items)} items, not {low} to {high}")
    return items


def by(items: Iterable[T], key: Callable[[T], Any], name: str) -> tuple[T, ...]:
    """Items in strictly ascending order of *key*. Raises DecodeError."""
    found = tuple(items)
    if any(key(first) >= key(second) for first, second in pairwise(found)):
        raise DecodeError(name, "are not in ascending order, each once")
    return found


def _name(item: SourceFile | Output | Build) -> bytes:
    return item.name.encode()


def _manifest(value: dict[str, Any]) -> Manifest:
    found = members(value, "manifest", "format", "version", "builder", "builds", "closure")
    if found["format"] != FORMAT or found["version"] != VERSION or type(found["version"]) is not int:
        raise DecodeError("format", f'this program reads format "{FORMAT}" version {VERSION}')
    builder = text(found["builder"], "builder", 1, 255)
    builds = by((decode_build(item) for item in few(found["builds"], "builds", 1, MAX_BUILDS)), _name, "builds")
    files = (decode_closure_file(item) for item in few(found["closure"], "closure", 0, 1024))
    manifest = Manifest(builder, builds, by(files, lambda file: file.path.encode(), "closure"))
    for role in (Role.EXECUTABLE, Role.PLUGIN):
        if sum(output.role is role for _, output in manifest.outputs()) > 1:
            raise DecodeError("outputs", f"more than one has the role {role}")
    return manifest


def decode_build(value: object) -> Build:
    """A build of its JSON value. Raises DecodeError."""
    found = members(value, "build", *_BUILD_MEMBERS)
    name = named(found["name"], "build, name")
    where = f"build {name}"
    source = _source(found["source"], f"{where}, source")
    build_date = moment(found["build_date"], f"{where}, build_date")
    outputs = (_output(item, f"{where}, output") for item in few(found["outputs"], f"{where}, outputs", 1, MAX_OUTPUTS))
    steps = few(found["steps"], f"{where}, steps", 1, 64)
    return Build(
        name=name,
        version=matching(found["version"], f"{where}, version", _VERSION, "a version"),
        recipe=text(found["recipe"], f"{where}, recipe", 1, MAX_FILE),
        recipe_files=_recipe_files(found["recipe_files"], f"{where}, recipe_files"),
        source=source,
        source_commit=_commit(found["source_commit"], source, f"{where}, source_commit"),
        build_date=build_date,
        root=decode_root(found["root"], f"{where}, root"),
        path=_absolute_path(found["path"], f"{where}, path"),
        environment=_environment(found["environment"], build_date, f"{where}, environment"),
        steps=tuple(text(step, f"{where}, step", 1, 4096, allow_nul=False) for step in steps),
        outputs=by(outputs, _name, f"{where}, outputs"),
    )


_BUILD_MEMBERS: Final = tuple(Build.__annotations__)


def _recipe_files(value: object, name: str) -> Mapping[str, bytes]:
    files: dict[str, bytes] = {}
    for item in few(value, name, 0, 64):
        found = members(item, name, "name", "content")
        content = base64url_decode(text(found["content"], name, high=2 * MAX_FILE), name)
        files[relative_path(found["name"], name)] = byte_string(content, name, 0, MAX_FILE)
    if len(files) != len(array(value, name)):
        raise DecodeError(name, "has a name twice")
    by(files, str.encode, name)
    return MappingProxyType(files)


def _source(value: object, name: str) -> Source:
    found = members(value, name, "kind", "signer", "files")
    kind = text(found["kind"], f"{name}, kind")
    if kind not in _COMMIT:
        raise DecodeError(f"{name}, kind", f"must be one of {', '.join(_COMMIT)}")
    signer = matching(found["signer"], f"{name}, signer", _SIGNER, "a fingerprint of an OpenPGP or SSH key")
    files = (_source_file(item, f"{name}, file") for item in few(found["files"], f"{name}, files", 0, 64))
    return Source(kind, signer, by(files, _name, f"{name}, files"))


def _source_file(value: object, name: str) -> SourceFile:
    found = members(value, name, "name", "size", "sha256")
    path = relative_path(found["name"], name)
    return SourceFile(path, integer(found["size"], f"{name}, size"), hex_hash(found["sha256"], f"{name}, sha256"))


def _commit(value: object, source: Source, name: str) -> str:
    commit = matching(value, name, _COMMIT[source.kind], f"that of a source of kind {source.kind}")
    _, prefixed, digits = commit.rpartition(":")
    if prefixed and digits not in [file.sha256.hex() for file in source.files]:
        raise DecodeError(name, "is the hash of no file of the source")
    return commit


def _package(value: object, name: str) -> Package:
    found = members(value, name, "name", "version", "architecture", "sha256")
    return Package(
        named(found["name"], f"{name}, name"),
        matching(found["version"], f"{name}, version", _VERSION, "a version"),
        named(found["architecture"], f"{name}, architecture"),
        hex_hash(found["sha256"], f"{name}, sha256"),
    )


def _absolute_path(value: object, name: str) -> str:
    checked = text(value, name, 1, 1025)
    if not checked.startswith("/"):
        raise DecodeError(name, "is not an absolute path")
    return f"/{relative_path(checked[1:], name)}"


def _environment(value: object, build_date: int, name: str) -> Mapping[str, str]:
    if not isinstance(value, dict) or not 1 <= len(value) <= 64:
        raise DecodeError(name, "is not an object of 1 to 64 variables")
    variables = {
        matching(variable, name, _VARIABLE, "the name of a variable"): text(
            content, f"{name}, {variable}", high=4096, allow_nul=False
        )
        for variable, content in value.items()
    }
    if variables.get(EPOCH_VARIABLE) != str(build_date):
        raise DecodeError(f"{name}, {EPOCH_VARIABLE}", f"is not the build_date, {build_date}")
    return MappingProxyType(variables)


def _output(value: object, name: str) -> Output:
    found = members(value, name, "name", "role", "size", "sha256")
    role = text(found["role"], f"{name}, role")
    if role not in list(Role):
        raise DecodeError(f"{name}, role", f"must be one of {', '.join(Role)}")
    size, sha256 = integer(found["size"], f"{name}, size"), hex_hash(found["sha256"], f"{name}, sha256")
    return Output(relative_path(found["name"], name), Role(role), size, sha256)


def decode_closure_file(value: object) -> ClosureFile:
    """A file of the closure of its JSON value. Raises DecodeError."""
    where = "closure"
    found = members(value, where, "path", "size", "sha256", "package", "version")
    package, version = found["package"], found["version"]
    if (package is None) != (version is None):
        raise DecodeError(where, "package and version are both there, or both null")
    return ClosureFile(
        _absolute_path(found["path"], f"{where}, path"),
        integer(found["size"], f"{where}, size"),
        hex_hash(found["sha256"], f"{where}, sha256"),
        None if package is None else named(package, f"{where}, package"),
        None if version is None else matching(version, f"{where}, version", _VERSION, "a version"),
    )


def _manifest_value(manifest: Manifest) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "builder": manifest.builder,
        "builds": [build_value(build) for build in manifest.builds],
        "closure": [closure_value(file) for file in manifest.closure],
    }


def closure_value(file: ClosureFile) -> dict[str, Any]:
    """The JSON value of a file of the closure."""
    return {
        "path": file.path,
        "size": file.size,
        "sha256": file.sha256.hex(),
        "package": file.package,
        "version": file.version,
    }


def build_value(build: Build) -> dict[str, Any]:
    """The JSON value of a build."""
    files = [
        {"name": name, "content": base64url_encode(content)} for name, content in sorted(build.recipe_files.items())
    ]
    source = [{"name": file.name, "size": file.size, "sha256": file.sha256.hex()} for file in build.source.files]
    outputs = [
        {"name": output.name, "role": str(output.role), "size": output.size, "sha256": output.sha256.hex()}
        for output in build.outputs
    ]
    return {
        "name": build.name,
        "version": build.version,
        "recipe": build.recipe,
        "recipe_files": files,
        "source": {"kind": build.source.kind, "signer": build.source.signer, "files": source},
        "source_commit": build.source_commit,
        "build_date": moment_text(build.build_date),
        "root": root_value(build.root),
        "path": build.path,
        "environment": dict(build.environment),
        "steps": list(build.steps),
        "outputs": outputs,
    }
