"""The client of a challenge, against servers that answer well, badly, slowly, or not."""

from __future__ import annotations

import datetime
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sigillo.challenge import ChallengeError, fetch_challenge
from sigillo.core.challenge import decode_request, encode_challenge_answer, verify_challenge_answer
from sigillo.core.errors import AttestationError, DecodeError
from sigillo.x509 import new_key, private_pem

from .vector.challenge import KEY_NAME, Launched
from .vector.key import filler
from .vector.sample_tpm import NONCE

Reply = Callable[[BaseHTTPRequestHandler], None]
GOOD = encode_challenge_answer(Launched().answer())


def reply(content: bytes, status: int = 200, kind: str = "application/json", **headers: str) -> Reply:
    def send(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        sent = {"Content-Type": kind, "Content-Length": str(len(content))} | headers
        for name, value in sent.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(content)

    return send


@contextmanager
def serving(send: Reply, context: ssl.SSLContext | None = None) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.server.paths.append(self.path)  # type: ignore[attr-defined]
            send(self)

        def log_message(self, *_arguments: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        paths: list[str] = []

        def handle_error(self, *_arguments: object) -> None:
            pass

    with Server(("127.0.0.1", 0), Handler) as server:
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http{'s' if context else ''}://localhost:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()


def refused(send: Reply, timeout: float = 10.0) -> ChallengeError:
    with serving(send) as url, pytest.raises(ChallengeError) as caught:
        fetch_challenge(url, NONCE, timeout)
    assert url in str(caught.value)
    return caught.value


def test_the_answer_to_the_nonce_that_was_sent() -> None:
    broker = Launched()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        nonce = decode_request(handler.path)
        reply(encode_challenge_answer(broker.answer(nonce)))(handler)

    with serving(answer) as url:
        for nonce in (NONCE, filler("another nonce")):
            found = fetch_challenge(url, nonce)
            assert verify_challenge_answer(found, nonce).key.name == KEY_NAME
        assert fetch_challenge(url.rstrip("/"), NONCE).statement.epoch_id == broker.epoch_id


def test_a_path_before_it_is_a_proxys() -> None:
    seen: list[str] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        seen.append(handler.path)
        reply(GOOD)(handler)

    with serving(answer) as url:
        fetch_challenge(f"{url}broker-7/", NONCE)
    assert seen == [f"/broker-7/attestation?nonce={NONCE.hex()}"]


def test_an_answer_of_yesterday_is_fetched_and_does_not_verify() -> None:
    with serving(reply(GOOD)) as url:
        found = fetch_challenge(url, filler("today"))
    with pytest.raises(AttestationError, match="does not answer"):
        verify_challenge_answer(found, filler("today"))


@pytest.mark.parametrize("status", [201, 204, 206, 301, 302, 307, 400, 404, 405, 429, 500, 503])
def test_anything_but_200_is_no_answer_even_with_a_good_one_in_it(status: int) -> None:
    error = refused(reply(GOOD if status != 204 else b"", status, Location="/elsewhere"))
    assert error.status == status


def test_what_the_server_says_is_shown_in_one_short_line() -> None:
    said = refused(reply(b'{"error":"no\\u001b[2J quote\\nnow","remedy":"ask again"}', 503)).reason
    assert "no [2J quote now; ask again" in said
    long = refused(reply(b"x" * 100_000, 500)).reason
    assert len(long) < 400
    assert "it says nothing" in refused(reply(b"", 502)).reason
    assert refused(reply(b"[" * 4000, 503)).status == 503


@pytest.mark.parametrize(
    ("send", "reason"),
    [
        (reply(b"{}"), "is missing"),
        (reply(b""), "is not JSON"),
        (reply(b"<html>"), "is not JSON"),
        (reply(GOOD + b"\n"), "canonical form"),
        (reply(GOOD, kind="text/html"), "not with JSON"),
        (reply(GOOD, kind=""), "not with JSON"),
        (reply(b'{"error":"no quote","remedy":"none"}'), "is missing"),
        (reply(b" " * (8 * 2**20 + 1)), "longer than"),
        (reply(GOOD[:100], Content_Length="4000"), "no answer"),
    ],
)
def test_what_is_no_answer_is_named(send: Reply, reason: str) -> None:
    assert reason in refused(send).reason


def test_a_server_that_says_nothing() -> None:
    begun = time.monotonic()
    error = refused(lambda handler: time.sleep(1.0), 0.2)
    assert "within 0.2 s" in error.reason
    assert error.status is None
    assert time.monotonic() - begun < 5


def test_a_server_that_drips_is_cut_off() -> None:
    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.end_headers()
        for _ in range(100):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(0.05)

    begun = time.monotonic()
    assert "within 0.3 s" in refused(drip, 0.3).reason
    assert time.monotonic() - begun < 4


def test_nobody_listens() -> None:
    with serving(reply(GOOD)) as url:
        pass
    with pytest.raises(ChallengeError, match="nothing is attested"):
        fetch_challenge(url, NONCE, 5)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8380",
        "ftp://localhost/",
        "file:///etc/passwd",
        "http://",
        "http://user:word@localhost/",
        "http://localhost/?a=b",
        "http://localhost/#a",
        "http://localhost:0x50/",
        "http://localhost:99999/",
        "http://[::1/",
        "http://localhost/a b",
        "http://localhost/\r\nHost: other",
        "http://localhost/\u00e8",
    ],
)
def test_a_url_that_cannot_be_asked_is_named_with_a_remedy(url: str) -> None:
    with pytest.raises(ChallengeError, match="name the log's own address"):
        fetch_challenge(url, NONCE, 1)


def test_a_nonce_of_another_length_is_not_sent() -> None:
    with pytest.raises(DecodeError, match="nonce"):
        fetch_challenge("http://localhost:1/", bytes(16))


@pytest.fixture(scope="module")
def server_certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate of localhost, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.serialization import Encoding

    folder, key = tmp_path_factory.mktemp("tls"), new_key()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate, private = folder / "cert.pem", folder / "key.pem"
    certificate.write_bytes(made.public_bytes(Encoding.PEM))
    private.write_bytes(private_pem(key))
    return certificate, private


def test_over_tls_the_certificate_counts(
    server_certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*server_certificate)
    with serving(reply(GOOD), context) as url:
        with pytest.raises(ChallengeError, match="certificate does not count"):
            fetch_challenge(url, NONCE, 5)
        monkeypatch.setenv("SSL_CERT_FILE", str(server_certificate[0]))
        verify_challenge_answer(fetch_challenge(url, NONCE, 5), NONCE)
        with pytest.raises(ChallengeError, match="certificate does not count"):
            fetch_challenge(url.replace("localhost", "127.0.0.1"), NONCE, 5)
