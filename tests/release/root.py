"""A Debian of another release in a folder: Mosquitto of that release, and the plugin built there."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.debian import KEYRING, apt, mirror
from tests.plugin.launcher import CHECKOUT, MOSQUITTO, Broker


def packages() -> list[str]:
    """What the newest list in packages/ installs to build and run the plugin; Python stays outside."""
    lines = (CHECKOUT / "packages" / "trixie" / "demo.txt").read_text().splitlines()
    return [name for line in lines if (name := line.split("#")[0].strip()) and not name.startswith("python3")]


def tar(suite: str) -> Path:
    """An installed `suite`, made once for a list of packages; skips the test where its mirror cannot be reached."""
    wanted = ",".join(packages())
    made = CHECKOUT / "build" / "root" / f"{suite}-{hashlib.sha256(wanted.encode()).hexdigest()[:16]}.tar"
    fresh = suite != "sid"  # a mirror may keep an old one of it
    if not fresh:
        warnings.warn(f"{suite}: the age of the mirror's Release file is not checked", stacklevel=2)
    if made.exists():
        return made
    made.parent.mkdir(parents=True, exist_ok=True)
    source = mirror()
    with (
        apt(f"deb [signed-by={KEYRING}] {source} {suite} main", check_valid_until=fresh),
        tempfile.TemporaryDirectory(dir=made.parent) as folder,
    ):
        options = [f"--include={wanted}", "--variant=apt", "--mode=root", '--aptopt=APT::Install-Recommends "false"']
        if not fresh:
            options.append('--aptopt=Acquire::Check-Valid-Until "false"')
        new = Path(folder) / "root.tar"
        done = subprocess.run(["mmdebstrap", *options, suite, new, source], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        new.rename(made)
    return made


@dataclass(frozen=True)
class Root:
    """An unpacked root. Its own path is valid inside too: one name for a file, whoever reads it."""

    folder: Path

    def run(self, *command: str) -> str:
        done = subprocess.run(["chroot", self.folder, *command], capture_output=True, text=True)
        assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def build(self) -> None:
        """Build the plugin with this release's compiler, headers and libraries; a warning is an error."""
        shutil.copytree(CHECKOUT / "plugin", self.folder / "plugin")
        self.run("make", "-C", "/plugin", "BUILD=/plugin/build")

    @property
    def version(self) -> tuple[int, ...]:
        """Of its Mosquitto."""
        found = re.match(r"(\d+)\.(\d+)\.(\d+)", self.run("dpkg-query", "-W", "-f", "${Version}", "mosquitto"))
        assert found is not None
        return tuple(map(int, found.groups()))

    def broker(self, **settings: object) -> Broker:
        """Not started."""
        command = ("chroot", str(self.folder), MOSQUITTO)
        plugin = self.folder / "plugin" / "build" / "sigillo.so"
        return Broker(mosquitto=command, plugin=plugin, parent=self.folder / "tmp", **settings)


@contextmanager
def root(suite: str) -> Iterator[Root]:
    """A root of one's own, away at the end."""
    archive = tar(suite)
    folder = Path(tempfile.mkdtemp(prefix="sigillo-root-"))
    try:
        subprocess.run(["tar", "-C", folder, "--numeric-owner", "-xpf", archive], check=True)
        inside = folder / folder.relative_to("/")
        inside.parent.mkdir(parents=True, exist_ok=True)
        inside.symlink_to("/")
        yield Root(folder)
    finally:
        shutil.rmtree(folder)
