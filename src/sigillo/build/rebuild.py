"""Rebuilding from a manifest alone, and comparing output by output (spec/rebuild-statement.md)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sigillo.build.builder import Options, Order, build_into
from sigillo.build.chamber import environment_of
from sigillo.build.compare import IGNORED, Comparison, Grade, compare_files, explain
from sigillo.build.error import BuildError
from sigillo.build.facts import Facts
from sigillo.build.file import sha256_of
from sigillo.build.journal import Progress
from sigillo.build.recipe import Pin, Recipe, RootPlan, decode_recipe, files_of
from sigillo.core.errors import PolicyError
from sigillo.core.manifest import Build, Output
from sigillo.core.rebuild import Rebuilt, RebuiltOutput, compare


@dataclass(frozen=True)
class Remade:
    """A build that was rebuilt; `differences`: what is known of each output that is not the manifest's."""

    rebuilt: Rebuilt
    facts: Facts
    differences: dict[str, str]


def order_of(made: Build, folder: Path) -> Order:
    """What to build, by a manifest alone. *folder*: where it lies, with `source/` beside it in a release.

    Raises BuildError where it contradicts itself.
    """
    try:
        recipe = decode_recipe(made.recipe.encode("utf-8"))
    except PolicyError as error:
        raise BuildError(f"build {made.name}: its recipe: {error}") from None
    for name, manifest, ours in _twice_said(made, recipe):
        if manifest != ours:
            raise BuildError(
                f"build {made.name}: {name} is {manifest!r} in the manifest and {ours!r} in the recipe inside it: "
                "do not believe it, and ask its builder"
            )
    pins = tuple(Pin(one.name, one.version, one.sha256.hex()) for one in made.root.packages)
    if len({pin.package for pin in pins}) != len(pins):
        raise BuildError(f"build {made.name}: its root has a package of two architectures, which cannot be made again")
    if recipe.source.keys not in made.recipe_files:
        raise BuildError(f"build {made.name}: the keys of its recipe, {recipe.source.keys}, are not in the manifest")
    for name in made.recipe_files:
        if name not in files_of(recipe.source):
            raise BuildError(f"build {made.name}: the manifest holds the file {name}, which its recipe does not name")
    place = folder / "source" if (folder / "source").is_dir() else folder
    plan = RootPlan(made.root.release, made.root.architecture, (), pins, exact=True)
    return Order(recipe, plan, {**made.recipe_files, "recipe.toml": made.recipe.encode("utf-8")}, place)


def rebuild(
    made: Build, folder: Path, out: Path, scratch: Path, *, options: Options, progress: Progress, failed: Path
) -> Remade:
    """Rebuild one build of a manifest that lies in *folder* into the folder *out*, and compare.

    What of the original lies beside the manifest (`binary/`) is compared in detail if it has the manifest's hash.
    Raises BuildError, also where the source is not the manifest's; OSError.
    """
    order = order_of(made, folder)
    facts = build_into(order, out, scratch, options, progress=progress, failed=failed)
    _same_source(made, facts.build)
    outputs, differences = [], {}
    for output in made.outputs:
        ours = out / "binary" / output.name
        found, difference = compare_output(output, ours, folder, made.name)
        outputs.append(found)
        if difference:
            differences[output.name] = difference
    root = None if facts.build.root == made.root else facts.build.root
    return Remade(Rebuilt(made.name, tuple(outputs), root), facts, differences)


def _twice_said(made: Build, recipe: Recipe) -> Iterator[tuple[str, object, object]]:
    """(what, in the manifest, in the recipe): steps that only one of them has would be a flag that nobody sees."""
    yield "name", made.name, recipe.name
    yield "version", made.version, recipe.source.release
    yield "the kind of source", made.source.kind, recipe.source.kind
    yield "the date", made.build_date, recipe.date
    yield "path", made.path, recipe.path
    yield "steps", tuple(made.steps), recipe.steps
    yield "environment", dict(made.environment), environment_of(recipe)
    if recipe.source.kind == "debian":
        yield "the source", made.source_commit, f"dsc:sha256:{recipe.source.sha256}"
    yield "release", made.root.release, recipe.root.suite
    yield "architecture", made.root.architecture, recipe.root.architecture
    if made.source.signer not in recipe.source.fingerprints:
        yield "the signer of the source", made.source.signer, recipe.source.fingerprints


def _same_source(made: Build, ours: Build) -> None:
    if ours.source_commit != made.source_commit:
        raise BuildError(
            f"build {made.name}: the source found is {ours.source_commit}, the manifest's is {made.source_commit}"
        )
    found = {file.name: file for file in ours.source.files}
    for file in made.source.files:
        if found.get(file.name) != file:
            raise BuildError(
                f"build {made.name}: the source file {file.name} is not the manifest's ({file.sha256.hex()})"
            )


def compare_output(output: Output, ours: Path, folder: Path, build: str) -> tuple[RebuiltOutput, str]:
    """The output as the statement has it, and what is known of a difference."""
    if not ours.is_file():
        return compare(output, None, None), "the rebuild made no such file"
    size, sha256 = ours.stat().st_size, bytes.fromhex(sha256_of(ours))
    if (size, sha256) == (output.size, output.sha256):
        return compare(output, size, sha256), ""
    theirs = _original(output, folder, build)
    if theirs is None:
        return compare(output, size, sha256), f"its SHA-256 is {sha256.hex()}, the manifest's {output.sha256.hex()}"
    found = compare_files(ours, theirs)
    return compare(output, size, sha256, _without(found, ours)), explain(ours, theirs, found)


def _original(output: Output, folder: Path, build: str) -> Path | None:
    """The builder's file, where it lies beside the manifest and is the one that the manifest names."""
    for place in (folder / build / "binary", folder / "binary", folder):
        path = place / output.name
        inside = path.resolve().is_relative_to(folder.resolve())
        if inside and path.is_file() and sha256_of(path) == output.sha256.hex():
            return path
    return None


def _without(found: Comparison, ours: Path) -> tuple[str, ...]:
    """Sections of a program after whose removal both are equal; of a package none: its hash covers more than that."""
    return tuple(sorted(IGNORED)) if found.grade is Grade.STRIPPED and ours.suffix != ".deb" else ()
