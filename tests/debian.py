"""Debian's archive by way of private apt folders: the mirror is the machine's own, its apt is left alone."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
CONFIGURATION = """
Dir::Etc::SourceList "{folder}/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::State::Lists "{folder}/lists";
Dir::Cache "{folder}/cache";
APT::Update::Error-Mode "any";
APT::Sandbox::User "root";
Acquire::Languages "none";
"""


def release() -> str:
    """Code name of the Debian that this machine runs."""
    found = re.search(r"^VERSION_CODENAME=(\w+)", Path("/etc/os-release").read_text(), re.MULTILINE)
    return found[1] if found else ""


def machine_sources() -> list[tuple[str, str, str]]:
    """(URI, suite, component) of every source of this machine for its own release; empty where none is set up."""
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    sources = dict.fromkeys(tuple(line.split()) for line in lines)
    return [source for source in sources if len(source) == 3 and source[1].startswith(release())]


def mirror() -> str:
    """URI of the archive that has every suite; skips the test where this machine names none."""
    for uri, suite, _ in machine_sources():
        if suite == release():
            return uri
    pytest.skip("this machine's apt names no source of its own release")


@contextmanager
def apt(*lines: str, check_valid_until: bool = True) -> Iterator[dict[str, str]]:
    """An environment in which apt knows these sources only, up to date; skips the test where they cannot be reached."""
    with tempfile.TemporaryDirectory(prefix="sigillo-apt-") as name:
        folder = Path(name)
        (folder / "sources.list").write_text("".join(f"{line}\n" for line in lines))
        for path in ("lists/partial", "cache/archives/partial"):
            (folder / path).mkdir(parents=True)
        text = CONFIGURATION.format(folder=folder)
        if not check_valid_until:
            text += 'Acquire::Check-Valid-Until "false";\n'
        (folder / "apt.conf").write_text(text)
        environment = {**os.environ, "APT_CONFIG": str(folder / "apt.conf")}
        done = subprocess.run(["apt-get", "update", "-q"], env=environment, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"not reachable: {done.stderr.strip().splitlines()[0]}")
        yield environment


def fetch_source(package: str, target: Path) -> None:
    """Unpack the source of the installed `package` as the folder `target`, which is there whole or not at all."""
    query = ["dpkg-query", "-W", "-f", "${source:Package}=${source:Version}", package]
    wanted = subprocess.run(query, capture_output=True, text=True, check=True).stdout
    lines = [f"deb-src [signed-by={KEYRING}] {' '.join(source)}" for source in machine_sources()]
    target.parent.mkdir(parents=True, exist_ok=True)
    with apt(*lines) as environment, tempfile.TemporaryDirectory(dir=target.parent) as folder:
        command = ["apt-get", "source", "-q", wanted]
        done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        (unpacked,) = (path for path in Path(folder).iterdir() if path.is_dir())
        unpacked.rename(target)
