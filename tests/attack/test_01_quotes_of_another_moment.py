"""Attacks 1, 13, 14, 16, 35: quotes in the log that are of another moment. The operator signs the log, so it is whole.

Row 1 for challenges: test_01_quote_replayed.py. Rows 2, 7, 9 and 10 at the level of whole verdicts are below, too.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from sigillo.core.attestation import AttestationEvidence, decode_attestation
from sigillo.core.attestations import NOT_CLOSED, NOT_OPENED
from sigillo.core.errors import DecodeError
from sigillo.core.evidence_line import AttestationLine, Line
from sigillo.core.mark import Checkpoint
from sigillo.core.quote import Subject
from sigillo.core.tpm import ATTRIBUTES

from ..adversary.attested import AttestedStory, attested, closure_of, refused
from ..adversary.log import logged_file
from ..adversary.tpm import LyingTpm
from ..vector.key import filler


def opened() -> AttestedStory:
    """An epoch with marks behind its opening quote."""
    story = AttestedStory()
    story.launch()
    story.publish()
    return story


def quotes(story: AttestedStory) -> list[AttestationEvidence]:
    return [decode_attestation(line.evidence) for line in story.log.tokens if isinstance(line, AttestationLine)]


def subject(story: AttestedStory) -> Subject:
    """What an honest quote would be about now."""
    assert story.broker.epoch
    return Subject(story.broker.epoch.epoch_id, story.log.sign().checkpoint)


def test_the_opening_quote_again_as_the_closing_one() -> None:
    story = opened()
    story.log.enter(quotes(story)[0])
    refused(story.judged(), 21, "did not go on")


def test_an_old_quote_with_the_new_checkpoint_written_over_it() -> None:
    story = opened()
    story.log.enter(replace(quotes(story)[0], subject=subject(story)))
    refused(story.judged(), 21, "other data")


def test_a_quote_of_the_epoch_before() -> None:
    story = attested()
    old = quotes(story)[1]
    story.launch()
    story.publish()
    story.log.enter(old)
    refused(story.judged(), 21, "of another epoch than the one above it")


def test_a_quote_of_the_epoch_before_with_the_new_epoch_written_over_it() -> None:
    story = attested()
    old = quotes(story)[1]
    story.launch()
    story.publish()
    story.log.enter(replace(old, subject=subject(story)))
    refused(story.judged(), 21, "other data")


def test_the_answer_to_a_challenge() -> None:
    """Attack 1: whoever may ask for quotes could have the log filled with them."""
    story = opened()
    story.log.enter(story.tpm.quote(replace(subject(story), nonce=filler("nonce"))))
    refused(story.judged(), 21, "answer to a challenge")


def test_a_quote_whose_checkpoint_is_the_logs_and_whose_root_is_not() -> None:
    """The bytes of an old checkpoint are another's: the log leads to another root."""
    story = opened()
    story.quote(replace(story.log.sign().checkpoint, root=filler("another root")))
    verdict = story.judged()
    assert verdict.checks[14].failures.count
    assert verdict.summary.attestation.attested_count == 0
    assert verdict.level == "declared"


@pytest.mark.parametrize(
    ("lies", "reason"),
    [
        ({"resets": 8}, "reset or restarted"),
        ({"resets": 6}, "reset or restarted"),
        ({"restarts": 1}, "reset or restarted"),
        ({"clock": 9_000}, "did not go on"),
        ({"firmware": 1}, "firmware changed"),
    ],
    ids=["reset", "older state", "suspended", "clock backward", "firmware"],
)
def test_something_happened_to_the_tpm(lies: dict[str, int], reason: str) -> None:
    story = opened()
    story.quote(**lies)
    verdict = story.judged()
    refused(verdict, 21, reason)
    assert verdict.summary.attestation.attested_count == 0


def test_something_was_launched_meanwhile() -> None:
    """Attack 35: rogue code by day, though nobody quotes it: PCR 13 does not come back."""
    story = opened()
    story.tpm.extend(13, [filler("rogue")])
    story.quote()
    refused(story.judged(), 21, "something was launched between the two quotes")


def test_a_clean_quote_after_the_bad_one_opens_again_and_covers_nothing_of_before() -> None:
    story = opened()
    story.quote(clock=9_000)
    story.publish()
    story.quote()
    verdict = story.judged()
    refused(verdict, 21, "did not go on")
    assert (verdict.summary.attestation.attested_count, verdict.summary.attestation.unattested_count) == (0, 6)
    story.publish()
    story.quote()
    assert story.judged().summary.attestation.attested_count == 3


def test_a_rogue_day_between_two_clean_nights() -> None:
    """Attack 35: the marks of the day are in the log before the night's quote, and behind it only on paper."""
    story = opened()
    night = story.log.sign().checkpoint
    story.publish(2)
    story.quote(night)
    verdict = story.judged()
    assert verdict.summary.attestation.attested_count == 3
    assert verdict.checks[22].failures.listed[0].text.startswith(NOT_CLOSED)


@pytest.mark.parametrize(("left", "reason"), [(0, NOT_OPENED), (1, NOT_CLOSED)], ids=["opening", "closing"])
def test_a_quote_left_out(left: int, reason: str) -> None:
    story = opened()
    story.quote()
    lost = story.log.tokens[left]
    verdict = story.judged(lines=[line for line in story.log.lines() if line is not lost])
    assert not verdict.verified
    assert verdict.checks[22].failures.listed[0].text.startswith(reason)
    assert verdict.summary.attestation.attested_count == 0


def test_a_quote_before_a_reset_and_one_after_are_of_two_epochs_or_none() -> None:
    """After a reset PCR 13 is zero: an epoch that goes on is no more what was launched."""
    story = opened()
    story.tpm.pcrs.clear()
    story.tpm.resets += 1
    story.quote()
    refused(story.judged(), 21, "reset or restarted")


@pytest.mark.parametrize(
    ("resets", "clock", "fails"), [(6, 99_000, True), (7, 1_000, True), (8, 0, False), (7, 99_000, False)]
)
def test_a_later_epoch_quoted_by_an_older_state_of_the_tpm(resets: int, clock: int, fails: bool) -> None:
    """Attack 16: the folder of a software TPM put back from a copy. A reset raises its count, and the clock with it."""
    story = attested()
    story.tpm.resets, story.tpm.clock = resets, clock
    story.launch()
    story.publish()
    story.quote()
    verdict = story.judged()
    assert verdict.verified is not fails
    if fails:
        refused(verdict, 21, "an older state")


def moved(story: AttestedStory, *, quote: int, to: int) -> bytes:
    """The file with one attestation line in the place of another: what the log does not have."""
    lines: list[Line] = list(story.log.lines())
    places = [at for at, line in enumerate(lines) if isinstance(line, AttestationLine)]
    first, second = lines[places[quote]], lines[places[to]]
    assert isinstance(first, AttestationLine)
    assert isinstance(second, AttestationLine)
    lines[places[to]] = replace(first, index=second.index)
    return logged_file(lines, story.log.read, story.log.note())


def test_an_evidence_line_moved_between_epochs() -> None:
    story = attested()
    verdict = story.verdict(moved(story, quote=1, to=3))
    refused(verdict, 21, "of another epoch than the one above it")
    assert verdict.checks[13].failures.count


@pytest.mark.parametrize(
    ("lies", "reason"),
    [
        ({"signer": b"\0\x0b" + bytes(32)}, "endorsement hierarchy"),
        ({"extra": bytes(32)}, "other data"),
        ({"digest": bytes(32)}, "PCR values are not those"),
        ({"banks": ((0x000B, b"\xff\x5f\x00"),)}, "other PCRs"),
    ],
    ids=["owner's key", "data", "digest", "without PCR 13"],
)
def test_a_quote_of_something_else(lies: dict[str, object], reason: str) -> None:
    """Rows 2 and 7: well signed by the right key."""
    story = opened()
    story.quote(**lies)
    refused(story.judged(), 21, reason)


@pytest.mark.parametrize(
    ("lies", "key", "reason"),
    [
        ({"attest_type": 0x8017}, {}, "type"),
        ({"magic": 0}, {}, "magic"),
        ({"banks": ((0x0004, b"\xff\x7f\x00"),)}, {}, "PCR bank"),
        ({}, {"attributes": LyingTpm().raw_key.attributes & ~ATTRIBUTES["restricted"]}, "restricted"),
    ],
    ids=["certified", "signed data", "SHA-1", "key that signs anything"],
)
def test_what_is_no_quote_is_no_evidence(lies: dict[str, object], key: dict[str, object], reason: str) -> None:
    """Rows 9 and 10: the object cannot be read, so neither can a file that has it."""
    with pytest.raises(DecodeError, match=reason):
        opened().quote(tpm=LyingTpm(key_changes=key), **lies)


def test_a_signature_by_nobody() -> None:
    """Row 2: the statement is right, the key is right, the structure is right."""
    story = opened()
    evidence = story.tpm.quote(subject(story))
    other = story.tpm.sign(b"something else")
    story.log.enter(replace(evidence, signature_bytes=other))
    refused(story.judged(), 21, "signature")


def test_quotes_about_nothing_close_nothing() -> None:
    story = opened()
    for _ in range(3):
        story.quote(Checkpoint())
    verdict = story.judged()
    assert verdict.summary.attestation.attested_count == 0
    assert verdict.checks[22].failures.listed[0].text.startswith(NOT_CLOSED)


def test_one_epoch_unmeasured_makes_the_file_declared() -> None:
    story = attested()
    story.launch(closure_of(), attester=None)
    del story.log.tokens[-1:], story.log.entries[-1:]
    story.publish()
    verdict = story.judged()
    assert verdict.level == "declared"
    assert verdict.checks[12].failures.count
