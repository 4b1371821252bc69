"""The device folder: who the device is, its keys, and what the operator gave it.

| file | content |
|---|---|
| `device.toml` | version, id, kind of the signing key |
| `signing.key.pem` (0600), `signing.pub.pem` | the key that signs messages; a policy pins the public half |
| `tls.key.pem` (0600), `tls.csr.pem` | another key, for the connection only, and the request for its certificate |
| `tls.cert.pem`, `ca.cert.pem` | from the operator: the client certificate, and the CA of the broker's certificate |
| `sequence`, `outbox/`, `lock` | see `store` |
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sigillo import disk
from sigillo.core.device_key import Kind
from sigillo.core.errors import PolicyError
from sigillo.core.table import decode_toml, quote
from sigillo.device.error import DeviceError
from sigillo.device.identity import check_device_id
from sigillo.device.key import encode_public_key, generate_signing_key, public_half
from sigillo.device.signer import FileSigner
from sigillo.x509 import new_key, private_pem, request_for

SETTINGS_VERSION = 1
KINDS: tuple[Kind, ...] = ("p256", "ed25519")


@dataclass(frozen=True)
class DeviceFolder:
    """An existing device folder; its settings are read and checked, its keys are not read yet."""

    path: Path
    device_id: str
    kind: Kind

    @property
    def signing_public(self) -> Path:
        """The public signing key, PEM."""
        return self.path / "signing.pub.pem"

    @property
    def tls_key(self) -> Path:
        """The private TLS key, PEM."""
        return self.path / "tls.key.pem"

    @property
    def csr(self) -> Path:
        """The request for the TLS client certificate, PEM."""
        return self.path / "tls.csr.pem"

    @property
    def certificate(self) -> Path:
        """The TLS client certificate, PEM; absent until the operator has issued it."""
        return self.path / "tls.cert.pem"

    @property
    def authority(self) -> Path:
        """The CA certificate under which the broker's own certificate verifies, PEM; absent until enrolled."""
        return self.path / "ca.cert.pem"

    def signer(self) -> FileSigner:
        """The signer of this device. Raises DeviceError, also where its key is not of the kind in the settings."""
        path = self.path / "signing.key.pem"
        signer = FileSigner.load(path)
        if signer.public_key.kind != self.kind:
            raise DeviceError(
                f"{path}: is a {signer.public_key.kind} key, but device.toml says key = {quote(self.kind)}; "
                "put back the key that this device was enrolled with"
            )
        return signer

    def install(self, certificate: bytes, authority: bytes) -> None:
        """Store what the operator issued (both PEM). Raises OSError."""
        disk.replace(self.certificate, certificate, disk.PUBLIC)
        disk.replace(self.authority, authority, disk.PUBLIC)


def make_device_folder(path: Path, device_id: str, kind: Kind) -> DeviceFolder:
    """Make a device: its keys, its request for a certificate, sequence 0.

    The folder appears whole or not at all, and an existing one is never touched: a device's keys are not replaceable.
    Raises DeviceError, OSError.
    """
    check_device_id(device_id)
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise DeviceError(f"{path}: is there already, and keys are never overwritten; choose another folder with -o")
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=".new-device-", dir=path.parent))
    try:
        _fill(fresh, device_id, kind)
        os.rename(fresh, path)
    except OSError:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    disk.sync_folder(path.parent)
    return DeviceFolder(path, device_id, kind)


def _fill(folder: Path, device_id: str, kind: Kind) -> None:
    signing, tls = generate_signing_key(kind), new_key()
    settings = (
        "# A device of Sigillo. Whoever has this folder can sign as this device; never run two copies of it.\n"
        f"version = {SETTINGS_VERSION}\nid = {quote(device_id)}\nkey = {quote(kind)}\n"
    )
    (folder / "outbox").mkdir(mode=0o700)
    disk.create(folder / "signing.key.pem", private_pem(signing), disk.PRIVATE)
    disk.create(folder / "signing.pub.pem", encode_public_key(public_half(signing)), disk.PUBLIC)
    disk.create(folder / "tls.key.pem", private_pem(tls), disk.PRIVATE)
    disk.create(folder / "tls.csr.pem", request_for(tls, device_id), disk.PUBLIC)
    disk.create(folder / "sequence", b"0\n", disk.PRIVATE)
    disk.create(folder / "device.toml", settings.encode(), disk.PUBLIC)


def load_device_folder(path: Path) -> DeviceFolder:
    """Read the settings of a device folder. Raises DeviceError that names file and field."""
    file = path / "device.toml"
    try:
        settings = decode_toml(file.read_bytes())
    except FileNotFoundError:
        raise DeviceError(f"{file}: not found; make a device with `sigillo device new ID -o {path}`") from None
    except OSError as error:
        raise DeviceError(f"{file}: cannot be read ({error.strerror})") from None
    except PolicyError as error:
        raise DeviceError(f"{file}: {error.reason}") from None
    if unknown := sorted(set(settings) - {"version", "id", "key"}):
        raise DeviceError(f"{file}: unknown field {unknown[0]!a}; remove it")
    if settings.get("version") != SETTINGS_VERSION or isinstance(settings.get("version"), bool):
        raise DeviceError(f"{file}: version must be {SETTINGS_VERSION}")
    device_id = settings.get("id")
    if not isinstance(device_id, str):
        raise DeviceError(f"{file}: id must be a text: the device's id")
    kind = next((kind for kind in KINDS if kind == settings.get("key")), None)
    if kind is None:
        raise DeviceError(f'{file}: key must be "p256" or "ed25519"')
    return DeviceFolder(path, check_device_id(device_id, f"{file}: id"), kind)
