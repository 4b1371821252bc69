from __future__ import annotations

import re
from pathlib import Path

import pytest

from sigillo.broker.event import Event, EventName, cut, decode_event
from sigillo.broker.folder import OperatorFolder
from sigillo.cli import up_text
from sigillo.cli.up_text import Narrator
from tests.house.checkout import CHECKOUT

COUNTS = {
    "marked": 1,
    "refused_clock": 0,
    "refused_spool": 0,
    "refused_principals": 0,
    "refused_topics": 0,
    "refused_names": 0,
    "refused_datagrams": 0,
    "refused_rate": 0,
    "refused_size": 0,
    "stripped": 0,
    "repeats": 0,
    "plain": 0,
    "dropped_wills": 0,
}


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def tell(said: list[str]) -> Narrator:
    return Narrator(OperatorFolder.at(Path("/op")), said.append)


def test_an_event_survives_the_pipe() -> None:
    event = Event(EventName.ENDED, {"epoch": 1, "reason": None, "clean": True, "findings": ["é\n"]})
    assert decode_event(event.encode()) == event
    assert "\n" not in event.encode()
    assert len(cut("x" * 10_000)) < 1000


def test_counts_are_said_at_most_every_few_seconds(
    tell: Narrator, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(up_text.time, "monotonic", lambda: now)
    for marked in range(1, 4):
        tell(Event(EventName.COUNTERS, COUNTS | {"marked": marked}))
    assert said == ["1 message marked"]
    now += 10
    tell(Event(EventName.COUNTERS, COUNTS | {"marked": 9, "refused_clock": 2, "stripped": 1}))
    assert said[1] == "9 messages marked; 2 refused for the clock, 1 forged time-mark properties stripped"
    tell(Event(EventName.COUNTERS, COUNTS | {"marked": 9, "refused_clock": 2, "stripped": 1}))
    assert len(said) == 2


def test_the_end_says_the_last_counts_at_once(tell: Narrator, said: list[str]) -> None:
    ended = {"epoch": 1, "clean": False, "reason": None, "last_sequence": 7, "findings": ["torn"]}
    tell(Event(EventName.COUNTERS, COUNTS))
    tell(Event(EventName.ENDED, ended | COUNTS | {"marked": 7}))
    assert said[1:] == ["7 messages marked", "epoch 1 ended WITHOUT a signed end, last mark 7", "warning: torn"]


def test_a_dead_child_is_named_with_its_last_lines(tell: Narrator, said: list[str]) -> None:
    tell(
        Event(
            EventName.CHILD_DIED, {"child": "broker", "how": "exit code 1", "lines": ["Error: Address already in use"]}
        )
    )
    assert said == ["error: the broker ended by itself: exit code 1", "  Error: Address already in use"]


def test_what_is_not_separated_is_said_with_its_reason(tell: Narrator, said: list[str]) -> None:
    tell(Event(EventName.ACCOUNTS, {"broker": "me", "rest": "me", "separated": False, "reason": "of a test"}))
    assert said == ["NOT SEPARATED: me runs the broker and holds the log key, because of a test"]


def test_control_characters_of_the_brokers_log_are_escaped(tell: Narrator, said: list[str]) -> None:
    tell(Event(EventName.BROKER_LOG, {"line": "\x1b[2Jhello"}))
    assert "\x1b" not in said[0]


def test_every_event_has_an_answer_or_is_left_unsaid(tell: Narrator, said: list[str]) -> None:
    assert tell.known == set(EventName)
    for name in up_text.UNSAID:
        tell(Event(name))
    assert said == []


def test_the_page_of_events_names_each_once() -> None:
    page = (CHECKOUT / "docs/events.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `([a-z-]+)` \|", page, re.MULTILINE) == list(EventName)


def test_the_log_is_named_where_it_begins_and_where_it_ends(tell: Narrator, said: list[str]) -> None:
    tell(Event(EventName.LOG_OPENED, {"size": 4}))
    tell(Event(EventName.SERVING, {"url": "http://127.0.0.1:8380/"}))
    tell(Event(EventName.LOG_BEHIND))
    tell(Event(EventName.LOG_FINDING, {"finding": "000000.spool: ends at byte 64"}))
    tell(Event(EventName.LOGGED, {"size": 9}))
    tell(Event(EventName.STOPPED, {"well": True}))
    assert "the log has 4 entries" in said[0]
    assert said[1:] == [
        "the log is served at http://127.0.0.1:8380/",
        "waiting for the log to take what the epoch before left",
        "warning: log: 000000.spool: ends at byte 64",
        "the log has 9 entries",
        "stopped",
    ]


def test_quotes(tell: Narrator, said: list[str]) -> None:
    tell(Event(EventName.QUOTED, {"epoch": 2, "size": 7}))
    tell(Event(EventName.TPM_DOWN, {"tpm": "/dev/tpmrm0", "reason": "the TPM was reset"}))
    tell(Event(EventName.TPM_BACK, {"tpm": "/dev/tpmrm0"}))
    assert said == [
        "the TPM has quoted epoch 2 with the log's first 7 entries",
        "warning: nothing is attested from here on (/dev/tpmrm0): the TPM was reset. Marking goes on, and the TPM is "
        "asked again",
        "the TPM quotes again",
    ]


def test_time_stamps(tell: Narrator, said: list[str]) -> None:
    tell(Event(EventName.ANCHORED, {"tsa": "Example Time", "size": 7, "index": 9, "time_ns": 1_795_000_000 * 10**9}))
    down = {"tsa": "Example Time", "url": "http://tsa.example/", "reason": "does not answer: Connection refused"}
    tell(Event(EventName.TSA_DOWN, down))
    tell(Event(EventName.TSA_BACK, {"tsa": "Example Time"}))
    tell(Event(EventName.CRL_MISSING, {"tsa": "Example Time", "crl": "/etc/tsa/root.crl", "reason": "is no file"}))
    tell(Event(EventName.ANCHOR_DELAYED, {"reason": "anchors: No space left on device; see to the disk"}))
    assert said == [
        "Example Time says that the first 7 entries existed at 2026-11-18 11:06:40.000 UTC",
        "warning: no time stamps from Example Time (http://tsa.example/): it does not answer: Connection refused. "
        "Marking goes on, and it is asked again",
        "Example Time gives time stamps again",
        "warning: /etc/tsa/root.crl, a revocation list of Example Time: it is no file. Tokens are kept without it "
        "meanwhile",
        "warning: a time-stamp token waits, and is tried again: anchors: No space left on device; see to the disk",
    ]
