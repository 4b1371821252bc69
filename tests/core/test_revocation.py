"""Revocation lists: what can be read, and what a verdict says of tokens with and without them."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigillo.core.errors import DecodeError, PolicyError, SignatureError
from sigillo.core.evidence import decode_lines
from sigillo.core.evidence_codec import encode_line
from sigillo.core.line import split_lines
from sigillo.core.policy import decode_policy, encode_policy
from sigillo.core.revocation import MAX_CRL, decode_crl
from sigillo.core.timestamp import TsaTrust, verify_token
from sigillo.core.verdict import Verdict

from ..adversary.maker import DAY, START
from ..adversary.story import failing_steps
from ..adversary.third import ThirdStory, bracketed
from .timestamp_case import NOTE, TRUST, TSA, Reason

CRL = TSA.root.revocations(TSA.chain[0], reason=Reason.superseded)


@given(st.integers(0, len(CRL) - 1), st.binary(min_size=1, max_size=1))
def test_a_changed_list_is_unreadable_or_counts_for_nothing(at: int, byte: bytes) -> None:
    changed = CRL[:at] + byte + CRL[at + 1 :]
    if changed == CRL:
        with pytest.raises(SignatureError, match="revoked"):
            verify_token(TSA.stamp(NOTE), NOTE, TRUST, crls=[changed])
    else:
        assert verify_token(TSA.stamp(NOTE), NOTE, TRUST, crls=[changed]).revocation_ns is None


@given(st.binary(max_size=300))
def test_garbage_is_no_list(data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_crl(data)


@pytest.mark.parametrize("data", [bytes(MAX_CRL + 1), CRL + b"\0", TSA.certificate, b"-----BEGIN X509 CRL-----\n"])
def test_what_is_no_list(data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_crl(data)


def with_crls(story: ThirdStory, *crls: bytes, tsa: int = 0) -> None:
    """The tokens of one TSA of the story come with these lists."""
    mine = story.log.tokens[tsa::2]
    story.log.tokens = [dataclasses.replace(token, crls=crls) if token in mine else token for token in story.log.tokens]


def limits(verdict: Verdict) -> list[str]:
    return [limit for limit in verdict.limits if "revo" in limit]


def test_a_verdict_says_that_nothing_was_checked() -> None:
    verdict = bracketed().judged()
    assert verdict.verified
    without = "no revocation data with 2 of its tokens: whether its certificates had been revoked is not checked"
    assert limits(verdict) == [f'TSA "A": {without}', f'TSA "B": {without}']


def test_a_verdict_says_as_of_when_nothing_was_revoked() -> None:
    story = bracketed()
    with_crls(story, story.tsas[0].root.revocations(at=START - DAY))
    verdict = story.judged()
    assert verdict.verified
    assert limits(verdict)[0].startswith(
        f'TSA "A": its certificates were not revoked as of {START - DAY:%Y-%m-%dT%H:%M:%S}'
    )
    assert limits(verdict)[1].startswith('TSA "B": no revocation data')


def test_a_revoked_authority_bounds_nothing_any_more() -> None:
    """The attack: tokens of a key that its CA had revoked. With two TSAs demanded nothing bounds the marks now."""
    story = bracketed()
    first = story.tsas[0]
    with_crls(story, first.root.revocations(first.chain[0], reason=Reason.key_compromise))
    verdict = story.judged()
    assert 18 in failing_steps(verdict)
    notes = [note.text for note in verdict.checks[16].notes.listed]
    assert len(notes) == 2 and all("counts for nothing" in note and "revoked" in note for note in notes)


def test_the_reader_knows_what_the_file_leaves_out() -> None:
    """An operator who leaves the list out is found by a reader who brings it."""
    story = bracketed()
    first = story.tsas[0]
    revoked = first.root.revocations(first.chain[0], since=START + DAY, reason=Reason.key_compromise, at=START + DAY)
    trust = story.trust()
    knowing = dataclasses.replace(trust, tsas=(dataclasses.replace(trust.tsas[0], crls=(revoked,)), trust.tsas[1]))
    assert story.judged(trust).verified
    assert 18 in failing_steps(story.judged(knowing))
    assert decode_policy(encode_policy(knowing).encode()) == knowing


def test_a_policy_with_a_list_that_is_none_is_named() -> None:
    data = encode_policy(bracketed().trust()).encode()
    for crls in ('["MAA"]', '["!"]', '"MAA"', '["MAA", "MAA", "MAA", "MAA", "MAA"]'):
        with pytest.raises(PolicyError, match="crls"):
            decode_policy(data.replace(b"\n[anchors]", f"crls = {crls}\n\n[anchors]".encode(), 1))
    with pytest.raises(DecodeError, match="more than 4"):
        TsaTrust(TRUST.name, TRUST.roots, TRUST.policies, (CRL,) * 5)


def test_a_list_is_kept_in_its_line_and_a_large_one_refused() -> None:
    story = bracketed()
    with_crls(story, CRL)
    assert encode_line(story.log.tokens[0]) in story.file()
    with_crls(story, bytes(MAX_CRL + 1))
    with pytest.raises(DecodeError, match="revocation list of more than"):
        list(decode_lines(split_lines([story.file()])))
