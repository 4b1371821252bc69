"""A TPM in software (swtpm), with a maker of its own: for demo and tests. It shows the protocol and no platform.

Whoever is root on its machine reads and changes its state. A policy has to allow it by name. This module makes one and
says how it is started; who starts it keeps it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from sigillo.attestation.error import TpmError

_SETUP_S: Final = 60.0
_MAX_SOCKET_PATH: Final = 107
_REMEDY: Final = "install the Debian packages swtpm and swtpm-tools"


def make(folder: Path, name: str) -> None:
    """Make a TPM in *folder* (0700), which must not exist: EK, its certificate, and the maker that certifies it.

    *name* is in the certificate. Raises TpmError where swtpm is missing or fails, and leaves no folder; OSError.
    """
    folder = folder.resolve()  # swtpm goes into failure mode on a relative path
    folder.mkdir(mode=0o700)
    try:
        for inner in (_state(folder), _maker(folder)):
            inner.mkdir(mode=0o700)
        for path, lines in _configuration(folder).items():
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        _set_up(folder, name)
    except BaseException:
        shutil.rmtree(folder)
        raise


def socket_of(folder: Path) -> Path:
    """Where the TPM of *folder* listens once it is started. Raises TpmError where no socket can have this path."""
    socket = folder.resolve() / "tpm.sock"
    if len(os.fsencode(socket)) > _MAX_SOCKET_PATH:
        raise TpmError(f"{socket}: is longer than the {_MAX_SOCKET_PATH} bytes that a socket's path may have")
    return socket


def command(folder: Path) -> list[str]:
    """What starts the TPM of *folder*, as after a reset. It runs until SIGTERM, and then keeps its state."""
    socket, program = socket_of(folder), shutil.which("swtpm")
    if program is None:
        raise TpmError(f"swtpm: is not installed; {_REMEDY}")
    words = [program, "socket", "--tpm2", "--tpmstate", f"dir={_state(folder.resolve())}"]
    words += ["--server", f"type=unixio,path={socket},mode=0600", "--flags", "not-need-init,startup-clear"]
    return [*words, "--log", f"file={folder.resolve() / 'swtpm.log'},level=1"]


def maker_certificates(folder: Path) -> tuple[Path, Path]:
    """PEM files of the maker of a TPM that :func:`make` made: what certifies its EK, and the root above it."""
    return _maker(folder) / "issuer.pem", _maker(folder) / "swtpm-localca-rootca-cert.pem"


def _state(folder: Path) -> Path:
    return folder / "state"


def _maker(folder: Path) -> Path:
    return folder / "maker"


def _configuration(folder: Path) -> dict[Path, list[str]]:
    maker = _maker(folder)
    return {
        folder / "setup.conf": [
            "create_certs_tool = /usr/bin/swtpm_localca",
            f"create_certs_tool_config = {folder / 'maker.conf'}",
            f"create_certs_tool_options = {folder / 'maker.options'}",
            "active_pcr_banks = sha256",
        ],
        folder / "maker.conf": [
            f"statedir = {maker}",
            f"signingkey = {maker / 'signkey.pem'}",
            f"issuercert = {maker / 'issuer.pem'}",
            f"certserial = {maker / 'serial'}",
        ],
        folder / "maker.options": [
            "--tpm-manufacturer id:00001014",
            "--tpm-model swtpm",
            "--tpm-version id:20191023",
            "--platform-manufacturer none",
            "--platform-model software",
            "--platform-version 1",
        ],
    }


def _set_up(folder: Path, name: str) -> None:
    words = ["swtpm_setup", "--tpm2", "--tpmstate", f"dir://{_state(folder)}", "--config", f"{folder / 'setup.conf'}"]
    words += ["--create-ek-cert", "--lock-nvram", "--pcr-banks", "sha256", "--vmid", name]
    words += ["--logfile", f"{folder / 'setup.log'}"]
    environment = {"PATH": os.environ.get("PATH", os.defpath)}
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SETUP_S, env=environment, cwd=folder
        )
    except FileNotFoundError:
        raise TpmError(f"swtpm_setup: is not installed; {_REMEDY}") from None
    except subprocess.TimeoutExpired:
        raise TpmError(f"swtpm_setup: did not end within {_SETUP_S:.0f} s") from None
    if done.returncode != 0:
        said = (done.stdout + done.stderr).decode(errors="replace").strip()
        raise TpmError(f"swtpm_setup: failed: {said[-400:]}")
