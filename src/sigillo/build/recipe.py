"""Recipe: what is built, from which source, under whose signature, where and how (spec/recipe.md). Pure."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from sigillo.core.errors import PolicyError
from sigillo.core.manifest import Role
from sigillo.core.table import Table, decode_toml

VERSION = 1
MAX_BYTES = 64 * 1024
Kind = Literal["debian", "git", "tarball"]
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_DEBIAN_VERSION = re.compile(r"[0-9][A-Za-z0-9.+:~-]*")
_RELEASE = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+:~-]{0,127}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_FINGERPRINT = re.compile(r"[0-9A-F]{40}|SHA256:[A-Za-z0-9+/]{43}")
_TAG = re.compile(r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._+/-]{0,99}(?<!/)(?<!\.lock)")
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]{0,199}")
_URL = re.compile(r"(https|ssh|git|file)://[^\s\x00-\x1f]{1,500}|/[^\s\x00-\x1f]{1,500}")
_BUILD_PATH = re.compile(r"/build(/[A-Za-z0-9][A-Za-z0-9._+~-]*)+")
_PATTERN = re.compile(r"[A-Za-z0-9._+*?~/-]{1,200}")
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_ROLES = (Role.EXECUTABLE, Role.PLUGIN)
_TAKEN = ("source", "binary")
_LINE = re.compile(r"[^\x00-\x1f\x7f]{1,1000}")


@dataclass(frozen=True)
class Source:
    """`[source]`: which of the fields are set follows from `kind`; the others are empty."""

    kind: Kind
    keys: str
    fingerprints: tuple[str, ...]
    release: str
    package: str = ""
    sha256: str = ""
    url: str = ""
    tag: str = ""
    commit: str = ""
    file: str = ""
    signature: str = ""

    @property
    def dsc(self) -> str:
        """File name of the `.dsc`: an epoch is no part of it."""
        return f"{self.package}_{self.release.split(':', 1)[-1]}.dsc"


@dataclass(frozen=True, order=True)
class Pin:
    """One very package: name, version, SHA-256 of the `.deb` in hex; empty where the signed index may say it."""

    package: str
    version: str
    sha256: str


@dataclass(frozen=True)
class RootPlan:
    """`[root]`: what is installed to build in. `exact`: nothing but `pins`, which name every package."""

    suite: str
    architecture: str
    packages: tuple[str, ...]
    pins: tuple[Pin, ...]
    exact: bool = False


@dataclass(frozen=True)
class Recipe:
    """A recipe. `date`: seconds since 1970. `binary_member`: path inside a `.deb`, or empty."""

    name: str
    date: int
    source: Source
    root: RootPlan
    path: str
    steps: tuple[str, ...]
    environment: dict[str, str]
    outputs: tuple[str, ...]
    binary_file: str
    binary_member: str
    role: Role
    debian: bool

    @property
    def build_date(self) -> str:
        """RFC 3339, UTC."""
        return datetime.datetime.fromtimestamp(self.date, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def decode_recipe(data: bytes) -> Recipe:
    """A recipe from its file. Raises PolicyError, which names the key."""
    if len(data) > MAX_BYTES:
        raise PolicyError("file", f"is longer than {MAX_BYTES} bytes")
    top = Table(decode_toml(data), "")
    if top.take("version", int) != VERSION:
        raise PolicyError("version", f"must be {VERSION}")
    name = _text(top, "name", _NAME)
    date = top.take("date", datetime.datetime)
    if date.tzinfo is None or date.microsecond or date.timestamp() < 0:
        raise PolicyError("date", "must have an offset, whole seconds, and be after 1970")
    source = _source(Table(top.take("source", dict), "source"))
    root = _root(Table(top.take("root", dict), "root"))
    build = Table(top.take("build", dict), "build")
    top.end()
    binary = Table(build.take("binary", dict), "build.binary")
    recipe = Recipe(
        name,
        int(date.timestamp()),
        source,
        root,
        _text(build, "path", _BUILD_PATH),
        _texts(build, "steps", _LINE),
        _environment(Table(build.take("environment", dict, {}), "build.environment")),
        _texts(build, "outputs", _PATTERN, _below_build(build)),
        _text(binary, "file", _PATTERN),
        _text(binary, "member", _PATTERN, default="").lstrip("/"),
        _role(binary),
        build.take("debian", bool, False),
    )
    build.end()
    binary.end()
    return recipe


def with_keys(data: bytes, fingerprints: Sequence[str]) -> bytes:
    """A recipe that leaves open whose source it takes, completed: these keys, in `keys.gpg`. Raises PolicyError."""
    source = decode_toml(data).get("source")
    if not isinstance(source, dict) or "keys" in source or "fingerprints" in source:
        raise PolicyError("source", "names its keys itself; --keys is for a recipe that does not")
    lines = [b"[source]", b'keys = "keys.gpg"', f"fingerprints = {json.dumps(list(fingerprints))}".encode()]
    completed, count = re.subn(rb"^\[source\]$", b"\n".join(lines), data, flags=re.MULTILINE)
    if count != 1:
        raise PolicyError("source", "must begin with a line [source] for --keys to complete it")
    return completed


def files_of(source: Source) -> tuple[str, ...]:
    """Files that may come with the recipe: the keys, and of SSH those that are revoked."""
    revoked = source.keys.removesuffix(".signers") + ".revoked"
    return (source.keys, revoked) if source.keys.endswith(".signers") else (source.keys,)


def check_inside(name: str, field: str) -> str:
    """A relative path that does not leave its folder, as it stands. Raises PolicyError."""
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\0" in name:
        raise PolicyError(field, f"{name!r} leads out of the folder; name a file inside it")
    return name


def _source(table: Table) -> Source:
    kind = table.take("kind", str)
    keys = check_inside(table.take("keys", str), table.name("keys"))
    if not keys.endswith(".gpg") and not (kind == "git" and keys.endswith(".signers")):
        raise PolicyError(table.name("keys"), "must end in .gpg (or, for git, .signers)")
    if keys.split("/")[0] in _TAKEN:
        raise PolicyError(table.name("keys"), f"must not be in {keys.split('/')[0]}/, which a build folder has itself")
    fingerprints = _texts(table, "fingerprints", _FINGERPRINT)
    if any(name.startswith("SHA256:") != keys.endswith(".signers") for name in fingerprints):
        raise PolicyError(table.name("fingerprints"), "are 40 hex digits for .gpg, SHA256:… for .signers")
    match kind:
        case "debian":
            release = _text(table, "release", _DEBIAN_VERSION)
            package, sha256 = _text(table, "package", _PACKAGE), _text(table, "sha256", _SHA256)
            source = Source(kind, keys, fingerprints, release, package=package, sha256=sha256)
        case "git":
            release, url, tag = _text(table, "release", _RELEASE), _text(table, "url", _URL), _text(table, "tag", _TAG)
            commit = _text(table, "commit", _COMMIT, default="")
            source = Source(kind, keys, fingerprints, release, url=url, tag=tag, commit=commit)
        case "tarball":
            release, sha256 = _text(table, "release", _RELEASE), _text(table, "sha256", _SHA256, default="")
            file, signature = _text(table, "file", _FILE), _text(table, "signature", _FILE)
            source = Source(kind, keys, fingerprints, release, sha256=sha256, file=file, signature=signature)
        case _:
            raise PolicyError(table.name("kind"), "must be debian, git or tarball")
    table.end()
    return source


def _root(table: Table) -> RootPlan:
    suite, architecture = _text(table, "suite", _NAME), _text(table, "architecture", _NAME)
    packages = _texts(table, "packages", _PACKAGE)
    pins = []
    for number, value in enumerate(table.take("pin", list, [])):
        pin = Table(value, f"root.pin[{number}]")
        version = _text(pin, "version", _DEBIAN_VERSION)
        pins.append(Pin(_text(pin, "package", _PACKAGE), version, _text(pin, "sha256", _SHA256)))
        pin.end()
    if len({pin.package for pin in pins}) != len(pins):
        raise PolicyError("root.pin", "names a package twice")
    table.end()
    return RootPlan(suite, architecture, packages, tuple(pins))


def _role(table: Table) -> Role:
    role = table.take("role", str)
    if role not in _ROLES:
        raise PolicyError(table.name("role"), f"must be one of {', '.join(_ROLES)}")
    return Role(role)


def _environment(table: Table) -> dict[str, str]:
    names = table.names()
    for name in names:
        if not _VARIABLE.fullmatch(name) or name == "SOURCE_DATE_EPOCH":
            raise PolicyError(table.name(name), "is not a variable that a recipe may set")
    return {name: _text(table, name, _LINE) for name in names}


def _below_build(table: Table) -> Callable[[str], None]:
    """Outputs may be beside the source (`../*.deb`), where dpkg-buildpackage puts them, and no higher."""

    def check(pattern: str) -> None:
        if ".." in PurePosixPath(pattern.removeprefix("../")).parts or pattern.startswith("/"):
            raise PolicyError(table.name("outputs"), f"{pattern!r} leads out of the build's folder")

    return check


def _text(table: Table, key: str, shape: re.Pattern[str], default: str | None = None) -> str:
    value = table.take(key, str, default)
    if value != default and not shape.fullmatch(value):
        raise PolicyError(table.name(key), f"{value!r} is not of the form that spec/recipe.md gives")
    return value


def _texts(
    table: Table, key: str, shape: re.Pattern[str], check: Callable[[str], None] = lambda _: None
) -> tuple[str, ...]:
    values = table.take(key, list)
    for value in values:
        if type(value) is not str or not shape.fullmatch(value):
            raise PolicyError(table.name(key), f"{value!r} is not of the form that spec/recipe.md gives")
        check(value)
    if not values or len(set(values)) != len(values):
        raise PolicyError(table.name(key), "must not be empty or name anything twice")
    return tuple(values)
