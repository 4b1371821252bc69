"""TOML: tables read key by key, so that a missing, unknown or wrongly typed key is named (spec/policy.md); strings."""

from __future__ import annotations

import datetime
import tomllib
from typing import Any, TypeVar

from sigillo.core.errors import PolicyError

T = TypeVar("T")
MAX_DOTS = 32
"""Dots in one key: tomllib's time grows with their square."""


class Table:
    """A TOML table that is read key by key; what is left at the end is unknown."""

    def __init__(self, value: object, path: str) -> None:
        if not isinstance(value, dict):
            raise PolicyError(path, "must be a table")
        self._left: dict[str, Any] = dict(value)
        self.path = path

    def name(self, key: str) -> str:
        """How an error names *key*: with the path of its table."""
        return f"{self.path}.{key}" if self.path else key

    def take(self, key: str, kind: type[T], default: T | None = None) -> T:
        """The value of *key*; PolicyError where it is absent without a default, or of another type."""
        if key not in self._left:
            if default is None:
                raise PolicyError(self.name(key), "is missing")
            return default
        value = self._left.pop(key)
        if type(value) is not kind:  # an exact comparison: bool is an int to isinstance
            raise PolicyError(self.name(key), f"must be {_KIND_NAMES[kind]}")
        return value

    def has(self, key: str) -> bool:
        """Whether *key* is there and was not taken yet."""
        return key in self._left

    def names(self) -> list[str]:
        """The keys that were not taken yet."""
        return list(self._left)

    def end(self) -> None:
        """PolicyError where a key was never taken: nobody knows it."""
        for key in sorted(self._left):
            raise PolicyError(self.name(key), "is not a key of this table")


_KIND_NAMES: dict[type, str] = {
    str: "a string",
    int: "an integer",
    bool: "true or false",
    list: "a list",
    dict: "a table",
    datetime.datetime: "a date and time",
}


def decode_toml(data: bytes) -> dict[str, Any]:
    """TOML from bytes; PolicyError where it is not UTF-8 or not TOML."""
    try:
        text = data.decode("utf-8")
        if any(line.partition("=")[0].count(".") > MAX_DOTS for line in text.splitlines()):
            raise PolicyError("file", f"has a key with more than {MAX_DOTS} dots")
        return tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise PolicyError("file", f"is not UTF-8 text (byte {error.start})") from error
    except RecursionError as error:
        raise PolicyError("file", "is nested too deeply") from error
    except ValueError as error:  # TOMLDecodeError, and the interpreter's limit on digits
        raise PolicyError("file", f"is not valid TOML: {error}") from error


def decode_name(text: str, path: str) -> str:
    """The name of a party; PolicyError at *path* unless it has 1…255 bytes."""
    if not 1 <= len(text.encode()) <= 255:
        raise PolicyError(path, "must have 1 to 255 bytes")
    return text


def quote(text: str) -> str:
    """A TOML basic string (TOML 1.0, "String"): control characters escaped, U+007F too, which JSON leaves as it is."""
    escaped = "".join(
        f"\\{c}" if c in '"\\' else f"\\u{ord(c):04x}" if ord(c) < 0x20 or ord(c) == 0x7F else c for c in text
    )
    return f'"{escaped}"'
