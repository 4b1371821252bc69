"""Checks on single decoded values. Each returns the value with its type, or raises DecodeError naming the field."""

import re
from collections.abc import Collection
from enum import IntEnum
from itertools import pairwise
from typing import Final, TypeVar

from sigillo.core.errors import DecodeError

UINT32_MAX: Final = 2**32 - 1
UINT64_MAX: Final = 2**64 - 1
HASH_SIZE: Final = 32
TEXT_MAX: Final = 65_535
"""Bytes of the longest MQTT string (MQTT 5 section 1.5.4)."""
_DECIMAL: Final = re.compile(r"0|[1-9][0-9]{0,19}")
_HEX_HASH: Final = re.compile(r"[0-9a-f]{64}")

Choice = TypeVar("Choice", bound=IntEnum)


def integer(value: object, field: str, low: int = 0, high: int = UINT64_MAX) -> int:
    """An integer low…high; a bool is none."""
    if type(value) is not int:
        raise DecodeError(field, "is not an integer")
    if not low <= value <= high:
        raise DecodeError(field, f"{value} is not within {low}…{high}")
    return value


def decimal(value: str, field: str, low: int = 0, high: int = UINT64_MAX) -> int:
    """An integer low…high of its ASCII decimal digits, without leading zeros."""
    if not _DECIMAL.fullmatch(value):
        raise DecodeError(field, "is not a decimal number without leading zeros")
    return integer(int(value), field, low, high)


def boolean(value: object, field: str) -> bool:
    """`True` or `False`; 0 and 1 are neither."""
    if type(value) is not bool:
        raise DecodeError(field, "is not true or false")
    return value


def byte_string(value: object, field: str, low: int = HASH_SIZE, high: int | None = None) -> bytes:
    """Bytes of length low…high; exactly `low` where `high` is not given."""
    high = low if high is None else high
    if type(value) is not bytes:
        raise DecodeError(field, "is not a byte string")
    if not low <= len(value) <= high:
        expected = f"{low}" if low == high else f"{low}…{high}"
        raise DecodeError(field, f"is {len(value)} bytes long, not {expected}")
    return value


def text(value: object, field: str, low: int = 0, high: int = TEXT_MAX, *, allow_nul: bool = True) -> str:
    """Text whose UTF-8 encoding is low…high bytes long."""
    if type(value) is not str:
        raise DecodeError(field, "is not text")
    try:
        length = len(value.encode("utf-8"))
    except UnicodeEncodeError:
        raise DecodeError(field, "holds a surrogate, which UTF-8 cannot encode") from None
    if not low <= length <= high:
        raise DecodeError(field, f"is {length} bytes long, not {low}…{high}")
    if not allow_nul and "\0" in value:
        raise DecodeError(field, "holds U+0000")
    return value


def array(value: object, field: str, *lengths: int) -> list[object]:
    """A list of one of these lengths; of any length where none is given."""
    if not isinstance(value, list):
        raise DecodeError(field, "is not an array")
    if lengths and len(value) not in lengths:
        raise DecodeError(field, f"has {len(value)} items, not {' or '.join(map(str, lengths))}")
    return value


def numbered_map(
    value: object, field: str, required: Collection[int], optional: Collection[int] = ()
) -> dict[int, object]:
    """A map with all required keys, perhaps optional ones, and no other."""
    if not isinstance(value, dict):
        raise DecodeError(field, "is not a map")
    for key in required:
        if key not in value:
            raise DecodeError(field, f"key {key} is missing")
    for key in value:
        if key not in required and key not in optional:
            raise DecodeError(field, f"unknown key {key}")
    return value


def members(value: object, field: str, *names: str) -> dict[str, object]:
    """A JSON object with exactly these members."""
    if not isinstance(value, dict):
        raise DecodeError(field, "is not an object")
    for name in names:
        if name not in value:
            raise DecodeError(f"{field}, {name}", "is missing")
    for name in value:
        if name not in names:
            raise DecodeError(f"{field}, {name[:32]}", "is not a member of it")
    return value


def matching(value: object, field: str, pattern: re.Pattern[str], meant: str) -> str:
    """Text that *pattern* matches as a whole; *meant* says for people what that is."""
    checked = text(value, field)
    if not pattern.fullmatch(checked):
        raise DecodeError(field, f"is not {meant}")
    return checked


def hex_hash(value: object, field: str) -> bytes:
    """A SHA-256, 32 bytes, of its lower-case hex."""
    return bytes.fromhex(matching(value, field, _HEX_HASH, "a SHA-256 in 64 lower-case hex digits"))


def choice(value: object, field: str, kind: type[Choice]) -> Choice:
    """A member of an enumeration of integers."""
    number = integer(value, field)
    if number not in {int(member) for member in kind}:
        raise DecodeError(field, f"{number} is none of {', '.join(str(int(member)) for member in kind)}")
    return kind(number)


def ascending(values: list[str], field: str) -> tuple[str, ...]:
    """Texts in strictly ascending order of their UTF-8 bytes, so unique."""
    encoded = [value.encode("utf-8") for value in values]
    if any(first >= second for first, second in pairwise(encoded)):
        raise DecodeError(field, "is not in ascending order without repeats")
    return tuple(values)
