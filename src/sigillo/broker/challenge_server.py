"""`/attestation` of the log's HTTP server: challenges to the attester, and how many (spec/challenge.md).

Invariant: status 200 is for what the attester made for this request. Nothing is kept, so nothing old can be given.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from sigillo.broker.challenge_link import ServerSide, Unanswered
from sigillo.core.canonical import canonical
from sigillo.core.challenge import PATH, decode_request
from sigillo.core.errors import DecodeError

PATIENCE_S: Final = 10.0
"""From a request to its answer: a chip may be slow, and others may have been first."""
RATE: Final = 2.0
"""Challenges a second, of all clients together."""
BURST: Final = 8


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP answer: its content is JSON, and nobody may keep it."""

    status: HTTPStatus
    content: bytes
    headers: dict[str, str] = field(default_factory=dict)


class Bucket:
    """So many at once, and so many a second; for any number of threads."""

    def __init__(self, rate: float = RATE, burst: int = BURST, clock: Callable[[], float] = time.monotonic) -> None:
        """*rate*: a second; *clock*: seconds, never backward."""
        self._rate, self._burst, self._clock = rate, burst, clock
        self._full, self._at = float(burst), clock()
        self._guard = threading.Lock()

    def take(self) -> float:
        """0 where there was one to take; else the seconds until there is one."""
        with self._guard:
            now = self._clock()
            self._full = min(float(self._burst), self._full + (now - self._at) * self._rate)
            self._at = now
            if self._full >= 1:
                self._full -= 1
                return 0.0
            return (1 - self._full) / self._rate


class ChallengeDesk:
    """Answers requests for `/attestation`; *link*: None where this broker has no TPM."""

    def __init__(self, link: ServerSide | None, bucket: Bucket | None = None) -> None:
        self._link, self._bucket = link, bucket or Bucket()

    @staticmethod
    def concerns(target: str) -> bool:
        """Whether a request's target is this desk's."""
        return target.partition("?")[0] == PATH

    def respond(self, method: str, target: str) -> Response:
        """What a request gets."""
        if method != "GET":
            return _refused(
                HTTPStatus.METHOD_NOT_ALLOWED,
                "this answers GET alone",
                f"ask with GET {PATH}?nonce=…",
                Allow="GET",
                Connection="close",  # what is sent besides is not read
            )
        if self._link is None:
            return _refused(
                HTTPStatus.NOT_FOUND,
                "this broker has no TPM that its launches are measured into",
                "nothing attests it: rely on what its evidence files show, or ask the operator for `sigillo up --tpm`",
            )
        try:
            nonce = decode_request(target)
        except DecodeError as error:
            return _refused(
                HTTPStatus.BAD_REQUEST, str(error), "make a nonce of 32 random bytes, anew for each request"
            )
        wait_s = self._bucket.take()
        if wait_s:
            return _refused(
                HTTPStatus.TOO_MANY_REQUESTS,
                "too many ask at once",
                "ask again after the seconds of Retry-After",
                **{"Retry-After": str(math.ceil(wait_s))},
            )
        try:
            return Response(HTTPStatus.OK, self._link.ask(nonce, PATIENCE_S))
        except Unanswered:  # why is the operator's to know: its events say it
            return _refused(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "there is no quote now: nothing is attested",
                "ask again later; the operator's own events say why",
            )


def _refused(status: HTTPStatus, error: str, remedy: str, **headers: str) -> Response:
    return Response(status, canonical({"error": error, "remedy": remedy}), headers)
