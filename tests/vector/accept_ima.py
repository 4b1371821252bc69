"""Vectors of measurement lists; and the boot that was recorded from a virtual machine."""

import hashlib
from dataclasses import dataclass

from sigillo.core.ima import decode_measurements, replay
from tests.vector.file import Value, read_vector
from tests.vector.key import filler
from tests.vector.sample_tpm import BOOT_RECORDED

Vector = dict[str, Value]
Pcrs = tuple[bytes, ...]


@dataclass(frozen=True)
class Raw:
    """An entry, field by field. *template_hash*: None: the right one."""

    path: bytes = b"/usr/sbin/mosquitto\0"
    digest: bytes = b"sha256:\0" + filler("file")
    more: tuple[bytes, ...] = ()
    name: bytes = b"ima-ng"
    pcr: int = 10
    template_hash: bytes | None = None

    def encode(self) -> bytes:
        template = b"".join(_sized(field) for field in (self.digest, self.path, *self.more))
        template_hash = hashlib.sha1(template).digest() if self.template_hash is None else self.template_hash
        return self.pcr.to_bytes(4, "little") + template_hash + _sized(self.name) + _sized(template)


def _sized(data: bytes) -> bytes:
    return len(data).to_bytes(4, "little") + data


VIOLATION = Raw(b"/etc/broker.conf\0", b"sha256:\0" + bytes(32), template_hash=bytes(20))
BOOT_PCRS: Pcrs = tuple(filler(f"pcr {index}") for index in range(10))


def first(pcrs: Pcrs = BOOT_PCRS) -> Raw:
    """The entry with which the list of a boot begins."""
    return Raw(b"boot_aggregate\0", b"sha256:\0" + hashlib.sha256(b"".join(pcrs)).digest())


def listed(*entries: Raw) -> bytes:
    """A list that begins with the boot."""
    return b"".join(entry.encode() for entry in (first(), *entries))


def recorded() -> dict[str, bytes]:
    """What the virtual machine had: `boot_log`, `list_1`, `list_2` and the PCRs at the time of each list."""
    return {name: bytes.fromhex(value) for name, value in read_vector(BOOT_RECORDED).items()}


def recorded_pcrs(number: int) -> Pcrs:
    """PCR 0 to 14 at the time of `list_1` or `list_2`."""
    fields = recorded()
    return tuple(fields[f"pcr_{index}" if index != 10 else f"pcr_10_{number}"] for index in range(15))


def _vector(data: bytes, pcrs: Pcrs, count: int) -> Vector:
    measurements = decode_measurements(data)[:count]
    named: Vector = {f"pcr_{index}": value for index, value in enumerate((*pcrs[:10], replay(measurements)))}
    return (
        {"list": data}
        | named
        | {
            "measurements": count,
            "last": measurements[-1].path_bytes,
            "violations": sum(measurement.violated for measurement in measurements),
        }
    )


def lists() -> dict[str, Vector]:
    """vectors/ima/accept."""
    real = recorded()
    signed = Raw(b"/usr/bin/python3\0", b"sha512:\0" + filler("file", 64), (filler("signature", 40),), b"ima-sig")
    unsigned = Raw(b"/lib/\xff\0", b"sha384:\0" + filler("file", 48), (b"",), b"ima-sig")
    made = {
        "linux-boot": (real["list_1"], recorded_pcrs(1), len(decode_measurements(real["list_1"]))),
        "linux-violation": (real["list_2"], recorded_pcrs(2), len(decode_measurements(real["list_2"]))),
        "linux-went-on": (real["list_2"], recorded_pcrs(1), len(decode_measurements(real["list_1"]))),
        "boot-alone": (listed(), BOOT_PCRS, 1),
        "templates": (listed(Raw(), signed, unsigned), BOOT_PCRS, 4),
        "violation": (listed(VIOLATION, Raw()), BOOT_PCRS, 3),
    }
    return {name: _vector(*parts) for name, parts in made.items()}


def rejected() -> dict[str, Vector]:
    """vectors/ima/reject."""
    good = listed(Raw())
    entry = Raw().encode()
    cut = {
        "cut": (good[:-1], "the last byte is missing"),
        "head-only": (good + entry[:24], "an entry that ends after its hash"),
        "trailing-byte": (good + b"\x0a", "a byte after the last entry"),
        "data-huge": (good + entry[:34] + b"\xff" * 4, "2^32-1 bytes of data declared"),
    }
    malformed = {
        "pcr-11": (Raw(pcr=11), "an entry of PCR 11"),
        "template-ima": (Raw(name=b"ima"), "the oldest template"),
        "template-buf": (Raw(name=b"ima-buf"), "a template of buffers"),
        "field-missing": (Raw(name=b"ima-sig"), "a field less than the template has"),
        "field-more": (Raw(more=(b"",)), "a field more"),
        "sha1": (Raw(digest=b"sha1:\0" + bytes(20)), "a file hashed with SHA-1"),
        "md5": (Raw(digest=b"md5:\0" + bytes(16)), "a file hashed with MD5"),
        "no-algorithm": (Raw(digest=bytes(32)), "no algorithm"),
        "digest-31": (Raw(digest=b"sha256:\0" + bytes(31)), "a digest of 31 bytes"),
        "path-open": (Raw(b"/usr/sbin/mosquitto"), "a path that does not end"),
        "path-empty": (Raw(b"\0"), "no path"),
        "path-zero": (Raw(b"/etc\0/passwd\0"), "a zero byte in the path"),
        "violation-digest": (Raw(template_hash=bytes(20)), "a violation with a digest"),
    }
    made: dict[str, Vector] = {name: {"list": data, "reason": reason} for name, (data, reason) in cut.items()}
    for name, (changed, reason) in malformed.items():
        made[name] = {"list": listed(changed), "reason": reason}
    return made | _untrue()


def _untrue() -> dict[str, Vector]:
    """Well formed, of another file, machine or boot."""
    quoted = replay(decode_measurements(listed(Raw(), VIOLATION)))
    other = Raw(digest=b"sha256:\0" + filler("other file"))
    cases = {
        "other-file": (listed(other, VIOLATION), "another content of a file"),
        "template-hash": (
            listed(Raw(digest=other.digest, template_hash=hashlib.sha1(Raw().encode()[38:]).digest()), VIOLATION),
            "another content of a file, under the template hash of the honest one",
        ),
        "entry-missing": (listed(VIOLATION), "an entry is missing"),
        "entries-swapped": (listed(VIOLATION, Raw()), "two entries swapped"),
        "violation-hidden": (listed(Raw(), Raw(VIOLATION.path, VIOLATION.digest)), "a violation as a file"),
        "empty": (b"", "nothing"),
    }
    made = {name: _claim(data, (*BOOT_PCRS, quoted), reason) for name, (data, reason) in cases.items()}
    alone = Raw().encode()
    made["no-boot"] = _claim(alone, (*BOOT_PCRS, replay(decode_measurements(alone))), "no boot aggregate")
    another = (*BOOT_PCRS[:9], filler("other pcr"), replay(decode_measurements(listed(Raw()))))
    made["other-boot"] = _claim(listed(Raw()), another, "another value of PCR 9 than that of the boot aggregate")
    return made


def _claim(data: bytes, pcrs: Pcrs, reason: str) -> Vector:
    named: Vector = {f"pcr_{index}": value for index, value in enumerate(pcrs)}
    return {"list": data} | named | {"reason": reason}
