"""COSE objects put together byte by byte, validly signed whatever is inside: what no honest encoder writes."""

from __future__ import annotations

from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sigillo.core.cbor import encode_head
from sigillo.core.evidence import decode_lines
from sigillo.core.evidence_line import Line, MessageLine
from sigillo.core.line import split_lines
from sigillo.core.mark import decode_mark

from .broker import Broker

GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493  # of Ed25519, RFC 8032 section 5.1


def bytes_item(data: bytes) -> bytes:
    """A CBOR byte string."""
    return encode_head(2, len(data)) + data


def sign1(protected: bytes, payload: bytes, key: Ed25519PrivateKey, unprotected: bytes = b"\xa0") -> bytes:
    """A tagged COSE_Sign1 of exactly these bytes."""
    signed = b"\x84\x6aSignature1" + bytes_item(protected) + b"\x40" + bytes_item(payload)
    signature = key.sign(signed)
    return b"\xd2\x84" + bytes_item(protected) + unprotected + bytes_item(payload) + bytes_item(signature)


def resigned(broker: Broker, line: MessageLine, change: Callable[[bytes], bytes]) -> MessageLine:
    """The same message, its mark's payload changed as bytes and signed again by the epoch key."""
    assert broker.epoch
    mark = decode_mark(line.mark)
    assert mark.salt
    salt = b"\xa1\x3a\x00\x01\x00\x00\x50" + mark.salt
    payload = change(mark.sign1.payload)
    assert payload != mark.sign1.payload
    return MessageLine(line.topic, line.payload, sign1(mark.sign1.protected_bytes, payload, broker.epoch.key, salt))


def body(data: bytes) -> list[Line]:
    """The lines of an evidence file between header and trailer."""
    return [numbered.line for numbered in decode_lines(split_lines([data]))][1:-1]
