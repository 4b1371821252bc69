"""spec/challenge.md, "Watching": what goes backward is red for good, changes are said, silence is red (attack 3)."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigillo.core.challenged import ChallengeVerdict, appraise_answer
from sigillo.core.errors import DecodeError
from sigillo.core.watched import Seen, Watch, answered, decode_watch, encode_watch, silent
from tests.core.test_challenged import policy
from tests.vector.challenge import Launched
from tests.vector.sample_tpm import NONCE

SEEN = Seen("aa", "bb", 3, "cc", 10, "dd", "launched", "ee", "ff", "00", 5000, 7, 0, "01")


@pytest.fixture
def verdict() -> ChallengeVerdict:
    answer = Launched().answer()
    return appraise_answer(answer, NONCE, policy(answer))


def after(verdict: ChallengeVerdict, **before: Any) -> tuple[Watch, tuple[str, ...]]:
    """What a watcher makes of the verdict who saw the same before, but for these fields."""
    return answered(Watch(dataclasses.replace(Seen.of(verdict), **before), ""), verdict)


def test_the_first_good_answer_is_green(verdict: ChallengeVerdict) -> None:
    assert not Watch().is_green
    watch, changes = answered(Watch(), verdict)
    assert watch.is_green
    assert len(changes) == 1
    assert changes[0].startswith("attested: epoch")
    assert answered(watch, verdict) == (watch, ())


@pytest.mark.parametrize(
    ("before", "said"),
    [
        ({"size": 10**6}, "rollback: the log"),
        ({"root": "00"}, "fork: two logs"),
        ({"epoch": 99}, "rollback: epoch 99"),
        ({"epoch_id": "00"}, "fork: two epochs"),
        ({"resets": 10**6}, "rollback: the TPM"),
        ({"clock_ms": 10**9}, "rollback: the TPM"),
    ],
)
def test_what_went_backward_stays_red(verdict: ChallengeVerdict, before: dict[str, Any], said: str) -> None:
    watch, changes = after(verdict, **before)
    assert any(change.startswith(said) for change in changes)
    assert not watch.is_green
    again, _ = answered(watch, verdict)
    assert not again.is_green
    assert again.why.startswith(said)


@pytest.mark.parametrize(
    ("before", "said"),
    [
        ({"log_key": "00"}, "changed: log key"),
        ({"attestation_key": "00"}, "changed: attestation key"),
        ({"executable": "00"}, "changed: executable"),
        ({"plugin": "00"}, "changed: plugin"),
        ({"configuration": "00"}, "changed: configuration"),
        ({"level": "booted"}, "changed: level"),
        ({"firmware": "00"}, "changed: firmware"),
        ({"resets": 0}, "changed: the TPM was reset"),
        ({"epoch": 0, "epoch_id": "00"}, "changed: epoch"),
    ],
)
def test_what_changed_is_said(verdict: ChallengeVerdict, before: dict[str, Any], said: str) -> None:
    watch, changes = after(verdict, **before)
    assert any(change.startswith(said) for change in changes), changes
    assert watch.is_green


def test_silence_is_red_and_said_once(verdict: ChallengeVerdict) -> None:
    green, _ = answered(Watch(), verdict)
    red, changes = silent(green, "no answer")
    assert not red.is_green
    assert changes == ("not attested: no answer",)
    assert silent(red, "no answer") == (red, ())
    assert red.last == green.last
    back, changes = answered(red, verdict)
    assert back.is_green
    assert changes[0].startswith("attested")


def test_a_reason_of_any_length_leaves_a_state_that_can_be_read(verdict: ChallengeVerdict) -> None:
    green, _ = answered(Watch(), verdict)
    for reason in ("\u00e9" * 60_000, "\x1b" * 60_000, "\ud800", "\0" * 5000):
        red, _ = silent(green, reason)
        assert decode_watch(encode_watch(red)).last == green.last
        assert not red.is_green


def test_an_answer_that_attests_nothing_is_red(verdict: ChallengeVerdict) -> None:
    green, _ = answered(Watch(), verdict)
    bad = dataclasses.replace(verdict, attested=False, reason="step 21, quote: …", quote=None)
    red, changes = answered(green, bad)
    assert not red.is_green
    assert "step 21" in changes[0]


@given(st.none() | st.just(SEEN), st.text(max_size=20).filter(str.isascii), st.text(max_size=20).filter(str.isascii))
def test_a_state_comes_back(last: Seen | None, reason: str, backward: str) -> None:
    watch = Watch(last, reason, backward)
    assert decode_watch(encode_watch(watch)) == watch


GOOD = encode_watch(Watch(SEEN, "", ""))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}\n",
        GOOD[:-1],
        GOOD.replace(b'"version":1', b'"version":2'),
        GOOD.replace(b'"size":10', b'"size":"10"'),
        GOOD.replace(b'"size":10', b'"size":true'),
        GOOD.replace(b'"reason":""', b'"reason":null'),
        GOOD.replace(b',"size":10', b""),
        GOOD.replace(b"sigillo-watch", b"sigillo-other"),
        b"[]\n",
        GOOD + GOOD,
    ],
)
def test_a_broken_state_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_watch(data)


@given(st.binary(max_size=200))
def test_garbage_is_refused_and_nothing_else_happens(data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_watch(data)
