"""OpenPGP signatures by gpg: with the user's own key ring and agent, which asks for the passphrase if there is one."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass

from sigillo.release.error import ReleaseError

_FINGERPRINT = re.compile(r"[0-9A-F]{40}|[0-9A-F]{64}")
_SHA512 = "10"


@dataclass(frozen=True)
class Signer:
    """A secret key of gpg's. `fingerprint`: the whole one, in upper-case hex; `gpg`: the program."""

    fingerprint: str
    gpg: str = "gpg"

    @classmethod
    def of(cls, fingerprint: str) -> Signer:
        """Blanks in *fingerprint* do not count. Raises ReleaseError where it is short: that names many keys."""
        plain = fingerprint.replace(" ", "").upper()
        if not _FINGERPRINT.fullmatch(plain):
            raise ReleaseError(
                f"--key {fingerprint}: must be the whole fingerprint, 40 hex digits; `gpg --list-secret-keys` prints it"
            )
        return cls(plain)

    def public(self) -> bytes:
        """The public key as a key ring for gpgv. Raises ReleaseError where gpg has none."""
        done = self._run("--export", self.fingerprint)
        if not done.stdout:
            raise ReleaseError(f"--key {self.fingerprint}: gpg knows no such key; see `gpg --list-secret-keys`")
        return done.stdout

    def sign(self, data: bytes, name: str) -> bytes:
        """A detached signature, armoured; *name* is for errors. Raises ReleaseError."""
        arguments = ("--local-user", self.fingerprint, "--digest-algo", "SHA512", "--armor", "--detach-sign")
        done = self._run("--status-fd", "2", *arguments, data=data)
        said = done.stderr.decode("utf-8", "replace")
        created = re.search(r"^\[GNUPG:\] SIG_CREATED D \d+ (\d+) 00 ", said, re.MULTILINE)
        if done.returncode or not created or created[1] != _SHA512:
            raise ReleaseError(f"{name}: not signed with {self.fingerprint}: {_last_words(said)}")
        return done.stdout

    def _run(self, *arguments: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        try:
            return subprocess.run([self.gpg, "--batch", *arguments], input=data, capture_output=True)
        except FileNotFoundError:
            raise ReleaseError(f"{self.gpg}: is not installed; install gnupg (Debian: apt install gnupg)") from None


def _last_words(said: str) -> str:
    lines = [line for line in said.splitlines() if line and not line.startswith("[GNUPG:]")]
    return lines[-1] if lines else "gpg does not say why"
