"""Objects that others than the plugin and the log make: tokens, attestation evidence, key changes.

The log looks at their form only (spec/log-storage.md, "Incoming"); what they prove is for who reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from sigillo.core import cbor
from sigillo.core.bytes import object_hash
from sigillo.core.entry import Kind
from sigillo.core.errors import DecodeError

_SEQUENCE: Final = 0x30


@dataclass(frozen=True, slots=True)
class Form:
    """Name of a kind, which is its domain and begins its file's name, and the bytes of its largest object."""

    name: str
    limit: int


SUBMITTED: Final[Mapping[Kind, Form]] = MappingProxyType(
    {
        Kind.TOKEN: Form("token", 65_536),
        Kind.ATTESTATION_EVIDENCE: Form("attestation-evidence", 2**20),
        Kind.KEY_CHANGE: Form("key-change", 2**20),
    }
)
"""The kinds that are submitted."""


def submitted_hash(kind: Kind, data: bytes) -> bytes:
    """Object hash, 32 bytes, of an object of one of the kinds in ``SUBMITTED``.

    Raises DecodeError where it is too large, or not one DER SEQUENCE (token), one deterministic CBOR map (the others).
    """
    form = SUBMITTED[kind]
    if len(data) > form.limit:
        raise DecodeError(form.name, f"has {len(data)} bytes, more than {form.limit}")
    if kind is Kind.TOKEN:
        _check_sequence(data)
    elif not isinstance(cbor.decode(data, form.name), dict):
        raise DecodeError(form.name, "is not a CBOR map")
    return object_hash(form.name, data)


def _check_sequence(data: bytes) -> None:
    """One DER SEQUENCE and nothing behind it; what is in it is not looked at."""
    length, begin = data[1] if len(data) > 1 else 0, 2
    if length >= 0x80:
        digits = data[2 : 2 + length - 0x80]
        length, begin = int.from_bytes(digits), 2 + len(digits)
        if length < 0x80 or digits[0] == 0:
            raise DecodeError("token", "has a length that is not in the shortest form of DER")
    if data[:1] != bytes([_SEQUENCE]) or begin + length != len(data):
        raise DecodeError("token", "is not one DER SEQUENCE and nothing behind it")
