"""Attack 7 (go-attestation CVE-2022-0317): the PCR that matters is not in the quote; its value is what they say."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest

from sigillo.core.attestation import verify_periodic
from sigillo.core.errors import AttestationError, DecodeError
from sigillo.core.quote import LAUNCH_PCR, SELECTION
from sigillo.core.tpm import encode_selection

from ..adversary.tpm import LyingTpm
from ..vector.accept_tpm import launched
from ..vector.key import filler
from ..vector.sample_tpm import OPENING

NAME = LyingTpm().key.name


def selected(indices: set[int]) -> tuple[int, bytes]:
    return 0x000B, encode_selection(indices)[-3:]


def test_a_quote_over_no_pcr_at_all() -> None:
    nothing = hashlib.sha256(b"").digest()
    with pytest.raises(DecodeError, match="selects no PCR"):
        verify_periodic(launched().quote(OPENING, banks=((0x000B, bytes(3)),), digest=nothing), NAME)
    with pytest.raises(DecodeError, match="number of PCR banks"):
        verify_periodic(launched().quote(OPENING, banks=(), digest=nothing), NAME)


@pytest.mark.parametrize("left_out", SELECTION)
def test_a_quote_that_leaves_one_out_and_shows_any_value_for_it(left_out: int) -> None:
    """The digest is right for what was selected; the value shown for the other is made up."""
    tpm = launched()
    quoted = [value for index, value in enumerate(tpm.values()) if index != left_out]
    digest = hashlib.sha256(b"".join(quoted)).digest()
    evidence = tpm.quote(OPENING, banks=(selected(set(SELECTION) - {left_out}),), digest=digest)
    pcrs = (*evidence.pcrs[:left_out], filler("made up"), *evidence.pcrs[left_out + 1 :])
    with pytest.raises(AttestationError, match="other PCRs"):
        verify_periodic(dataclasses.replace(evidence, pcrs=pcrs), NAME)


def test_a_value_that_the_tpm_does_not_have() -> None:
    evidence = launched().quote(OPENING)
    for index in SELECTION:
        pcrs = (*evidence.pcrs[:index], filler("made up"), *evidence.pcrs[index + 1 :])
        with pytest.raises(AttestationError, match="not those of the quote"):
            verify_periodic(dataclasses.replace(evidence, pcrs=pcrs), NAME)


def test_a_pcr_that_anybody_can_reset_in_place_of_ours() -> None:
    """The launches extended into PCR 16 or 23: reset, and extended again with a better story."""
    for resettable in (16, 23):
        tpm = launched()
        tpm.pcrs[resettable] = tpm.pcrs.pop(LAUNCH_PCR)
        evidence = tpm.quote(OPENING, banks=(selected((set(SELECTION) - {LAUNCH_PCR}) | {resettable}),))
        with pytest.raises(AttestationError, match="other PCRs"):
            verify_periodic(evidence, NAME)
