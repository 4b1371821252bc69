"""One build in a root: an ordinary user, no network, nothing of this machine in sight (spec/recipe.md, `[build]`).

Namespaces of its own for mounts, processes, host name, IPC and network; all of them end with the build, so that an
interrupted one leaves no process and no mount behind.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from sigillo.build.error import BuildError
from sigillo.build.journal import Journal
from sigillo.build.recipe import Recipe
from sigillo.build.source import VerifiedSource

USER = 1000
_SETUP = """
mount --make-rprivate /
mount -t proc -o nosuid,nodev,noexec proc "$1/proc"
mount -t tmpfs -o nosuid,nodev tmpfs "$1/dev/shm"
hostname "$2"
root=$1
shift 2
exec chroot "$root" "$@"
"""
_SOURCE = "/build/source"
_TRIES = ("--mount", "--pid", "--fork", "--uts", "--ipc")


@dataclass(frozen=True)
class Conditions:
    """What must not matter to the result; `--vary` changes one after the other. `environment`: of the steps, not of
    unpacking, since dpkg-source does not run under another clock."""

    user: int = USER
    umask: str = "022"
    host: str = "build"
    path: str = ""
    environment: dict[str, str] = field(default_factory=dict)


def check_isolation(*, allow_network: bool) -> None:
    """Whether this machine lets a build be shut in. Raises BuildError, which says what to do."""
    wanted = _TRIES if allow_network else (*_TRIES, "--net")
    try:
        done = subprocess.run(["unshare", *wanted, "true"], capture_output=True, text=True)
    except FileNotFoundError:
        raise BuildError("unshare is not installed: apt-get install util-linux") from None
    if done.returncode != 0:
        hint = (
            ""
            if allow_network
            else (
                ", or say --unsafe-network: the build then has a network, and could fetch what the recipe does not name"
            )
        )
        raise BuildError(
            f"a build needs namespaces of its own ({done.stderr.strip()}); run it as root, in a container with more "
            f"rights (--privileged){hint}"
        )


def build_in(
    root: Path, recipe: Recipe, source: VerifiedSource, conditions: Conditions, journal: Journal, *, allow_network: bool
) -> Path:
    """Unpack the source in *root* and run the steps. Returns the folder of the build, outside view.

    Raises BuildError with the last line that the failing step said, OSError.
    """
    path = conditions.path or recipe.path
    inside = root / "build"
    if inside.exists():
        shutil.rmtree(inside)
    shutil.copytree(source.folder, root / _SOURCE[1:])
    place = root / path[1:]
    place.parent.mkdir(parents=True, exist_ok=True)
    for one in (inside, *inside.rglob("*")):
        os.chown(one, conditions.user, conditions.user, follow_symlinks=False)
    changed = shlex.join(f"{name}={value}" for name, value in conditions.environment.items())
    steps = (f"(cd {shlex.quote(path)} && exec env {changed} sh -ec {shlex.quote(step)})" for step in recipe.steps)
    script = "\n".join([f"umask {conditions.umask}", *_unpack(recipe, source, path), *steps])
    run_in(root, ["sh", "-exc", script], recipe, conditions, journal, allow_network=allow_network)
    return place


def run_in(
    root: Path,
    words: list[str],
    recipe: Recipe,
    conditions: Conditions,
    journal: Journal,
    *,
    allow_network: bool,
    output: Path | None = None,
) -> None:
    """Run a program in *root*, shut in. Raises BuildError, OSError."""
    variables = environment_of(recipe)
    user = str(conditions.user)
    command = [
        *("setpriv", "--pdeathsig=KILL"),  # a build that is killed takes its step with it
        "unshare",
        *_TRIES,
        *([] if allow_network else ["--net"]),
        "--kill-child",
        *("sh", "-euc", _SETUP, "sh", str(root), conditions.host),
        *("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--no-new-privs", "--bounding-set=-all"),
        "--pdeathsig=KILL",  # another user than unshare gave it to no longer has it
        *("env", "-i", *(f"{name}={value}" for name, value in variables.items())),
        *words,
    ]
    journal.run(command, "the log has all that it said", output=output)


def environment_of(recipe: Recipe) -> dict[str, str]:
    """All variables that the steps see."""
    return {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/nonexistent",
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        **recipe.environment,
        "SOURCE_DATE_EPOCH": str(recipe.date),
    }


def _unpack(recipe: Recipe, source: VerifiedSource, path: str) -> list[str]:
    """Lines of shell, as the build's user: also an archive's own names and modes meet an ordinary user only."""
    main, target = shlex.quote(f"{_SOURCE}/{source.main}"), shlex.quote(path)
    if recipe.source.kind == "debian":
        return [f"dpkg-source --no-copy -x {main} {target}"]
    strip = "--strip-components=1 " if recipe.source.kind == "tarball" else ""
    return [f"mkdir -p {target}", f"tar -x --no-same-owner {strip}-f {main} -C {target}"]


def outputs_of(place: Path, root: Path, patterns: tuple[str, ...]) -> list[Path]:
    """The files that *patterns* match, sorted. Raises BuildError where one matches none, or what it matches is no plain
    file inside the root: a link made by the build would read this machine's files."""
    found: list[Path] = []
    for pattern in patterns:
        base = place.parent if pattern.startswith("../") else place
        matched = sorted(base.glob(pattern.removeprefix("../")))
        if not matched:
            raise BuildError(f"the build left nothing that matches {pattern}; see `outputs` in the recipe")
        for path in matched:
            if path.is_symlink() or not path.is_file() or not path.resolve().is_relative_to(root.resolve()):
                raise BuildError(f"{PurePosixPath('/') / path.relative_to(root)}: is no plain file of the build")
        found += matched
    if len({path.name for path in found}) != len(found):
        raise BuildError("two outputs have the same name; see `outputs` in the recipe")
    return found
