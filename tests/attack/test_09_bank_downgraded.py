"""Attack 9 (CVE-2021-42299): a bank of a weaker hash, or one that the firmware left empty for anybody to fill."""

from __future__ import annotations

import hashlib

import pytest

from sigillo.core.attestation import verify_periodic
from sigillo.core.errors import AttestationError, DecodeError
from sigillo.core.event_log import check_replay, decode_event_log, replay
from sigillo.core.launch import decode_launch_log

from ..adversary.tpm import LyingTpm
from ..vector.accept_tpm import BOOT, launched, two_banks
from ..vector.sample_tpm import LAUNCHES, OPENING

NAME = LyingTpm().key.name
SHA1, SHA384 = 0x0004, 0x000C


@pytest.mark.parametrize("algorithm", [SHA1, SHA384, 0x000D, 0x0012, 0])
def test_a_quote_of_another_bank(algorithm: int) -> None:
    with pytest.raises(DecodeError, match="PCR bank"):
        verify_periodic(launched().quote(OPENING, banks=((algorithm, b"\xff\x7f\0"),)), NAME)


def test_a_quote_of_another_bank_besides() -> None:
    for banks in (((SHA1, b"\xff\x7f\0"), (0x000B, b"\xff\x7f\0")), ((0x000B, b"\xff\x7f\0"), (SHA384, bytes(3)))):
        with pytest.raises(DecodeError, match="number of PCR banks"):
            verify_periodic(launched().quote(OPENING, banks=banks), NAME)


def test_a_log_whose_other_bank_tells_another_story_is_read_by_sha256_only() -> None:
    """The SHA-1 digests of this log are nonsense, and nobody looks at them."""
    events = decode_event_log(two_banks(BOOT)).events
    check_replay(events, replay(BOOT), range(24))


def test_a_log_without_our_bank_is_refused() -> None:
    only_sha1 = two_banks(()).replace(bytes.fromhex("04001400 0b002000"), bytes.fromhex("04001400 0c003000"))
    with pytest.raises(DecodeError, match="no SHA-256 bank"):
        decode_event_log(only_sha1)


def test_our_own_log_has_no_other_bank() -> None:
    with pytest.raises(DecodeError, match="another bank"):
        decode_launch_log(two_banks(LAUNCHES))


def test_a_bank_that_was_never_extended_leads_nowhere() -> None:
    """The firmware did not extend the SHA-256 bank: it is zero, and no log of a boot leads there."""
    empty = LyingTpm().quote(OPENING)
    quote = verify_periodic(empty, NAME)
    assert quote.pcrs[7] == bytes(32)
    with pytest.raises(AttestationError, match="does not lead"):
        check_replay(BOOT, quote.pcrs, range(8))
    assert hashlib.sha256(b"".join(quote.pcrs)).digest() in empty.attest_bytes
