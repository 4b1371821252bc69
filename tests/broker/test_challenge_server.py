"""`/attestation`: which status for what; no request too many; an answer is passed on as it is, and never kept."""

from __future__ import annotations

import http.client
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigillo import disk
from sigillo.broker.challenge_link import Unanswered
from sigillo.broker.challenge_server import BURST, RATE, Bucket, ChallengeDesk
from sigillo.broker.log_server import Folders, LogServer
from sigillo.core.canonical import canonical_object
from sigillo.core.challenge import encode_request

from ..vector.key import filler

NONCE = filler("nonce")
TARGET = encode_request(NONCE)


class Link:
    """Plays the way to the attester: *answers* in turn, and then none."""

    def __init__(self, *answers: bytes) -> None:
        self.answers, self.asked = list(answers), []  # type: ignore[var-annotated]

    def ask(self, nonce: bytes, patience_s: float) -> bytes:
        assert patience_s > 0
        self.asked.append(nonce)
        if not self.answers:
            raise Unanswered("the reason is the operator's")
        return self.answers.pop(0)


def desk(link: Link | None, clock: Callable[[], float] = lambda: 0.0) -> ChallengeDesk:
    return ChallengeDesk(link, Bucket(clock=clock))  # type: ignore[arg-type]


def test_an_answer_is_passed_on_as_it_is() -> None:
    link = Link(b"the answer")
    made = desk(link).respond("GET", TARGET)
    assert (made.status, made.content, link.asked) == (HTTPStatus.OK, b"the answer", [NONCE])


def test_no_answer_is_ever_given_twice() -> None:
    link = Link(b"the answer")
    asked = desk(link)
    asked.respond("GET", TARGET)
    again = asked.respond("GET", TARGET)
    assert again.status is HTTPStatus.SERVICE_UNAVAILABLE
    assert b"the answer" not in again.content
    assert b"operator's." not in again.content
    assert len(link.asked) == 2


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "get"])
@pytest.mark.parametrize("link", [None, Link(b"the answer")])
def test_another_method_costs_no_quote(method: str, link: Link | None) -> None:
    made = desk(link).respond(method, TARGET)
    assert made.status is HTTPStatus.METHOD_NOT_ALLOWED
    assert made.headers["Allow"] == "GET"
    assert not (link and link.asked)


@pytest.mark.parametrize("target", [TARGET, "/attestation", "/attestation?x"])
def test_without_a_tpm_there_is_nothing_here(target: str) -> None:
    made = desk(None).respond("GET", target)
    assert made.status is HTTPStatus.NOT_FOUND
    assert b"--tpm" in made.content


BAD = (
    "/attestation",
    "/attestation?",
    "/attestation?nonce",
    "/attestation?nonce=",
    "/attestation?nonce=00",
    f"{TARGET}00",
    f"{TARGET}&nonce={NONCE.hex()}",
    f"{TARGET}#x",
    TARGET.upper().replace("/ATTESTATION?NONCE", "/attestation?nonce"),
    TARGET.replace("nonce", "n%6fnce"),
    TARGET.replace("=", "%3D"),
    f"/attestation?a=b&nonce={NONCE.hex()}",
    f"/attestation?nonce={'g' * 64}",
    f"/attestation?nonce={chr(0x661) * 64}",
)


@pytest.mark.parametrize("target", BAD)
def test_a_bad_nonce_reaches_nobody(target: str) -> None:
    link = Link(b"the answer")
    made = desk(link).respond("GET", target)
    assert made.status is HTTPStatus.BAD_REQUEST
    assert not link.asked


def test_bad_requests_take_nothing_from_the_good_ones() -> None:
    asked = desk(Link(b"the answer"))
    for _ in range(5 * BURST):
        asked.respond("GET", "/attestation")
    assert asked.respond("GET", TARGET).status is HTTPStatus.OK


def test_too_many_are_told_when_to_come_back() -> None:
    now = 0.0
    link = Link(*[b"an answer"] * 100)
    asked = desk(link, lambda: now)
    for _ in range(BURST):
        assert asked.respond("GET", TARGET).status is HTTPStatus.OK
    refused = asked.respond("GET", TARGET)
    assert refused.status is HTTPStatus.TOO_MANY_REQUESTS
    assert refused.headers["Retry-After"] == "1"
    assert len(link.asked) == BURST
    now += 1.0
    found = [asked.respond("GET", TARGET).status for _ in range(4)]
    assert found == [HTTPStatus.OK] * 2 + [HTTPStatus.TOO_MANY_REQUESTS] * 2


@given(st.lists(st.floats(0, 10), max_size=60))
def test_never_more_than_the_burst_and_the_rate(pauses: list[float]) -> None:
    now, taken = 0.0, 0
    bucket = Bucket(clock=lambda: now)
    for pause in pauses:
        now += pause
        taken += bucket.take() == 0
    assert taken <= BURST + RATE * now + 1e-6
    wait_s = bucket.take()
    assert wait_s <= 1 / RATE
    now += wait_s + 1e-6
    assert bucket.take() == 0 or wait_s == 0


def test_every_refusal_says_what_to_do() -> None:
    broken = desk(Link())
    made = [broken.respond("GET", TARGET) for _ in range(BURST + 1)]
    made += [broken.respond("POST", TARGET), broken.respond("GET", "/attestation"), desk(None).respond("GET", TARGET)]
    assert {answer.status.value for answer in made} == {503, 429, 405, 400, 404}
    for answer in made:
        said = canonical_object(answer.content, "refusal")
        assert set(said) == {"error", "remedy"}
        assert all(isinstance(text, str) and text for text in said.values())


@contextmanager
def serving(path: Path, made: ChallengeDesk) -> Iterator[int]:
    folders = Folders(*(disk.open_folder(path) for _ in range(3)))
    with LogServer("127.0.0.1:0", folders, made) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()
    for descriptor in (folders.public, folders.epochs, folders.manifests):
        os.close(descriptor)


def ask(port: int, method: str, target: str, body: bytes | None = None) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, target, body)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def test_over_http(tmp_path: Path) -> None:
    with serving(tmp_path, desk(Link(b'{"a":1}'))) as port:
        status, headers, content = ask(port, "GET", TARGET)
        assert (status, content) == (200, b'{"a":1}')
        assert (headers["content-type"], headers["cache-control"]) == ("application/json", "no-store")
        status, headers, content = ask(port, "GET", TARGET)
        assert (status, headers["cache-control"]) == (503, "no-store")
        assert json.loads(content)["remedy"]
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            status, headers, _ = ask(port, method, TARGET, b"more than is read" * 100)
            assert (status, headers["allow"], headers["connection"]) == (405, "GET", "close")
        status, headers, content = ask(port, "HEAD", TARGET)
        assert (status, headers["allow"], content) == (405, "GET", b"")
        assert ask(port, "GET", "/attestation")[0] == 400
        assert ask(port, "GET", "/attestation/")[0] == 404
        assert ask(port, "POST", "/checkpoint")[0] == 501
        for _ in range(BURST):
            status, headers, _ = ask(port, "GET", TARGET)
        assert (status, headers["retry-after"]) == (429, "1")
