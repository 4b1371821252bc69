"""The operator's registry of enrolled devices: `signing.pub.pem` and `tls.cert.pem` in `devices/<ID>/`.

`certificates/` beside them has what a maker certified of the device's signing keys, one PEM file for each chain, leaf
first; also those that have ended, since earlier messages need them. Evidence brings them, policies judge them.

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
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from sigillo import disk
from sigillo.core.device_key import DeviceKey
from sigillo.core.evidence import MAX_CERTIFICATES
from sigillo.device.error import DeviceError
from sigillo.device.identity import check_device_id
from sigillo.device.key import Chain, encode_public_key, load_certificate, load_chain, load_public_key
from sigillo.x509 import spki_of

_SIGNING, _TLS, _CERTIFICATES = "signing.pub.pem", "tls.cert.pem", "certificates"


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

    def check_chain(self, device_id: str, chain: Chain) -> None:
        """Refuse one more chain than evidence may have of this device. Raises DeviceError."""
        held = enrolled_chains(self._folder, device_id)
        if chain not in held and len(held) >= MAX_CERTIFICATES:
            raise DeviceError(
                f"{self._folder / device_id / _CERTIFICATES}: has {len(held)} certificates, as many as evidence may "
                "have of a device; remove those that no message needs any more"
            )

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

    def store(
        self, device_id: str, signing: DeviceKey | None, certificate: bytes | None, chain: Chain | None = None
    ) -> None:
        """Write what the checks have passed, under the same lock. *certificate*: PEM, for TLS; *chain*: for signing.

        Raises OSError.
        """
        folder = self._folder / check_device_id(device_id)
        _ensure_folder(folder)
        disk.sync_folder(self._folder)
        if signing is not None:
            disk.replace(folder / _SIGNING, encode_public_key(signing), disk.PUBLIC)
        if certificate is not None:
            disk.replace(folder / _TLS, certificate, disk.PUBLIC)
        if chain is not None:
            _ensure_folder(folder / _CERTIFICATES)
            name = f"{chain[0].fingerprint(SHA256()).hex()}.pem"
            pem = b"".join(certificate.public_bytes(Encoding.PEM) for certificate in chain)
            disk.replace(folder / _CERTIFICATES / name, pem, disk.PUBLIC)

    def _uses(self) -> Iterator[tuple[bytes, _Use]]:
        """SubjectPublicKeyInfo and use of every enrolled key."""
        for path in sorted(self._folder.glob(f"*/{_SIGNING}")):
            yield load_public_key(path).spki, _Use(path.parent.name, _SIGNING)
        for path in sorted(self._folder.glob(f"*/{_TLS}")):
            yield spki_of(load_certificate(path).public_key()), _Use(path.parent.name, _TLS)


def enrolled_chains(devices: Path, device_id: str) -> list[Chain]:
    """The certificates of a device's signing keys in the registry's folder *devices*, each with what is above it.

    An id that cannot be enrolled has none. Raises DeviceError that names a file which cannot be read.
    """
    paths = sorted(devices.glob(f"*/{_CERTIFICATES}/*.pem"))
    return [load_chain(path) for path in paths if path.parents[1].name == device_id]


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
