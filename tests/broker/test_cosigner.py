"""The rounds with witnesses, honest and not: nothing that one of them does costs more than its own cosignature."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from sigillo.broker.cosigner import Rounds
from sigillo.broker.error import BrokerError
from sigillo.broker.event import EventName
from sigillo.core.cosignature import sign_cosignature
from sigillo.core.note import Note
from sigillo.core.witness import SIZE, Answer, decode_add_checkpoint, encode_lines
from sigillo.log import submission
from sigillo.log.error import LogError
from sigillo.log.submission import WitnessAddress

from ..adversary.witness import LIAR, LIAR_KEY, NOW_S, Script, lying, whatever
from ..log.operator import check
from .witnessed import PATIENCE_S, Rig


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    with made.stack:
        yield made


def size(number: int) -> Answer:
    return Answer(409, b"%d\n" % number, SIZE)


def test_two_witnesses_follow_a_log(rig: Rig) -> None:
    first, second = rig.honest("w1"), rig.honest("w2")
    rounds = rig.rounds()
    for marks in (0, 1, 30, 300):
        grown = rig.grow(marks)
        rig.round(rounds)
        assert rig.cosigned() == (grown, [first.key.name, second.key.name])
    rig.round(rounds)
    assert rig.states() == [(name, "cosigns") for name in dict(rig.states())]
    told = [event.fields for event in rig.events if event.name is EventName.COSIGNED]
    assert told[-1] == {"size": grown, "cosignatures": 2, "quorum": 1}
    check(rig.operator)


def test_a_restart_finds_out_what_a_witness_has(rig: Rig) -> None:
    """The file tells, and where it is gone the witness's 409."""
    name = rig.honest().key.name
    rig.grow(10)
    rig.round(rig.rounds())
    for keep in (True, False):
        if not keep:
            (rig.operator.log / "public" / "cosigned").unlink()
        grown = rig.grow(7)
        rig.round(rig.rounds())
        assert rig.cosigned() == (grown, [name])


def elsewhere(body: bytes) -> Answer:
    """Cosigns another checkpoint than it was shown."""
    note = decode_add_checkpoint(body).checkpoint.note
    other = Note(note.text.replace("\n", "x\n", 1), note.signatures)
    return Answer(200, encode_lines([sign_cosignature(other, LIAR_KEY, NOW_S, LIAR.sign)]))


@pytest.mark.parametrize(
    ("script", "state"),
    [
        (lambda _: None, "silent"),
        (lambda _: size(10**6), "ahead"),
        (lambda body: size(decode_add_checkpoint(body).old_size), "malformed"),
        (lambda body: size(1 - min(decode_add_checkpoint(body).old_size, 1)), "malformed"),
        (lambda _: Answer(409, b"a size\n", SIZE), "malformed"),
        (lambda _: Answer(409, b"5\n"), "malformed"),
        (lambda _: Answer(200, b""), "malformed"),
        (lambda _: Answer(200, b"x" * 200_000), "malformed"),
        (elsewhere, "malformed"),
        (lambda _: Answer(422, b"no\n"), "forked"),
        (lambda _: Answer(403, b"no\n"), "status 403"),
        (lambda _: Answer(404, b"\x1b[2J" * 900), "status 404"),
        (lambda _: Answer(500, b""), "status 500"),
        (lambda _: Answer(302, b""), "status 302"),
    ],
)
def test_a_witness_that_lies_or_refuses_is_named_and_costs_only_its_own(rig: Rig, script: Script, state: str) -> None:
    rig.lying(script)
    good = rig.honest()
    rounds = rig.rounds()
    for _ in range(3):
        grown = rig.grow(5)
        rig.round(rounds)
    assert rig.cosigned() == (grown, [good.key.name])
    assert sorted(rig.states()) == [(LIAR_KEY.name, state), (good.key.name, "cosigns")], "each is named once"


def test_a_witness_that_cannot_be_reached(rig: Rig) -> None:
    with lying(whatever) as gone:
        rig.add(gone)
    good = rig.honest()
    grown = rig.grow(5)
    rig.round(rig.rounds())
    assert rig.cosigned() == (grown, [good.key.name])
    assert (LIAR_KEY.name, "silent") in rig.states()


def test_it_is_named_again_when_it_changes(rig: Rig) -> None:
    answers = iter(["no", "no", "yes", "yes", "no"])
    rig.lying(lambda body: whatever(body) if next(answers) == "yes" else Answer(403, b"no\n"))
    rounds = rig.rounds()
    for _ in range(5):
        rig.grow(2)
        rig.round(rounds)
    assert [state for _, state in rig.states()] == ["status 403", "cosigns", "status 403"]


def test_one_that_never_answers_holds_up_nobody(rig: Rig) -> None:
    """Its round is over before it is; the others go on, and it is not asked twice at once."""
    free = threading.Event()
    asked: list[bytes] = []

    def hang(body: bytes) -> Answer:
        asked.append(body)
        free.wait(PATIENCE_S)
        return whatever(body)

    slow, good = rig.lying(hang), rig.honest()
    rounds = rig.rounds()
    sizes = []
    for _ in range(3):
        sizes.append(rig.grow(5))
        rounds._begin()
        while rig.cosigned() != (sizes[-1], [good.key.name]):
            rounds._take(0.05, until_idle=False)
    assert len(asked) == 1
    free.set()
    rounds._take(PATIENCE_S, until_idle=True)
    assert rig.cosigned() == (sizes[-1], [good.key.name]), "what it answers late is of an older checkpoint"
    grown = rig.grow(1)
    rig.round(rounds)
    assert rig.cosigned() == (grown, [slow.key.name, good.key.name])


def test_one_that_drips_is_cut_off(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then outlives any time-out of one read."""
    monkeypatch.setattr(submission, "PATIENCE_S", 0.3)

    def drip(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            try:
                while True:
                    connection.sendall(b"H")
                    time.sleep(0.05)
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        rig.add(WitnessAddress(f"http://127.0.0.1:{listener.getsockname()[1]}", LIAR_KEY))
        rig.grow(5)
        rig.round(rig.rounds())
        thread.join(PATIENCE_S)
    assert rig.states() == [(LIAR_KEY.name, "silent")]


def test_the_last_round_has_the_end_of_the_log(rig: Rig) -> None:
    good = rig.honest()
    rig.grow(5)
    answers: SimpleQueue[Any] = SimpleQueue()
    rounds = Rounds(rig.operator.log, rig.operator.broker.log_key, rig.settings, rig.events.append, answers)
    thread = threading.Thread(target=rounds.run)
    thread.start()
    while rig.cosigned()[0] == 0:
        time.sleep(0.01)
    grown = rig.grow(3)
    answers.put(None)
    thread.join(PATIENCE_S)
    assert rig.cosigned() == (grown, [good.key.name])


# W0: before the first signature after a start


def test_a_start_that_all_witnesses_agree_with(rig: Rig) -> None:
    rig.honest("w1")
    rig.honest("w2")
    for marks in (0, 5, 300):
        rig.grow(marks)
        rig.round(rig.rounds())
        with rig.open(cosign_demand=True, cosign_quorum=2):
            pass
    with rig.open():
        pass
    assert set(rig.states()) == {("witness.example/w1", "cosigns"), ("witness.example/w2", "cosigns")}


def test_a_log_that_grew_since_the_witness_was_asked_opens(rig: Rig) -> None:
    rig.honest()
    rig.grow(5)
    rig.round(rig.rounds())
    rig.grow(300)
    with rig.open():
        pass


def test_a_power_cut_before_the_checkpoint_was_durable_is_no_restored_backup(rig: Rig) -> None:
    """The witness saw a checkpoint whose name was lost; the store has all of it."""
    rig.honest()
    rig.grow(10)
    path = rig.operator.log / "public" / "checkpoint"
    before = path.read_bytes()
    grown = rig.grow(20)
    rig.round(rig.rounds())
    path.write_bytes(before)
    with rig.open() as log:
        assert log.checkpoint.head.size == grown


@pytest.mark.parametrize("script", [lambda _: size(10**6), lambda _: Answer(422, b"")])
def test_a_witness_that_lies_stops_the_log_until_the_operator_acts(rig: Rig, script: Script) -> None:
    """A claim has no proof: the log cannot tell, its operator can."""
    rig.lying(script)
    rig.grow(10)
    with pytest.raises(LogError, match=r"witness liar\.example/w .*take it out of sigillo\.toml, and remove this file"):
        rig.open()
    rig.settings = replace(rig.settings, witness=())
    with pytest.raises(LogError, match="stopped"):
        rig.open()
    (rig.operator.log / "stopped").unlink()
    with rig.open():
        pass


def test_a_claim_up_to_the_store_is_believed(rig: Rig) -> None:
    rig.grow(10)
    grown = rig.operator.public().size
    rig.lying(lambda body: size(grown) if decode_add_checkpoint(body).old_size != grown else whatever(body))
    with rig.open():
        pass


@pytest.mark.parametrize("script", [lambda _: None, lambda _: Answer(404, b""), lambda _: Answer(200, b"x")])
def test_a_witness_that_does_not_say_is_reported_and_demanded_only_on_request(rig: Rig, script: Script) -> None:
    rig.lying(script)
    rig.grow(10)
    with rig.open():
        pass
    assert [name for name, _ in rig.states()] == [LIAR_KEY.name]
    with pytest.raises(BrokerError, match="0 of 1 witnesses said what they have seen"):
        rig.open(cosign_demand=True)
    assert not (rig.operator.log / "stopped").exists()
    rig.honest()
    with rig.open(cosign_demand=True):
        pass


def test_one_that_never_answers_delays_a_start_no_longer_than_its_patience(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sigillo.broker.cosigner.PATIENCE_S", 0.2)
    free = threading.Event()

    def hang(_: bytes) -> None:
        free.wait(PATIENCE_S)

    rig.lying(hang)
    rig.grow(10)
    with rig.open():
        pass
    free.set()
    assert rig.states() == [(LIAR_KEY.name, "silent")]
