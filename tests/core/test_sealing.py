"""spec/sealing.md beyond its vectors: what nobody can read, and the table of W1."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigillo.core.counter import CounterError, CounterRecord, Step, judge, verify_counter_record
from sigillo.core.errors import AttestationError, DecodeError, SignatureError
from sigillo.core.mark import Checkpoint
from sigillo.core.sealing import MAX_APPROVALS, decode_sealed_key, encode_sealed_key

from ..vector.accept_seal import LOG_KEY, VALUES, approval, counters, sealed
from ..vector.key import P256Key, filler


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_sealed_key(data)
    with pytest.raises((DecodeError, SignatureError)):
        verify_counter_record(data, LOG_KEY)


@given(st.data())
def test_no_changed_byte_passes(data: st.DataObject) -> None:
    """Of the sealed key all that is not the TPM's own: what it made is for it to check."""
    good = encode_sealed_key(sealed())
    private = good.index(sealed().private_bytes)
    unique = private - 32 - 5
    at = data.draw(st.integers(0, len(good) - 1).filter(lambda at: not unique <= at < private + 160))
    changed = good[:at] + bytes([good[at] ^ data.draw(st.integers(1, 255))]) + good[at + 1 :]
    with pytest.raises((DecodeError, AttestationError)):
        decode_sealed_key(changed).approved(VALUES)
    record = counters()["first"]["object"]
    assert isinstance(record, bytes)
    at = data.draw(st.integers(0, len(record) - 1))
    with pytest.raises((DecodeError, SignatureError)):
        verify_counter_record(record[:at] + bytes([record[at] ^ 1]) + record[at + 1 :], LOG_KEY)


def test_what_was_changed_is_named_against_the_newest_approval() -> None:
    newest = (*VALUES[:4], filler("kernel 2"), *VALUES[5:])
    found = (*VALUES[:4], filler("kernel 3"), *VALUES[5:11], filler("shim"))
    with pytest.raises(AttestationError, match=r"not approved .*\(changed: PCR 4, 14\)"):
        sealed().with_approval(approval(newest)).approved(found)


def test_only_the_owner_adds_an_approval_and_the_oldest_goes() -> None:
    found = sealed()
    with pytest.raises(AttestationError, match="not signed by the owner"):
        found.with_approval(approval(key=P256Key(filler("another owner"))))
    for number in range(MAX_APPROVALS):
        found = found.with_approval(approval((filler(f"boot {number}"), *VALUES[1:])))
    assert len(found.approvals) == MAX_APPROVALS
    assert VALUES not in {known.values for known in found.approvals}


@pytest.mark.parametrize(
    ("record", "found", "step"),
    [
        (None, None, Step.MAKE),
        (0, None, Step.MAKE),
        (0, 0, Step.RAISE),
        (0, 1, Step.NOTHING),
        (1, 1, Step.NOTHING),
        (7, 7, Step.NOTHING),
        (7, 6, Step.RAISE),
    ],
)
def test_what_a_start_may_find(record: int | None, found: int | None, step: Step) -> None:
    assert judge(None if record is None else CounterRecord(record, Checkpoint()), found) is step


@pytest.mark.parametrize(
    ("record", "found", "replaced"),
    [
        (None, 0, False),
        (None, 7, False),
        (7, 8, False),
        (7, 2**64 - 1, False),
        (7, 5, True),
        (7, 0, True),
        (1, 0, True),
        (7, None, True),
    ],
)
def test_what_a_start_refuses(record: int | None, found: int | None, replaced: bool) -> None:
    with pytest.raises(CounterError) as caught:
        judge(None if record is None else CounterRecord(record, Checkpoint()), found)
    assert caught.value.replaced is replaced
