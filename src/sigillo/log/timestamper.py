"""Asks a time-stamp authority for a token over HTTP (spec/timestamp.md, "Exchange")."""

from __future__ import annotations

import http.client
import secrets
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from sigillo.core.errors import DecodeError, SigilloError, SignatureError
from sigillo.core.timestamp import Token, TsaTrust, verify_token
from sigillo.core.timestamp_exchange import (
    MAX_RESPONSE,
    NONCE_BITS,
    REQUEST_TYPE,
    RESPONSE_TYPE,
    encode_request,
    read_response,
)

PATIENCE_S: Final = 30.0
"""Longest life of one request, whatever the authority sends meanwhile."""

_IDLE_S: Final = 10.0


class TimestampError(SigilloError):
    """An authority gave no token that can be used; the text says why, without its name."""


@dataclass(frozen=True, slots=True)
class TsaAddress:
    """Where an authority answers. `roots`, `chain`: certificates (DER) of it, if any are known here."""

    name: str
    url: str
    roots: tuple[bytes, ...] = ()
    chain: tuple[bytes, ...] = ()

    @property
    def certificates(self) -> tuple[bytes, ...]:
        """All that are known, to be kept beside a token."""
        return (*self.chain, *self.roots)


def obtain(address: TsaAddress, message: bytes, patience_s: float = PATIENCE_S) -> tuple[bytes, Token]:
    """A fresh token (DER) over *message*, and what it says. Raises TimestampError."""
    nonce = secrets.randbits(NONCE_BITS)
    try:
        token, said = read_response(_post(address.url, encode_request(message, nonce), patience_s), message, nonce)
        if address.roots:  # the policy is whatever it says: who relies on the token pins that
            verify_token(token, message, TsaTrust(address.name, address.roots, (said.policy,)), address.chain)
    except (DecodeError, SignatureError) as error:
        raise TimestampError(f"gives no token that can be used: {error}") from None
    return token, said


def _post(url: str, request: bytes, patience_s: float) -> bytes:
    """The body of a good answer. Raises TimestampError."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=min(_IDLE_S, patience_s))
    too_long = threading.Timer(patience_s, _cut_off, (connection,))
    too_long.daemon = True
    too_long.start()
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("POST", target, request, {"Content-Type": REQUEST_TYPE, "Accept": RESPONSE_TYPE})
        response = connection.getresponse()
        content = response.read(MAX_RESPONSE + 1)
        content_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise TimestampError(f"does not answer: {str(error) or type(error).__name__}") from None
    finally:
        too_long.cancel()
        connection.close()
    if response.status != http.client.OK:
        raise TimestampError(f"answers with status {response.status}")
    if content_type != RESPONSE_TYPE:
        raise TimestampError(f"answers with {content_type[:80] or 'something'}, not {RESPONSE_TYPE}")
    return content


def _cut_off(connection: http.client.HTTPConnection) -> None:
    if connection.sock is not None:
        with suppress(OSError):
            socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)  # below TLS, which another thread is reading
