"""A whole build, from a recipe to the folder that spec/recipe.md describes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from sigillo.build.apt import Apt, Index, machine_mirror
from sigillo.build.chamber import Conditions, build_in, check_isolation, environment_of, outputs_of, run_in
from sigillo.build.closure import closure_of
from sigillo.build.compare import Comparison, Grade, compare_files, member_of
from sigillo.build.deb822 import installed_depends
from sigillo.build.error import BuildError
from sigillo.build.facts import Compared, Facts, Varied, encode_facts
from sigillo.build.file import checksums, sha256_of
from sigillo.build.journal import Journal, Progress
from sigillo.build.openpgp import primary_keys
from sigillo.build.package import Shelf, machine_snapshot
from sigillo.build.recipe import Pin, Recipe, RootPlan, decode_recipe, files_of, with_keys
from sigillo.build.root import kept_root, read_root, unpacked
from sigillo.build.source import Origins, VerifiedSource, copy_plain, verified_source
from sigillo.build.vary import install_clock, vary
from sigillo.build.workspace import workspace
from sigillo.core.errors import DecodeError, PolicyError
from sigillo.core.manifest import Build, ClosureFile, Output, Package, Role, Root, Source, SourceFile

DISTRIBUTION = "debian"


@dataclass(frozen=True)
class Options:
    """What a person chooses, and what may not change the result. `keep`: folder of roots to use again, or None."""

    source: Path | None = None
    caches: tuple[Path, ...] = ()
    mirror: str = ""
    snapshot: str = ""
    keep: Path | None = None
    vary: bool = False
    unsafe_network: bool = False


@dataclass(frozen=True)
class Order:
    """What to build. `files`: name → content of the recipe and the files that it names; `folder`: where it lay."""

    recipe: Recipe
    plan: RootPlan
    files: Mapping[str, bytes]
    folder: Path


def read_order(path: Path, keys: Path | None = None) -> Order:
    """The order of a recipe's file. *keys*: a keyring, for a recipe that leaves to who builds it whose source it takes.

    Raises BuildError naming the file and the key, OSError.
    """
    try:
        data = path.read_bytes()
        if keys is not None:
            data = with_keys(data, primary_keys(keys))
        recipe = decode_recipe(data)
    except PolicyError as error:
        raise BuildError(f"{path}: {error}; see spec/recipe.md") from None
    place = keys or path.parent / recipe.source.keys
    if keys is None and not place.resolve().is_relative_to(path.parent.resolve()):
        raise BuildError(f"{path}: source.keys: {recipe.source.keys} leads out of the recipe's folder")
    if not place.is_file():
        raise BuildError(f"{place}: no such file; {path.name} names it as the keys that may sign its source")
    files = {"recipe.toml": data, recipe.source.keys: place.read_bytes()}
    for name in files_of(recipe.source)[1:]:
        if (path.parent / name).is_file():
            files[name] = (path.parent / name).read_bytes()
    return Order(recipe, recipe.root, files, path.parent)


def with_root(order: Order, path: Path) -> Order:
    """The order with the root of an earlier build: its `root.txt`, or its `.buildinfo`. Raises BuildError, OSError."""
    plan, text = order.recipe.root, path.read_text(encoding="utf-8", errors="replace")
    if path.suffix != ".buildinfo":
        return replace(order, plan=read_root(text, plan.suite, plan.architecture))
    try:
        wanted = installed_depends(text)
    except DecodeError as error:
        raise BuildError(f"{path}: {error}; name the .buildinfo or root.txt of an earlier build") from None
    known = {(pin.package, pin.version): pin for pin in plan.pins}
    pins = (known.get(pair) or Pin(*pair, "") for pair in wanted.items())
    return replace(order, plan=replace(plan, pins=tuple(pins)))


def build(order: Order, out: Path, options: Options, progress: Progress) -> Facts:
    """Build *order* into the new folder *out*. Raises BuildError, OSError; then *out* does not exist."""
    with workspace(out) as (made, scratch):
        failed = out.with_name(f"{out.name}.failed.log")
        return build_into(order, made, scratch, options, progress=progress, failed=failed)


def build_into(order: Order, made: Path, scratch: Path, options: Options, *, progress: Progress, failed: Path) -> Facts:
    """Build *order* into the folder *made*. *scratch*: a folder for what is thrown away; *failed*: where the log goes
    if the build fails. Raises BuildError, OSError."""
    if os.geteuid() != 0:
        raise BuildError("a build makes a root and goes into it: run it as root (the steps run as an ordinary user)")
    check_isolation(allow_network=options.unsafe_network)
    journal = Journal(made / "build.log", progress)
    try:
        facts = _Build(order, options, made, scratch, journal).run()
    except BuildError as error:
        raise _keep_log(journal, failed, error) from None
    finally:
        journal.close()
    (made / "build.json").write_bytes(encode_facts(facts))
    listed = [path for path in made.rglob("*") if path.is_file() and path.name != "build.log"]
    (made / "SHA256SUMS").write_text(checksums(made, listed))
    return facts


def _keep_log(journal: Journal, kept: Path, error: BuildError) -> BuildError:
    """Nothing is left of a failed build but its log, beside where OUT would be."""
    try:
        shutil.copyfile(journal.path, kept)
    except OSError:
        return error
    return BuildError(f"{error} (the whole log: {kept})")


class _Build:
    """One build under way. Each method is a step of the log."""

    def __init__(self, order: Order, options: Options, made: Path, scratch: Path, journal: Journal) -> None:
        self._order, self._recipe, self._options, self._journal = order, order.recipe, options, journal
        self._made, self._scratch = made, scratch
        plan = order.plan
        mirror = options.mirror or machine_mirror()
        self._apt = Apt(scratch / "apt", mirror, [plan.suite, f"{plan.suite}-updates"], plan.architecture, journal)
        self._binary = made / "binary"

    def run(self) -> Facts:
        """All steps."""
        self._write_order()
        self._journal.step(f"asking the mirror for {self._order.plan.suite}")
        self._apt.update()
        index = self._apt.index()
        source = self._source()
        tar = self._root()
        shutil.copyfile(tar.with_name("root.txt"), self._made / "root.txt")
        self._journal.step("unpacking the root")
        with unpacked(tar, self._scratch / "tree", self._journal) as root:
            self._journal.step(f"building {self._recipe.name}")
            hashes = self._build_once(root, source, Conditions(), self._binary)
            self._buildinfo(root)
            closure = self._closure(root)
            compared = tuple(self._compare(index)) if self._recipe.debian else ()
            varied = tuple(self._vary(root, source, hashes, index)) if self._options.vary else ()
        build = self._facts(source)
        return Facts(build, closure, source.signature.note, self._options.unsafe_network, compared, varied)

    def _write_order(self) -> None:
        for name, content in self._order.files.items():
            path = self._made / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def _source(self) -> VerifiedSource:
        self._journal.step(f"fetching and verifying the source {self._recipe.source.release}")
        folder = self._made / "source"
        folder.mkdir()
        beside = self._order.folder
        origins = Origins(self._options.source, (*self._options.caches, beside), beside, self._apt.source)
        source = verified_source(self._recipe, self._made / self._recipe.source.keys, folder, origins, self._journal)
        self._journal.note(f"source {source.commit}, signed by {source.signature.signer}")
        return source

    def _root(self) -> Path:
        self._journal.step(f"making a root of {self._order.plan.suite}")
        snapshot = self._options.snapshot or machine_snapshot()
        shelf = Shelf(self._options.caches, snapshot, self._journal)
        folder = self._scratch / "root"
        folder.mkdir()
        return kept_root(self._order.plan, self._apt, shelf, self._options.keep, folder, journal=self._journal)

    def _build_once(self, root: Path, source: VerifiedSource, conditions: Conditions, to: Path) -> dict[str, str]:
        """Build, and copy the outputs into the new folder *to*. Returns name → SHA-256."""
        network = self._options.unsafe_network
        place = build_in(root, self._recipe, source, conditions, self._journal, allow_network=network)
        to.mkdir()
        for path in outputs_of(place, root, self._recipe.outputs):
            copy_plain(path, to / path.name)
        if self._recipe.binary_member:
            self._extract(to)
        return {path.name: sha256_of(path) for path in sorted(to.iterdir())}

    def _extract(self, folder: Path) -> None:
        """The program itself, out of its package."""
        name = self._recipe.binary_member
        (package,) = self._one(folder, self._recipe.binary_file)
        target = folder / Path(name).name
        if target.exists():
            raise BuildError(f"{target.name}: is an output and a member of {package.name}, too; see build.binary")
        target.write_bytes(member_of(package, name))

    def _one(self, folder: Path, pattern: str) -> list[Path]:
        found = sorted(folder.glob(pattern))
        if len(found) != 1:
            raise BuildError(f"build.binary.file: {pattern} matches {len(found)} outputs, not one")
        return found

    @property
    def _program(self) -> Path:
        if self._recipe.binary_member:
            return self._binary / Path(self._recipe.binary_member).name
        return self._one(self._binary, self._recipe.binary_file)[0]

    def _buildinfo(self, root: Path) -> None:
        place = root / Path(self._recipe.path).parent.relative_to("/")
        for path in sorted(place.glob("*.buildinfo")):
            copy_plain(path, self._made / path.name)

    def _closure(self, root: Path) -> tuple[ClosureFile, ...]:
        self._journal.step("what the program loads")
        run = partial(self._inside, root)
        versions = {package.name: package.version for package in self._packages()}
        return closure_of(self._program, root, versions, self._scratch, run)

    def _inside(self, root: Path, words: list[str], output: Path) -> None:
        network = self._options.unsafe_network
        run_in(root, words, self._recipe, Conditions(), self._journal, allow_network=network, output=output)

    def _compare(self, index: Index) -> Iterator[Compared]:
        self._journal.step("comparing with Debian's own")
        for path in sorted(self._binary.glob("*.deb")):
            package, version = path.name.split("_")[:2]
            listed = next((one for key, one in index.listed.items() if _is(key, package, version)), None)
            if listed is None:
                raise BuildError(f"{path.name}: Debian's signed index has no {package} {version} to compare with")
            if listed.sha256 == sha256_of(path):
                comparison = Comparison(Grade.PACKAGE)
            else:
                comparison = self._differing(path, package, listed.version, listed.sha256)
            self._journal.note(f"{path.name}: {comparison.grade} {comparison.difference}".rstrip())
            yield Compared(path.name, comparison, bytes.fromhex(listed.sha256))

    def _differing(self, path: Path, package: str, version: str, sha256: str) -> Comparison:
        folder = self._scratch / f"theirs-{package}"
        folder.mkdir()
        self._apt.download(package, version, folder)
        (theirs,) = folder.glob("*.deb")
        if sha256_of(theirs) != sha256:
            raise BuildError(f"{theirs.name}: is not the file that Debian's signed index lists; fetch it again")
        return compare_files(path, theirs)

    def _vary(self, root: Path, source: VerifiedSource, hashes: dict[str, str], index: Index) -> Iterator[Varied]:
        self._journal.step("fetching what moves the clock")
        preload = install_clock(root, self._apt, index, self._scratch, self._journal)

        def again(conditions: Conditions) -> dict[str, str]:
            with _fresh(self._scratch / "varied") as folder:
                return self._build_once(root, source, conditions, folder)

        yield from vary(self._recipe, hashes, again, preload, self._journal)

    def _packages(self) -> tuple[Package, ...]:
        found = []
        for line in (self._made / "root.txt").read_text().splitlines():
            name, architecture, version, sha256 = line.split(" ")
            found.append(Package(name, version, architecture, bytes.fromhex(sha256)))
        return tuple(sorted(found, key=lambda package: (package.name.encode(), package.architecture.encode())))

    def _facts(self, source: VerifiedSource) -> Build:
        recipe, plan = self._recipe, self._order.plan
        files = {name: content for name, content in self._order.files.items() if name != "recipe.toml"}
        return Build(
            name=recipe.name,
            version=recipe.source.release,
            recipe=self._order.files["recipe.toml"].decode("utf-8"),
            recipe_files=files,
            source=Source(recipe.source.kind, source.signature.signer, _source_files(source.folder)),
            source_commit=source.commit,
            build_date=recipe.date,
            root=Root(DISTRIBUTION, plan.suite, plan.architecture, self._packages()),
            path=recipe.path,
            environment=environment_of(recipe),
            steps=recipe.steps,
            outputs=tuple(self._output(path) for path in _by_name(self._binary)),
        )

    def _output(self, path: Path) -> Output:
        role = Role.PACKAGE if path.suffix == ".deb" else Role.LIBRARY if ".so" in path.suffixes else Role.OTHER
        role = self._recipe.role if path == self._program else role
        return Output(path.name, role, path.stat().st_size, bytes.fromhex(sha256_of(path)))


def _is(key: tuple[str, str], package: str, version: str) -> bool:
    """Whether an entry of the index is what a file is named after: an epoch is no part of a file's name."""
    return key[0] == package and key[1].split(":", 1)[-1] == version


def _source_files(folder: Path) -> tuple[SourceFile, ...]:
    """All but a bundle, whose bytes are git's own business: the tag in it is verified, not the file."""
    paths = [path for path in _by_name(folder) if path.suffix != ".bundle"]
    return tuple(SourceFile(path.name, path.stat().st_size, bytes.fromhex(sha256_of(path))) for path in paths)


def _by_name(folder: Path) -> list[Path]:
    return sorted(folder.iterdir(), key=lambda path: path.name.encode())


@contextmanager
def _fresh(folder: Path) -> Iterator[Path]:
    """A name for a folder that is not there before and after."""
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
