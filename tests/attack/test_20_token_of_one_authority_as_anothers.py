"""Attack 20 (rfc3161-client before 1.0.6, GHSA-xm5m-wgh2-rrg3): a token of TSA A passes as B's; a nonce is missing."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from rfc3161_client import VerifierBuilder, decode_timestamp_response

from sigillo.core.errors import SignatureError
from sigillo.core.timestamp import verify_token
from sigillo.core.timestamp_exchange import read_response

from ..adversary.maker import Maker, der
from ..adversary.tsa import POLICY, Tsa, ess_v2
from ..adversary.tsa_server import response

NOTE = b"a signed note\n"
A, B = Tsa("A"), Tsa("B")


def test_a_token_of_one_does_not_pass_as_one_of_the_other() -> None:
    assert verify_token(A.stamp(NOTE), NOTE, A.trust()).tsa == "A"
    with pytest.raises(SignatureError, match="no chain leads"):
        verify_token(A.stamp(NOTE), NOTE, B.trust())


def test_not_even_with_the_other_ones_certificate_in_it() -> None:
    """The older library took the certificate of a token for its signer's without looking at whom the token names."""
    everything = [*der(A.chain), *der(B.chain)]
    for certificates in (everything, everything[::-1], der(B.chain)):
        with pytest.raises(SignatureError):
            verify_token(A.stamp(NOTE, certificates=certificates), NOTE, B.trust())


def test_one_that_borrows_the_others_name_and_number_is_refused() -> None:
    """Signed by A's key under a certificate of A's own making, of the issuer, subject and serial number of B's."""
    forged = Tsa("B", Maker("B Root", key=A.root.key), key=A.key)
    assert forged.chain[0].issuer == B.chain[0].issuer and forged.chain[0].serial_number == B.chain[0].serial_number
    for lies in ({}, {"certificates": [B.certificate]}, {"certificates": [forged.certificate, B.certificate]}):
        for ess in (ess_v2(forged.certificate), ess_v2(B.certificate)):
            with pytest.raises(SignatureError):
                verify_token(forged.stamp(NOTE, ess=[ess], **lies), NOTE, B.trust(), chain=[B.certificate])


def test_a_certificate_that_comes_along_is_no_anchor() -> None:
    """What rfc3161-client is given as an intermediate counts there as a root: so it is never given one unverified."""
    root = A.root.certificate
    trusted = [x509.load_der_x509_certificate(found) for found in B.trust().roots]
    taken_in = VerifierBuilder(roots=trusted, intermediates=[root]).build()
    assert taken_in.verify_message(decode_timestamp_response(response(A.stamp(NOTE))), NOTE), "the library as it is"
    with pytest.raises(SignatureError, match="no chain leads"):
        verify_token(A.stamp(NOTE), NOTE, B.trust(), chain=[root.public_bytes(Encoding.DER)])


def test_a_policy_of_one_is_none_of_the_other() -> None:
    """Under one root, the policy tells two services apart."""
    assert verify_token(A.stamp(NOTE, policy="1.2.3"), NOTE, A.trust(POLICY, "1.2.3")).policy == "1.2.3"
    with pytest.raises(SignatureError, match="none trusted"):
        verify_token(A.stamp(NOTE, policy="1.2.3"), NOTE, A.trust())


def test_an_answer_without_the_nonce_is_refused_when_a_token_is_obtained() -> None:
    for nonce in (None, 0, 6):
        with pytest.raises(SignatureError, match="nonce"):
            read_response(response(A.stamp(NOTE, nonce=nonce)), NOTE, 7)
