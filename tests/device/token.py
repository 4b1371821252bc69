"""A token in software (SoftHSM), in a folder of its own, and `sigillo device` run beside it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")  # Debian's
PIN = "471147"


class Token:
    """One initialised token. *uri* names a key in it."""

    def __init__(self, folder: Path) -> None:
        if not MODULE.exists():
            pytest.skip("needs SoftHSM: the package softhsm2")
        self.folder, self.label = folder, "Crate"
        (folder / "tokens").mkdir(parents=True)
        configuration = folder / "softhsm2.conf"
        configuration.write_text(f"directories.tokendir = {folder / 'tokens'}\nobjectstore.backend = file\n")
        self.environment = {**os.environ, "SOFTHSM2_CONF": str(configuration)}
        self.environment.pop("SIGILLO_PKCS11_PIN", None)
        self.pin_file = folder / "pin"
        self.pin_file.touch(0o600)
        self.pin_file.write_text(f"{PIN}\n")
        self.util("--init-token", "--free", "--label", self.label, "--so-pin", "12345678", "--pin", PIN)

    def util(self, *arguments: str) -> str:
        command = ["softhsm2-util", *arguments]
        done = subprocess.run(command, env=self.environment, check=True, capture_output=True, text=True, timeout=60)
        return done.stdout

    @property
    def serial(self) -> str:
        """The token's serial number, which a URI may name it by."""
        return re.findall(r"Serial number: +(\w+)", self.util("--show-slots"))[0]

    def uri(self, name: str = "crate-1", pin_file: Path | None = None) -> str:
        source = pin_file or self.pin_file
        return f"pkcs11:token={self.label};object={name}?module-path={MODULE}&pin-source=file:{source}"

    def keep(self, name: str, key: object, key_id: str = "01") -> None:
        """Put a private key that was made outside into the token."""
        path = self.folder / "import.pem"
        path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        self.util("--import", str(path), "--token", self.label, "--pin", PIN, "--label", name, "--id", key_id)
        path.unlink()

    def python(self, program: str) -> None:
        """Run a program in which `session` is a session with the token."""
        head = (
            "import pkcs11\nfrom pkcs11 import Attribute, KeyType, ObjectClass\n"
            f"token = pkcs11.lib({str(MODULE)!r}).get_token(token_label={self.label!r})\n"
            f"session = token.open(rw=True, user_pin={PIN!r})\n"
        )
        command = [sys.executable, "-c", head + program]
        subprocess.run(command, env=self.environment, check=True, capture_output=True, timeout=60)

    def device(self, *arguments: object, expect: int = 0, **environment: str) -> subprocess.CompletedProcess[bytes]:
        """Run `sigillo device` with no terminal, as a person would, and never with a stack trace."""
        command = [sys.executable, "-m", "sigillo.cli.main", "device", *map(str, arguments)]
        done = subprocess.run(
            command,
            env=self.environment | environment,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=120,
        )
        assert b"Traceback" not in done.stderr
        assert done.returncode == expect, (done.stdout, done.stderr)
        return done

    def refused(self, *arguments: object, match: str, **environment: str) -> None:
        done = self.device(*arguments, expect=2, **environment)
        assert done.stderr.startswith(b"sigillo: error: ") and done.stderr.count(b"\n") == 1, done.stderr
        assert match in done.stderr.decode(), done.stderr
        assert PIN.encode() not in done.stderr
