"""How a token is asked for and comes: TimeStampReq and TimeStampResp of RFC 3161 (spec/timestamp.md, "Exchange")."""

from __future__ import annotations

import hashlib
from typing import Final

from sigillo.core import der
from sigillo.core.der import Reader
from sigillo.core.errors import DecodeError, SignatureError
from sigillo.core.timestamp import MAX_TOKEN, Token, decode_token

REQUEST_TYPE: Final = "application/timestamp-query"
RESPONSE_TYPE: Final = "application/timestamp-reply"
MAX_REQUEST: Final = 1024
MAX_RESPONSE: Final = 2 * MAX_TOKEN
NONCE_BITS: Final = 64

_FIELD: Final = "time-stamp response"
_VERSION_1: Final = b"\x02\x01\x01"
_SHA256: Final = bytes.fromhex("300d06096086480165030402010500")
_GRANTED: Final = (0, 1)
_MAX_STATUS: Final = 5
_WORDS: Final = 200


class RefusedRequest(SignatureError):
    """The authority refuses to make a token, and says so."""


def encode_request(message: bytes, nonce: int) -> bytes:
    """A request for a token over *message*, with the signing certificate in it. *nonce*: 0…2⁶⁴-1."""
    imprint = der.encode(der.SEQUENCE, _SHA256, der.encode(der.OCTET_STRING, hashlib.sha256(message).digest()))
    number = der.encode(der.INTEGER, nonce.to_bytes(nonce.bit_length() // 8 + 1, "big"))
    return der.encode(der.SEQUENCE, _VERSION_1, imprint, number, der.encode(der.BOOLEAN, b"\xff"))


def read_response(data: bytes, message: bytes, nonce: int) -> tuple[bytes, Token]:
    """The token (DER) that answers a request for *message* with *nonce*, and what it says; its signature not verified.

    Raises DecodeError where it cannot be read, RefusedRequest, SignatureError where it is about something else or has
    another nonce, or none.
    """
    if len(data) > MAX_RESPONSE:
        raise DecodeError(_FIELD, f"is larger than {MAX_RESPONSE} bytes")
    whole = Reader(data, _FIELD)
    reader = whole.within(der.SEQUENCE)
    whole.end()
    _check_status(reader.within(der.SEQUENCE))
    token = reader.next(der.SEQUENCE).whole
    reader.end()
    said = decode_token(token)
    if said.imprint != hashlib.sha256(message).digest():
        raise SignatureError("the token is about something else")
    if said.nonce != nonce:
        raise SignatureError("the token has another nonce than was asked for, or none: it may be an old one")
    return token, said


def _check_status(status: Reader) -> None:
    code = status.integer(max_size=1)
    if code in _GRANTED:
        return  # what else it says changes nothing
    if code > _MAX_STATUS:
        raise DecodeError(_FIELD, f"has the status {code}, which RFC 3161 does not know")
    words = status.optional(der.SEQUENCE)
    text = words.content[2:_WORDS].decode("utf-8", "replace") if words else ""
    raise RefusedRequest(f"refuses with status {code}{': ' if text else ''}{text}")
