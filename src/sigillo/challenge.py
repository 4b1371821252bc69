"""Asks a running broker for a fresh quote of its TPM (spec/challenge.md). Needs no TPM; trusts nothing that comes."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import threading
import time
from typing import Final
from urllib.parse import SplitResult, urlsplit

from sigillo.core.challenge import MAX_ANSWER, ChallengeAnswer, decode_challenge_answer, encode_request
from sigillo.core.errors import DecodeError, SigilloError

TIMEOUT_S: Final = 30.0
"""Enough for a slow chip, and a queue before it."""
_OK: Final = 200
_MAX_ERROR: Final = 4096
_MAX_WORDS: Final = 200
_REMEDY: Final = "name the log's own address, for example http://127.0.0.1:8380"


class ChallengeError(SigilloError):
    """A broker gave no answer: nothing is attested now. *status*: the HTTP status it gave instead, None where none."""

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.reason, self.status = reason, status


def fetch_challenge(url: str, nonce: bytes, timeout: float = TIMEOUT_S) -> ChallengeAnswer:
    """The answer of the broker whose log is at *url* (http or https) to *nonce*, 32 random bytes made for this call.

    It is decoded and **not verified**: `sigillo.core.challenge.verify_challenge_answer` is next. *timeout*: seconds,
    whatever the server sends meanwhile. Raises ChallengeError where there is no answer, or what comes is none;
    DecodeError for a nonce that is not 32 bytes. No redirect is followed.
    """
    parts, target = _split(url), encode_request(nonce)
    status, kind, content = _get(url, parts, parts.path.rstrip("/") + target, timeout)
    if status != _OK:
        raise ChallengeError(f"{url}: no quote (status {status}): {_words(content[:_MAX_ERROR])}", status)
    if len(content) > MAX_ANSWER:
        raise ChallengeError(f"{url}: the answer is longer than {MAX_ANSWER} bytes: no answer of Sigillo", status)
    if kind != "application/json":
        raise ChallengeError(f"{url}: answers with {kind[:64]!r}, not with JSON; {_REMEDY}", status)
    try:
        return decode_challenge_answer(content)
    except DecodeError as error:
        raise ChallengeError(f"{url}: what comes is no answer to a challenge: {error}", status) from None


def _split(url: str) -> SplitResult:
    """The parts of a URL that can be asked. Raises ChallengeError."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # raises for one that is none
    except ValueError as error:
        raise ChallengeError(f"{url}: is no URL ({error}); {_REMEDY}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ChallengeError(f"{url}: is no http or https URL; {_REMEDY}")
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise ChallengeError(f"{url}: has a user, a query or a fragment, which have no place here; {_REMEDY}")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ChallengeError(f"{url!r}: holds characters that no URL has; {_REMEDY}")
    return parts


def _get(url: str, parts: SplitResult, target: str, timeout: float) -> tuple[int, str, bytes]:
    """Status, media type, and content up to one byte over the largest answer. Raises ChallengeError."""
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=timeout)
    deadline, too_long = time.monotonic() + timeout, None
    try:
        connection.connect()
        too_long = threading.Timer(deadline - time.monotonic(), _cut_off, (connection.sock,))
        too_long.daemon = True
        too_long.start()
        connection.request("GET", target, headers={"Accept": "application/json"})
        response = connection.getresponse()
        content = response.read(MAX_ANSWER + 1)
        if time.monotonic() >= deadline:  # cut off, and an answer without a length would look like a whole one
            raise TimeoutError
        if response.length and len(content) <= MAX_ANSWER:
            raise http.client.IncompleteRead(content, response.length)
        media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        return response.status, media_type, content
    except ssl.SSLCertVerificationError as error:
        raise ChallengeError(f"{url}: its certificate does not count: {error.verify_message}") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        if isinstance(error, TimeoutError) or time.monotonic() >= deadline:
            raise ChallengeError(f"{url}: no answer within {timeout:g} s; nothing is attested") from None
        said = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ChallengeError(f"{url}: no answer ({type(error).__name__}: {said}); nothing is attested") from None
    finally:
        if too_long:
            too_long.cancel()
        connection.close()


def _cut_off(connected: socket.socket) -> None:
    """End a connection: one that brings a byte now and then outlives any time-out of a read."""
    with contextlib.suppress(OSError):  # gone already
        socket.socket.shutdown(connected, socket.SHUT_RDWR)  # below TLS, which another thread is reading


def _words(content: bytes) -> str:
    """What a server says besides its status: a stranger's words, so short and in one printable line."""
    try:
        value = json.loads(content)
        said = f"{value['error']}; {value['remedy']}"
    except (ValueError, TypeError, KeyError, RecursionError):
        said = content.decode("utf-8", "replace")
    line = "".join(character if character.isprintable() else " " for character in said[:_MAX_WORDS])
    return line.strip() or "it says nothing"
