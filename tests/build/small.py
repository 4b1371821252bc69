"""Small sources and recipes, whole but for what a test changes."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

from .gnupg import DAY, MADE, GnuPG

FINGERPRINT = "0" * 40
SHA256 = "0" * 64


def recipe(
    kind: str = "debian", source: str = "", *, fingerprint: str = FINGERPRINT, keys: str = "keys.gpg", top: str = ""
) -> str:
    """A recipe's text; *source*: what it says besides kind, keys and fingerprints."""
    return f"""version = 1
name = "small"
date = 2020-01-01T00:00:00Z
{top}
[source]
kind = "{kind}"
keys = "{keys}"
fingerprints = ["{fingerprint}"]
{source or SOURCES[kind]}
[root]
suite = "bookworm"
architecture = "amd64"
packages = ["cmake"]
[[root.pin]]
package = "libssl3"
version = "3.0.17-1~deb12u2"
sha256 = "{SHA256}"
[build]
path = "/build/small"
steps = ["make"]
outputs = ["small"]
binary = {{ file = "small", role = "executable" }}
"""


SOURCES = {
    "debian": f'package = "small"\nrelease = "1.0-1"\nsha256 = "{SHA256}"',
    "git": 'url = "https://example.org/small"\ntag = "v1.0"\nrelease = "1.0"',
    "tarball": 'file = "small.tar"\nsignature = "small.tar.sig"\nrelease = "1.0"',
}


def source_package(folder: Path, gnupg: GnuPG, *, signer: str = "good", at: int = MADE + DAY, **fields: str) -> Path:
    """A `.dsc` of one file in *folder*, signed."""
    data = b"the source"
    (folder / "small_1.0.orig.tar.gz").write_bytes(data)
    said = {
        "Source": "small",
        "Version": "1.0-1",
        "Checksums-Sha256": f"\n {hashlib.sha256(data).hexdigest()} {len(data)} small_1.0.orig.tar.gz",
        **fields,
    }
    path = folder / "small_1.0-1.dsc"
    path.write_text(gnupg.clear("".join(f"{name}: {value}\n" for name, value in said.items()), signer, at=at))
    return path


def git(folder: Path, *words: str, at: int = MADE + DAY, **environment: str) -> str:
    """git in *folder*, as nobody in particular, at that time."""
    moment = f"{at} +0000"
    variables = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_DATE": moment,
        "GIT_COMMITTER_DATE": moment,
        **environment,
    }
    settings = ["-c", "user.name=Somebody", "-c", "user.email=somebody@example.org", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", *settings, *words], cwd=folder, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def repository(folder: Path) -> Path:
    """A repository with one commit."""
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "small.c").write_text("int main(void) { return 0; }\n")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "Begin")
    return folder
