"""Debian's archive by way of private apt folders: the mirror is this machine's own, its apt is left alone.

What apt fetched is believed only after our own look: `InRelease` under the keyring of Debian's archive, the hash of
`Packages` in it, the hash of each package in that.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sigillo.build.deb822 import listed_files, paragraph, paragraphs
from sigillo.build.error import BuildError
from sigillo.build.journal import Journal
from sigillo.build.openpgp import verify_clear
from sigillo.core.errors import DecodeError

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
COMPONENT = "main"
_UNREACHABLE = "is there a network, and does /etc/apt name a mirror of Debian? --mirror URI names another"


@dataclass(frozen=True)
class Listed:
    """A package as a signed index lists it; `sha256` of the `.deb` in hex."""

    package: str
    version: str
    architecture: str
    sha256: str
    filename: str


@dataclass(frozen=True)
class Index:
    """Packages of some suites, as Debian's archive keys sign them. `releases`: SHA-256 of each `InRelease` read."""

    listed: dict[tuple[str, str], Listed]
    releases: tuple[str, ...]

    def find(self, package: str, version: str) -> Listed | None:
        """The entry for this very version, or None."""
        return self.listed.get((package, version))


class Apt:
    """apt for some suites of one mirror, in *folder*, which is its own."""

    def __init__(self, folder: Path, mirror: str, suites: Sequence[str], architecture: str, journal: Journal) -> None:
        self.mirror, self.suites, self.architecture = mirror, tuple(suites), architecture
        self._folder, self._journal = folder, journal
        self._index: Index | None = None
        for name in ("lists/partial", "cache/archives/partial"):
            (folder / name).mkdir(parents=True)
        (folder / "sources.list").write_text("".join(f"{line}\n" for line in [*self.lines(), *self.lines("deb-src")]))

    def lines(self, kind: str = "deb") -> list[str]:
        """The lines of a sources.list."""
        return [f"{kind} [signed-by={KEYRING}] {self.mirror} {suite} {COMPONENT}" for suite in self.suites]

    def update(self) -> None:
        """Fetch the indexes. Raises BuildError."""
        self._index = None
        self._journal.run(["apt-get", *self._options(), "update", "-q"], _UNREACHABLE)

    def index(self) -> Index:
        """What Debian's archive keys say that the suites hold. Raises BuildError."""
        if self._index is None:
            self._index = self._read()
        return self._index

    def _read(self) -> Index:
        listed: dict[tuple[str, str], Listed] = {}
        releases = []
        for release in sorted((self._folder / "lists").glob("*_InRelease")):
            _signature, text = verify_clear(release, KEYRING, None)
            releases.append(hashlib.sha256(release.read_bytes()).hexdigest())
            name = f"{COMPONENT}/binary-{self.architecture}/Packages"
            packages = release.with_name(f"{release.name.removesuffix('InRelease')}{name.replace('/', '_')}")
            listed |= {(one.package, one.version): one for one in read_packages(text, name, packages)}
        if len(releases) != len(self.suites):
            raise BuildError(f"the mirror has no InRelease for one of {', '.join(self.suites)}; {_UNREACHABLE}")
        return Index(listed, tuple(releases))

    def source(self, package: str, release: str, folder: Path) -> None:
        """Fetch the files of a source package into *folder*; nothing is unpacked. Raises BuildError."""
        command = ["apt-get", *self._options(), "source", "-q", "--download-only", f"{package}={release}"]
        self._journal.run(command, f"the mirror lacks the source {package} {release}", folder=folder)

    def download(self, package: str, version: str, folder: Path) -> None:
        """Fetch a `.deb` into *folder*. Raises BuildError."""
        command = ["apt-get", *self._options(), "download", "-q", f"{package}={version}"]
        self._journal.run(command, f"the mirror lacks {package} {version}", folder=folder)

    def _options(self) -> Iterator[str]:
        """Said on the command line, which nothing in /etc/apt can override."""
        settings = {
            "Dir::Etc::SourceList": f"{self._folder}/sources.list",
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::State::Lists": f"{self._folder}/lists",
            "Dir::Cache": f"{self._folder}/cache",
            "APT::Architecture": self.architecture,
            "APT::Architectures": self.architecture,
            "APT::Update::Error-Mode": "any",
            "APT::Sandbox::User": "root",
            "APT::Get::AllowUnauthenticated": "false",
            "Acquire::Languages": "none",
            "Acquire::GzipIndexes": "false",
        }
        for name, value in settings.items():
            yield from ("-o", f"{name}={value}")


def read_packages(release: str, name: str, path: Path) -> Iterator[Listed]:
    """The entries of a `Packages` file that *release*, the signed text of an InRelease, lists as *name*.

    Raises BuildError where the file is not the one listed.
    """
    try:
        wanted = listed_files(paragraph(release, "SHA256")["SHA256"], "SHA256").get(name)
    except DecodeError as error:
        raise BuildError(f"{path.name}: the InRelease that lists it is not of this form: {error}") from None
    data = path.read_bytes() if path.is_file() else b""
    if wanted is None or hashlib.sha256(data).hexdigest() != wanted.sha256:
        raise BuildError(f"{path.name}: is not the index that the signed InRelease lists; fetch it again")
    try:
        for fields in paragraphs(data.decode("utf-8")):
            keys = ("Package", "Version", "Architecture", "SHA256", "Filename")
            yield Listed(*(fields[key] for key in keys))
    except (UnicodeDecodeError, DecodeError, KeyError) as error:
        raise BuildError(f"{path.name}: has an entry that is not of this form: {error}") from None


def machine_mirror() -> str:
    """URI of the mirror that this machine's apt has for Debian's own suites. Raises BuildError where it names none."""
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"]
    try:
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        found = re.search(r"^VERSION_CODENAME=(\w+)", Path("/etc/os-release").read_text(), re.MULTILINE)
    except (OSError, subprocess.CalledProcessError):
        lines, found = [], None
    for line in lines:
        uri, suite, component = [*line.split(), "", "", ""][:3]
        if found and suite == found[1] and component == COMPONENT:
            return uri
    raise BuildError("this machine's apt configuration names no mirror of Debian; name one with --mirror URI")
