"""Signatures on an epoch's objects: whose they are, and nobody else's."""

import pytest

from sigillo.core.cose import EpochObject
from sigillo.core.epoch import countersign, decode_epoch_end, decode_seal, decode_statement, encode_statement
from sigillo.core.errors import SignatureError
from sigillo.core.mark import decode_mark, encode_mark, mark_salt
from sigillo.core.signature import verify_by_epoch_key, verify_countersignature, verify_own_signature
from tests.vector import sample
from tests.vector.key import EPOCH, LOG, SALT_KEY, filler

SIGNED = decode_statement(sample.FIRST_COUNTERSIGNED)
OBJECTS = [
    decode_mark(sample.FIRST_MARK_OBJECT),
    decode_epoch_end(sample.FIRST_END_OBJECT),
    decode_seal(sample.FIRST_SEAL_OBJECT),
]


@pytest.mark.parametrize("signed", OBJECTS, ids=["mark", "end", "seal"])
def test_an_object_of_the_epoch(signed: EpochObject) -> None:
    verify_by_epoch_key(signed, SIGNED.statement, SIGNED.epoch_id)
    with pytest.raises(SignatureError, match="it is of another epoch"):
        verify_by_epoch_key(signed, SIGNED.statement, filler("another epoch"))


def test_an_object_that_names_the_epoch_and_is_signed_by_another_key() -> None:
    data = encode_mark(sample.FIRST_MARK, sample.EPOCH_ID, mark_salt(SALT_KEY, 1), LOG.sign)
    with pytest.raises(SignatureError, match="does not verify"):
        verify_by_epoch_key(decode_mark(data), SIGNED.statement, SIGNED.epoch_id)


def test_a_statement_is_signed_by_the_key_it_names() -> None:
    verify_own_signature(SIGNED)
    with pytest.raises(SignatureError, match="does not verify"):
        verify_own_signature(decode_statement(encode_statement(SIGNED.statement, LOG.sign)))


def test_a_countersignature_is_by_the_log_key() -> None:
    verify_countersignature(SIGNED, LOG.public)
    with pytest.raises(SignatureError, match="does not verify"):
        verify_countersignature(SIGNED, EPOCH.public)
    by_another = countersign(sample.FIRST_STATEMENT, sample.LOG_KEY.key_id32, EPOCH.sign)
    with pytest.raises(SignatureError, match="does not verify"):
        verify_countersignature(decode_statement(by_another), LOG.public)
    with pytest.raises(SignatureError, match="it has no countersignature"):
        verify_countersignature(decode_statement(sample.FIRST_STATEMENT), LOG.public)
