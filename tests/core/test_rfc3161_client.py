"""What rfc3161-client leaves to us (docs/adr/0011). Where one of these fails it has become stricter."""

from __future__ import annotations

import pytest
from cryptography import x509
from rfc3161_client import VerificationError, VerifierBuilder, decode_timestamp_response

from ..adversary.tsa import ECDSA_SHA384
from ..adversary.tsa_server import response
from .timestamp_case import NOTE, OTHER, TSA, Case, accepted, refused

REFUSED = refused()


def library_accepts(case: Case, *intermediates: x509.Certificate) -> bool:
    """What the library says by itself, with our roots."""
    roots = [x509.load_der_x509_certificate(root) for root in case.trust.roots]
    verifier = VerifierBuilder(roots=roots, intermediates=list(intermediates)).build()
    try:
        return verifier.verify_message(decode_timestamp_response(response(case.token)), case.message)
    except (VerificationError, ValueError):
        return False


@pytest.mark.parametrize("name", ["ess-missing", "ess-other"])
def test_it_accepts_what_we_refuse(name: str) -> None:
    assert library_accepts(REFUSED[name])


def test_it_accepts_a_signer_that_names_another_algorithm() -> None:
    assert library_accepts(Case(TSA.stamp(NOTE, signature_algorithm=ECDSA_SHA384)))


def test_it_takes_an_intermediate_that_signs_itself_for_a_root() -> None:
    foreign = Case(OTHER.stamp(NOTE))
    assert not library_accepts(foreign)
    assert library_accepts(foreign, OTHER.root.certificate)


def test_it_drops_fractions() -> None:
    said = decode_timestamp_response(response(TSA.stamp(NOTE))).tst_info
    assert said.gen_time.microsecond == 0  # the token says 15.5 s


def test_it_refuses_certificates_out_of_order() -> None:
    assert not library_accepts(accepted()["unsorted-certificates"])
