"""The HTTP server of the log: exactly what tlog-tiles asks, nothing else of the disk, nobody who holds it up."""

from __future__ import annotations

import http.client
import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sigillo import disk, web
from sigillo.broker.challenge_server import ChallengeDesk
from sigillo.broker.error import BrokerError
from sigillo.broker.log_server import Folders, LogHandler, LogServer
from sigillo.core.manifest import decode_manifest

from ..adversary.broker import Broker
from ..adversary.builder import MOSQUITTO, PLUGIN
from ..adversary.built import built

PATIENCE_S = 30


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LogServer]:
    public, epochs, manifests = tmp_path / "log" / "public", tmp_path / "epochs", tmp_path / "manifests"
    (public / "tile" / "0" / "x001" / "000.p").mkdir(parents=True)
    (public / "tile" / "entries" / "000.p").mkdir(parents=True)
    epochs.mkdir()
    manifests.mkdir()
    (public / "checkpoint").write_bytes(b"a note\n")
    (public / "cosigned").write_bytes(b"a cosigned note\n")
    (public / "tile" / "0" / "000").write_bytes(b"full")
    (public / "tile" / "0" / "x001" / "000.p" / "7").write_bytes(b"partial")
    (public / "tile" / "entries" / "000.p" / "7").write_bytes(b"entries")
    (tmp_path / "log" / "log.key.pem").write_bytes(b"SECRET")
    (public / "tile" / "0" / "001").symlink_to(tmp_path / "log" / "log.key.pem")
    folders = Folders(*map(disk.open_folder, (public, epochs, manifests)))
    with LogServer("127.0.0.1:0", folders, ChallengeDesk(None)) as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield made
        made.shutdown()
        thread.join(PATIENCE_S)
    for descriptor in (folders.public, folders.epochs, folders.manifests):
        os.close(descriptor)


def ask(server: LogServer, method: str, path: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=PATIENCE_S)
    try:
        connection.putrequest(method, path, skip_accept_encoding=True)  # the path as it stands
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def test_what_tlog_tiles_asks_for(server: LogServer) -> None:
    status, headers, content = ask(server, "GET", "/checkpoint")
    assert (status, content, headers["content-type"]) == (200, b"a note\n", "text/plain; charset=utf-8")
    assert headers["cache-control"] == "no-cache"
    assert ask(server, "GET", "/cosigned")[2] == b"a cosigned note\n"
    for path, expected in (
        ("/tile/0/000", b"full"),
        ("/tile/0/x001/000.p/7", b"partial"),
        ("/tile/entries/000.p/7", b"entries"),
    ):
        status, headers, content = ask(server, "GET", path)
        assert (status, content, headers["content-type"]) == (200, expected, "application/octet-stream")
        assert "immutable" in headers["cache-control"]


def test_head_is_get_without_content(server: LogServer) -> None:
    for path in ("/", "/build", "/checkpoint", "/tile/0/000", "/nothing"):
        got, asked = ask(server, "GET", path), ask(server, "HEAD", path)
        assert asked[2] == b""
        assert (asked[0], asked[1]["content-length"]) == (got[0], str(len(got[2])))


@pytest.mark.parametrize(
    "path",
    [
        "/../log.key.pem",
        "/tile/../../log.key.pem",
        "/tile/0/../../../log.key.pem",
        "/%2e%2e/log.key.pem",
        "/tile/0/%2e%2e/000",
        "//etc/passwd",
        "/etc/passwd",
        "http://elsewhere/checkpoint",
        "/tile/0/001",
        "/tile/0/002",
        "/tile/0/000.p/7",
        "/tile/0/000.p/0",
        "/tile/0/000.p/256",
        "/tile/0/000.p/007",
        "/tile/0/0",
        "/tile/00/000",
        "/tile/0/x000/000",
        "/tile/0/",
        "/tile/0/x001",
        "/tile/",
        "/tile",
        "/checkpoint/",
        "/checkpoint?x",
        "/checkpoint\\0",
        "/.new-checkpoint",
        "/store/0000000000.objects",
        "*",
    ],
)
def test_anything_else_is_not_found(server: LogServer, path: str) -> None:
    status, headers, content = ask(server, "GET", path)
    assert (status, content) == (404, b"not found\n")
    assert b"SECRET" not in content
    assert "immutable" not in headers["cache-control"], "a tile may come"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT"])
def test_other_methods_are_refused(server: LogServer, method: str) -> None:
    assert ask(server, method, "/checkpoint")[0] == 501


def test_build_says_what_the_newest_epoch_runs(server: LogServer, tmp_path: Path) -> None:
    assert set(json.loads(ask(server, "GET", "/build")[2]).values()) == {None}
    broker = Broker()
    epoch = broker.start()
    (tmp_path / "epochs" / "0000000001.cose").write_bytes(epoch.countersigned)
    (tmp_path / "epochs" / "0000000001.end.cose").write_bytes(b"no statement")
    status, headers, content = ask(server, "GET", "/build")
    facts = json.loads(content)
    assert (status, headers["content-type"]) == (200, "application/json")
    assert facts["binary_hash"] == epoch.statement.executable_hash.hex()
    assert facts["plugin_hash"] == epoch.statement.plugin_hash.hex()
    assert facts["configuration_hash"] == epoch.statement.configuration_hash.hex()
    assert (facts["epoch"], facts["epoch_id"]) == (1, epoch.epoch_id.hex())
    assert facts["manifest_hash"] is facts["source_commit"] is facts["build_date"] is None, "it names no manifest"
    assert ask(server, "GET", "/manifest")[0] == 404


def test_build_says_where_it_was_built_from_and_the_manifest_is_served(server: LogServer, tmp_path: Path) -> None:
    story = built()
    (tmp_path / "epochs" / "0000000001.cose").write_bytes(story.broker.epoch.countersigned)
    facts = json.loads(ask(server, "GET", "/build")[2])
    assert facts["source_commit"] is None, "the manifest was not kept"
    sha256 = decode_manifest(story.manifest).sha256.hex()
    (tmp_path / "manifests" / f"{sha256}.json").write_bytes(story.manifest)
    facts = json.loads(ask(server, "GET", "/build")[2])
    assert facts["manifest_hash"] == sha256
    assert (facts["source_commit"], facts["build_date"]) == (MOSQUITTO.source_commit, "2025-05-28T22:39:38Z")
    assert (facts["plugin_source_commit"], facts["plugin_build_date"]) == (PLUGIN.source_commit, "2025-05-29T22:39:38Z")
    status, headers, content = ask(server, "GET", "/manifest")
    assert (status, headers["content-type"], content) == (200, "application/json", story.manifest)


def test_the_index_says_what_is_served(server: LogServer) -> None:
    status, headers, content = ask(server, "GET", "/")
    assert (status, headers["content-type"]) == (200, "text/plain; charset=utf-8")
    for path in (b"/checkpoint", b"/tile/", b"/build"):
        assert path in content


def test_who_says_nothing_is_cut_off(server: LogServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LogHandler, "timeout", 0.1)
    with socket.create_connection(server.server_address[:2], PATIENCE_S) as slow:
        slow.sendall(b"GET /checkpoint HTTP/1.1\r\n")
        assert slow.recv(100) == b""


def test_who_speaks_slowly_is_cut_off(server: LogServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then outlives any time-out of one read."""
    monkeypatch.setattr(web, "LIFE_S", 0.2)
    with socket.create_connection(server.server_address[:2], PATIENCE_S) as slow, pytest.raises(OSError):
        while True:
            slow.sendall(b"G")
            slow.settimeout(0.02)
            try:
                if slow.recv(100) == b"":
                    raise ConnectionResetError
            except TimeoutError:
                continue


def test_connections_are_bounded_and_come_back(server: LogServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "MAX_CONNECTIONS", 2)
    held = [socket.create_connection(server.server_address[:2], PATIENCE_S) for _ in range(2)]
    for connection in held:  # each has its thread once it was answered
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
    with socket.create_connection(server.server_address[:2], PATIENCE_S) as refused:
        assert refused.recv(100) == b""
    for connection in held:
        connection.close()
    while server._open:
        threading.Event().wait(0.01)
    assert ask(server, "GET", "/checkpoint")[0] == 200


def test_an_address_that_is_taken_is_named(server: LogServer) -> None:
    address = f"127.0.0.1:{server.server_address[1]}"
    with pytest.raises(BrokerError, match=f"{address}: the log cannot be served there"):
        LogServer(address, server.folders, ChallengeDesk(None))
