"""Whom the reader of a verdict trusts, and for what (spec/policy.md).

An absent or empty policy accepts nothing; an absent permission is not given; an unknown key is an error.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sigillo.core.attestation_trust import AttestationTrust, attestation_trust_lines, decode_attestation_trust
from sigillo.core.build_trust import BuildTrust, build_trust_lines, decode_build_trust
from sigillo.core.bytes import base64url_decode, base64url_encode
from sigillo.core.certificate import decode_authority
from sigillo.core.cosignature import WitnessKey
from sigillo.core.device_key import DeviceKey
from sigillo.core.errors import DecodeError, PolicyError
from sigillo.core.note import LogKey
from sigillo.core.platform_trust import PlatformTrust, decode_platforms, platform_lines
from sigillo.core.revocation import CRL_FIELD
from sigillo.core.table import Table, decode_name, decode_toml, quote
from sigillo.core.timestamp import TsaTrust
from sigillo.core.verdict import LEVELS

VERSION = 1
MAX_BYTES = 16 * 1024 * 1024
MAX_ERROR_NS = 24 * 3600 * 10**9
SEQUENCE_BITS = (8, 64)
BUILD_PARTS = ("executable", "plugin", "configuration")

MAX_BRACKET_NS = 366 * 24 * 3600 * 10**9

_UNIT_NS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9}
_LONG_UNIT_NS = {**_UNIT_NS, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 24 * 3600 * 10**9}
_DURATION = re.compile(r"(0|[1-9][0-9]{0,17})([a-z]{1,2})")
_TSA_FIELDS = {"tsa policies": "policy", "tsa crls": "crls", CRL_FIELD: "crls"}
_HASH = re.compile(r"[0-9a-f]{64}")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OperatorTrust:
    """One operator that may run a broker.

    *log_key* is the pinned log key; its name is the log's origin. *reference_values* maps each of
    ``BUILD_PARTS`` that the policy names to the SHA-256 values (32 bytes) it accepts; a part that is
    not a key is not compared.
    """

    name: str
    log_key: LogKey
    level: str
    reference_values: Mapping[str, tuple[bytes, ...]]
    unsafe_any_build: bool = False


@dataclass(frozen=True, slots=True)
class ClockTrust:
    """Which clock states count. *max_error_ns*: the largest error bound, in ns."""

    max_error_ns: int
    allow_unknown_bound: bool = False
    allow_unsynchronised: bool = False


@dataclass(frozen=True, slots=True)
class MissingTrust:
    """Which absences the reader accepts: messages withheld from the file, or admitted and not held, and numbers lost
    by the device's own count; a log proof, a bound in time by TSAs, a quorum of witnesses or rebuilders, a beacon that
    is not there; quotes around the marks.
    """

    allow_withheld: bool = False
    allow_lost: bool = False
    allow_not_held: bool = False
    allow_unlogged: bool = False
    allow_unanchored: bool = False
    allow_unwitnessed: bool = False
    allow_no_beacon: bool = False
    allow_not_rebuilt: bool = False
    allow_unattested: bool = False


@dataclass(frozen=True, slots=True)
class MakerTrust:
    """One maker that may certify the signing keys of its devices. *ca*: the certificate of its CA.

    *hardware*: the reader believes it when it says that these keys live in hardware and cannot leave it.
    """

    name: str
    ca: x509.Certificate
    hardware: bool = False

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the CA's certificate, lower-case hex, as `openssl x509 -fingerprint -sha256` has it."""
        return self.ca.fingerprint(SHA256()).hex()

    @property
    def key_fingerprint(self) -> str:
        """SHA-256 of the CA's SubjectPublicKeyInfo, lower-case hex: stays when the certificate is renewed."""
        spki = self.ca.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return hashlib.sha256(spki).hexdigest()


@dataclass(frozen=True, slots=True)
class DeviceTrust:
    """One device of the registry: its id, and the key that is its own, pinned or certified by its maker.

    Either *key* or *maker* is None. *sequence_bits*: 8 or 64.
    """

    id: str
    key: DeviceKey | None
    sequence_bits: int = 64
    maker: MakerTrust | None = None


@dataclass(frozen=True, slots=True)
class AnchorTrust:
    """*quorum*: how many TSAs have to agree on each bound of a mark; *max_bracket_ns*: the widest span between them."""

    quorum: int
    max_bracket_ns: int


@dataclass(frozen=True, slots=True)
class WitnessTrust:
    """One witness, and who runs it. *name*: what verdicts call it."""

    key: WitnessKey
    operator: str
    name: str

    def counts_for(self, operator: OperatorTrust) -> bool:
        """Whether it is another party than this operator: neither run by it, nor with its log key."""
        return self.operator != operator.name and self.key.public_key != operator.log_key.public_key


@dataclass(frozen=True, slots=True)
class Policy:
    """A decoded policy. Operators are looked up by the key id (32 bytes) of their log key, devices by id.

    *anchors* is there where a TSA is, *witness_quorum* where a witness is.
    """

    operators: tuple[OperatorTrust, ...]
    clock: ClockTrust
    devices: tuple[DeviceTrust, ...]
    missing: MissingTrust = MissingTrust()
    makers: tuple[MakerTrust, ...] = ()
    tsas: tuple[TsaTrust, ...] = ()
    anchors: AnchorTrust | None = None
    witnesses: tuple[WitnessTrust, ...] = ()
    witness_quorum: int | None = None
    build: BuildTrust = field(default_factory=BuildTrust)
    attestation: AttestationTrust = field(default_factory=AttestationTrust)
    platforms: tuple[PlatformTrust, ...] = ()
    _by_log_key: Mapping[bytes, OperatorTrust] = field(init=False, repr=False, compare=False)
    _by_id: Mapping[str, DeviceTrust] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Raises PolicyError where a name, origin, key or device id occurs twice, or no operator or device is there."""
        operators, devices, makers = self.operators, self.devices, self.makers
        _require(operators, "operator")
        _require(devices, "device")
        _once(operators, "operator", [operator.name for operator in operators], "name")
        _once(operators, "operator", [operator.log_key.name for operator in operators], "log_key (its origin)")
        log_keys = _once(operators, "operator", [operator.log_key.key_id32 for operator in operators], "log_key")
        _once(makers, "maker", [maker.name for maker in makers], "name")
        _once(makers, "maker", [maker.key_fingerprint for maker in makers], "ca (its key)")
        ids = _once(devices, "device", [device.id for device in devices], "id")
        keys = [device.key.fingerprint if device.key else f"of {device.id}" for device in devices]
        _once(devices, "device", keys, "key")
        known = frozenset(makers)
        for at, device in enumerate(devices, start=1):
            if not (device.maker is None if device.key else device.maker in known):
                raise PolicyError(f"device[{at}]", "has either a key or a maker of this policy")
        self._check_third_parties()
        named = [(f"attester[{at}]", it.operator) for at, it in enumerate(self.attestation.attesters, start=1)]
        named += [(f"platform[{at}]", it.operator) for at, it in enumerate(self.platforms, start=1)]
        for table, name in named:
            if name not in {operator.name for operator in operators}:
                raise PolicyError(f"{table}.operator", "is the name of no [[operator]] in this policy")
        object.__setattr__(self, "_by_log_key", MappingProxyType(log_keys))
        object.__setattr__(self, "_by_id", MappingProxyType(ids))

    def _check_third_parties(self) -> None:
        tsas, witnesses = self.tsas, self.witnesses
        _once(tsas, "tsa", [tsa.name for tsa in tsas], "name")
        for at, tsa in enumerate(tsas):
            if any(root in other.roots for other in tsas[:at] for root in tsa.roots):
                raise PolicyError(f"tsa[{at + 1}].roots", "has a root of another TSA: one authority would vote twice")
        _once(witnesses, "witness", [witness.key.public_key for witness in witnesses], "key")
        _once(witnesses, "witness", [witness.name for witness in witnesses], "name")
        _quorum(tsas, self.anchors.quorum if self.anchors else None, "anchors", "tsa")
        _quorum(witnesses, self.witness_quorum, "witnesses", "witness")

    def operator_of(self, origin: str) -> OperatorTrust | None:
        """The operator whose log has this origin, or None."""
        return next((operator for operator in self.operators if operator.log_key.name == origin), None)

    def operator(self, log_key_id: bytes) -> OperatorTrust | None:
        """The operator whose log key has this id (SHA-256 of the key), or None."""
        return self._by_log_key.get(log_key_id)

    def device(self, name: str) -> DeviceTrust | None:
        """The device of this id, or None."""
        return self._by_id.get(name)

    def permissions(self) -> tuple[str, ...]:
        """The relaxations that this policy gives, by the name they have in the file."""
        given = {
            "clock.allow_unknown_bound": self.clock.allow_unknown_bound,
            "clock.allow_unsynchronised": self.clock.allow_unsynchronised,
            "missing.allow_withheld": self.missing.allow_withheld,
            "missing.allow_not_held": self.missing.allow_not_held,
            "missing.allow_lost": self.missing.allow_lost,
            "missing.allow_unlogged": self.missing.allow_unlogged,
            "missing.allow_unanchored": self.missing.allow_unanchored,
            "missing.allow_unwitnessed": self.missing.allow_unwitnessed,
            "missing.allow_no_beacon": self.missing.allow_no_beacon,
            "missing.allow_not_rebuilt": self.missing.allow_not_rebuilt,
            "missing.allow_unattested": self.missing.allow_unattested,
            "attestation.allow_software": self.attestation.allow_software,
            "attestation.unsafe_any_configuration": self.attestation.unsafe_any_configuration,
            "operator.unsafe_any_build": any(operator.unsafe_any_build for operator in self.operators),
        }
        return tuple(name for name, is_given in given.items() if is_given)


K = TypeVar("K", str, bytes)


def _require(items: tuple[T, ...], table: str) -> None:
    if not items:
        raise PolicyError(table, f"at least one [[{table}]] must be there")


def _quorum(items: tuple[T, ...], quorum: int | None, table: str, of: str) -> None:
    if (quorum is None) == bool(items):
        must = f"must be there, since there is a [[{of}]]" if items else f"goes with a [[{of}]]"
        raise PolicyError(table, must)
    if quorum is not None and not 1 <= quorum <= len(items):
        raise PolicyError(f"{table}.quorum", f"must be 1 to {len(items)}, the number of [[{of}]]")


def _once(items: tuple[T, ...], table: str, keys: list[K], name: str) -> dict[K, T]:
    found: dict[K, T] = {}
    for at, (key, item) in enumerate(zip(keys, items, strict=True)):
        if key in found:
            raise PolicyError(f"{table}[{at + 1}].{name}", "occurs twice")
        found[key] = item
    return found


def decode_policy(data: bytes) -> Policy:
    """Decode a policy file (at most 16 MiB of UTF-8 TOML).

    Raises:
        PolicyError: naming the key that is missing, unknown, duplicate, of another type or out of range.
    """
    if len(data) > MAX_BYTES:
        raise PolicyError("file", f"is larger than {MAX_BYTES} bytes")
    top = Table(decode_toml(data), "")
    if top.take("version", int) != VERSION:
        raise PolicyError("version", f"must be {VERSION}")
    operators = tuple(_each(top, "operator", _operator))
    clock = _clock(Table(top.take("clock", dict), "clock"))
    missing = _missing(Table(top.take("missing", dict, {}), "missing"))
    makers = tuple(_each(top, "maker", _maker, []))
    by_name = {maker.name: maker for maker in makers}
    devices = tuple(_each(top, "device", lambda table: _device(table, by_name)))
    tsas, witnesses = tuple(_each(top, "tsa", _tsa, [])), tuple(_each(top, "witness", _witness, []))
    anchors = _anchors(Table(top.take("anchors", dict), "anchors")) if top.has("anchors") else None
    quorum = _witness_quorum(Table(top.take("witnesses", dict), "witnesses")) if top.has("witnesses") else None
    ran = decode_build_trust(top), decode_attestation_trust(top), decode_platforms(top)
    top.end()
    return Policy(operators, clock, devices, missing, makers, tsas, anchors, witnesses, quorum, *ran)


def decode_tsas(data: bytes) -> tuple[TsaTrust, ...]:
    """The `[[tsa]]` tables of a file that has nothing else, as an authority may hand it out. Raises PolicyError."""
    top = Table(decode_toml(data), "")
    tsas = tuple(_each(top, "tsa", _tsa))
    top.end()
    return tsas


def _each(top: Table, name: str, read: Callable[[Table], T], default: list[T] | None = None) -> list[T]:
    values = top.take(name, list, default)
    return [read(Table(value, f"{name}[{at + 1}]")) for at, value in enumerate(values)]


def _operator(table: Table) -> OperatorTrust:
    name = decode_name(table.take("name", str), table.name("name"))
    log_key = decode_log_key(table.take("log_key", str), table.name("log_key"))
    level = table.take("level", str)
    if level not in LEVELS:
        raise PolicyError(table.name("level"), f"must be one of {', '.join(LEVELS)}")
    values = {part: decode_hashes(table.take(part, list), table.name(part)) for part in BUILD_PARTS if table.has(part)}
    any_build = table.take("unsafe_any_build", bool, False)
    operator = OperatorTrust(name, log_key, level, MappingProxyType(values), any_build)
    table.end()
    return operator


def decode_log_key(text: str, path: str) -> LogKey:
    """A log key from its vkey; PolicyError at *path* where it is not one."""
    try:
        return LogKey.from_vkey(text, path)
    except DecodeError as error:
        raise PolicyError(path, error.reason) from error


def decode_hashes(values: list[Any], path: str) -> tuple[bytes, ...]:
    """SHA-256 values from lower-case hex; PolicyError at *path* where one is not, or none is there."""
    if not values:
        raise PolicyError(path, "is empty; leave the key out, or name a value")
    for value in values:
        if not isinstance(value, str) or not _HASH.fullmatch(value):
            raise PolicyError(path, "each value must be a SHA-256 in 64 lower-case hex digits")
    return tuple(bytes.fromhex(value) for value in values)


def _clock(table: Table) -> ClockTrust:
    clock = ClockTrust(
        decode_duration(table.take("max_error", str), table.name("max_error")),
        table.take("allow_unknown_bound", bool, False),
        table.take("allow_unsynchronised", bool, False),
    )
    table.end()
    return clock


def decode_duration(text: str, path: str) -> int:
    """Nanoseconds from, for example, "250ms"; PolicyError at *path* unless 1 ns … 24 h."""
    duration_ns = _duration(text, _UNIT_NS)
    if not 1 <= duration_ns <= MAX_ERROR_NS:
        raise PolicyError(path, 'must be a number with a unit (ns, us, ms, s) such as "1s", from "1ns" to "86400s"')
    return duration_ns


def decode_bracket(text: str, path: str) -> int:
    """Nanoseconds from, for example, "10m"; PolicyError at *path* unless 1 ns … 366 days."""
    duration_ns = _duration(text, _LONG_UNIT_NS)
    if not 1 <= duration_ns <= MAX_BRACKET_NS:
        raise PolicyError(path, 'must be a number with a unit (s, m, h, d) such as "10m", at most "366d"')
    return duration_ns


def _duration(text: str, units: Mapping[str, int]) -> int:
    """0 for what is none."""
    match = _DURATION.fullmatch(text)
    return int(match[1]) * units.get(match[2], 0) if match else 0


def _missing(table: Table) -> MissingTrust:
    missing = MissingTrust(
        table.take("allow_withheld", bool, False),
        table.take("allow_lost", bool, False),
        table.take("allow_not_held", bool, False),
        table.take("allow_unlogged", bool, False),
        table.take("allow_unanchored", bool, False),
        table.take("allow_unwitnessed", bool, False),
        table.take("allow_no_beacon", bool, False),
        table.take("allow_not_rebuilt", bool, False),
        table.take("allow_unattested", bool, False),
    )
    table.end()
    return missing


def _tsa(table: Table) -> TsaTrust:
    name = decode_name(table.take("name", str), table.name("name"))
    roots = tuple(_binary(value, table.name("roots")) for value in table.take("roots", list))
    policies = tuple(_text(value, table.name("policy")) for value in table.take("policy", list))
    crls = tuple(_binary(value, table.name("crls")) for value in table.take("crls", list, []))
    table.end()
    try:
        return TsaTrust(name, roots, policies, crls)
    except DecodeError as error:
        wrong = _TSA_FIELDS.get(error.field, "roots")
        raise PolicyError(table.name(wrong), error.reason) from error


def _anchors(table: Table) -> AnchorTrust:
    bracket = decode_bracket(table.take("max_bracket", str), table.name("max_bracket"))
    anchors = AnchorTrust(table.take("quorum", int), bracket)
    table.end()
    return anchors


def _witness(table: Table) -> WitnessTrust:
    try:
        key = WitnessKey.from_vkey(table.take("key", str), table.name("key"))
    except DecodeError as error:
        raise PolicyError(table.name("key"), error.reason) from error
    operator = decode_name(table.take("operator", str), table.name("operator"))
    witness = WitnessTrust(key, operator, decode_name(table.take("name", str, key.name), table.name("name")))
    table.end()
    return witness


def _witness_quorum(table: Table) -> int:
    quorum = table.take("quorum", int)
    table.end()
    return quorum


def _text(value: object, path: str) -> str:
    if not isinstance(value, str):
        raise PolicyError(path, "must be a list of texts")
    return value


def _binary(value: object, path: str) -> bytes:
    try:
        return base64url_decode(_text(value, path))
    except DecodeError as error:
        raise PolicyError(path, error.reason) from error


def _maker(table: Table) -> MakerTrust:
    name = decode_name(table.take("name", str), table.name("name"))
    try:
        ca = decode_authority(base64url_decode(table.take("ca", str)))
    except DecodeError as error:
        raise PolicyError(table.name("ca"), error.reason) from error
    maker = MakerTrust(name, ca, table.take("hardware", bool, False))
    table.end()
    return maker


def _device(table: Table, makers: Mapping[str, MakerTrust]) -> DeviceTrust:
    name = table.take("id", str)
    check_topic_level(name, table.name("id"))
    key, maker = None, None
    if table.has("maker"):
        maker = makers.get(table.take("maker", str))
        if maker is None:
            raise PolicyError(table.name("maker"), "is the name of no [[maker]] in this policy")
        if table.has("key"):
            raise PolicyError(table.name("key"), "stands beside maker; leave one of them out")
    else:
        key = _device_key(table)
    bits = table.take("sequence_bits", int, 64)
    if bits not in SEQUENCE_BITS:
        raise PolicyError(table.name("sequence_bits"), "must be 64 or 8")
    table.end()
    return DeviceTrust(name, key, bits, maker)


def _device_key(table: Table) -> DeviceKey:
    try:
        return DeviceKey.from_spki(base64url_decode(table.take("key", str)))
    except DecodeError as error:
        raise PolicyError(table.name("key"), error.reason) from error


_CONTROLS = (*range(0x20), *range(0x7F, 0xA0))
_UNSEEN = (*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x206A), 0xAD, 0x3164, 0xFEFF)
_NOT_IN_A_LEVEL = frozenset("/+#") | {chr(point) for point in (*_CONTROLS, *_UNSEEN)}
"""A list of our own, because what `str.isprintable` says depends on the version of Python."""


def check_topic_level(name: str, path: str) -> None:
    """PolicyError at *path* unless *name* is one level of an MQTT topic, 1…255 bytes, that a reader can see whole."""
    if not 1 <= len(name.encode()) <= 255 or any(c in _NOT_IN_A_LEVEL for c in name):
        raise PolicyError(
            path, "must have 1 to 255 bytes, without /, +, #, control, direction and invisible characters"
        )


def encode_policy(policy: Policy) -> str:
    """The TOML text that decodes to *policy*."""
    lines = [f"version = {VERSION}"]
    for operator in policy.operators:
        lines += ["", "[[operator]]", f"name = {quote(operator.name)}", f"log_key = {quote(operator.log_key.vkey)}"]
        lines += [f"level = {quote(operator.level)}"]
        for part, values in operator.reference_values.items():
            lines.append(f"{part} = [{', '.join(quote(value.hex()) for value in values)}]")
        lines += [f"unsafe_any_build = {_bool(operator.unsafe_any_build)}"]
    clock, missing = policy.clock, policy.missing
    lines += ["", "[clock]", f"max_error = {quote(encode_duration(clock.max_error_ns))}"]
    lines += [f"allow_unknown_bound = {_bool(clock.allow_unknown_bound)}"]
    lines += [f"allow_unsynchronised = {_bool(clock.allow_unsynchronised)}"]
    lines += ["", "[missing]", f"allow_withheld = {_bool(missing.allow_withheld)}"]
    lines += [f"allow_not_held = {_bool(missing.allow_not_held)}"]
    lines += [f"allow_lost = {_bool(missing.allow_lost)}"]
    lines += [f"allow_unlogged = {_bool(missing.allow_unlogged)}"]
    lines += [f"allow_unanchored = {_bool(missing.allow_unanchored)}"]
    lines += [f"allow_unwitnessed = {_bool(missing.allow_unwitnessed)}"]
    lines += [f"allow_no_beacon = {_bool(missing.allow_no_beacon)}"]
    lines += [f"allow_not_rebuilt = {_bool(missing.allow_not_rebuilt)}"]
    lines += [f"allow_unattested = {_bool(missing.allow_unattested)}"]
    lines += [*_third_party_lines(policy), *build_trust_lines(policy.build)]
    lines += [*attestation_trust_lines(policy.attestation), *platform_lines(policy.platforms)]
    for maker in policy.makers:
        ca = base64url_encode(maker.ca.public_bytes(Encoding.DER))
        lines += ["", "[[maker]]", f"name = {quote(maker.name)}", f"ca = {quote(ca)}"]
        lines += [f"hardware = {_bool(maker.hardware)}"]
    for device in policy.devices:
        lines += ["", "[[device]]", f"id = {quote(device.id)}"]
        lines += [f"key = {quote(base64url_encode(device.key.spki))}"] if device.key else []
        lines += [f"maker = {quote(device.maker.name)}"] if device.maker else []
        lines += [f"sequence_bits = {device.sequence_bits}"]
    return "\n".join(lines) + "\n"


def _third_party_lines(policy: Policy) -> Iterator[str]:
    for tsa in policy.tsas:
        yield from ("", "[[tsa]]", f"name = {quote(tsa.name)}")
        yield f"roots = [{', '.join(quote(base64url_encode(root)) for root in tsa.roots)}]"
        yield f"policy = [{', '.join(quote(oid) for oid in tsa.policies)}]"
        if tsa.crls:
            yield f"crls = [{', '.join(quote(base64url_encode(crl)) for crl in tsa.crls)}]"
    if policy.anchors:
        yield from ("", "[anchors]", f"quorum = {policy.anchors.quorum}")
        yield f"max_bracket = {quote(encode_duration(policy.anchors.max_bracket_ns))}"
    for witness in policy.witnesses:
        yield from ("", "[[witness]]", f"name = {quote(witness.name)}", f"key = {quote(witness.key.vkey)}")
        yield f"operator = {quote(witness.operator)}"
    if policy.witness_quorum is not None:
        yield from ("", "[witnesses]", f"quorum = {policy.witness_quorum}")


def encode_duration(duration_ns: int) -> str:
    """The shortest text of a duration in ns that :func:`decode_duration` reads."""
    unit = next(unit for unit in ("s", "ms", "us", "ns") if duration_ns % _UNIT_NS[unit] == 0)
    return f"{duration_ns // _UNIT_NS[unit]}{unit}"


def _bool(value: bool) -> str:
    return "true" if value else "false"
