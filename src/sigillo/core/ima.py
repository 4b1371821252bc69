"""IMA measurement lists (spec/ima.md): which files Linux has measured into PCR 10, and what was in them.

The list's own template hashes are SHA-1, so every digest is computed anew over the data with SHA-256: that is what the
kernel extends the SHA-256 bank with (Linux 5.8 and later).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sigillo.core.errors import AttestationError, DecodeError
from sigillo.core.event_log import ZERO, extend

IMA_PCR: Final = 10
MAX_LIST: Final = 64 * 1024 * 1024
MAX_DATA: Final = 65_536
BOOT_AGGREGATE: Final = b"boot_aggregate"
_BOOT_PCRS: Final = 10
_DIGEST_SIZES: Final = {b"sha256": 32, b"sha384": 48, b"sha512": 64}
_FIELDS: Final = {b"ima-ng": 2, b"ima-sig": 3}
_NO_DIGEST: Final = bytes(20)
_VIOLATION: Final = b"\xff" * 32


@dataclass(frozen=True, slots=True)
class Measurement:
    """One entry. *path_bytes*: as the kernel knew the file; *digest* of its content by *algorithm* (hashlib's name).

    *violated*: the file was open for writing meanwhile, so that nobody knows what was read; *digest* is zero then.
    *extension*: what PCR 10 was extended with, 32 bytes.
    """

    path_bytes: bytes
    algorithm: str
    digest: bytes
    violated: bool
    extension: bytes


def decode_measurements(data: bytes) -> tuple[Measurement, ...]:
    """Decode a binary measurement list. Raises DecodeError where it is malformed or of another template,
    AttestationError where an entry is not what its own template hash is of."""
    if len(data) > MAX_LIST:
        raise DecodeError("measurement list", f"is longer than {MAX_LIST} bytes")
    found: list[Measurement] = []
    at = 0
    while at < len(data):
        measurement, at = _measurement(data, at, len(found) + 1)
        found.append(measurement)
    return tuple(found)


def replay(measurements: Iterable[Measurement]) -> bytes:
    """Value of PCR 10 after these measurements, 32 bytes."""
    value = ZERO
    for measurement in measurements:
        value = extend(value, measurement.extension)
    return value


def verify_measurements(data: bytes, pcrs: Sequence[bytes]) -> tuple[Measurement, ...]:
    """The measurements that lead to the quoted PCR values (PCR 0 to 10 at least, 32 bytes each).

    A list goes on while it is read, so it may be longer than what was quoted: what comes after is left out. Raises
    DecodeError, AttestationError where no part of it leads there, or it is of another boot.
    """
    measurements = decode_measurements(data)
    value = ZERO
    for count, measurement in enumerate(measurements, 1):
        value = extend(value, measurement.extension)
        if value == pcrs[IMA_PCR]:
            _check_boot(measurements[0], pcrs)
            return measurements[:count]
    raise AttestationError(f"the measurement list does not lead to the quoted value of PCR {IMA_PCR}")


def _check_boot(first: Measurement, pcrs: Sequence[bytes]) -> None:
    aggregate = hashlib.sha256(b"".join(pcrs[:_BOOT_PCRS])).digest()
    if first.path_bytes != BOOT_AGGREGATE or first.violated or first.digest != aggregate:
        raise AttestationError("the measurement list does not begin with the boot that was quoted")


def _measurement(data: bytes, at: int, number: int) -> tuple[Measurement, int]:
    def take(size: int) -> bytes:
        nonlocal at
        if size > len(data) - at:
            raise DecodeError("measurement list", f"is cut off at byte {len(data)}")
        at += size
        return data[at - size : at]

    def sized() -> bytes:
        size = int.from_bytes(take(4), "little")
        if size > MAX_DATA:
            raise DecodeError("measurement list", f"has a field of {size} bytes in entry {number}")
        return take(size)

    if int.from_bytes(take(4), "little") != IMA_PCR:
        raise DecodeError("measurement list", f"has an entry of another PCR than {IMA_PCR}")
    template_hash, name, template = take(20), sized(), sized()
    if name not in _FIELDS:
        raise DecodeError("measurement list", f"has entry {number} of another template than ima-ng and ima-sig")
    violated = template_hash == _NO_DIGEST
    if not violated and template_hash != hashlib.sha1(template, usedforsecurity=False).digest():
        raise AttestationError(f"measurement {number} is not what its template hash is of")
    algorithm, digest, path_bytes = _fields(template, _FIELDS[name], number)
    if violated and any(digest):
        raise DecodeError("measurement list", f"has a digest in entry {number}, which says that there is none")
    extension = _VIOLATION if violated else hashlib.sha256(template).digest()
    return Measurement(path_bytes, algorithm.decode(), digest, violated, extension), at


def _fields(template: bytes, count: int, number: int) -> tuple[bytes, bytes, bytes]:
    """Algorithm, digest and path; a signature, if any, is in the template hash, and not judged here."""
    fields, at = [], 0
    while at < len(template):
        size = int.from_bytes(template[at : at + 4], "little")
        at += 4 + size
        fields.append(template[at - size : at])
    algorithm, colon, digest = fields[0].partition(b":\0") if fields else (b"", b"", b"")
    whole = at == len(template) and len(fields) == count
    if not whole or not colon or len(digest) != _DIGEST_SIZES.get(algorithm) or not fields[1].endswith(b"\0"):
        raise DecodeError("measurement list", f"has entry {number} with other fields than its template has")
    path_bytes = fields[1][:-1]
    if not path_bytes or b"\0" in path_bytes:
        raise DecodeError("measurement list", f"has entry {number} without a path, or with a zero byte in it")
    return algorithm, digest, path_bytes
