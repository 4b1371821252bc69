"""Quotes: any changed bit is refused; between two of them nothing happened, or it is said what did."""

from __future__ import annotations

import dataclasses
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigillo.core.bytes import EMPTY_ROOT
from sigillo.core.errors import AttestationError, DecodeError
from sigillo.core.mark import Checkpoint
from sigillo.core.quote import LAUNCH_PCR, NONCE_SIZE, SELECTION, Quote, Subject, check_follows, verify_quote
from sigillo.core.tpm import decode_attestation_key

from ..adversary.tpm import AttestationEvidence, LyingTpm
from ..vector.accept_tpm import launched, recorded
from ..vector.key import P256Key, filler
from ..vector.sample_tpm import CHALLENGED, CLOSING, OPENING


def verified(evidence: AttestationEvidence) -> Quote:
    key = decode_attestation_key(evidence.key_bytes)
    return verify_quote(key, evidence.attest_bytes, evidence.signature_bytes, evidence.subject, evidence.pcrs)


@pytest.mark.parametrize("part", ["attest_bytes", "signature_bytes", "key_bytes", "pcrs"])
def test_every_single_bit_flip_of_a_real_quote_is_refused(part: str) -> None:
    evidence = recorded("opening", OPENING)
    verified(evidence)
    key = decode_attestation_key(evidence.key_bytes)
    data = b"".join(evidence.pcrs) if part == "pcrs" else getattr(evidence, part)
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        value: Any = bytes(flipped)
        if part == "pcrs":
            value = tuple(value[at : at + 32] for at in range(0, len(value), 32))
        changed = dataclasses.replace(evidence, **{part: value})
        with pytest.raises((AttestationError, DecodeError)):
            assert verified(changed).key.name == key.name


def test_a_real_tpm_says_what_it_is_asked() -> None:
    opening, closing = verified(recorded("opening", OPENING)), verified(recorded("closing", CLOSING))
    assert (opening.subject, closing.subject) == (OPENING, CLOSING)
    assert opening.launch_pcr == launched().pcrs[LAUNCH_PCR]
    assert opening.clock.reset_count == closing.clock.reset_count > 0
    assert verified(recorded("challenged", CHALLENGED)).subject.nonce == CHALLENGED.nonce


fields = st.tuples(
    st.binary(min_size=32, max_size=32),
    st.integers(1, 2**64 - 1),
    st.binary(min_size=32, max_size=32),
    st.none() | st.binary(min_size=NONCE_SIZE, max_size=NONCE_SIZE),
)


@given(fields, fields)
def test_qualifying_data_are_of_one_subject_only(one: Any, two: Any) -> None:
    first, second = (Subject(epoch, Checkpoint(size, root), nonce) for epoch, size, root, nonce in (one, two))
    assert (first.qualifying_data == second.qualifying_data) == (first == second)


def test_qualifying_data_take_no_other_nonce() -> None:
    for size in (0, NONCE_SIZE - 1, NONCE_SIZE + 1):
        with pytest.raises(DecodeError):
            _ = Subject(bytes(32), Checkpoint(0, EMPTY_ROOT), bytes(size)).qualifying_data


def test_the_selection_holds_the_pcr_of_the_launches_and_none_that_can_be_reset() -> None:
    assert LAUNCH_PCR in SELECTION
    assert not set(SELECTION) & set(range(16, 24))


def test_nothing_happened_between_two_quotes_of_one_epoch() -> None:
    check_follows(verified(recorded("opening", OPENING)), verified(recorded("closing", CLOSING)))


def _changed(change: str) -> LyingTpm:
    tpm = launched()
    tpm.clock += 1000
    if change == "key":
        tpm.private = P256Key(filler("other attestation key"))
    elif change == "launch":
        tpm.extend(LAUNCH_PCR, [bytes(32)])
    return tpm


@pytest.mark.parametrize(
    ("change", "lies", "reason"),
    [
        ("key", {}, "different attestation keys"),
        ("launch", {}, "something was launched"),
        ("", {"resets": 8}, "was reset"),
        ("", {"resets": 6}, "an older state"),
        ("", {"restarts": 1}, "restarted"),
        ("", {"clock": 10_999}, "clock did not go on"),
        ("", {"clock": 5}, "clock did not go on"),
        ("", {"firmware": 1}, "firmware"),
    ],
)
def test_what_happened_between_two_quotes_is_said(change: str, lies: dict[str, int], reason: str) -> None:
    first = verified(launched().quote(OPENING))
    with pytest.raises(AttestationError, match=reason):
        check_follows(first, verified(_changed(change).quote(CLOSING, **lies)))


def test_two_quotes_of_one_millisecond_are_no_repeat_where_they_are_for_other_data() -> None:
    first = verified(launched().quote(OPENING, clock=11_000))
    check_follows(first, verified(launched().quote(CLOSING, clock=11_000)))
    with pytest.raises(AttestationError, match="clock did not go on"):
        check_follows(first, verified(launched().quote(OPENING, clock=11_000)))


def test_quotes_of_two_epochs_are_not_compared() -> None:
    tpm = launched()
    first = verified(tpm.quote(OPENING))
    other = verified(tpm.quote(dataclasses.replace(CLOSING, epoch_id=filler("other epoch"))))
    with pytest.raises(AttestationError, match="different epochs"):
        check_follows(first, other)


def test_order_matters() -> None:
    tpm = launched()
    quotes = [verified(tpm.quote(OPENING)) for _ in range(4)]
    for earlier, later in combinations(quotes, 2):
        check_follows(earlier, later)
        for pair in ((later, earlier), (earlier, earlier)):
            with pytest.raises(AttestationError, match="clock"):
                check_follows(*pair)
