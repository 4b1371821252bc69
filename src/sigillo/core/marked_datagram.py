"""Marked datagram, the carrier `datagram`: spec/marked-datagram.md. The broker's two keys behind a device's `SIGN`.

Which payloads get them is the broker's rule, narrower than well-formed CBOR and wider than a good device message: the
structure only, so that a broker needs to know no key but `SIGN`.
"""

from dataclasses import dataclass
from typing import Final

from sigillo.core import cbor
from sigillo.core.cose import SIGNATURE_SIZE, verify_ed25519
from sigillo.core.datagram import BROKER_KEYS, Pair, pairs_of
from sigillo.core.errors import DecodeError, SignatureError
from sigillo.core.field import byte_string
from sigillo.core.statement import Carrier

MAX_PAIRS: Final = 64
"""Pairs of a datagram that a broker marks inside."""
MAX_LENIENT_DEPTH: Final = 1_024
"""How deep a payload is searched for the broker's keys."""
_FIELD: Final = "marked datagram"
_TIME_KEY: Final = b"\x6eINGESTION_TIME"
_TOKEN_KEY: Final = b"\x72VERIFICATION_TOKEN"
_BREAK: Final = b"\xff"
_REFERENCES: Final = (25, 29)
"""Tags of a text that stands elsewhere: string reference, shared reference."""
_INDEFINITE: Final = b"\xbf"
_NS_PER_MS: Final = 10**6


@dataclass(frozen=True, slots=True)
class MarkedDatagram:
    """A decoded marked datagram, not verified.

    `received`: the payload as the device sent it; `ingestion_time`: ms of Unix time; `token`: the broker's, as it is;
    `token_bytes`: what a raw token signs.
    """

    received: bytes
    ingestion_time: int
    token: bytes
    token_bytes: bytes


def is_signed_datagram(payload: bytes) -> bool:
    """Whether the broker appends its keys to this payload (spec/marked-datagram.md, "Which payloads")."""
    try:
        pairs, _, _ = pairs_of(payload)
        _check_signed(payload, pairs)
    except DecodeError:
        return False
    return True


def has_broker_keys(payload: bytes) -> bool:
    """Whether a top-level map has one of the broker's keys in any form that a lenient reader might take for it."""
    try:
        return _has_broker_keys(payload)
    except cbor.TooDeep:
        return True  # nobody can tell
    except DecodeError:  # malformed further on: the keys up to there were others
        return False


def encode_marked_datagram(received: bytes, time_ns: int, token: bytes) -> bytes:
    """A signed datagram with the broker's two keys; *time_ns*: of the mark. Raises DecodeError for other payloads."""
    return _with_pairs(received, _time_pair(time_ns) + _TOKEN_KEY + cbor.encode_head(2, len(token)) + token, 2)


def token_bytes(received: bytes, time_ns: int) -> bytes:
    """What a raw token signs: the datagram with `INGESTION_TIME` alone. Raises DecodeError."""
    return _with_pairs(received, _time_pair(time_ns), 1)


def decode_marked_datagram(payload: bytes) -> MarkedDatagram:
    """Take the broker's keys off a marked datagram. Raises DecodeError for what is none."""
    pairs, head_end, definite = pairs_of(payload)
    if tuple(pair.key for pair in pairs[-2:]) != BROKER_KEYS:
        raise DecodeError(_FIELD, f"its last keys are not {' and '.join(BROKER_KEYS)}")
    time_pair, token_pair = pairs[-2:]
    _check_signed(payload, pairs[:-2])
    return MarkedDatagram(
        received=_cut(payload, len(pairs) - 2, head_end, time_pair.start, definite=definite),
        ingestion_time=_ingestion_time(payload, time_pair),
        token=_token(payload, token_pair),
        token_bytes=_cut(payload, len(pairs) - 1, head_end, token_pair.start, definite=definite),
    )


def marked_datagram(payload: bytes) -> MarkedDatagram | None:
    """The same, or None where it is none."""
    try:
        return decode_marked_datagram(payload)
    except DecodeError:
        return None


def payload_as_received(
    payload: bytes, mark_bytes: bytes, time_ns: int, carrier: Carrier, token_key: bytes | None
) -> bytes:
    """The payload that the mark commits to, of one *payload* as delivered or as received.

    *mark_bytes*: the tagged mark; *time_ns*: its time; *token_key*: the statement's, where it has one. Only the carrier
    `datagram` changes a payload; its two keys, where they are there, must be what the broker writes for this mark.
    Raises DecodeError or SignatureError. That the mark commits to the result is for the caller to check.
    """
    if carrier is not Carrier.DATAGRAM:
        return payload
    found = marked_datagram(payload)
    if found is None:
        return payload
    if found.ingestion_time != time_ns // _NS_PER_MS:
        raise DecodeError("INGESTION_TIME", "is not the time of the mark")
    if token_key is None:
        if found.token != mark_bytes:
            raise DecodeError("VERIFICATION_TOKEN", "is not the mark")
    elif len(found.token) != SIGNATURE_SIZE:
        raise SignatureError("VERIFICATION_TOKEN is not a raw token of 64 bytes")
    else:
        verify_ed25519(token_key, found.token, found.token_bytes)
    return found.received


def _check_signed(payload: bytes, pairs: list[Pair]) -> None:
    if not 1 <= len(pairs) <= MAX_PAIRS:
        raise DecodeError(_FIELD, f"has not 1 to {MAX_PAIRS} pairs before the broker's")
    sign = pairs[-1]
    if sign.key != "SIGN":
        raise DecodeError(_FIELD, "SIGN is not the device's last key")
    major, info, length, _ = cbor.read_head(payload, sign.value_start, "SIGN")
    if major != 2 or info == 31 or length != SIGNATURE_SIZE:
        raise DecodeError("SIGN", f"is not a byte string of {SIGNATURE_SIZE} bytes")
    if any(pair.key in BROKER_KEYS for pair in pairs):
        raise DecodeError(_FIELD, "the broker's keys are not the last")


def _time_pair(time_ns: int) -> bytes:
    return _TIME_KEY + cbor.encode_head(0, time_ns // _NS_PER_MS)


def _with_pairs(received: bytes, added: bytes, count: int) -> bytes:
    pairs, head_end, definite = pairs_of(received)
    _check_signed(received, pairs)
    if definite:
        return cbor.encode_head(5, len(pairs) + count) + received[head_end:] + added
    return received[:-1] + added + _BREAK


def _cut(payload: bytes, pairs: int, head_end: int, end: int, *, definite: bool) -> bytes:
    """The map up to byte *end*, closed as one of so many *pairs*."""
    body = payload[head_end:end]
    return cbor.encode_head(5, pairs) + body if definite else _INDEFINITE + body + _BREAK


def _ingestion_time(payload: bytes, pair: Pair) -> int:
    major, info, argument, _ = cbor.read_head(payload, pair.value_start, pair.key)
    if major != 0 or not cbor.is_shortest(info, argument):
        raise DecodeError(pair.key, "is not an unsigned integer in shortest form")
    return argument


def _token(payload: bytes, pair: Pair) -> bytes:
    major, info, length, start = cbor.read_head(payload, pair.value_start, pair.key)
    if major != 2 or not cbor.is_shortest(info, length):
        raise DecodeError(pair.key, "is not a definite byte string with a shortest head")
    return byte_string(payload[start : pair.end], pair.key, length)


def _has_broker_keys(payload: bytes) -> bool:
    major, info, count, position = _untagged_head(payload)
    if major != 5:
        return False
    left = count if info != 31 else -1
    while left and payload[position : position + 1] != (_BREAK if info == 31 else b""):
        if _may_be_broker_key(payload, position):
            return True
        for _ in ("key", "value"):
            position = cbor.item_end(payload, position, 1, _FIELD, max_depth=MAX_LENIENT_DEPTH)
        left -= 1
    return False


def _untagged_head(payload: bytes) -> tuple[int, int, int, int]:
    head = cbor.read_head(payload, 0, _FIELD)
    while head[0] == 6:
        head = cbor.read_head(payload, head[3], _FIELD)
    return head


def _may_be_broker_key(payload: bytes, position: int) -> bool:
    """Whether some reader might take the key at *position* for one of the broker's: who knows a tag drops it."""
    while (head := cbor.read_head(payload, position, _FIELD))[0] == 6:
        if head[2] in _REFERENCES:
            return True  # nobody can tell
        position = head[3]
    return _text(payload, position) in BROKER_KEYS


def _text(payload: bytes, position: int) -> str | None:
    """The text at *position*, whatever its form; None where something else stands there."""
    major, info, length, start = cbor.read_head(payload, position, _FIELD)
    if major != 3:
        return None
    if info != 31:
        return payload[start : start + length].decode("utf-8", "replace") if start + length <= len(payload) else None
    chunks = b""
    while payload[start : start + 1] != _BREAK:
        chunk_major, info, length, start = cbor.read_head(payload, start, _FIELD)
        if chunk_major != 3 or info == 31:
            return None
        chunks += payload[start : start + length]
        start += length
    return chunks.decode("utf-8", "replace")
