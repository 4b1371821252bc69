"""The device folder: who the device is, its keys, and what the operator gave it.

| file | content |
|---|---|
| `device.toml` | version, id, kind of the signing key; where that is in a token, its `pkcs11:` URI |
| `signing.key.pem` (0600) | the key that signs messages; not there where it is in a token |
| `signing.pub.pem`, `signing.csr.pem` | its public half, which a policy pins; and a request for a maker's certificate |
| `tls.key.pem` (0600), `tls.csr.pem` | another key, for the connection only, and the request for its certificate |
| `tls.cert.pem`, `ca.cert.pem` | from the operator: the client certificate, and the CA of the broker's certificate |
| `log.vkey` | from the operator: its log key, under which a checkpoint counts that is echoed; without it none is |
| `sequence`, `outbox/`, `lock` | see `store` |
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sigillo import disk
from sigillo.core.device_key import Kind
from sigillo.core.errors import DecodeError, PolicyError
from sigillo.core.note import LogKey
from sigillo.core.table import decode_toml, quote
from sigillo.device.error import DeviceError
from sigillo.device.identity import check_device_id
from sigillo.device.key import encode_public_key, generate_signing_key, load_public_key
from sigillo.device.pkcs11_uri import TokenUri, parse_token_uri
from sigillo.device.request import signing_request
from sigillo.device.signer import FileSigner, Signer
from sigillo.x509 import new_key, private_pem, request_for

if TYPE_CHECKING:
    from sigillo.device.pkcs11_signer import TokenSigner

SETTINGS_VERSION = 1
KINDS: tuple[Kind, ...] = ("p256", "ed25519")


@dataclass(frozen=True)
class DeviceFolder:
    """An existing device folder; its settings are read and checked, its keys are not read yet.

    *token*: which key in which token signs; None: the key in the folder.
    """

    path: Path
    device_id: str
    kind: Kind
    token: TokenUri | None = None

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

    @property
    def log_vkey(self) -> Path:
        """The operator's log key, C2SP vkey; absent where the device signs no beacons."""
        return self.path / "log.vkey"

    def log_key(self) -> LogKey | None:
        """The operator's log key; None where the device has none. Raises DeviceError."""
        try:
            return LogKey.from_vkey(self.log_vkey.read_text("utf-8", "replace").strip())
        except FileNotFoundError:
            return None
        except DecodeError as error:
            raise DeviceError(
                f"{self.log_vkey}: {error}; put the operator's log.vkey there, or remove it to sign no beacons"
            ) from None

    def signer(self) -> Signer:
        """The signer of this device. Raises DeviceError, also where its key is not the one that the folder names."""
        if self.token is not None:
            return self._signer_in(self.token)
        path = self.path / "signing.key.pem"
        signer = FileSigner.load(path)
        if signer.public_key.kind != self.kind:
            raise DeviceError(
                f"{path}: is a {signer.public_key.kind} key, but device.toml says key = {quote(self.kind)}; "
                "put back the key that this device was enrolled with"
            )
        return signer

    def _signer_in(self, uri: TokenUri) -> Signer:
        signer = _token_signer().load(uri)
        if signer.public_key != load_public_key(self.signing_public):
            raise DeviceError(
                f"{uri.token_name}: the key {uri.key_name} is another than {self.signing_public}, the one that this "
                "device was made with; insert the token that has it"
            )
        return signer

    def install(self, certificate: bytes, authority: bytes, log_key: LogKey | None = None) -> None:
        """Store what the operator issued (both PEM), and its log key instead of an earlier one. Raises OSError."""
        disk.replace(self.certificate, certificate, disk.PUBLIC)
        disk.replace(self.authority, authority, disk.PUBLIC)
        if log_key:
            disk.replace(self.log_vkey, f"{log_key.vkey}\n".encode(), disk.PUBLIC)
        else:
            self.log_vkey.unlink(missing_ok=True)


def make_device_folder(path: Path, device_id: str, kind: Kind) -> DeviceFolder:
    """Make a device: its keys, the requests for their certificates, sequence 0.

    The folder appears whole or not at all, and an existing one is never touched: a device's keys are not replaceable.
    Raises DeviceError, OSError.
    """

    def signer(folder: Path) -> Signer:
        key = generate_signing_key(kind)
        disk.create(folder / "signing.key.pem", private_pem(key), disk.PRIVATE)
        return FileSigner(key)

    return _make(path, device_id, signer, None)


def make_token_device_folder(
    path: Path, device_id: str, uri: TokenUri, kind: Kind | None, generate: bool
) -> DeviceFolder:
    """Make a device as `make_device_folder` does, whose signing key is in a token and stays there.

    *generate*: the token makes the key, of the *kind* (P-256 where None); else the key is there already, and a *kind*
    that is not None must be its. Raises DeviceError, OSError; a key that was generated before that stays in the token.
    """

    def signer(_folder: Path) -> Signer:
        if generate:
            return _token_signer().generate(uri, kind or "p256")
        found = _token_signer().load(uri)
        if kind is not None and kind != found.public_key.kind:
            raise DeviceError(f"{uri.token_name}: the key {uri.key_name} is {found.public_key.kind}, not {kind}")
        return found

    return _make(path, device_id, signer, uri)


def _token_signer() -> type[TokenSigner]:
    try:
        from sigillo.device.pkcs11_signer import TokenSigner  # noqa: PLC0415  # the rest works without pkcs11
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "pkcs11":
            raise
        raise DeviceError("a key in a token needs PKCS#11: run `pip install 'sigillo[pkcs11]'`") from None
    return TokenSigner


def _make(path: Path, device_id: str, signer: Callable[[Path], Signer], token: TokenUri | None) -> DeviceFolder:
    check_device_id(device_id)
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise DeviceError(f"{path}: is there already, and keys are never overwritten; choose another folder with -o")
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=".new-device-", dir=path.parent))
    try:
        made = signer(fresh)
        _fill(fresh, device_id, made, token)
        os.rename(fresh, path)
    except BaseException:  # also Ctrl-C at the question for a PIN
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    disk.sync_folder(path.parent)
    return DeviceFolder(path, device_id, made.public_key.kind, token)


def _fill(folder: Path, device_id: str, signer: Signer, token: TokenUri | None) -> None:
    key, tls = signer.public_key, new_key()
    secret = "this folder" if token is None else "the token and its PIN"
    settings = (
        f"# A device of Sigillo. Whoever has {secret} can sign as this device; never run two copies of this folder.\n"
        f"version = {SETTINGS_VERSION}\nid = {quote(device_id)}\nkey = {quote(key.kind)}\n"
    )
    settings += "" if token is None else f"pkcs11 = {quote(token.text)}\n"
    (folder / "outbox").mkdir(mode=0o700)
    disk.create(folder / "signing.pub.pem", encode_public_key(key), disk.PUBLIC)
    disk.create(folder / "signing.csr.pem", signing_request(signer, device_id), disk.PUBLIC)
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
    if unknown := sorted(set(settings) - {"version", "id", "key", "pkcs11"}):
        raise DeviceError(f"{file}: unknown field {unknown[0]!a}; remove it")
    if settings.get("version") != SETTINGS_VERSION or isinstance(settings.get("version"), bool):
        raise DeviceError(f"{file}: version must be {SETTINGS_VERSION}")
    device_id = settings.get("id")
    if not isinstance(device_id, str):
        raise DeviceError(f"{file}: id must be a text: the device's id")
    kind = next((kind for kind in KINDS if kind == settings.get("key")), None)
    if kind is None:
        raise DeviceError(f'{file}: key must be "p256" or "ed25519"')
    return DeviceFolder(path, check_device_id(device_id, f"{file}: id"), kind, _token(settings.get("pkcs11"), file))


def _token(uri: object, file: Path) -> TokenUri | None:
    if uri is None:
        return None
    if not isinstance(uri, str):
        raise DeviceError(f"{file}: pkcs11 must be a text: the URI of the signing key")
    try:
        return parse_token_uri(uri)
    except DeviceError as error:
        raise DeviceError(f"{file}: {error}") from None
