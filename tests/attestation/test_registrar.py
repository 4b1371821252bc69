"""The registrar: only a TPM that has both keys is registered, and no identity is ever taken over (attacks 4 and 5)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sigillo.attestation import software_tpm
from sigillo.attestation.attester import Attester
from sigillo.attestation.error import RegistrationError, TpmError
from sigillo.attestation.registrar import Registrar
from sigillo.core.attestation import verify_periodic
from sigillo.core.certificate import decode_certificate
from sigillo.core.endorsement import EndorsementRoot, decode_registration, verify_endorsement, verify_registration

from ..adversary.tpm import LyingTpm
from ..vector import accept_tpm
from ..vector.sample_tpm import OPENING
from . import rig

IDENTITY = "broker.example/log"


def der(path: Path) -> bytes:
    return x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER)


def root_of(*folders: Path) -> list[EndorsementRoot]:
    paths = [software_tpm.maker_certificates(folder)[1] for folder in folders]
    return [EndorsementRoot("swtpm", decode_certificate(der(path)), software=True) for path in paths]


def chain_of(attester: Attester, folder: Path) -> tuple[bytes, bytes]:
    return attester.endorsement_certificate(), der(software_tpm.maker_certificates(folder)[0])


@pytest.fixture
def attester(tpm_folder: Path) -> Iterator[Attester]:
    with rig.attester_of(tpm_folder) as (found, _):
        yield found


def register(registrar: Registrar, attester: Attester, folder: Path, identity: str = IDENTITY) -> bytes:
    challenge = registrar.challenge(identity, attester.key.public_bytes, chain_of(attester, folder))
    return registrar.register(challenge.number, attester.activate(challenge.credential, challenge.encrypted_seed))


def test_a_tpm_proves_that_it_has_both_keys(attester: Attester, tpm_folder: Path, tmp_path: Path) -> None:
    registrar = Registrar(tmp_path / "registrar", root_of(tpm_folder))
    signed = decode_registration(register(registrar, attester, tpm_folder))
    key = verify_registration(signed, registrar.public_key, IDENTITY)
    assert key == attester.key
    assert verify_endorsement(signed.registration.chain, root_of(tpm_folder)[0]).root.software
    assert verify_periodic(attester.quote(OPENING), key.name)


def test_a_key_that_is_not_in_the_tpm_is_not_registered(attester: Attester, tpm_folder: Path, tmp_path: Path) -> None:
    """Attack 4: the genuine EK's certificate beside an AK in a file. The TPM does not give the secret up for it."""
    registrar = Registrar(tmp_path / "registrar", root_of(tpm_folder))
    challenge = registrar.challenge(IDENTITY, LyingTpm().key.public_bytes, chain_of(attester, tpm_folder))
    with pytest.raises(TpmError):
        attester.activate(challenge.credential, challenge.encrypted_seed)
    with pytest.raises(RegistrationError, match="did not prove"):
        registrar.register(challenge.number, bytes(32))


def test_another_tpm_cannot_answer(attester: Attester, tpm_folder: Path, tmp_path: Path) -> None:
    """Attack 4: the EK certificate of a genuine TPM, shown by another TPM as its own."""
    registrar = Registrar(tmp_path / "registrar", root_of(tpm_folder))
    other_folder = rig.made(tmp_path / "t")
    with rig.attester_of(other_folder) as (other, _):
        challenge = registrar.challenge(IDENTITY, other.key.public_bytes, chain_of(attester, tpm_folder))
        with pytest.raises(TpmError):
            other.activate(challenge.credential, challenge.encrypted_seed)


def test_an_identity_is_not_taken_over(attester: Attester, tpm_folder: Path, tmp_path: Path) -> None:
    """Attack 5: another genuine TPM, of a maker that is believed too, under the first one's name."""
    other_folder = rig.made(tmp_path / "t")
    folder, roots = tmp_path / "registrar", root_of(tpm_folder, other_folder)
    register(Registrar(folder, roots), attester, tpm_folder)
    with rig.attester_of(other_folder) as (other, _):
        for registrar in (Registrar(folder, roots), Registrar(folder, roots)):  # it remembers over restarts
            with pytest.raises(RegistrationError, match="another TPM"):
                register(registrar, other, other_folder)
        register(Registrar(folder, roots), other, other_folder, "other.example/log")


def test_a_tpm_has_one_identity(attester: Attester, tpm_folder: Path, tmp_path: Path) -> None:
    registrar = Registrar(tmp_path / "registrar", root_of(tpm_folder))
    register(registrar, attester, tpm_folder)
    with pytest.raises(RegistrationError, match="another identity's"):
        register(registrar, attester, tpm_folder, "other.example/log")
    register(registrar, attester, tpm_folder)  # the same again is no news


def test_two_that_race_for_an_identity(attester: Attester, tpm_folder: Path, tmp_path: Path) -> None:
    """Both were challenged while it was free; the second to answer is refused."""
    other_folder = rig.made(tmp_path / "t")
    registrar = Registrar(tmp_path / "registrar", root_of(tpm_folder, other_folder))
    mine = registrar.challenge(IDENTITY, attester.key.public_bytes, chain_of(attester, tpm_folder))
    with rig.attester_of(other_folder) as (other, _):
        register(registrar, other, other_folder)
    secret = attester.activate(mine.credential, mine.encrypted_seed)
    with pytest.raises(RegistrationError, match="another TPM"):
        registrar.register(mine.number, secret)


def test_an_identity_is_given_up_by_hand_only(attester: Attester, tpm_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "registrar"
    registrar = Registrar(folder, root_of(tpm_folder))
    register(registrar, attester, tpm_folder)
    (memory,) = folder.glob("*.cose")
    with pytest.raises(RegistrationError, match=memory.name):
        register(registrar, attester, tpm_folder, "other.example/log")
    memory.unlink()
    register(registrar, attester, tpm_folder, "other.example/log")


def test_a_challenge_is_answered_once(attester: Attester, tpm_folder: Path, tmp_path: Path) -> None:
    registrar = Registrar(tmp_path / "registrar", root_of(tpm_folder))
    challenge = registrar.challenge(IDENTITY, attester.key.public_bytes, chain_of(attester, tpm_folder))
    secret = attester.activate(challenge.credential, challenge.encrypted_seed)
    with pytest.raises(RegistrationError, match="no such challenge"):
        registrar.register(bytes(16), secret)
    for wrong in (b"", secret[:-1], bytes(32)):
        with pytest.raises(RegistrationError, match="did not prove"):
            registrar.register(challenge.number, wrong)
        with pytest.raises(RegistrationError, match="no such challenge"):
            registrar.register(challenge.number, secret)


def test_only_makers_that_it_believes(attester: Attester, tpm_folder: Path, tmp_path: Path) -> None:
    stranger = EndorsementRoot("other", decode_certificate(accept_tpm.root()), software=True)
    for roots in ([], [stranger]):
        registrar = Registrar(tmp_path / "registrar", roots)
        with pytest.raises(RegistrationError, match="no maker"):
            registrar.challenge(IDENTITY, attester.key.public_bytes, chain_of(attester, tpm_folder))
    early = Registrar(tmp_path / "registrar", root_of(tpm_folder), now=lambda: 10**18)
    with pytest.raises(RegistrationError, match="not valid now"):
        early.challenge(IDENTITY, attester.key.public_bytes, chain_of(attester, tpm_folder))


@pytest.mark.parametrize("key", [b"", b"key", LyingTpm(key_changes={"attributes": 0x40072}).raw_key.encode()])
def test_what_is_no_ak_is_not_challenged(key: bytes, tmp_path: Path) -> None:
    registrar = Registrar(tmp_path / "registrar", [])
    with pytest.raises(RegistrationError, match="attestation key"):
        registrar.challenge(IDENTITY, key, accept_tpm.chain())


def test_its_memory_is_what_it_signed(attester: Attester, tpm_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "registrar"
    register(Registrar(folder, root_of(tpm_folder)), attester, tpm_folder)
    (memory,) = folder.glob("*.cose")
    good = memory.read_bytes()
    for bad in (b"", good[:-1] + bytes([good[-1] ^ 1])):
        memory.write_bytes(bad)
        with pytest.raises(RegistrationError, match=f"{memory.name}.*backup"):
            register(Registrar(folder, root_of(tpm_folder)), attester, tpm_folder)
    memory.write_bytes(good)
    (folder / "registrar.key.pem").unlink()
    with pytest.raises(RegistrationError, match="is gone"):
        Registrar(folder, root_of(tpm_folder))


def test_its_key_is_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "registrar"
    first = Registrar(folder, []).public_key
    assert Registrar(folder, []).public_key == first
    key = folder / "registrar.key.pem"
    assert key.stat().st_mode & 0o777 == 0o600
    key.chmod(0o640)
    with pytest.raises(RegistrationError, match="chmod 600"):
        Registrar(folder, [])
    key.chmod(0o600)
    key.write_text("no key")
    with pytest.raises(RegistrationError, match="cannot be read"):
        Registrar(folder, [])
