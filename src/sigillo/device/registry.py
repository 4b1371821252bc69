"""The operator's registry of enrolled devices: `devices/<ID>/signing.pub.pem` and `devices/<ID>/tls.cert.pem`.

An id belongs to the keys it was enrolled with first: other keys under the same id are refused unless the operator says
`replace` (identity take-over by re-registration: Keylime CVE-2023-38201, CVE-2025-13609). A key belongs to one device
and to one use: the signing key is never the TLS key (spec/datagram.md).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from sigillo import disk
from sigillo.core.device_key import DeviceKey
from sigillo.device.error import DeviceError
from sigillo.device.identity import check_device_id
from sigillo.device.key import encode_public_key, load_certificate, load_public_key
from sigillo.x509 import spki_of

_SIGNING, _TLS = "signing.pub.pem", "tls.cert.pem"


@dataclass(frozen=True)
class _Use:
    """Who uses a key for what."""

    device_id: str
    file: str


class Registry:
    """The folder `devices/` of an operator. Changes are serialised by a lock on the folder (`locked`)."""

    def __init__(self, operator: Path) -> None:
        """*operator*: the operator folder. Raises DeviceError unless `sigillo up` has made it."""
        self._folder = operator / "devices"
        if not (operator / "authority").is_dir():
            raise DeviceError(
                f"{operator}: is no operator folder (it has no authority/); run `sigillo up {operator}` first"
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other enrolments out."""
        _ensure_folder(self._folder)
        descriptor = disk.open_folder(self._folder)
        try:
            disk.lock(descriptor, None)
            yield
        finally:
            os.close(descriptor)

    def certificate_file(self, device_id: str) -> Path:
        """Where this device's TLS client certificate is, PEM."""
        return self._folder / check_device_id(device_id) / _TLS

    def check(self, device_id: str, signing: DeviceKey | None, tls_spki: bytes | None, *, replace: bool) -> None:
        """Refuse keys that this id may not have. *tls_spki*: DER SubjectPublicKeyInfo of the TLS key.

        Raises DeviceError: another key is enrolled under the id and *replace* is false; a key is in use by another
        device; the signing key is the TLS key, on either side of the registry. `replace` allows the first only.
        """
        given = {_SIGNING: signing.spki if signing else None, _TLS: tls_spki}
        if given[_SIGNING] is not None and given[_SIGNING] == given[_TLS]:
            raise DeviceError(f"{device_id}: the signing key is also the TLS key; the device must make two")
        for spki, use in self._uses():
            for file, new in given.items():
                if use == _Use(device_id, file):
                    if new is not None and new != spki and not replace:
                        raise DeviceError(
                            f"{self._folder / device_id / file}: {device_id} is enrolled with another key; whoever "
                            "enrols a second one takes over its identity. If that is meant, say --replace."
                        )
                elif new == spki:
                    raise DeviceError(
                        f"{device_id}: this {'signing' if file == _SIGNING else 'TLS'} key is in use as "
                        f"{self._folder / use.device_id / use.file}; the device must make its own"
                    )

    def store(self, device_id: str, signing: DeviceKey | None, certificate: bytes | None) -> None:
        """Write what `check` has passed, under the same lock. *certificate*: PEM. Raises OSError."""
        folder = self._folder / check_device_id(device_id)
        _ensure_folder(folder)
        disk.sync_folder(self._folder)
        if signing is not None:
            disk.replace(folder / _SIGNING, encode_public_key(signing), disk.PUBLIC)
        if certificate is not None:
            disk.replace(folder / _TLS, certificate, disk.PUBLIC)

    def _uses(self) -> Iterator[tuple[bytes, _Use]]:
        """SubjectPublicKeyInfo and use of every enrolled key."""
        for path in sorted(self._folder.glob(f"*/{_SIGNING}")):
            yield load_public_key(path).spki, _Use(path.parent.name, _SIGNING)
        for path in sorted(self._folder.glob(f"*/{_TLS}")):
            yield spki_of(load_certificate(path).public_key()), _Use(path.parent.name, _TLS)


def _ensure_folder(folder: Path) -> None:
    """Make a folder that everybody may read, whatever the umask: what is in it is public."""
    if not folder.is_dir():
        folder.mkdir()
        folder.chmod(0o755)


def certificate_id(certificate: x509.Certificate, where: str) -> str:
    """The identity that the broker will take from this certificate: its one CN. Raises DeviceError."""
    names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    if len(names) != 1 or not isinstance(names[0].value, str):
        raise DeviceError(f"{where}: has {len(names)} common names (CN); it must have one, the device's id")
    return check_device_id(names[0].value, f"{where}: CN")
