"""Asking an authority over HTTP: what it may answer, and what it may not."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sigillo.core.revocation import MAX_CRL
from sigillo.core.timestamp import MAX_TOKEN, verify_token
from sigillo.log.timestamper import TimestampError, TsaAddress, obtain, read_crl

from ..adversary.maker import der
from ..adversary.tsa import POLICY, Tsa
from ..adversary.tsa_server import REPLY, Answer, TsaServer, response, serving

NOTE = b"note"
TSA, OTHER = Tsa(), Tsa("Other Time")
ROOTS = der([TSA.root.certificate])


@pytest.fixture
def server() -> Iterator[TsaServer]:
    with serving(TSA) as served:
        yield served


def test_a_token_is_obtained_with_a_nonce_of_its_own_each_time(server: TsaServer) -> None:
    address = TsaAddress("Example Time", server.url, ROOTS)
    first, second = (obtain(address, NOTE) for _ in range(2))
    for token, said in (first, second):
        assert verify_token(token, NOTE, TSA.trust()).nonce == said.nonce
        assert said.policy == POLICY
    assert first[1].nonce != second[1].nonce
    assert len(server.requests) == 2


def test_without_roots_the_signature_is_for_others_to_verify(server: TsaServer) -> None:
    server.tsa = OTHER
    token, _ = obtain(TsaAddress("Example Time", server.url), NOTE)
    assert verify_token(token, NOTE, OTHER.trust())
    with pytest.raises(TimestampError, match="no chain leads"):
        obtain(TsaAddress("Example Time", server.url, ROOTS), NOTE)


def test_intermediates_that_the_token_lacks_come_from_the_settings(server: TsaServer) -> None:
    below = Tsa(maker=TSA.root.below("Issuing"))
    server.tsa = below
    server.answer = lambda imprint, nonce: server.honest(imprint, nonce, certificates=[below.certificate])
    with pytest.raises(TimestampError, match="no chain leads"):
        obtain(TsaAddress("Example Time", server.url, ROOTS), NOTE)
    address = TsaAddress("Example Time", server.url, ROOTS, der(below.chain[1:]))
    assert obtain(address, NOTE)
    assert address.certificates == (*der(below.chain[1:]), *ROOTS)


def lie(**lies: object) -> Callable[[TsaServer], Callable[[bytes, int], Answer]]:
    return lambda server: lambda imprint, nonce: server.honest(imprint, nonce, **lies)


def say(body: bytes, status: int = 200, **headers: str) -> Callable[[TsaServer], Callable[[bytes, int], Answer]]:
    return lambda _server: lambda _imprint, _nonce: Answer(body, status, {"Content-Type": REPLY, **headers})


WRONG = {
    "without a nonce": (lie(nonce=None), "nonce"),
    "another nonce": (lie(nonce=1), "nonce"),
    "about something else": (lie(imprint=bytes(32)), "something else"),
    "SHA-1": (lie(ess=[]), "which certificate"),
    "rejected": (
        lambda server: (
            lambda imprint, nonce: Answer(response(server.tsa.stamp(b"", imprint=imprint, nonce=nonce), status=2))
        ),
        "refuses with status 2",
    ),
    "garbage": (say(b"\x30\x82garbage"), "shorter"),
    "nothing": (say(b""), "ends where more"),
    "huge": (say(bytes(3 * MAX_TOKEN)), "larger than"),
    "huge by its head": (say(b"", **{"Content-Length": str(2**40)}), "ends where more|does not answer"),
    "cut off": (say(b"\x30\x03", **{"Content-Length": "5"}), "shorter|does not answer"),
    "redirect": (say(b"", 302, Location="http://127.0.0.1:1/"), "status 302"),
    "not found": (say(b"", 404), "status 404"),
    "broken": (say(b"", 500), "status 500"),
    "a page": (say(b"<html>", **{"Content-Type": "text/html"}), "text/html"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_answers(name: str, server: TsaServer) -> None:
    answer, reason = WRONG[name]
    server.answer = answer(server)
    with pytest.raises(TimestampError, match=reason):
        obtain(TsaAddress("Example Time", server.url, ROOTS), NOTE, 5.0)
    assert len(server.requests) == 1  # no redirect is followed, nothing is asked twice


def test_one_that_answers_never_is_cut_off(server: TsaServer) -> None:
    server.answer = lambda _imprint, _nonce: Answer(b"", headers={"Content-Length": "9"}, stall=True)
    with pytest.raises(TimestampError):
        obtain(TsaAddress("Example Time", server.url), NOTE, 0.2)


def test_a_revocation_list_comes_from_a_file_or_an_address(server: TsaServer, tmp_path: Path) -> None:
    crl = TSA.root.revocations()
    server.crl = Answer(crl)
    (tmp_path / "root.crl").write_bytes(crl)
    assert read_crl(f"{server.url}crl", 5.0) == read_crl(str(tmp_path / "root.crl"), 5.0) == crl
    address = TsaAddress("Example Time", server.url, ROOTS)
    assert obtain(address, NOTE, crls=[crl])
    with pytest.raises(TimestampError, match="revoked"):  # the operator hears of it at once
        obtain(address, NOTE, crls=[TSA.root.revocations(TSA.chain[0])])


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(b"", 404), "status 404"),
        (Answer(b"", 302, {"Location": "http://127.0.0.1:1/"}), "status 302"),
        (Answer(bytes(MAX_CRL + 100)), "larger than"),
        (Answer(b"", headers={"Content-Length": str(2**40)}), "is no list|does not answer"),
        (Answer(b"<html>"), "is no list"),
        (Answer(b"", headers={"Content-Length": "9"}, stall=True), "is no list|does not answer"),
    ],
)
def test_what_is_no_revocation_list(answer: Answer, reason: str, server: TsaServer, tmp_path: Path) -> None:
    server.crl = answer
    with pytest.raises(TimestampError, match=reason):
        read_crl(f"{server.url}crl", 0.5)
    if len(answer.body):
        (tmp_path / "root.crl").write_bytes(answer.body)
        with pytest.raises(TimestampError, match=reason):
            read_crl(str(tmp_path / "root.crl"), 0.5)


def test_a_place_of_a_revocation_list_that_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "nothing"):
        with pytest.raises(TimestampError, match="is no file"):
            read_crl(str(path), 5.0)


def test_nobody_there() -> None:
    with socket.socket() as bound:  # taken, and nobody listens
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(TimestampError, match="does not answer"):
            obtain(TsaAddress("Example Time", f"http://127.0.0.1:{bound.getsockname()[1]}/"), NOTE)
