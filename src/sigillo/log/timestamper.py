"""Asks a time-stamp authority for a token over HTTP (spec/timestamp.md, "Exchange")."""

from __future__ import annotations

import http.client
import secrets
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from sigillo.core.errors import DecodeError, SigilloError, SignatureError
from sigillo.core.revocation import MAX_CRL, decode_crl
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
    """Where an authority answers. `roots`, `chain`: certificates (DER) of it, if any are known here.

    `crls`: files and URLs of the revocation lists of its CAs.
    """

    name: str
    url: str
    roots: tuple[bytes, ...] = ()
    chain: tuple[bytes, ...] = ()
    crls: tuple[str, ...] = ()

    @property
    def certificates(self) -> tuple[bytes, ...]:
        """All that are known, to be kept beside a token."""
        return (*self.chain, *self.roots)


def obtain(
    address: TsaAddress, message: bytes, patience_s: float = PATIENCE_S, crls: Sequence[bytes] = ()
) -> tuple[bytes, Token]:
    """A fresh token (DER) over *message*, and what it says. *crls*: revocation lists (DER). Raises TimestampError."""
    nonce = secrets.randbits(NONCE_BITS)
    try:
        token, said = read_response(_post(address.url, encode_request(message, nonce), patience_s), message, nonce)
        if address.roots:  # the policy is whatever it says: who relies on the token pins that
            verify_token(token, message, TsaTrust(address.name, address.roots, (said.policy,)), address.chain, crls)
    except (DecodeError, SignatureError) as error:
        raise TimestampError(f"gives no token that can be used: {error}") from None
    return token, said


def read_crl(place: str, patience_s: float) -> bytes:
    """The revocation list (DER) in a file, or at a URL. Raises TimestampError."""
    if place.startswith("/"):
        content = _read(Path(place))
    else:
        content, _ = _ask(place, None, {"Accept": "application/pkix-crl"}, MAX_CRL, patience_s)
    try:
        decode_crl(content)
    except DecodeError as error:
        raise TimestampError(str(error)) from None
    return content


def _read(path: Path) -> bytes:
    try:
        if not path.is_file():  # nothing that would wait for a writer
            raise TimestampError("is no file")
        with path.open("rb") as file:
            return file.read(MAX_CRL + 1)
    except OSError as error:
        raise TimestampError(f"cannot be read: {error.strerror}") from None


def _post(url: str, request: bytes, patience_s: float) -> bytes:
    """The body of a good answer. Raises TimestampError."""
    headers = {"Content-Type": REQUEST_TYPE, "Accept": RESPONSE_TYPE}
    content, content_type = _ask(url, request, headers, MAX_RESPONSE, patience_s)
    if content_type != RESPONSE_TYPE:
        raise TimestampError(f"answers with {content_type[:80] or 'something'}, not {RESPONSE_TYPE}")
    return content


def _ask(url: str, request: bytes | None, headers: dict[str, str], most: int, patience_s: float) -> tuple[bytes, str]:
    """Body and type of an answer with status 200, to a GET where there is no *request*. Raises TimestampError.

    Of a body of more than *most* bytes one byte more is read.
    """
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=min(_IDLE_S, patience_s))
    too_long = threading.Timer(patience_s, _cut_off, (connection,))
    too_long.daemon = True
    too_long.start()
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("POST" if request else "GET", target, request, headers)
        response = connection.getresponse()
        content = response.read(most + 1)
        content_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise TimestampError(f"does not answer: {str(error) or type(error).__name__}") from None
    finally:
        too_long.cancel()
        connection.close()
    if response.status != http.client.OK:
        raise TimestampError(f"answers with status {response.status}")
    return content, content_type


def _cut_off(connection: http.client.HTTPConnection) -> None:
    if connection.sock is not None:
        with suppress(OSError):
            socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)  # below TLS, which another thread is reading
