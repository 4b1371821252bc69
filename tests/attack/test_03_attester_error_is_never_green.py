"""Attack 3 (Keylime CVE-2022-3500, #1091): an attester that fails stops the checking, and what was green stays green.

From the TPM to the reader over the real HTTP server: whatever fails, and however, there is no 200, no old answer, and a
line for the operator.
"""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sigillo import disk
from sigillo.attestation.error import TpmError
from sigillo.broker import attester_process
from sigillo.broker.attester_process import Challenges, QuotedEpoch, Quoting
from sigillo.broker.boot_record import BootRecord
from sigillo.broker.challenge_link import Exchange, ServerSide
from sigillo.broker.challenge_server import Bucket, ChallengeDesk
from sigillo.broker.event import Event, EventName
from sigillo.broker.folder import OperatorFolder
from sigillo.broker.log_server import Folders, LogServer
from sigillo.broker.settings import Settings
from sigillo.challenge import ChallengeError, fetch_challenge
from sigillo.core.attestation import AttestationEvidence
from sigillo.core.challenge import verify_challenge_answer
from sigillo.core.errors import AttestationError, DecodeError, SignatureError
from sigillo.core.event_log import encode_event_log
from sigillo.core.launch import encode_closure, verify_launch_log
from sigillo.core.quote import Subject

from ..adversary.tpm import LyingTpm
from ..attestation.rig import wait_until
from ..vector.challenge import KEY_NAME, Launched, closure, configuration
from ..vector.key import P256Key, filler

Quoted = Callable[[LyingTpm, Subject], AttestationEvidence]


class Broken:
    """A broker whose TPM is in memory, and which a test breaks: *quote* is what the attester gets."""

    def __init__(self, path: Path) -> None:
        self.broker = Launched()
        self.folder = OperatorFolder.at(path)
        for made in (self.folder.log / "public", self.folder.epochs, self.folder.closures, self.folder.manifests):
            made.mkdir(parents=True)
        honest = self.broker.answer()
        (self.folder.log / "public/checkpoint").write_bytes(honest.checkpoint_bytes)
        (self.folder.epochs / "0000000001.cose").write_bytes(honest.statement_bytes)
        self.folder.launch_log.write_bytes(encode_event_log(self.broker.events))
        (self.folder.closures / f"{closure().object_hash.hex()}.cbor").write_bytes(encode_closure(closure()))
        self.quote: Quoted = LyingTpm.quote
        self.events: list[Event] = []
        self.exchange = Exchange()
        self.server = ServerSide(self.exchange.new_server())
        threading.Thread(target=self.server.follow, daemon=True).start()
        end = self.exchange.new_attester()
        assert end
        epoch = QuotedEpoch(1, self.broker.epoch_id, KEY_NAME)
        given = Challenges(end, configuration())
        own = (self.folder, path / "tpm", epoch, 3600.0, self.events.append)
        record = BootRecord(self.folder, Settings("broker.example", "Example"), self.events.append)
        self.quoting = Quoting(*own, record=record, challenges=given)
        wait_until(lambda: self.server._attester is not None)
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._answer)

    def _answer(self) -> None:
        while not self.over.is_set():
            self.quoting.answer_next()
            self.over.wait(0.005)

    def downs(self) -> int:
        return sum(event.name is EventName.TPM_DOWN for event in self.events)


class Attester:
    """What the attester's process takes for the attester of its TPM."""

    broken: Broken

    @classmethod
    def open(cls, _tpm: object) -> Attester:
        return cls()

    def quote(self, subject: Subject) -> AttestationEvidence:
        return self.broken.quote(self.broken.broker.tpm, subject)


class Link:
    def close(self) -> None:
        pass


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Broken]:
    made = Broken(tmp_path)
    monkeypatch.setattr(Attester, "broken", made, raising=False)
    monkeypatch.setattr(attester_process, "Attester", Attester)
    monkeypatch.setattr(attester_process, "open_link", lambda _path, _timeout_s: Link())
    made.thread.start()
    yield made
    made.over.set()
    made.thread.join()
    made.exchange.close()


@pytest.fixture
def url(broken: Broken) -> Iterator[str]:
    opened = [disk.open_folder(path) for path in (broken.folder.log, broken.folder.epochs, broken.folder.manifests)]
    desk = ChallengeDesk(broken.server, Bucket(1000.0, 1000))
    with LogServer("127.0.0.1:0", Folders(*opened), desk) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server.url
        server.shutdown()
        thread.join()
    for descriptor in opened:
        os.close(descriptor)


def is_attested(url: str, nonce: bytes) -> bool:
    """As a reader sees it. Anything but a fresh quote that verifies is no."""
    try:
        answer = fetch_challenge(url, nonce)
        quote = verify_challenge_answer(answer, nonce)
        verify_launch_log(answer.launch_bytes, quote.launch_pcr)
    except (ChallengeError, AttestationError, DecodeError, SignatureError):
        return False
    return True


def raising(error: Exception) -> Quoted:
    def fail(_tpm: LyingTpm, _subject: Subject) -> AttestationEvidence:
        raise error

    return fail


def about(**changes: object) -> Quoted:
    """An honest quote, about something else than was asked."""
    return lambda tpm, subject: tpm.quote(dataclasses.replace(subject, **changes))  # type: ignore[arg-type]


def relabelled(tpm: LyingTpm, subject: Subject) -> AttestationEvidence:
    """An old quote with the new nonce written over it."""
    return dataclasses.replace(tpm.quote(dataclasses.replace(subject, nonce=filler("old"))), subject=subject)


def badly_signed(tpm: LyingTpm, subject: Subject) -> AttestationEvidence:
    evidence = tpm.quote(subject)
    return dataclasses.replace(evidence, signature_bytes=tpm.sign(b"something else"))


def by_another(tpm: LyingTpm, subject: Subject) -> AttestationEvidence:
    return LyingTpm(P256Key(filler("another attestation key")), pcrs=tpm.pcrs).quote(subject)


FAILURES: dict[str, Quoted] = {
    "refuses": raising(TpmError("the TPM refuses command 0x158: code 0x921")),
    "silent": raising(TpmError("the TPM does not answer within 5 s")),
    "gone": raising(FileNotFoundError(2, "No such file or directory")),
    "garbage": raising(DecodeError("quote", "is cut off")),
    "another nonce": about(nonce=filler("another nonce")),
    "no nonce": about(nonce=None),
    "another epoch": about(epoch_id=filler("another epoch")),
    "relabelled": relabelled,
    "bad signature": badly_signed,
    "another key": by_another,
}


@pytest.mark.parametrize("name", FAILURES)
def test_what_was_green_does_not_stay_green(broken: Broken, url: str, name: str) -> None:
    assert is_attested(url, filler("before"))
    broken.quote = FAILURES[name]
    for number in range(3):
        with pytest.raises(ChallengeError) as caught:
            fetch_challenge(url, filler(f"during {number}"))
        assert caught.value.status == 503
    assert broken.downs() == 1
    assert not is_attested(url, filler("before")), "not even who asks with the nonce of the last good answer"
    broken.quote = LyingTpm.quote
    assert is_attested(url, filler("after"))


def test_a_bad_one_of_two_quotes_is_no_excuse(broken: Broken, url: str) -> None:
    """A failure is not averaged away: every second quote fails, and every second reader sees it."""
    broken.quote = LyingTpm.quote
    found = []
    for number in range(6):
        broken.quote = FAILURES["refuses"] if number % 2 else LyingTpm.quote
        found.append(is_attested(url, filler(f"nonce {number}")))
    assert found == [True, False] * 3


def test_what_happened_to_the_tpm_is_given_and_is_red(broken: Broken, url: str) -> None:
    assert is_attested(url, filler("before"))
    broken.broker.tpm.extend(13, [filler("something else that was started")])
    assert fetch_challenge(url, filler("during"))
    assert not is_attested(url, filler("during"))
    assert broken.downs() == 1


@pytest.mark.parametrize("gone", ["checkpoint", "statement", "launch log", "closure"])
def test_what_cannot_be_read_is_not_left_out(broken: Broken, url: str, gone: str) -> None:
    assert is_attested(url, filler("before"))
    (kept,) = broken.folder.closures.iterdir()
    {
        "checkpoint": broken.folder.log / "public/checkpoint",
        "statement": broken.folder.epochs / "0000000001.cose",
        "launch log": broken.folder.launch_log,
        "closure": kept,
    }[gone].unlink()
    with pytest.raises(ChallengeError) as caught:
        fetch_challenge(url, filler("after"))
    assert caught.value.status == 503
    assert {event.name for event in broken.events} <= {EventName.TPM_DOWN, EventName.UNANSWERED}
    assert broken.events


def test_an_attester_that_is_gone_is_no_green(broken: Broken, url: str) -> None:
    assert is_attested(url, filler("before"))
    broken.over.set()
    broken.thread.join()
    assert broken.quoting._link
    broken.quoting._link.close()
    for number in range(3):
        with pytest.raises(ChallengeError) as caught:
            fetch_challenge(url, filler(f"after {number}"))
        assert caught.value.status == 503
