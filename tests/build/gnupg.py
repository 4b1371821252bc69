"""OpenPGP keys made for a test, with any time one likes; without a passphrase, in a home of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

HOUR, DAY = 3600, 86_400
MADE = 1_577_836_800  # 2020-01-01


class GnuPG:
    """A GnuPG home. Keys are named by one word; times are seconds since 1970."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="gpg-"))  # short: the agent's socket is in it
        self._first: dict[str, bytes] = {}

    def close(self) -> None:
        subprocess.run(["gpgconf", "--homedir", self.home, "--kill", "all"], capture_output=True)
        shutil.rmtree(self.home, ignore_errors=True)

    def key(self, name: str, *, days: int = 0, kind: str = "eddsa", made: int = MADE) -> str:
        """Make a key that lives for *days* (0: for ever). Returns its fingerprint."""
        curve = "Key-Curve: ed25519" if kind == "eddsa" else "Key-Length: 2048"
        text = f"%no-protection\nKey-Type: {kind}\n{curve}\nKey-Usage: sign\nName-Real: {name}\n"
        text += f"Expire-Date: {days}d\n%commit\n" if days else "Expire-Date: 0\n%commit\n"
        self.run("--generate-key", at=made, text=text)
        self._first[name] = self.export(name)
        return self.fingerprint(name)

    def fingerprint(self, name: str) -> str:
        lines = self.run("--with-colons", "--list-keys", name).decode().splitlines()
        return next(line.split(":")[9] for line in lines if line.startswith("fpr:"))

    def export(self, *names: str) -> bytes:
        return self.run("--export", *names)

    def keyring(self, path: Path, *names: str, now: bool = False) -> Path:
        """The keys as they were when made; *now*: as they are, revoked for instance."""
        path.write_bytes(self.export(*names) if now else b"".join(self._first[name] for name in names))
        return path

    def revoke(self, name: str) -> None:
        """By the certificate that GnuPG made with the key."""
        text = (self.home / "openpgp-revocs.d" / f"{self.fingerprint(name)}.rev").read_text()
        self.run("--import", text=text.replace(":-----BEGIN", "-----BEGIN"))

    def unlimited(self, name: str) -> None:
        """Here, the key expires no more; a keyring exported before knows nothing of it."""
        self.run("--quick-set-expire", self.fingerprint(name), "0", at=MADE + HOUR)

    def detach(self, file: Path, name: str, *extra: str, at: int = MADE + DAY) -> Path:
        target = file.with_name(f"{file.name}.{name}.sig")
        target.unlink(missing_ok=True)
        self.run("--local-user", name, *extra, "--output", str(target), "--detach-sign", str(file), at=at)
        return target

    def clear(self, text: str, name: str, *, at: int = MADE + DAY) -> str:
        return self.run("--local-user", name, "--clear-sign", at=at, text=text).decode()

    def program(self, at: int) -> str:
        """A program for git's gpg.program that signs at that time."""
        path = self.home / f"gpg-{at}"
        path.write_text(f'#!/bin/sh\nexec gpg --homedir {self.home} --faked-system-time {at} "$@"\n')
        path.chmod(0o700)
        return str(path)

    def run(self, *words: str, at: int | None = None, text: str = "") -> bytes:
        time = ["--faked-system-time", str(at)] if at is not None else []
        command = ["gpg", "--homedir", self.home, "--batch", "--quiet", "--yes", "--no-tty", *time, *words]
        done = subprocess.run(command, input=text.encode(), capture_output=True, env={**os.environ, "LC_ALL": "C"})
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout
