"""Deterministic CBOR (spec/encoding.md), and a well-formedness walker for the wider CBOR of devices (RFC 8949).

cbor2 never sees input that the walker has not passed: no tags, floats, indefinite lengths or declared lengths beyond
the input, so it cannot be made to build other types or to reserve memory. What it decodes must re-encode to the input.
"""

from typing import Final

import cbor2

from sigillo.core.errors import DecodeError

MAX_DEPTH: Final = 16
"""Arrays, maps and tags that may be open at once."""

MAX_PAIRS: Final = 24
"""Pairs of one of Sigillo's own maps: its keys are 0…23, and COSE headers are smaller still."""

_ARRAY: Final = -1  # an indefinite array is open
_MAP_KEY: Final = -2  # an indefinite map is open, a key or the break comes next
_MAP_VALUE: Final = -3  # an indefinite map is open, a value comes next
_BREAK: Final = b"\xff"


class TooDeep(DecodeError):
    """An item is nested deeper than the reader follows."""


def encode(value: object, field: str = "cbor") -> bytes:
    """Deterministic CBOR of None, bool, int (64 bits), bytes, str, list or tuple, and dict with int keys.

    Raises DecodeError, naming `field`, for any other type, an integer beyond 64 bits, text that is not Unicode, a map
    of more than 24 pairs, or a nesting deeper than 16.
    """
    return cbor2.dumps(_plain(value, field, 0))


def decode(data: bytes, field: str = "cbor") -> object:
    """Value of one deterministic CBOR item: None, bool, int, bytes, str, list, or dict with int keys.

    Tag 18 is not read here: COSE objects have it in front (`sigillo.core.cose`).
    Raises DecodeError, naming `field`, for input that is not exactly the deterministic encoding of its value.
    """
    end = _walk(data, 0, 0, field, deterministic=True)
    if end != len(data):
        raise DecodeError(field, f"{len(data) - end} bytes after the end of the CBOR item")
    try:
        value = cbor2.loads(data, allow_indefinite=False, allow_duplicate_keys=False)
    except cbor2.CBORError as error:
        raise DecodeError(field, f"not CBOR: {error}") from None
    if encode(value, field) != data:
        raise DecodeError(field, "not deterministic CBOR: it re-encodes to other bytes")
    return value


def item_end(data: bytes, start: int = 0, depth: int = 0, field: str = "cbor", *, max_depth: int = MAX_DEPTH) -> int:
    """Offset just after the well-formed CBOR item at `start` (RFC 8949 section 3 and appendix C), of any type.

    `depth` counts the arrays, maps and tags already open around it. Validity (UTF-8, what tags mean, keys of nested
    maps) is not judged. Raises DecodeError for an item that is malformed or cut off, TooDeep for one nested deeper than
    `max_depth`.
    """
    return _walk(data, start, depth, field, deterministic=False, max_depth=max_depth)


def read_head(data: bytes, position: int, field: str = "cbor") -> tuple[int, int, int, int]:
    """Head of the item at `position`: major type, additional information, argument, offset after the head.

    The argument is 0 where the additional information is 31 (indefinite length, break).
    Raises DecodeError where the input ends inside the head or the additional information is reserved (28…30).
    """
    if position >= len(data):
        raise DecodeError(field, f"cut off at byte {position}")
    major, info = data[position] >> 5, data[position] & 0x1F
    position += 1
    if info < 24:
        return major, info, info, position
    if info == 31:
        return major, info, 0, position
    if info > 27:
        raise DecodeError(field, f"reserved additional information at byte {position - 1}")
    size = 1 << (info - 24)
    if position + size > len(data):
        raise DecodeError(field, f"cut off at byte {len(data)}")
    return major, info, int.from_bytes(data[position : position + size], "big"), position + size


def is_shortest(info: int, argument: int) -> bool:
    """Whether a head with this additional information and argument is the shortest (RFC 8949 section 4.2.1)."""
    if info < 24:
        return True
    if info > 27:
        return False
    smallest = 24 if info == 24 else 1 << (8 << (info - 25))
    return argument >= smallest


def encode_head(major: int, argument: int) -> bytes:
    """Shortest head of a major type (0…7) with an argument (0…2⁶⁴-1)."""
    if argument < 24:
        return bytes([major << 5 | argument])
    for info, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if argument < 1 << (8 * size):
            return bytes([major << 5 | info]) + argument.to_bytes(size, "big")
    raise ValueError("argument beyond 64 bits")


def _walk(data: bytes, start: int, depth: int, field: str, *, deterministic: bool, max_depth: int = MAX_DEPTH) -> int:
    """Walk one item without recursion. `open_` holds, per open container, the items still to come, or its marker."""
    open_ = [1]
    position = start
    while open_:
        at = position
        if data[at : at + 1] == _BREAK:
            if open_.pop() not in (_ARRAY, _MAP_KEY):
                raise DecodeError(field, f"break out of place at byte {at}")
            position += 1
        else:
            _count(open_)
            major, info, argument, position = read_head(data, at, field)
            if deterministic:
                _refuse_undeterministic(major, info, argument, at, field)
            if major in (2, 3):
                position = _string_end(data, position, (major, info, argument), field)
            elif major in (4, 5, 6):
                open_.append(_items(major, info, argument, field))
                if open_[-1] > len(data) - position:
                    raise DecodeError(field, f"more items declared than bytes left, at byte {at}")
                if depth + len(open_) - 1 > max_depth:
                    raise TooDeep(field, f"nested deeper than {max_depth} at byte {at}")
            elif (major < 2 and info == 31) or (major == 7 and info == 24 and argument < 32):
                raise DecodeError(field, f"malformed head at byte {at}")
        while open_ and open_[-1] == 0:
            open_.pop()
    return position


def _count(open_: list[int]) -> None:
    """Note that one more item of the innermost container begins."""
    if open_[-1] > 0:
        open_[-1] -= 1
    elif open_[-1] == _MAP_KEY:
        open_[-1] = _MAP_VALUE
    elif open_[-1] == _MAP_VALUE:
        open_[-1] = _MAP_KEY


def _items(major: int, info: int, argument: int, field: str) -> int:
    """Items that an array, map or tag holds, or the marker of an indefinite one."""
    if major == 6:
        if info == 31:
            raise DecodeError(field, "a tag of indefinite length")
        return 1
    if info == 31:
        return _ARRAY if major == 4 else _MAP_KEY
    return argument if major == 4 else 2 * argument


def _string_end(data: bytes, position: int, head: tuple[int, int, int], field: str) -> int:
    """Offset after a string whose head ends at `position`; chunks of an indefinite one are definite, of its type."""
    major, info, length = head
    if info != 31:
        if length > len(data) - position:
            raise DecodeError(field, f"string runs past the end, at byte {position}")
        return position + length
    while data[position : position + 1] != _BREAK:
        at = position
        chunk_major, info, length, position = read_head(data, at, field)
        if chunk_major != major or info == 31:
            raise DecodeError(field, f"malformed chunk of an indefinite string at byte {at}")
        position = _string_end(data, position, (major, info, length), field)
    return position + 1


def _refuse_undeterministic(major: int, info: int, argument: int, at: int, field: str) -> None:
    if major == 6 or (major == 7 and info not in (20, 21, 22)):
        raise DecodeError(field, f"a type that is not used here (tag, float or simple value) at byte {at}")
    if not is_shortest(info, argument):
        raise DecodeError(field, f"a length or number not in its shortest form at byte {at}")
    if major == 5 and argument > MAX_PAIRS:
        raise DecodeError(field, f"more than {MAX_PAIRS} pairs in a map at byte {at}")


def _plain(value: object, field: str, depth: int) -> object:
    """The same value with map keys in the order of their encoding; only what deterministic CBOR may hold."""
    if value is None or isinstance(value, bool | bytes):
        return value
    if isinstance(value, int):
        if not -(1 << 64) <= value < 1 << 64:
            raise DecodeError(field, "an integer beyond 64 bits")
        return value
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise DecodeError(field, "text with a surrogate is not Unicode") from None
        return value
    if depth == MAX_DEPTH:
        raise DecodeError(field, f"nested deeper than {MAX_DEPTH}")
    if isinstance(value, list | tuple):
        return [_plain(item, field, depth + 1) for item in value]
    if isinstance(value, dict):
        if len(value) > MAX_PAIRS:
            raise DecodeError(field, f"more than {MAX_PAIRS} pairs in a map")
        if any(type(key) is not int for key in value):
            raise DecodeError(field, "a map key that is not an integer")
        keys = sorted(value, key=lambda key: (key < 0, abs(key)))
        return {_plain(key, field, depth): _plain(value[key], field, depth + 1) for key in keys}
    raise DecodeError(field, f"{type(value).__name__} has no place in deterministic CBOR")
