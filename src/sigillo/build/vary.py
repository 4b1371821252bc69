"""Variation test: the same build under one changed condition after the other (spec/recipe.md, "Build folder")."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from sigillo.build.apt import Apt, Index
from sigillo.build.chamber import Conditions
from sigillo.build.error import BuildError
from sigillo.build.facts import Varied
from sigillo.build.journal import Journal
from sigillo.build.recipe import Recipe

_LIBRARY = "libfaketime"
_PLACE = "opt/sigillo"
Build = Callable[[Conditions], dict[str, str]]
"""Builds under the conditions; name → SHA-256 of each output."""


def conditions(recipe: Recipe, preload: str) -> Iterator[tuple[str, Conditions]]:
    """(name, conditions) of each variation. *preload*: path in the root of the library that moves the clock."""
    yield "user", Conditions(user=4321, environment={"HOME": "/tmp", "USER": "somebody", "LOGNAME": "somebody"})  # noqa: S108  # in the root
    yield "umask", Conditions(umask="002")
    yield "locale", Conditions(environment={"LANG": "C", "LC_ALL": "POSIX", "LANGUAGE": "it"})
    yield "time zone", Conditions(environment={"TZ": "XYZ-13:45"})
    # The clock moves, the times of files that are there do not.
    moved = {"LD_PRELOAD": preload, "FAKETIME": "+400d", "DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1"}
    yield "clock +400 days", Conditions(environment=moved)
    yield "host name", Conditions(host="elsewhere.invalid")
    options = re.sub(r"\s*parallel=\d+", "", recipe.environment.get("DEB_BUILD_OPTIONS", ""))
    yield "one process", Conditions(environment={"DEB_BUILD_OPTIONS": f"{options} parallel=1", "MAKEFLAGS": "-j1"})
    yield "path", Conditions(path=f"{recipe.path}-elsewhere")


def vary(recipe: Recipe, expected: dict[str, str], build: Build, preload: str, journal: Journal) -> Iterator[Varied]:
    """One row of the table after the other. *expected*: what *build* gave without a variation. Raises BuildError."""
    for name, changed in conditions(recipe, preload):
        journal.step(f"variation: {name}")
        made = build(changed)
        equal = tuple(sorted(one for one in expected if made.get(one) == expected[one]))
        row = Varied(name, equal, tuple(sorted(expected.keys() - set(equal))))
        journal.note(f"{name}: {len(equal)} of {len(expected)} equal")
        yield row


def install_clock(root: Path, apt: Apt, index: Index, scratch: Path, journal: Journal) -> str:
    """Put libfaketime into *root*, apart from its packages. Returns the library's path there. Raises BuildError."""
    listed = next((one for one in index.listed.values() if one.package == _LIBRARY), None)
    if listed is None:
        raise BuildError(f"--vary needs {_LIBRARY}, which the mirror has not")
    folder = scratch / "clock"
    folder.mkdir()
    apt.download(listed.package, listed.version, folder)
    (package,) = folder.glob("*.deb")
    journal.run(["dpkg-deb", "-x", package, root / _PLACE], "the package cannot be unpacked")
    (library,) = (root / _PLACE).rglob("libfaketime.so.1")
    return f"/{library.relative_to(root)}"
