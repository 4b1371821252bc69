"""A release on disk, and gpg keys of its own to sign it with."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sigillo.core.manifest import Manifest

from ..adversary.builder import MANIFEST, signed_manifest
from ..adversary.device import ed25519_key

PASSPHRASE = "cantina però"


def write_release(folder: Path) -> Path:
    """Two builds, whose files are small; the manifest is of these."""
    builds = []
    for build in MANIFEST.builds:
        files = tuple(_written(folder / "source" / file.name, file) for file in build.source.files)
        outputs = tuple(_written(folder / "binary" / output.name, output) for output in build.outputs)
        dsc = next((file for file in files if file.name.endswith((".dsc", ".tar"))), files[0])
        commit = f"{build.source_commit.rpartition(':')[0]}:{dsc.sha256.hex()}"
        source = dataclasses.replace(build.source, files=files)
        builds.append(dataclasses.replace(build, source=source, source_commit=commit, outputs=outputs))
    (folder / "manifest.json").write_bytes(signed_manifest(Manifest(MANIFEST.builder, tuple(builds), MANIFEST.closure)))
    (folder / "mosquitto_2.0.11-1.2+deb12u2_amd64.buildinfo").write_text("Format: 1.0\n")
    return folder


def _written(path: Path, item):
    content = f"the content of {item.name}\n".encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return dataclasses.replace(item, size=len(content), sha256=hashlib.sha256(content).digest())


def builder_key(path: Path, seed: str = "builder") -> Path:
    path.write_bytes(ed25519_key(seed).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o600)
    return path


@dataclass(frozen=True)
class Gpg:
    """A gpg home with one key; *environment* leads to it."""

    home: Path
    fingerprint: str

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "GNUPGHOME": str(self.home)}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(["gpg", "--batch", *arguments], env=self.environment, capture_output=True, check=True)


@contextmanager
def gpg_home(*, passphrase: str = "", told: str | None = None) -> Iterator[Gpg]:
    """A home whose agent is stopped at the end. *told*: what its pinentry answers; None: it cancels.

    The path is short, since a socket is in it.
    """
    home = Path(tempfile.mkdtemp(prefix="gpg-", dir="/tmp"))
    home.chmod(0o700)
    pinentry = home / "pinentry"
    answer = f"printf 'D %s\\nOK\\n' '{told}'" if told is not None else "printf 'ERR 83886179 cancelled\\n'"
    pinentry.write_text(
        "#!/bin/sh\necho 'OK ready'\nwhile read -r word rest; do\n  case $word in\n"
        f"    GETPIN) echo asked >>{home}/asked; {answer} ;;\n    BYE) echo OK; exit ;;\n"
        "    *) echo OK ;;\n  esac\ndone\n"
    )
    pinentry.chmod(pinentry.stat().st_mode | stat.S_IXUSR)
    (home / "gpg-agent.conf").write_text(f"pinentry-program {pinentry}\nno-allow-external-cache\ns2k-count 65536\n")
    gpg = Gpg(home, "")
    try:
        secret = ("--pinentry-mode", "loopback", "--passphrase", passphrase)
        gpg.run(*secret, "--quick-generate-key", "Example Builder <builder@example.org>", "ed25519", "sign", "never")
        listed = gpg.run("--with-colons", "--list-secret-keys").stdout.decode()
        fingerprint = next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:"))
        subprocess.run(["gpgconf", "--reload", "gpg-agent"], env=gpg.environment, check=True)  # forgets passphrases
        yield Gpg(home, fingerprint)
    finally:
        subprocess.run(["gpgconf", "--kill", "gpg-agent"], env=gpg.environment, check=False)
        shutil.rmtree(home, ignore_errors=True)
