"""The root in which is built: made by mmdebstrap from packages whose hashes are known (spec/recipe.md, `[root]`)."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sigillo.build.apt import KEYRING, Apt, Index
from sigillo.build.error import BuildError
from sigillo.build.file import sha256_of
from sigillo.build.journal import Journal
from sigillo.build.package import Shelf
from sigillo.build.recipe import Pin, RootPlan

_LINE = re.compile(r"([a-z0-9][a-z0-9+.-]*) ([a-z0-9-]+) ([A-Za-z0-9.+:~-]+) ([0-9a-f]{64})")
_REMEDY = "the log says which package; a mirror that is being updated works again after some minutes"
_FORMAT = "${Package} ${Architecture} ${Version} ${db:Status-Status}\\n"
_EPOCH = "946684800"
"""Of files made while packages are installed: older than any source, the same in every root."""
_PREFERENCES = "etc/apt/preferences.d/sigillo"


def make_root(plan: RootPlan, apt: Apt, shelf: Shelf, folder: Path, journal: Journal) -> Path:
    """A tar of the root, and beside it `root.txt`. *folder*: empty, for both. Raises BuildError, OSError."""
    index = apt.index()
    local = folder / "local"
    local.mkdir()
    for pin in shelf.missing(plan.pins, index):
        shelf.fetch(pin, local)
    lines = apt.lines()
    if any(local.iterdir()):
        (local / "Packages").write_bytes(_scan(local))
        lines.append(f"deb [trusted=yes] copy:{local} ./")  # each file's hash was compared with the pinned one
    tar = folder / "root.tar"
    preferences, installed = folder / "preferences", folder / "installed"
    preferences.write_text(_preferences(plan.pins))
    command = [
        "mmdebstrap",
        "--mode=root",
        f"--variant={'apt' if plan.exact else 'buildd'}",
        f"--architectures={plan.architecture}",
        f"--keyring={KEYRING}",
        f"--include={','.join([*plan.packages, *(pin.package for pin in plan.pins)])}",
        '--aptopt=Acquire::Languages "none"',
        "--dpkgopt=force-unsafe-io",  # a root that a power cut ruins is made again
        '--aptopt=APT::Install-Recommends "false"',
        f'--setup-hook=mkdir -p "$1/etc/apt/preferences.d" && cp {shlex.quote(str(preferences))} "$1/{_PREFERENCES}"',
        f'--customize-hook=rm -f "$1/{_PREFERENCES}"',
        f"--customize-hook=dpkg-query --admindir=\"$1/var/lib/dpkg\" -W -f '{_FORMAT}' > {shlex.quote(str(installed))}",
        plan.suite,
        str(tar),
        *lines,
    ]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": _EPOCH, "LC_ALL": "C.UTF-8", "TMPDIR": str(folder)}
    journal.run(command, _REMEDY, environment=environment)
    lines = list(_installed(installed, index, plan.pins))
    if plan.exact:
        _same(lines, plan)
    (folder / "root.txt").write_text("".join(f"{line}\n" for line in lines))
    shutil.rmtree(local)
    return tar


def kept_root(plan: RootPlan, apt: Apt, shelf: Shelf, keep: Path | None, folder: Path, *, journal: Journal) -> Path:
    """As `make_root`; where *keep* is a folder, a root that was made there from the very same inputs is used again."""
    if keep is None:
        return make_root(plan, apt, shelf, folder, journal)
    inputs = [repr(plan), () if plan.exact else apt.index().releases, sha256_of(KEYRING)]
    made = keep / f"root-{hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:32]}"
    if (made / "root.tar").is_file():
        journal.note(f"the root was made before, from the same inputs: {made}")
        return made / "root.tar"
    keep.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".sigillo-root-", dir=keep.resolve()) as name:
        fresh = Path(name) / "root"
        fresh.mkdir()
        make_root(plan, apt, shelf, fresh, journal)
        with suppress(FileExistsError):  # another build made it meanwhile
            fresh.rename(made)
    return made / "root.tar"


def read_root(text: str, suite: str, architecture: str) -> RootPlan:
    """The plan of a root with exactly the packages of a `root.txt`. Raises BuildError."""
    pins = []
    for line in text.splitlines():
        found = _LINE.fullmatch(line)
        if not found:
            raise BuildError(f"root.txt: has a line that is not `name architecture version sha256`: {line[:80]!r}")
        pins.append(Pin(found[1], found[3], found[4]))
    if not pins or len({pin.package for pin in pins}) != len(pins):
        raise BuildError("root.txt: is empty or names a package twice")
    return RootPlan(suite, architecture, (), tuple(pins), exact=True)


@contextmanager
def unpacked(tar: Path, folder: Path, journal: Journal) -> Iterator[Path]:
    """The root as a folder, away at the end."""
    folder.mkdir()
    try:
        journal.run(["tar", "-C", folder, "--numeric-owner", "-xpf", tar], "the root cannot be unpacked")
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _installed(path: Path, index: Index, pins: Iterable[Pin]) -> Iterator[str]:
    """Lines of root.txt, sorted. Raises BuildError where a package's hash is in no signed index and not pinned."""
    pinned = {(pin.package, pin.version): pin.sha256 for pin in pins}
    for line in sorted(path.read_text().splitlines()):
        package, architecture, version, status = line.split(" ")
        if status != "installed":
            raise BuildError(f"{package} {version}: is {status} in the root, not installed; {_REMEDY}")
        listed = index.find(package, version)
        sha256 = pinned.get((package, version)) or (listed.sha256 if listed else None)
        if sha256 is None:
            raise BuildError(f"{package} {version}: is in the root, but neither pinned nor in Debian's signed index")
        yield f"{package} {architecture} {version} {sha256}"


def _same(installed: Iterable[str], plan: RootPlan) -> None:
    here = {(line.split(" ")[0], line.split(" ")[2]) for line in installed}
    wanted = {(pin.package, pin.version) for pin in plan.pins}
    for package, version in sorted(here ^ wanted):
        where = "lacks" if (package, version) in wanted else "has besides"
        raise BuildError(f"the root {where} {package} {version}, so it is not the one of root.txt; {_REMEDY}")


def _preferences(pins: Iterable[Pin]) -> str:
    return "".join(f"Package: {pin.package}\nPin: version {pin.version}\nPin-Priority: 1001\n\n" for pin in pins)


def _scan(folder: Path) -> bytes:
    """A `Packages` file for the packages in *folder*."""
    parts = []
    for path in sorted(folder.glob("*.deb")):
        done = subprocess.run(["dpkg-deb", "--field", path], capture_output=True)
        if done.returncode != 0:
            raise BuildError(f"{path.name}: is no Debian package")
        facts = f"Filename: ./{path.name}\nSize: {path.stat().st_size}\nSHA256: {sha256_of(path)}\n"
        parts.append(done.stdout.rstrip(b"\n") + b"\n" + facts.encode())
    return b"\n".join(parts)
