"""JSON that has one form: what is read must be byte for byte what would be written (spec/evidence.md)."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from sigillo.core.errors import DecodeError

_MAX_DIGITS = 18
HALF_PAIR = "holds half of a surrogate pair, which is no character"


def canonical_object(data: bytes, where: str, hint: str = "") -> dict[str, Any]:
    """The JSON object of bytes that are exactly its canonical form. Raises DecodeError at *where*.

    *hint*: what to say besides where they are no JSON at all.
    """
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_no_key_twice,
            parse_int=_small_integer,
            parse_float=_refuse_number,
            parse_constant=_refuse_number,
        )
        if not isinstance(value, dict):
            raise DecodeError(where, "must be a JSON object")
        again = canonical(value)
    except UnicodeDecodeError as error:
        raise DecodeError(where, f"is not UTF-8 (byte {error.start} of the line){hint}") from error
    except UnicodeEncodeError as error:
        raise DecodeError(where, HALF_PAIR) from error
    except json.JSONDecodeError as error:
        raise DecodeError(where, f"is not JSON (column {error.colno}: {error.msg}){hint}") from error
    except RecursionError as error:
        raise DecodeError(where, "is nested too deeply") from error
    except _RefusedJsonError as error:
        raise DecodeError(where, str(error)) from error
    if again != data:
        raise DecodeError(where, "is not in canonical form: keys in order, no spaces, no needless escapes")
    return value


class _RefusedJsonError(ValueError):
    """JSON that the standard library would accept and this format does not."""


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise _RefusedJsonError("has a key twice")
    return value


def _small_integer(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise _RefusedJsonError("has a number that is out of range")
    return int(digits)


def _refuse_number(_text: str) -> NoReturn:
    raise _RefusedJsonError("has a number that is not a whole number")


def canonical(value: dict[str, Any]) -> bytes:
    """The canonical form of a JSON object, without LF. Raises UnicodeEncodeError for text that is not UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode("utf-8")


def encode_object(value: dict[str, Any], where: str) -> bytes:
    """As `canonical`; raises DecodeError at *where*."""
    try:
        return canonical(value)
    except UnicodeEncodeError as error:
        raise DecodeError(where, HALF_PAIR) from error
