"""Attack 6: an administration interface without client authentication. Over the network nothing is changed here.

The registrar and the TPM are reached by files and a socket of the machine (tests/cli/test_registrar.py); a witness
takes checkpoints of the logs that it follows alone (tests/witness).
"""

from __future__ import annotations

import hashlib
import http.client
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import sigillo.attestation
from sigillo import disk
from sigillo.broker.challenge_server import ChallengeDesk
from sigillo.broker.log_server import Folders, LogServer

METHODS = ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "REGISTER")
PATHS = ("/", "/checkpoint", "/attestation", "/registration", "/agents/1", "/keys", "/admin", "/manifest", "/build")
BODY = b'{"key": "000b00", "identity": "Example Broker"}'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "public").mkdir()
    (tmp_path / "public" / "checkpoint").write_bytes(b"a note\n")
    for name in ("epochs", "manifests"):
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.fixture
def port(folder: Path) -> Iterator[int]:
    folders = Folders(*(disk.open_folder(folder / name) for name in ("public", "epochs", "manifests")))
    with LogServer("127.0.0.1:0", folders, ChallengeDesk(None)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()
    for descriptor in (folders.public, folders.epochs, folders.manifests):
        os.close(descriptor)


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("method", METHODS)
def test_nothing_is_changed_by_any_request(port: int, folder: Path, method: str) -> None:
    before = contents(folder)
    for path in PATHS:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request(method, path, BODY, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        assert answer.status in (400, 404, 405, 501), (method, path, answer.status)
        connection.close()
    assert contents(folder) == before


def test_no_request_by_get_names_anything_to_be_done(port: int, folder: Path) -> None:
    before = contents(folder)
    for path in ("/admin", "/agents/1?delete=1", "/registration?identity=x", "/attestation?nonce=00&key=000b"):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", path)
        assert connection.getresponse().status in (400, 404)
        connection.close()
    assert contents(folder) == before


def test_what_speaks_to_the_tpm_listens_nowhere() -> None:
    """The registrar, the attester and the TPM's client open no port."""
    for path in Path(sigillo.attestation.__path__[0]).glob("*.py"):
        source = path.read_text()
        assert "AF_INET" not in source, path
        assert ".listen(" not in source, path
        assert "HTTPServer" not in source, path
