"""`sigillo challenge` and `sigillo watch`, against a server that answers as asked, or lies (attacks 1, 3, 13)."""

from __future__ import annotations

import http.server
import json
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from sigillo.core.challenge import decode_request, encode_challenge_answer
from sigillo.core.policy import encode_policy
from tests.core.test_challenged import policy
from tests.vector.challenge import Launched

from .command import sigillo

Answering = Callable[[bytes], tuple[int, bytes]]


class Server:
    """A broker's HTTP server in the hands of a test: *answer* gets the nonce, gives status and content."""

    def __init__(self) -> None:
        self.broker = Launched()
        self.answer: Answering = self.honest
        this = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, content = this.answer(decode_request(self.path))
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def honest(self, nonce: bytes) -> tuple[int, bytes]:
        return 200, encode_challenge_answer(self.broker.answer(nonce))


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


@pytest.fixture
def trusted(tmp_path: Path, server: Server) -> Path:
    path = tmp_path / "policy.toml"
    path.write_text(encode_policy(policy(server.broker.answer())))
    return path


def test_a_fresh_answer_is_attested(server: Server, trusted: Path, tmp_path: Path) -> None:
    kept = tmp_path / "answer.json"
    answer = sigillo("challenge", server.url, "--policy", trusted, "-o", kept)
    assert answer.code == 0, answer
    assert answer.out.startswith("ATTESTED  epoch ")
    assert "SOFTWARE TPM" in answer.out
    assert "Limit: a launcher that lies passes" in answer.out
    assert kept.read_bytes().startswith(b"{")
    said = json.loads(sigillo("challenge", server.url, "--policy", trusted, "--json").out)
    assert said["attested"] is True
    assert said["software_tpm"] is True


def test_a_replayed_answer_is_refused(server: Server, trusted: Path) -> None:
    old = encode_challenge_answer(server.broker.answer())
    server.answer = lambda _nonce: (200, old)
    answer = sigillo("challenge", server.url, "--policy", trusted)
    assert answer.code == 1
    assert answer.out.startswith("NOT ATTESTED: step 21, quote: ")


def test_no_quote_is_not_attested(server: Server, trusted: Path) -> None:
    server.answer = lambda _nonce: (503, b'{"error": "the TPM does not answer", "remedy": "ask again"}')
    answer = sigillo("challenge", server.url, "--policy", trusted)
    assert answer.code == 1
    assert answer.out.startswith("NOT ATTESTED: ")
    assert "503" in answer.out


def test_nobody_there_is_an_error(trusted: Path) -> None:
    answer = sigillo("challenge", "http://127.0.0.1:9", "--policy", trusted)
    assert answer.code == 2
    assert "sigillo: error:" in answer.err


@pytest.mark.parametrize("url", ["", "127.0.0.1:8380", "ftp://127.0.0.1/", "http://"])
def test_a_url_that_cannot_be_asked_is_named(trusted: Path, url: str) -> None:
    assert sigillo("challenge", url, "--policy", trusted).code == 2


def watch(server: Server, trusted: Path, state: Path, *more: object) -> tuple[int, str, str]:
    answer = sigillo("watch", server.url, "--policy", trusted, "--state", state, "--once", *more)
    return answer.code, answer.out, answer.err


def test_a_watcher_goes_red_and_back(server: Server, trusted: Path, tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    code, out, _ = watch(server, trusted, state)
    assert (code, "green attested: epoch" in out) == (0, True)
    assert state.stat().st_mode & 0o777 == 0o600
    assert urlsplit(server.url).port
    code, out, _ = watch(server, trusted, state)
    assert (code, out) == (0, "")
    server.answer = lambda _nonce: (503, b"{}")
    code, out, _ = watch(server, trusted, state)
    assert code == 1
    assert "red   not attested: " in out
    code, out, _ = watch(server, trusted, state)
    assert (code, out) == (1, "")  # still red, and said already
    server.answer = server.honest
    assert watch(server, trusted, state)[0] == 0


def test_a_rolled_back_log_stays_red(server: Server, trusted: Path, tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    watch(server, trusted, state)
    server.broker = Launched(size=5)
    code, out, _ = watch(server, trusted, state)
    assert code == 1
    assert "rollback: the log had 4712 entries, and has 5" in out
    server.broker = Launched()
    server.broker.tpm.clock = 10**6
    assert watch(server, trusted, state)[0] == 1


def test_a_hook_gets_each_change(server: Server, trusted: Path, tmp_path: Path) -> None:
    got, state = tmp_path / "got", tmp_path / "state.json"
    hook = f"{sys.executable} -c \"import sys; open('{got}', 'a').write(sys.stdin.read())\""
    watch(server, trusted, state, "--hook", hook)
    said = json.loads(got.read_text())
    assert said["colour"] == "green"
    assert said["change"].startswith("attested")
    server.answer = lambda _nonce: (503, b"{}")
    code, _, err = watch(server, trusted, state, "--hook", "/nonexistent/hook")
    assert code == 1
    assert "warning: --hook /nonexistent/hook" in err


def test_a_hook_that_cannot_be_split_is_misuse(server: Server, trusted: Path, tmp_path: Path) -> None:
    code, _, err = watch(server, trusted, tmp_path / "state.json", "--hook", "say 'it")
    assert code == 2
    assert "--hook" in err


def test_what_a_hook_says_is_not_our_output(server: Server, trusted: Path, tmp_path: Path) -> None:
    _, out, err = watch(server, trusted, tmp_path / "state.json", "--json", "--hook", "echo heard")
    assert [json.loads(line)["colour"] for line in out.splitlines()] == ["green"]
    assert "heard" in err


def test_a_state_that_cannot_be_written_does_not_hide_the_change(server: Server, trusted: Path, tmp_path: Path) -> None:
    server.answer = lambda _nonce: (503, b"{}")
    code, out, err = watch(server, trusted, tmp_path / "nowhere" / "state.json")
    assert code == 2
    assert "red   not attested" in out
    assert "--state" in err


def test_what_a_broker_says_steers_no_terminal(server: Server, trusted: Path) -> None:
    server.answer = lambda _nonce: (503, b'{"error": "\\u001b[2JATTESTED", "remedy": ""}')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLICOLOR_FORCE", "1")
        out = sigillo("challenge", server.url, "--policy", trusted).out
    assert out.startswith("NOT ATTESTED: ")
    assert "\x1b" not in out


def test_a_broken_state_is_not_begun_anew(server: Server, trusted: Path, tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    state.write_text("{}")
    code, _, err = watch(server, trusted, state)
    assert code == 2
    assert "--state" in err
    assert state.read_text() == "{}"
