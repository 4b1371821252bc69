from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sigillo.broker.authority import Authority
from sigillo.broker.error import BrokerError
from sigillo.x509 import new_key, request_for


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.create(tmp_path, "broker.example")


def usages(certificate: x509.Certificate) -> list[x509.ObjectIdentifier]:
    return list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)


def test_client_and_server_certificates_are_kept_apart(authority: Authority) -> None:
    client = x509.load_pem_x509_certificate(authority.issue_client(request_for(new_key(), "liar"), "crate-1"))
    server = x509.load_pem_x509_certificate(
        authority.issue_server(new_key().public_key(), "broker.example", "192.0.2.1")
    )
    assert usages(client) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert usages(server) == [ExtendedKeyUsageOID.SERVER_AUTH]
    issuer = x509.load_pem_x509_certificate(authority.certificate)
    for leaf in (client, server):
        leaf.verify_directly_issued_by(issuer)
        assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert [name.value for name in client.subject] == ["crate-1"], "the id decides, not what the request says"


@pytest.mark.parametrize(
    ("name", "address", "dns", "ips"),
    [
        ("broker.example", "192.0.2.1", ["broker.example"], ["192.0.2.1"]),
        ("localhost", "0.0.0.0", ["localhost"], ["127.0.0.1"]),
        ("localhost", "::", ["localhost"], ["::1"]),
        ("192.0.2.7", "127.0.0.1", [], ["192.0.2.7", "127.0.0.1"]),
        ("127.0.0.1", "127.0.0.1", [], ["127.0.0.1"]),
    ],
)
def test_the_server_is_named_by_host_and_address(
    authority: Authority, name: str, address: str, dns: list[str], ips: list[str]
) -> None:
    server = x509.load_pem_x509_certificate(authority.issue_server(new_key().public_key(), name, address))
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == dns
    assert names.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address(ip) for ip in ips]


def test_what_was_made_is_loaded_again(tmp_path: Path, authority: Authority) -> None:
    assert Authority.load(tmp_path).certificate == authority.certificate
    assert (tmp_path / "ca.key.pem").stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        Authority.create(tmp_path, "other")


def test_bad_requests_are_refused(authority: Authority) -> None:
    good = request_for(new_key(), "crate-1")
    der = bytearray(x509.load_pem_x509_csr(good).public_bytes(Encoding.DER))
    der[-1] ^= 1
    forged = x509.load_der_x509_csr(bytes(der)).public_bytes(Encoding.PEM)
    key = rsa.generate_private_key(65537, 2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "crate-1")])
    by_rsa = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    for request, reason in (
        (b"no request", "cannot be read"),
        (forged, "signature is wrong"),
        (by_rsa.public_bytes(Encoding.PEM), "P-256"),
    ):
        with pytest.raises(BrokerError, match=reason):
            authority.issue_client(request, "crate-1")
    with pytest.raises(BrokerError, match="64 characters"):
        authority.issue_client(good, "x" * 65)


def test_a_folder_without_a_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match=r"ca\.key\.pem"):
        Authority.load(tmp_path)
    (tmp_path / "ca.key.pem").write_text("nonsense")
    with pytest.raises(BrokerError, match="cannot be read"):
        Authority.load(tmp_path)
