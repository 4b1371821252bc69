"""The local time-stamp authority for demo and tests: `sigillo tsa`."""

from __future__ import annotations

import http.client
import json
import signal
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from cryptography import x509

from sigillo.core.bytes import base64url_decode
from sigillo.core.certificate import unix_ns
from sigillo.core.timestamp import TsaTrust, token_certificates, verify_token
from sigillo.core.timestamp_exchange import MAX_REQUEST, REQUEST_TYPE, encode_request
from sigillo.log.timestamper import TimestampError, TsaAddress, obtain, read_crl
from sigillo.tsa.error import TsaError
from sigillo.tsa.folder import NAME, ORGANISATION, POLICY, LocalTsa
from sigillo.tsa.server import TsaServer

from .local import running

SIGILLO = [sys.executable, "-m", "sigillo.cli.main"]


@pytest.fixture(scope="module")
def tsa(tmp_path_factory: pytest.TempPathFactory) -> LocalTsa:
    return LocalTsa.open(tmp_path_factory.mktemp("tsa") / "tsa")


def test_its_tokens_verify_and_say_whose_they_are(tsa: LocalTsa) -> None:
    with running(TsaServer("127.0.0.1:0", tsa)) as url:
        tokens = [obtain(TsaAddress("local", url, tsa.trust.roots), b"note") for _ in range(3)]
    for token, said in tokens:
        assert verify_token(token, b"note", tsa.trust).policy == POLICY
        assert (said.accuracy_ns, said.accuracy_stated) == (10**9, True)
        (certificate,) = map(x509.load_der_x509_certificate, token_certificates(token))
        assert [attribute.value for attribute in certificate.subject] == [ORGANISATION, NAME]
        assert "no third party" in ORGANISATION and "for demo and tests" in NAME
    assert len({said.serial for _, said in tokens}) == 3


def test_its_root_signs_nothing_else_any_more(tsa: LocalTsa) -> None:
    assert sorted(path.name for path in tsa.folder.iterdir()) == [
        "openssl.cnf",
        "root.cert.pem",
        "root.crl",
        "tsa.cert.pem",
        "tsa.key.pem",
    ]
    assert stat.S_IMODE((tsa.folder / "tsa.key.pem").stat().st_mode) == 0o600
    assert stat.S_IMODE(tsa.folder.stat().st_mode) == 0o700


def ask(url: str, body: bytes, method: str = "POST", kind: str = REQUEST_TYPE, **headers: str) -> int:
    connection = http.client.HTTPConnection(url.split("/")[2], timeout=30)
    try:
        connection.request(method, "/", body, {"Content-Type": kind, **headers})
        return connection.getresponse().status
    finally:
        connection.close()


def test_what_it_does_not_answer(tsa: LocalTsa, capsys: pytest.CaptureFixture[str]) -> None:
    request = encode_request(b"note", 1)
    with running(TsaServer("127.0.0.1:0", tsa)) as url:
        assert ask(url, request) == 200
        assert ask(url, request, kind="text/plain") == 415
        assert ask(url, bytes(MAX_REQUEST + 1)) == 413
        assert ask(url, request, **{"Content-Length": "-1"}) == 413
        assert ask(url, b"", method="GET") == 404
        assert ask(url, b"", method="PUT") == 501
        assert ask(url, b"garbage") == 200  # OpenSSL answers with a TimeStampResp that refuses
        (tsa.folder / "openssl.cnf").rename(tsa.folder / "gone")
        try:
            assert ask(url, request) == 500
            with pytest.raises(TimestampError, match="status 500"):
                obtain(TsaAddress("local", url), b"note")
        finally:
            (tsa.folder / "gone").rename(tsa.folder / "openssl.cnf")
        assert ask(url, request) == 200
    assert "makes no token" in capsys.readouterr().err


def test_it_publishes_the_revocation_list_of_its_root(tsa: LocalTsa, tmp_path: Path) -> None:
    with running(TsaServer("127.0.0.1:0", tsa)) as url:
        crl = read_crl(f"{url}crl", 10.0)
        token, _ = obtain(TsaAddress("local", url, tsa.trust.roots), b"note", crls=[crl])
        verified = verify_token(token, b"note", tsa.trust, crls=[crl])
        assert verified.revocation_ns == unix_ns(x509.load_der_x509_crl(crl).last_update_utc)
        (tsa.folder / "root.crl").rename(tmp_path / "root.crl")  # as in a folder of an older version
        try:
            with pytest.raises(TimestampError, match="status 404"):
                read_crl(f"{url}crl", 10.0)
        finally:
            (tmp_path / "root.crl").rename(tsa.folder / "root.crl")
    command = ["openssl", "crl", "-inform", "DER", "-in", "root.crl", "-CAfile", "root.cert.pem", "-noout"]
    done = subprocess.run(command, cwd=tsa.folder, capture_output=True, text=True, timeout=60)
    assert "verify OK" in done.stderr + done.stdout


def test_only_on_loopback_and_only_in_a_folder_of_its_own(tsa: LocalTsa, tmp_path: Path) -> None:
    for address in ("0.0.0.0:0", "localhost:1", "192.0.2.1:80", "127.0.0.1"):
        with pytest.raises(TsaError, match="on loopback"):
            TsaServer(address, tsa)
    with running(TsaServer("127.0.0.1:0", tsa)) as url, pytest.raises(TsaError, match="choose another --listen"):
        TsaServer(url.split("/")[2], tsa)
    (tmp_path / "file").write_text("something else")
    with pytest.raises(TsaError, match="name a new folder"):
        LocalTsa.open(tmp_path)
    with pytest.raises(TsaError, match=r"makes no token|No such file"):
        LocalTsa(tsa.folder, "/nowhere/openssl", tsa.root).reply(encode_request(b"note", 1))


def test_the_command_says_where_it_answers_and_whom_a_policy_trusts(tmp_path: Path) -> None:
    command = [*SIGILLO, "tsa", "tsa", "--listen", "127.0.0.1:0", "--json"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE)
    try:
        assert process.stdout
        said = json.loads(process.stdout.readline())
        roots = (base64url_decode(said["root"]),)
        token, _ = obtain(TsaAddress("local", said["url"], roots), b"note")
        (table,) = tomllib.loads((tmp_path / "tsa/tsa.toml").read_text())["tsa"]
        trust = TsaTrust(table["name"], tuple(map(base64url_decode, table["roots"])), tuple(table["policy"]))
        assert (trust.roots, trust.policies) == (roots, (said["policy"],))
        assert verify_token(token, b"note", trust)
        assert "run by the operator itself" in trust.name
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    again = LocalTsa.open(tmp_path / "tsa")
    assert again.root == roots[0]


def test_the_command_refuses_an_address_that_others_reach(tmp_path: Path) -> None:
    command = [*SIGILLO, "tsa", str(tmp_path / "tsa"), "--listen", "0.0.0.0:8318"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert "on loopback" in done.stderr and "Traceback" not in done.stderr
