"""Attacks 2, 26: every bit of attestation evidence is covered by the TPM's signature, or by what it signs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from sigillo.core.attestation import AttestationEvidence, verify_periodic
from sigillo.core.errors import AttestationError, DecodeError
from sigillo.core.mark import Checkpoint

from ..adversary.attested import AttestedStory, refused
from ..adversary.tpm import LyingTpm
from ..vector.accept_tpm import launched
from ..vector.sample_tpm import CLOSING

NAME = LyingTpm().key.name
HONEST = launched().quote(CLOSING)


def flips(data: bytes) -> Iterator[bytes]:
    """The data with each of its bits changed."""
    for at in range(8 * len(data)):
        yield (int.from_bytes(data, "big") ^ 1 << at).to_bytes(len(data), "big")


def with_pcrs(evidence: AttestationEvidence, data: bytes) -> AttestationEvidence:
    return replace(evidence, pcrs=tuple(data[at : at + 32] for at in range(0, len(data), 32)))


def with_size(evidence: AttestationEvidence, data: bytes) -> AttestationEvidence:
    about = replace(evidence.subject.checkpoint, size=int.from_bytes(data, "big"))
    return replace(evidence, subject=replace(evidence.subject, checkpoint=about))


def with_root(evidence: AttestationEvidence, data: bytes) -> AttestationEvidence:
    about = Checkpoint(evidence.subject.checkpoint.size, data)
    return replace(evidence, subject=replace(evidence.subject, checkpoint=about))


def with_epoch(evidence: AttestationEvidence, data: bytes) -> AttestationEvidence:
    return replace(evidence, subject=replace(evidence.subject, epoch_id=data))


Part = tuple[Callable[[AttestationEvidence], bytes], Callable[[AttestationEvidence, bytes], AttestationEvidence]]
PARTS: dict[str, Part] = {
    "attest": (lambda it: it.attest_bytes, lambda it, data: replace(it, attest_bytes=data)),
    "signature": (lambda it: it.signature_bytes, lambda it, data: replace(it, signature_bytes=data)),
    "key": (lambda it: it.key_bytes, lambda it, data: replace(it, key_bytes=data)),
    "PCR values": (lambda it: b"".join(it.pcrs), with_pcrs),
    "size": (lambda it: it.subject.checkpoint.size.to_bytes(8, "big"), with_size),
    "root": (lambda it: it.subject.checkpoint.root, with_root),
    "epoch id": (lambda it: it.subject.epoch_id, with_epoch),
}


@pytest.mark.parametrize("part", PARTS)
def test_one_bit(part: str) -> None:
    read, write = PARTS[part]
    assert verify_periodic(HONEST, NAME)
    for changed in flips(read(HONEST)):
        with pytest.raises((AttestationError, DecodeError)):
            verify_periodic(write(HONEST, changed), NAME)


@pytest.mark.parametrize("part", PARTS)
def test_one_bit_in_a_file_that_the_operator_has_logged(part: str) -> None:
    """The log is whole, so nothing but the quote itself tells: step 21, or 15 where it is about another checkpoint."""
    read, write = PARTS[part]
    story = AttestedStory()
    story.launch()
    story.publish()
    story.quote()
    honest = story.tpm.quote(replace(CLOSING, epoch_id=epoch_of(story), checkpoint=story.log.sign().checkpoint))
    logged, unreadable = len(story.log.entries), 0
    for changed in list(flips(read(honest)))[3::61]:
        del story.log.entries[logged:], story.log.tokens[2:]
        try:
            story.log.enter(write(honest, changed))
        except DecodeError:
            unreadable += 1
            continue
        verdict = story.judged()
        if not verdict.checks[14].failures.count:
            refused(verdict, 21, "")
        assert not verdict.verified
    assert not unreadable or part in ("attest", "signature", "key", "size")


def epoch_of(story: AttestedStory) -> bytes:
    assert story.broker.epoch
    return story.broker.epoch.epoch_id
