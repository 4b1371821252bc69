"""Enrolment: an id belongs to its first keys, a key to one device and one use, a certificate to its CN."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding

from sigillo.core.device_key import DeviceKey
from sigillo.device.enrolment import CLIENT_AUTHORITIES, Application, Enrolled, enrol
from sigillo.device.error import DeviceError
from sigillo.device.folder import DeviceFolder, make_device_folder
from sigillo.device.key import load_certificate, load_csr, load_public_key, load_signing_key
from sigillo.device.registry import enrolled_chains
from sigillo.x509 import request_for, spki_of

from ..adversary.device import Device
from ..adversary.maker import DAY, START, Maker
from .plain_broker import Ca, name, public_pem

MAKER = Maker()
NOW = datetime.datetime.now(datetime.UTC)


class Operator:
    """An operator folder as `sigillo up` leaves it, as far as enrolment reads it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.ca = folder, Ca()
        (folder / "authority").mkdir(parents=True)
        (folder / "authority" / "ca.cert.pem").write_bytes(self.ca.pem)
        self.authorities = folder / CLIENT_AUTHORITIES
        self.authorities.parent.mkdir(parents=True)
        self.authorities.write_bytes(self.ca.pem)

    def enrol(self, application: Application, replace: bool = False) -> Enrolled:
        return enrol(self.folder, application, self.ca.issue, replace=replace, now=NOW)

    def files(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.folder)): path.read_bytes() for path in self.folder.rglob("*") if path.is_file()
        }


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path / "operator")


def device(tmp_path: Path, folder: str = "a", device_id: str = "crate-1") -> DeviceFolder:
    return make_device_folder(tmp_path / folder, device_id, "p256")


def application(made: DeviceFolder, device_id: str = "crate-1") -> Application:
    return Application(device_id, load_public_key(made.signing_public), made.csr)


def refused(operator: Operator, given: Application, match: str, replace: bool = False) -> None:
    """Refused, and nothing has changed."""
    before = operator.files()
    with pytest.raises(DeviceError, match=match):
        operator.enrol(given, replace)
    assert operator.files() == before


def test_enrolled(operator: Operator, tmp_path: Path) -> None:
    made = device(tmp_path)
    enrolled = operator.enrol(application(made))
    folder = operator.folder / "devices" / "crate-1"
    assert load_public_key(folder / "signing.pub.pem") == load_public_key(made.signing_public)
    certificate = load_certificate(folder / "tls.cert.pem")
    assert certificate.subject == name("crate-1")
    assert spki_of(certificate.public_key()) == spki_of(load_csr(made.csr).public_key())
    assert enrolled.fingerprint == load_public_key(made.signing_public).fingerprint
    operator.enrol(application(made))  # the same again: a renewal


def test_certificate_gets_the_id_whatever_the_request_says(operator: Operator, tmp_path: Path) -> None:
    made = device(tmp_path, device_id="another")
    operator.enrol(application(made))
    assert load_certificate(operator.folder / "devices" / "crate-1" / "tls.cert.pem").subject == name("crate-1")


def test_take_over_is_refused(operator: Operator, tmp_path: Path) -> None:
    first, second = device(tmp_path), device(tmp_path, "b")
    operator.enrol(application(first))
    for part in (
        application(second),
        Application("crate-1", signing=load_public_key(second.signing_public)),
        Application("crate-1", csr=second.csr),
    ):
        refused(operator, part, "takes over its identity")
    enrolled = operator.enrol(application(second), replace=True)
    assert "revocation" in enrolled.notes[0]
    assert load_public_key(operator.folder / "devices" / "crate-1" / "signing.pub.pem") == load_public_key(
        second.signing_public
    )


def test_replacing_one_key_says_nothing_about_the_other(operator: Operator, tmp_path: Path) -> None:
    first, second = device(tmp_path), device(tmp_path, "b")
    operator.enrol(application(first))
    assert operator.enrol(Application("crate-1", load_public_key(second.signing_public)), replace=True).notes == ()
    assert operator.enrol(Application("crate-1", csr=first.csr), replace=True).notes == ()


def test_key_of_another_device_is_refused(operator: Operator, tmp_path: Path) -> None:
    made = device(tmp_path)
    operator.enrol(application(made))
    for replace in (False, True):
        refused(operator, Application("crate-2", load_public_key(made.signing_public)), "in use as", replace)
        refused(operator, Application("crate-2", csr=made.csr), "in use as", replace)


def test_one_key_for_both_uses_is_refused(operator: Operator, tmp_path: Path) -> None:
    """In one application, in two, in either order, and over two devices."""
    made = device(tmp_path)
    signing = load_public_key(made.signing_public)
    key = load_signing_key(made.path / "signing.key.pem")
    assert isinstance(key, EllipticCurvePrivateKey)
    csr = tmp_path / "signing.csr.pem"
    csr.write_bytes(request_for(key, "crate-1"))
    refused(operator, Application("crate-1", signing, csr), "also the TLS key")
    operator.enrol(Application("crate-1", signing))
    refused(operator, Application("crate-1", csr=csr), "in use as")
    refused(operator, Application("crate-2", csr=csr), "in use as")
    refused(operator, Application("crate-1", csr=csr), "in use as", replace=True)
    tls_public = tmp_path / "tls.pub.pem"
    tls_public.write_bytes(public_pem(load_csr(made.csr).public_key()))
    operator.enrol(Application("crate-1", csr=made.csr))
    refused(operator, Application("crate-1", load_public_key(tls_public)), "in use as", replace=True)


def write(path: Path, certificate: x509.Certificate) -> Path:
    path.write_bytes(certificate.public_bytes(Encoding.PEM))
    return path


def own_certificate(tmp_path: Path, ca: Ca, common_name: str = "crate-1", **options: object) -> Path:
    key = generate_private_key(SECP256R1())
    return write(tmp_path / "own.pem", ca.certify(common_name, key.public_key(), **options))


def self_signed(path: Path, ca: bool | None) -> Path:
    key = generate_private_key(SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(name("crate-1"))
        .issuer_name(name("crate-1"))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - datetime.timedelta(days=1))
        .not_valid_after(NOW + datetime.timedelta(days=1))
    )
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca, None), critical=True)
    return write(path, builder.sign(key, hashes.SHA256()))


def test_certificate_of_the_operators_ca_is_recorded(operator: Operator, tmp_path: Path) -> None:
    own = own_certificate(tmp_path, operator.ca)
    before = operator.authorities.read_bytes()
    assert operator.enrol(Application("crate-1", certificate=own)).notes == ()
    assert operator.authorities.read_bytes() == before


def test_foreign_certificate_needs_its_issuer_named(operator: Operator, tmp_path: Path) -> None:
    maker, stranger = Ca("maker"), Ca("maker")
    own = own_certificate(tmp_path, maker)
    refused(operator, Application("crate-1", certificate=own), "--issuer")
    wrong = write(tmp_path / "stranger.pem", stranger.certificate)
    refused(operator, Application("crate-1", certificate=own, issuer=wrong), "is not the CA that issued")
    refused(operator, Application("crate-1", certificate=own, issuer=own), "is not the CA that issued")
    issuer = write(tmp_path / "maker.pem", maker.certificate)
    notes = operator.enrol(Application("crate-1", certificate=own, issuer=issuer)).notes
    assert "EVERYBODY" in notes[0] and "configuration hash changes" in notes[0]
    operator.enrol(Application("crate-1", certificate=own, issuer=issuer))
    trusted = x509.load_pem_x509_certificates(operator.authorities.read_bytes())
    assert trusted == [operator.ca.certificate, maker.certificate]


def test_self_signed_certificate_counts_for_itself_only(operator: Operator, tmp_path: Path) -> None:
    for ca in (True, None):
        able = self_signed(tmp_path / "able.pem", ca)
        refused(operator, Application("crate-1", certificate=able), "may certify others")
    alone = self_signed(tmp_path / "alone.pem", False)
    notes = operator.enrol(Application("crate-1", certificate=alone)).notes
    assert "certifies nobody else" in notes[0]
    assert load_certificate(alone) in x509.load_pem_x509_certificates(operator.authorities.read_bytes())


def test_certificate_must_fit(operator: Operator, tmp_path: Path) -> None:
    ca = operator.ca

    def brings(**options: object) -> Application:
        return Application("crate-1", certificate=own_certificate(tmp_path, ca, **options))

    refused(operator, brings(common_name="crate-2"), "CN is 'crate-2'")
    refused(operator, brings(common_name="sigillo-archive"), "CN 'sigillo-archive'")
    refused(operator, brings(days=0), "valid from")
    refused(operator, brings(server=True), "not for TLS clients")
    operator.enrol(brings(eku=False))


def certified(tmp_path: Path, *chain: x509.Certificate, name: str = "chain.pem") -> Path:
    path = tmp_path / name
    path.write_bytes(b"".join(found.public_bytes(Encoding.PEM) for found in chain))
    return path


def test_certificates_of_a_signing_key_are_kept_beside_it(operator: Operator, tmp_path: Path) -> None:
    """A renewal is kept too: earlier messages need the earlier one. A root at the end is not part of the chain."""
    tracker, fleet = Device("crate-1", "p256"), MAKER.below("Fleet")
    first, renewed = fleet.certify(tracker, not_after=START + 9000 * DAY), MAKER.certify(tracker, serial=3)
    path = certified(tmp_path, *first, MAKER.certificate)
    enrolled = operator.enrol(Application("crate-1", tracker.key, signing_certificate=path))
    assert "valid until 2051-" in enrolled.notes[0]
    operator.enrol(Application("crate-1", signing_certificate=certified(tmp_path, *renewed)))
    operator.enrol(Application("crate-1", signing_certificate=certified(tmp_path, *renewed)))
    chains = enrolled_chains(operator.folder / "devices", "crate-1")
    assert sorted(chains, key=len) == [tuple(renewed), tuple(first)]
    assert enrolled_chains(operator.folder / "devices", "crate-2") == []
    assert enrolled_chains(operator.folder / "devices", "../devices/crate-1") == []
    pinned = operator.folder / "devices" / "crate-1" / "signing.pub.pem"
    assert load_public_key(pinned) == tracker.key


def test_a_certificate_that_has_ended_is_kept_and_said_so(operator: Operator, tmp_path: Path) -> None:
    chain = MAKER.certify(Device("crate-1"), not_after=START - DAY)
    enrolled = operator.enrol(Application("crate-1", signing_certificate=certified(tmp_path, *chain)))
    assert "not now" in enrolled.notes[0]


def test_a_certificate_of_a_signing_key_must_fit(operator: Operator, tmp_path: Path) -> None:
    tracker, other = Device("crate-1", "p256"), Device("crate-1", "p256", seed="other")

    def brings(*chain: x509.Certificate, key: DeviceKey | None = None) -> Application:
        return Application("crate-1", key, signing_certificate=certified(tmp_path, *chain))

    refused(operator, brings(*MAKER.certify(tracker, "crate-2")), 'is of "crate-2"')
    refused(operator, brings(*MAKER.certify(tracker, constraints=None, key_usage=None)), "key usage")
    refused(
        operator, brings(*MAKER.certify(other), key=tracker.key), "is for another key than the device's signing key"
    )
    refused(operator, brings(MAKER.certificate), "not a device's")
    strangers = [*MAKER.below("Fleet").certify(tracker)[:1], Maker("Other", issuer=MAKER).certificate]
    refused(operator, brings(*strangers), "was not issued by")
    refused(operator, brings(), "is not a list of certificates")
    operator.enrol(brings(*MAKER.certify(tracker), key=tracker.key))
    refused(operator, brings(*MAKER.certify(other)), "takes over its identity")
    operator.enrol(brings(*MAKER.certify(other)), replace=True)
    assert len(enrolled_chains(operator.folder / "devices", "crate-1")) == 2


def test_no_more_certificates_than_evidence_may_have(operator: Operator, tmp_path: Path) -> None:
    for serial in range(2, 18):
        chain = MAKER.certify(Device("crate-1"), serial=serial)
        operator.enrol(Application("crate-1", signing_certificate=certified(tmp_path, *chain)))
    operator.enrol(Application("crate-1", signing_certificate=certified(tmp_path, *chain)))
    chain = MAKER.certify(Device("crate-1"), serial=18)
    refused(operator, Application("crate-1", signing_certificate=certified(tmp_path, *chain)), "has 16 certificates")


def test_a_maker_certifies_the_request_of_a_folder(operator: Operator, tmp_path: Path) -> None:
    made = device(tmp_path)
    request = load_csr(made.path / "signing.csr.pem")
    assert request.subject == name("crate-1")
    assert spki_of(request.public_key()) == load_public_key(made.signing_public).spki
    chain = MAKER.certify(request.public_key(), "crate-1")
    key = load_public_key(made.signing_public)
    operator.enrol(Application("crate-1", key, made.csr, signing_certificate=certified(tmp_path, *chain)))
    assert enrolled_chains(operator.folder / "devices", "crate-1") == [tuple(chain)]


@pytest.mark.parametrize("device_id", ["../x", "a/b", "sigillo-archive", ""])
def test_bad_ids_are_refused(operator: Operator, tmp_path: Path, device_id: str) -> None:
    refused(operator, application(device(tmp_path), device_id), "device id")


def test_no_operator(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="no operator folder"):
        enrol(tmp_path, application(device(tmp_path)), Ca().issue, replace=False, now=NOW)
