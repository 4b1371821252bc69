"""From the HTTP server to the attester and back: no answer is another's, none is late, and an end is known at once."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from sigillo.broker import challenge_link
from sigillo.broker.challenge_link import AttesterSide, Challenge, Exchange, ServerSide, Unanswered

from ..attestation.rig import wait_until
from ..vector.key import filler

NONCE, OTHER = filler("nonce"), filler("other nonce")
PATIENCE_S = 30.0


class Desk:
    """Supervisor and server; an attester is the test's to play."""

    def __init__(self) -> None:
        self.exchange = Exchange()
        self.control = self.exchange.new_server()
        self.server = ServerSide(self.control)
        self.thread = threading.Thread(target=self.server.follow)
        self.thread.start()

    def attester(self) -> AttesterSide:
        before, end = self.server._attester, self.exchange.new_attester()
        assert end
        wait_until(lambda: self.server._attester is not before)
        return AttesterSide(end)

    def end(self) -> None:
        self.exchange.close()
        self.thread.join(PATIENCE_S)
        self.control.close()


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    made.end()


class Asking:
    """A request in a thread."""

    def __init__(self, desk: Desk, nonce: bytes = NONCE, patience_s: float = PATIENCE_S) -> None:
        self.answer: bytes | None = None
        self.reason = ""
        self._arguments = (desk.server, nonce, patience_s)
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def _ask(self) -> None:
        server, nonce, patience_s = self._arguments
        try:
            self.answer = server.ask(nonce, patience_s)
        except Unanswered as error:
            self.reason = str(error)

    def done(self) -> Asking:
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        return self


def taken(attester: AttesterSide) -> Challenge:
    """The next challenge."""
    deadline = time.monotonic() + PATIENCE_S
    while (challenge := attester.next()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return challenge


@pytest.mark.parametrize("answer", [b"{}", b"x" * 3_000_000])
def test_an_answer_comes_back_whole(desk: Desk, answer: bytes) -> None:
    attester, asking = desk.attester(), Asking(desk)
    challenge = taken(attester)
    assert challenge.nonce == NONCE
    assert challenge.is_awaited
    challenge.answer(answer)
    assert asking.done().answer == answer


def test_without_an_attester_nobody_waits(desk: Desk) -> None:
    begun = time.monotonic()
    assert "no attester" in Asking(desk).done().reason
    assert time.monotonic() - begun < 5


def test_an_attester_that_ends_is_known_at_once_whenever_it_does(desk: Desk) -> None:
    begun = time.monotonic()
    attester, asking = desk.attester(), Asking(desk)
    wait_until(desk.server._turn.locked)
    time.sleep(0.05)
    attester.close()  # the challenge was sent, and nobody has taken it
    assert "ended" in asking.done().reason
    assert Asking(desk).done().answer is None  # nor does anybody now
    attester, asking = desk.attester(), Asking(desk)
    taken(attester).refuse()
    assert "no quote" in asking.done().reason
    assert time.monotonic() - begun < PATIENCE_S / 2


def test_an_answer_that_breaks_off_is_none(desk: Desk) -> None:
    attester = desk.attester()
    for sent in (b"", b"\0", b"\0\0\0\0", b"\0\0\0\3{}", b"\0\0\0\1{}", b"\xff\xff\xff\xff{}"):
        asking = Asking(desk)
        challenge = taken(attester)
        challenge._end.sendall(sent)
        challenge.refuse()
        assert asking.done().answer is None


def test_an_answer_without_an_end_is_none(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(challenge_link, "MAX_ANSWER", 100_000)
    attester, asking = desk.attester(), Asking(desk)
    taken(attester).answer(b"x" * 200_000)
    assert "does not end" in asking.done().reason


def test_a_late_answer_reaches_nobody_and_not_the_next_either(desk: Desk) -> None:
    attester = desk.attester()
    late = Asking(desk, NONCE, 0.1)
    challenge = taken(attester)
    assert "in time" in late.done().reason
    assert not challenge.is_awaited
    asking = Asking(desk, OTHER)
    challenge.answer(b"the late one")
    following = taken(attester)
    assert following.nonce == OTHER
    following.answer(b"the right one")
    assert asking.done().answer == b"the right one"


def test_a_challenge_that_nobody_waits_for_costs_no_quote(desk: Desk) -> None:
    attester = desk.attester()
    assert "in time" in Asking(desk, NONCE, 0.05).done().reason
    assert attester.next() is None
    asking = Asking(desk, OTHER)
    challenge = taken(attester)
    assert challenge.nonce == OTHER
    challenge.answer(b"{}")
    assert asking.done().answer == b"{}"


def test_one_at_a_time_is_with_the_attester(desk: Desk) -> None:
    attester, asking = desk.attester(), [Asking(desk, filler(f"nonce {n}")) for n in range(5)]
    for _ in asking:
        challenge = taken(attester)
        time.sleep(0.02)
        assert attester.next() is None  # the others wait at the server
        challenge.answer(challenge.nonce)
    assert {item.done().answer for item in asking} == {filler(f"nonce {n}") for n in range(5)}


def test_who_has_waited_too_long_for_a_turn_gets_none(desk: Desk) -> None:
    attester, first = desk.attester(), Asking(desk)
    challenge = taken(attester)
    assert "others" in Asking(desk, OTHER, 0.05).done().reason
    challenge.answer(b"{}")
    assert first.done().answer == b"{}"


def test_each_attester_gets_an_end_of_its_own(desk: Desk) -> None:
    first = desk.attester()
    second = desk.attester()
    assert first.next() is None
    assert first.gone, "the server has let go of it"
    asking = Asking(desk)
    taken(second).answer(b"{}")
    assert asking.done().answer == b"{}"


def test_a_server_that_ends_is_known_to_the_attester(desk: Desk) -> None:
    attester = desk.attester()
    desk.exchange.close()
    wait_until(lambda: attester.next() is None and attester.gone)
    assert desk.exchange.new_attester() is None


def test_a_server_that_is_gone_is_no_error_for_the_next_attester() -> None:
    exchange = Exchange()
    assert exchange.new_attester() is None
    exchange.new_server().close()
    assert exchange.new_attester() is None
    exchange.close()


def test_a_server_that_takes_no_answer_does_not_hold_the_attester_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(challenge_link, "SEND_S", 0.1)
    mine, theirs = socket.socketpair()
    with mine:
        begun = time.monotonic()
        Challenge(NONCE, theirs).answer(b"x" * 10_000_000)
        assert time.monotonic() - begun < 5


@pytest.mark.parametrize("sent", [b"\0", bytes(31), bytes(33), bytes(100)])
def test_what_is_no_challenge_is_passed_over(sent: bytes) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        attester = AttesterSide(theirs)
        one, other = socket.socketpair()
        with one, other:
            ours.send(NONCE)  # without an end for the answer
            socket.send_fds(ours, [sent], [other.fileno()])
            socket.send_fds(ours, [NONCE], [other.fileno()])
            challenge = attester.next()
        assert challenge
        assert challenge.nonce == NONCE
        challenge.refuse()
        attester.close()
