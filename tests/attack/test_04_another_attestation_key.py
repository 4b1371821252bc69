"""Attack 4 (CVE-2021-3406, CVE-2022-1053): an AK that nobody has tied to the EK, or another AK for another party."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from sigillo.core.attestation import verify_periodic
from sigillo.core.certificate import decode_certificate
from sigillo.core.endorsement import (
    EndorsementRoot,
    decode_registration,
    encode_registration,
    verify_endorsement,
    verify_registration,
)
from sigillo.core.errors import AttestationError, DecodeError
from sigillo.core.tpm import ATTRIBUTES

from ..adversary.maker import Maker, der
from ..adversary.tpm import LyingTpm
from ..vector import accept_tpm
from ..vector.accept_tpm import IDENTITY, REGISTRAR, launched, recorded
from ..vector.key import Ed25519Key, P256Key, filler
from ..vector.sample_tpm import OPENING

GENUINE = accept_tpm.registration()
SOFTWARE_KEY = P256Key(filler("an AK in a file"))


def test_a_key_in_a_file_quotes_as_well_as_a_chip_and_has_another_name() -> None:
    """Nothing in the quote tells them apart, so nothing but the name does."""
    liar = LyingTpm(SOFTWARE_KEY, pcrs=launched().pcrs)
    forged = liar.quote(OPENING)
    verify_periodic(forged, liar.key.name)
    for name in (GENUINE.key.name, launched().key.name):
        with pytest.raises(AttestationError, match="not the one that the epoch statement names"):
            verify_periodic(forged, name)


def test_its_owner_cannot_register_it_without_the_registrar() -> None:
    """The genuine EK's certificates are public: anybody can write them beside any AK, only a registrar can sign."""
    own = Ed25519Key(filler("registrar of one's own"))
    pretended = accept_tpm.registration(key=LyingTpm(SOFTWARE_KEY).key)
    for registrar in (own.public, REGISTRAR.public):
        signed = decode_registration(encode_registration(pretended, registrar, own.sign))
        with pytest.raises(AttestationError, match="registrar"):
            verify_registration(signed, REGISTRAR.public, IDENTITY)


def test_an_ek_that_its_owner_has_certified_is_refused() -> None:
    """The recorded maker's names, another key: what a maker's certificate is worth is in its signature."""
    ek = rsa.generate_private_key(65537, 2048).public_key()
    pretender = Maker("swtpm-localca")
    chain = der(pretender.certify(ek, "broker.example"))
    root = EndorsementRoot("maker", decode_certificate(accept_tpm.root()), software=False)
    with pytest.raises(AttestationError):
        verify_endorsement(chain, root)


def test_one_registration_names_one_key() -> None:
    signed = decode_registration(encode_registration(GENUINE, REGISTRAR.public, REGISTRAR.sign))
    key = verify_registration(signed, REGISTRAR.public, IDENTITY)
    assert verify_periodic(recorded("opening", OPENING), key.name).key == key
    with pytest.raises(AttestationError, match="epoch statement"):
        verify_periodic(LyingTpm(SOFTWARE_KEY, pcrs=launched().pcrs).quote(OPENING), key.name)


@pytest.mark.parametrize(
    ("missing", "added"), [("fixedTPM", 0), ("fixedParent", 0), ("sensitiveDataOrigin", 0), ("", 0x800)]
)
def test_a_key_that_could_be_taken_out_or_was_put_in_is_no_ak(missing: str, added: int) -> None:
    attributes = LyingTpm().raw_key.attributes & ~ATTRIBUTES.get(missing, 0) | added
    forged = LyingTpm(key_changes={"attributes": attributes}).quote(OPENING)
    with pytest.raises(DecodeError, match="attribute"):
        verify_periodic(forged, b"\0\x0b" + bytes(32))
