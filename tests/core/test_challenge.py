"""The answer to a challenge: round trips, sizes, and that it is for this nonce, epoch, checkpoint, configuration."""

from __future__ import annotations

import contextlib
import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigillo.core import challenge
from sigillo.core.canonical import canonical
from sigillo.core.challenge import (
    ChallengeAnswer,
    ConfigurationText,
    Hidden,
    decode_challenge_answer,
    decode_request,
    encode_challenge_answer,
    encode_request,
    verify_challenge_answer,
)
from sigillo.core.errors import AttestationError, DecodeError

from ..vector.challenge import KEY_NAME, Launched, answers, configuration
from ..vector.key import filler
from ..vector.sample_tpm import NONCE

GOOD = Launched().answer()
ENCODED = encode_challenge_answer(GOOD)


@pytest.mark.parametrize("answer", answers().values(), ids=answers())
def test_round_trip(answer: ChallengeAnswer) -> None:
    assert decode_challenge_answer(encode_challenge_answer(answer)) == answer


def test_what_it_says() -> None:
    quote = verify_challenge_answer(GOOD, NONCE)
    assert (quote.key.name, quote.subject.nonce) == (KEY_NAME, NONCE)
    assert quote.subject.epoch_id == GOOD.statement.epoch_id
    assert GOOD.checkpoint.head.checkpoint == quote.subject.checkpoint
    assert GOOD.texts["conf/tls/server.key.pem"] is None
    assert GOOD.registration is None


@given(st.binary(max_size=64), st.integers(0, len(ENCODED)), st.integers(0, 64))
def test_other_bytes_are_refused_or_are_another_answer(data: bytes, at: int, skip: int) -> None:
    for changed in (data, ENCODED[:at] + data + ENCODED[at + skip :]):
        with contextlib.suppress(DecodeError):
            assert encode_challenge_answer(decode_challenge_answer(changed)) == changed


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2**40) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(json.loads(ENCODED))), JSON)
def test_any_value_of_a_member_is_refused_by_its_name(name: str, value: object) -> None:
    changed = json.loads(ENCODED) | {name: value}
    with contextlib.suppress(UnicodeEncodeError):
        data = canonical(changed)
        try:
            assert encode_challenge_answer(decode_challenge_answer(data)) == data
        except DecodeError as error:
            assert name in error.field or error.field == "challenge answer"


@given(st.text(max_size=200))
def test_any_text_survives(text: str) -> None:
    answer = dataclasses.replace(GOOD, configuration=(ConfigurationText("conf/mosquitto.conf", text),))
    with contextlib.suppress(DecodeError):
        assert decode_challenge_answer(encode_challenge_answer(answer)) == answer


@pytest.mark.parametrize(
    ("member", "size"),
    [
        ("evidence", challenge.MAX_EVIDENCE),
        ("statement", challenge.MAX_STATEMENT),
        ("launch", challenge.MAX_LAUNCH),
        ("closure", challenge.MAX_CLOSURE),
        ("registration", challenge.MAX_REGISTRATION),
        ("checkpoint", challenge.MAX_NOTE),
    ],
)
def test_what_is_too_long_is_named_before_it_is_decoded(member: str, size: int) -> None:
    value = json.loads(ENCODED) | {member: "A" * (4 * (size + 3) // 3)}
    with pytest.raises(DecodeError, match=f"{member}: is longer than {size} bytes"):
        decode_challenge_answer(canonical(value))


def test_an_answer_that_is_too_long_is_not_even_parsed() -> None:
    with pytest.raises(DecodeError, match="is longer than 8388608 bytes"):
        decode_challenge_answer(b'{"a":"' + bytes(challenge.MAX_ANSWER))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"evidence_bytes": b""}, "evidence"),
        ({"statement_bytes": b"\xa0"}, "statement"),
        ({"launch_bytes": b""}, "launch"),
        ({"configuration": configuration()[::-1]}, "configuration"),
        ({"configuration": (ConfigurationText("conf/acl", None),)}, "configuration"),
        ({"configuration": (ConfigurationText("conf/acl", "x", Hidden.SECRET),)}, "configuration"),
        ({"configuration": (ConfigurationText("conf/acl", "\ud800"),)}, "challenge answer"),
    ],
)
def test_what_could_not_be_read_again_is_not_written(changes: dict[str, object], field: str) -> None:
    with pytest.raises(DecodeError, match=field):
        encode_challenge_answer(dataclasses.replace(GOOD, **changes))  # type: ignore[arg-type]


def test_a_text_that_is_hidden_is_not_checked_and_not_there() -> None:
    hidden = tuple(ConfigurationText(item.name, None, Hidden.SECRET) for item in GOOD.configuration)
    answer = dataclasses.replace(GOOD, configuration=hidden)
    verify_challenge_answer(answer, NONCE)
    assert set(answer.texts.values()) == {None}
    with pytest.raises(AttestationError, match="other files"):
        verify_challenge_answer(dataclasses.replace(GOOD, configuration=()), NONCE)


def test_a_request_has_one_spelling() -> None:
    target = encode_request(NONCE)
    assert target == f"/attestation?nonce={NONCE.hex()}"
    assert decode_request(target) == NONCE
    upper = f"/attestation?nonce={filler('upper').hex().upper()}"
    for other in ("", "/attestation", "/attestation?nonce=", f"{target}0", target[:-1], f"{target}&a=b", upper):
        with pytest.raises(DecodeError, match="64 lower-case hex digits"):
            decode_request(other)
    for more in (f"{target}\n", f" {target}", target.replace("?", "?a=b&"), target.replace("nonce", "NONCE")):
        with pytest.raises(DecodeError):
            decode_request(more)
    with pytest.raises(DecodeError):
        encode_request(bytes(31))
