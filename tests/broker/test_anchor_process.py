"""The anchors' process: every authority by itself, nothing lost while one is down, nobody held up."""

from __future__ import annotations

import dataclasses
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sigillo.broker import anchor_process
from sigillo.broker.anchor_process import Anchoring, Stamper, address_of
from sigillo.broker.error import BrokerError
from sigillo.broker.event import Event, EventName
from sigillo.broker.settings import TsaSetting
from sigillo.core.checkpoint import decode_checkpoint
from sigillo.core.entry import Kind
from sigillo.core.timestamp import verify_token
from sigillo.log.anchor import Anchor, AnchorReader
from sigillo.log.timestamper import TsaAddress

from ..adversary.broker import START_NS
from ..adversary.maker import DAY, START, der
from ..adversary.tsa import Tsa
from ..adversary.tsa_server import Answer, TsaServer, serving
from ..log.operator import Operator, check

TSA, OTHER = Tsa(), Tsa("Other Time")
PATIENCE_S = 60.0


@pytest.fixture
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Operator:
    monkeypatch.setattr(anchor_process, "FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(anchor_process, "TURN_S", 0.05)
    operator = Operator(tmp_path / "operator").create()
    operator.start()
    operator.mark(3)
    operator.run()
    return operator


class Anchored:
    """The process's work in a thread, over a log that takes what comes."""

    def __init__(self, operator: Operator, addresses: list[TsaAddress], interval_s: float = 0.2) -> None:
        self.events: list[Event] = []
        self._operator = operator
        key = operator.broker.log_key
        self._anchoring = Anchoring(operator.log, key, addresses, interval_s, self.events.append)
        self._stop, self._stopper = socket.socketpair()
        self._done = threading.Event()

    def of(self, name: EventName) -> list[Event]:
        return [event for event in self.events if event.name is name]

    def wait_for(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, self.events
            time.sleep(0.02)

    def _take_rounds(self) -> None:
        with self._operator.open() as log:
            while not self._done.wait(0.05):
                log.round()
            log.round()

    @contextmanager
    def running(self) -> Iterator[Anchored]:
        threads = [threading.Thread(target=self._take_rounds)]
        threads.append(threading.Thread(target=self._anchoring.run, args=(self._stop,)))
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._stopper.send(b"\0")
            threads[1].join()
            self._done.set()
            threads[0].join()
            self._stop.close()
            self._stopper.close()


def address(server: TsaServer) -> TsaAddress:
    return TsaAddress(server.tsa.name, server.url, der([server.tsa.root.certificate]))


def test_each_authority_stamps_the_newest_checkpoint_again_and_again(begun: Operator) -> None:
    with (
        serving(TSA) as first,
        serving(OTHER) as second,
        Anchored(begun, [address(first), address(second)]).running() as run,
    ):
        run.wait_for(lambda: len(run.of(EventName.ANCHORED)) >= 6)
    anchors = list(AnchorReader(begun.log).anchors())
    assert {anchor.tsa for anchor in anchors} == {"Example Time", "Other Time"}
    trusts = {"Example Time": TSA.trust(), "Other Time": OTHER.trust()}
    for anchor in anchors:
        assert verify_token(anchor.token, anchor.note_bytes, trusts[anchor.tsa], anchor.chain)
        assert decode_checkpoint(anchor.note_bytes).head.size == anchor.size <= anchor.index
        assert begun.public().entry(anchor.index).kind is Kind.TOKEN
    assert [event.fields["index"] for event in run.of(EventName.ANCHORED)] == [anchor.index for anchor in anchors]
    assert not list((begun.log / "anchors/pending").iterdir())
    check(begun)


def test_one_that_is_down_is_named_once_and_stamps_the_newest_when_it_comes_back(begun: Operator) -> None:
    with serving(TSA) as server:
        port = int(server.url.split(":")[2].rstrip("/"))
        where = address(server)
    with ExitStack() as later, Anchored(begun, [where]).running() as run:  # nobody answers
        run.wait_for(lambda: bool(run.of(EventName.TSA_DOWN)))
        begun.mark(5)
        run.wait_for(lambda: begun.public().size >= 9)
        later.enter_context(serving(TSA, port))
        run.wait_for(lambda: bool(run.of(EventName.ANCHORED)))
    (down,), (back,) = run.of(EventName.TSA_DOWN), run.of(EventName.TSA_BACK)
    assert down.fields["tsa"] == back.fields["tsa"] == "Example Time"
    assert "does not answer" in str(down.fields["reason"])
    first = next(AnchorReader(begun.log).anchors())
    assert first.size >= 9  # the newest one, whatever was missed
    check(begun)


def test_one_that_answers_never_holds_up_no_other_and_no_end(begun: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anchor_process, "LAST_PATIENCE_S", 0.5)
    with serving(TSA) as slow, serving(OTHER) as good:
        slow.answer = lambda _imprint, _nonce: Answer(b"", headers={"Content-Length": "9"}, stall=True)
        with Anchored(begun, [address(slow), address(good)]).running() as run:
            run.wait_for(lambda: len(run.of(EventName.ANCHORED)) >= 2)
    assert {anchor.tsa for anchor in AnchorReader(begun.log).anchors()} == {"Other Time"}


def test_the_last_checkpoint_is_stamped_before_the_end(begun: Operator) -> None:
    with serving(TSA) as server, Anchored(begun, [address(server)], interval_s=86_400).running() as run:
        run.wait_for(lambda: len(run.of(EventName.ANCHORED)) == 1)
        size = begun.public().size
        begun.mark(2)
        run.wait_for(lambda: begun.public().size >= size + 2)
    last = list(AnchorReader(begun.log).anchors())[-1]
    assert last.size >= size + 2


def test_an_authority_that_dates_back_is_logged_as_it_is(begun: Operator) -> None:
    """Its time is what it says: nobody here has a better clock. The bracket shows it (spec/verification.md)."""
    with serving(TSA) as server:
        server.answer = lambda imprint, nonce: server.honest(imprint, nonce, time=b"20261101000000Z")
        with Anchored(begun, [address(server)]).running() as run:
            run.wait_for(lambda: bool(run.of(EventName.ANCHORED)))
    (first, *_) = AnchorReader(begun.log).anchors()
    assert verify_token(first.token, first.note_bytes, TSA.trust()).gen_time_ns == 1_793_491_200 * 10**9


def test_a_token_that_does_not_verify_is_not_logged(begun: Operator) -> None:
    with serving(OTHER) as server:
        where = TsaAddress("Example Time", server.url, der([TSA.root.certificate]))
        with Anchored(begun, [where]).running() as run:
            run.wait_for(lambda: bool(run.of(EventName.TSA_DOWN)))
    assert "no chain leads" in str(run.of(EventName.TSA_DOWN)[0].fields["reason"])
    assert not list(AnchorReader(begun.log).anchors())


def test_a_disk_that_is_full_delays_and_loses_nothing(begun: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(TSA) as server:
        run = Anchored(begun, [address(server)])
        room = threading.Event()
        add = anchor_process.AnchorStore.add

        def full(store: anchor_process.AnchorStore, anchor: Anchor) -> None:
            if not room.is_set():
                raise OSError(28, "No space left on device", "anchors")
            add(store, anchor)

        monkeypatch.setattr(anchor_process.AnchorStore, "add", full)
        with run.running():
            run.wait_for(lambda: bool(run.of(EventName.ANCHOR_DELAYED)))
            room.set()
            run.wait_for(lambda: bool(run.of(EventName.ANCHORED)))
    assert len(run.of(EventName.ANCHOR_DELAYED)) == 1
    assert next(AnchorReader(begun.log).anchors()).size == 4  # the one that had to wait
    check(begun)


def test_revocation_lists_are_kept_as_they_were_with_each_token(begun: Operator, tmp_path: Path) -> None:
    old, new, path = TSA.root.revocations(at=START - DAY), TSA.root.revocations(), tmp_path / "root.crl"
    path.write_bytes(old)
    with serving(TSA) as server:
        server.crl = Answer(new)
        places = (str(path), f"{server.url}crl", str(tmp_path / "gone"))
        where = dataclasses.replace(address(server), crls=places)
        with Anchored(begun, [where]).running() as run:
            run.wait_for(lambda: len(run.of(EventName.ANCHORED)) >= 2)
            path.write_bytes(new)
            run.wait_for(lambda: list(AnchorReader(begun.log).anchors())[-1].crls == (new, new))
    (first, *_) = AnchorReader(begun.log).anchors()
    assert first.crls == (old, new)
    assert verify_token(first.token, first.note_bytes, TSA.trust(), crls=first.crls).revocation_ns == START_NS
    (missing,) = run.of(EventName.CRL_MISSING)  # once, and it keeps no token back
    assert missing.fields == {"tsa": "Example Time", "crl": places[2], "reason": "is no file"}
    check(begun)


def test_pauses_grow_up_to_the_interval() -> None:
    news: list[Anchor | Event] = []
    address = TsaAddress("Example Time", "http://127.0.0.1:1/")
    stamper = Stamper(address, lambda: b"note", 60.0, news.append)
    pauses = [stamper._once(1.0) for _ in range(8)]
    assert pauses == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]
    assert len(news) == 1


def test_certificates_of_an_authority_come_from_a_file(tmp_path: Path) -> None:
    below = Tsa(maker=TSA.root.below("Issuing"))
    path = tmp_path / "tsa.pem"
    certificates = [below.root.certificate, *below.chain[1:]]
    path.write_bytes(b"".join(found.public_bytes(Encoding.PEM) for found in certificates))
    found = address_of(TsaSetting("http://tsa.example/", "Example Time", str(path)))
    assert (found.roots, found.chain) == (der([below.root.certificate]), der(below.chain[1:]))
    assert address_of(TsaSetting.at("http://tsa.example:80/x")) == TsaAddress(
        "tsa.example:80", "http://tsa.example:80/x"
    )
    for content, reason in (
        (b"no PEM", "no certificates"),
        (_pem(below.chain[1]), "a root of"),
        (None, "No such file"),
    ):
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(BrokerError, match=reason):
            address_of(TsaSetting("http://tsa.example/", "Example Time", str(path)))


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)
