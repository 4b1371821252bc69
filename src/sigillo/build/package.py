"""One very `.deb`: from the mirror, else a folder that somebody kept, else Debian's snapshot archive.

Where it comes from decides nothing: its SHA-256 is in the recipe, or in the list of the root that is rebuilt.
"""

from __future__ import annotations

import http.client
import json
import re
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from sigillo.build.apt import Index
from sigillo.build.error import BuildError
from sigillo.build.file import sha256_of
from sigillo.build.journal import Journal
from sigillo.build.recipe import Pin

_LIMIT = 512 * 1024 * 1024
_ANSWER = 4 * 1024 * 1024
_TIMEOUT_S = 30


class Shelf:
    """Where packages come from that the mirror has no more. *cache*: folders of packages; *snapshot*: URL or empty."""

    def __init__(self, cache: Sequence[Path], snapshot: str, journal: Journal) -> None:
        self._cache, self._snapshot, self._journal = tuple(cache), snapshot.rstrip("/"), journal

    def missing(self, pins: Sequence[Pin], index: Index) -> list[Pin]:
        """Those that the mirror has not. Raises BuildError where it has another file under the same version."""
        absent = []
        for pin in pins:
            listed = index.find(pin.package, pin.version)
            if listed is None:
                absent.append(pin)
            elif pin.sha256 and listed.sha256 != pin.sha256:
                raise BuildError(
                    f"{pin.package} {pin.version}: the mirror's has the hash {listed.sha256}, pinned is {pin.sha256}; "
                    "one of the two is not Debian's"
                )
        return absent

    def fetch(self, pin: Pin, folder: Path) -> Path:
        """The `.deb` in *folder*. Raises BuildError naming the package, OSError."""
        if not pin.sha256:
            raise BuildError(
                f"{pin.package} {pin.version}: the mirror has it no more, and a .buildinfo has no hash of it; name the "
                "root.txt of that build instead"
            )
        kept = self._kept(pin)
        target = folder / f"{pin.package}_{pin.version.replace(':', '%3a')}.deb"
        if kept is not None:
            self._journal.note(f"{pin.package} {pin.version} is not on the mirror; taken from {kept}")
            shutil.copyfile(kept, target)
        elif self._snapshot:
            self._journal.note(f"{pin.package} {pin.version} is not on the mirror; asking the snapshot archive")
            self._from_snapshot(pin, target)
        else:
            raise BuildError(
                f"{pin.package} {pin.version}: the mirror has it no more, and no folder given with --cache has it; "
                "put its .deb into one, or name Debian's snapshot archive with --snapshot URL"
            )
        if sha256_of(target) != pin.sha256:
            raise BuildError(f"{target.name}: its SHA-256 is {sha256_of(target)}, pinned is {pin.sha256}; remove it")
        return target

    def _kept(self, pin: Pin) -> Path | None:
        """A file of that name and version, of that hash where there are several."""
        version = pin.version.split(":", 1)[-1]
        found = [path for folder in self._cache for path in sorted(folder.glob(f"{pin.package}_*.deb"))]
        found = [path for path in found if path.name.replace("%3a", ":").split("_")[1].split(":", 1)[-1] == version]
        return next((path for path in found if sha256_of(path) == pin.sha256), found[0] if found else None)

    def _from_snapshot(self, pin: Pin, target: Path) -> None:
        """By the archive's own index of versions: /mr/binary/NAME/VERSION/binfiles, then /file/SHA1."""
        quoted = urllib.parse.quote(pin.version, safe="")
        try:
            answer = json.loads(_get(f"{self._snapshot}/mr/binary/{pin.package}/{quoted}/binfiles", _ANSWER))
            hashes = [one["hash"] for one in answer["result"]]
        except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException) as error:
            raise self._unreachable(pin, error) from None
        for name in hashes:
            if not re.fullmatch(r"[0-9a-f]{40}", str(name)):
                continue
            try:
                target.write_bytes(_get(f"{self._snapshot}/file/{name}", _LIMIT))
            except (urllib.error.URLError, http.client.HTTPException, TimeoutError) as error:
                raise self._unreachable(pin, error) from None
            if sha256_of(target) == pin.sha256:
                return
        raise BuildError(f"{pin.package} {pin.version}: the snapshot archive has no file with the hash {pin.sha256}")

    def _unreachable(self, pin: Pin, error: Exception) -> BuildError:
        return BuildError(
            f"{pin.package} {pin.version}: the mirror has it no more, no folder given with --cache has it, and the "
            f"snapshot archive does not give it ({error}); put its .deb into a folder and name that with --cache"
        )


def machine_snapshot() -> str:
    """Where this machine's apt knows Debian's snapshot archive (Debian 13 and later); empty where it does not."""
    try:
        dump = subprocess.run(["apt-config", "dump", "Acquire::Snapshots"], capture_output=True, text=True).stdout
    except OSError:
        return ""
    found = re.search(r'^Acquire::Snapshots::URI::Origin::Debian "(https?://[^"]+?)/archive/', dump, re.MULTILINE)
    return found[1] if found else ""


def _get(url: str, limit: int) -> bytes:
    if not url.startswith(("https://", "http://")):
        raise BuildError(f"--snapshot: {url} is no web address")
    with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:  # noqa: S310  # the scheme is looked at above
        data: bytes = answer.read(limit + 1)
    if len(data) > limit:
        raise BuildError(f"{url}: is longer than {limit} bytes")
    return data
