"""Attack 10 (go-attestation #112): something that a TPM has signed, but not as a quote, passed off as one."""

from __future__ import annotations

import dataclasses

import pytest

from sigillo.core.attestation import verify_periodic
from sigillo.core.errors import AttestationError, DecodeError
from sigillo.core.tpm import ATTRIBUTES

from ..adversary.tpm import LyingTpm
from ..vector.accept_tpm import launched
from ..vector.sample_tpm import OPENING

NAME = LyingTpm().key.name
OTHER_TYPES = {"nv": 0x8014, "command audit": 0x8015, "session audit": 0x8016, "certify": 0x8017, "time": 0x8019}
OTHER_TYPES |= {"creation": 0x801A, "nv digest": 0x801C}


def test_a_key_that_signs_anything_signs_a_perfect_quote_and_is_no_ak() -> None:
    """`TPM2_Sign` with a key that is not restricted: the structure, written by hand, in the TPM's own signature."""
    free = LyingTpm().raw_key.attributes & ~ATTRIBUTES["restricted"]
    forged = LyingTpm(pcrs=launched().pcrs, key_changes={"attributes": free}).quote(OPENING)
    with pytest.raises(DecodeError, match="lacks the attribute restricted"):
        verify_periodic(forged, NAME)


def test_it_does_not_help_to_show_a_restricted_public_part_for_it() -> None:
    """The attributes are part of the name: with others it is another key, which the statement does not name."""
    free = LyingTpm(key_changes={"attributes": LyingTpm().raw_key.attributes & ~ATTRIBUTES["restricted"]})
    forged = dataclasses.replace(free.quote(OPENING), key_bytes=LyingTpm().raw_key.encode())
    with pytest.raises(AttestationError, match="endorsement hierarchy"):
        verify_periodic(forged, NAME)


def test_what_a_restricted_key_does_sign_has_other_bytes_in_front() -> None:
    """Such a key signs what it has hashed itself, if it does not begin with TPM_GENERATED."""
    for magic in (0, 0xFF544346, 0x00544347, 0x4743_54FF):
        with pytest.raises(DecodeError, match="magic"):
            verify_periodic(launched().quote(OPENING, magic=magic), NAME)


@pytest.mark.parametrize("kind", OTHER_TYPES.values(), ids=OTHER_TYPES)
def test_another_kind_of_attest_is_no_quote(kind: int) -> None:
    with pytest.raises(DecodeError, match="type"):
        verify_periodic(launched().quote(OPENING, attest_type=kind), NAME)


def test_a_key_that_also_decrypts_is_no_ak() -> None:
    both = LyingTpm().raw_key.attributes | ATTRIBUTES["decrypt"]
    with pytest.raises(DecodeError, match="has the attribute decrypt"):
        verify_periodic(LyingTpm(key_changes={"attributes": both}).quote(OPENING), NAME)
