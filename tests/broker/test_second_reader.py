"""Mosquitto itself reads what is read here: what it takes and refuses, where lines end, whom it lets in."""

from __future__ import annotations

import os
import random
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sigillo.broker.directive import read_directives
from sigillo.broker.error import BrokerError
from sigillo.core.access_list import decode_access_list
from sigillo.core.directive import decode_directives, listener_address
from sigillo.core.errors import ConfigurationError
from sigillo.core.listener import allows_anonymous, has_tls

from ..port import free_port

MOSQUITTO = "/usr/sbin/mosquitto"
PATIENCE_S = 20
CONNECT = bytes.fromhex("100d00044d5154540402003c000161")  # MQTT 3.1.1, client id "a", no name

pytestmark = pytest.mark.skipif(not Path(MOSQUITTO).exists(), reason="not installed: mosquitto")


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not pytest's tmp_path: Mosquitto drops its rights, and the parents of that are closed to others."""
    path = Path(tempfile.mkdtemp(prefix="sigillo-reader-"))
    path.chmod(0o777)
    (path / "conf.d").mkdir()
    yield path
    shutil.rmtree(path)


@contextmanager
def started(folder: Path, text: str | bytes) -> Iterator[subprocess.Popen[bytes]]:
    """A broker on this configuration, once it runs or has ended; what it says is in `log`."""
    conf = folder / "mosquitto.conf"
    conf.write_bytes(text if isinstance(text, bytes) else text.encode())
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([MOSQUITTO, "-v", "-c", conf], stdout=log, stderr=log, cwd=folder)
    try:
        deadline = time.monotonic() + PATIENCE_S
        while process.poll() is None and "running" not in said(folder):
            assert time.monotonic() < deadline, said(folder)
            time.sleep(0.01)
        yield process
    finally:
        process.kill()
        process.wait()


def said(folder: Path) -> str:
    return (folder / "log").read_bytes().decode(errors="replace")


def takes(folder: Path, text: str | bytes) -> bool:
    with started(folder, text) as process:
        return process.poll() is None


def reads(folder: Path) -> bool:
    try:
        read_directives(folder / "mosquitto.conf", folder)
    except BrokerError:
        return False
    return True


BOTH_TAKE = [
    "listener {port} 127.0.0.1\r\nallow_anonymous true\r\n",
    "  listener   {port}   127.0.0.1  \t\n",
    "listener {port} 127.0.0.1\n#\x0callow_anonymous maybe\n",
    "allow_anonymous true\nlistener {port} 127.0.0.1\nallow_anonymous false\n",
    "listener {port} 127.0.0.1\nacl_file {folder}/acl\ncheck_retain_source true\n",
    "include_dir {folder}/conf.d\nlistener {port} 127.0.0.1\n",
    "listener 0 {folder}/socket\nlistener {port} 127.0.0.1\n",
]
BOTH_REFUSE = [
    "listener {port} 127.0.0.1\nallow_anonymos true\n",
    "listener {port} 127.0.0.1\nallow_anonymous maybe\n",
    "listener {port} 127.0.0.1\nallow_anonymous\n",
    "listener {port} 127.0.0.1\n # comment\n",
    "listener\t{port}\n",
    "listener {port} 127.0.0.1\nplugin_opt_x 1\n",
    "listener {port} 127.0.0.1\ntopic # in\n",
    "listener 65536 127.0.0.1\n",
    "listener 0\n",
    "listener {port} 127.0.0.1\ninclude_dir {folder}/nowhere\n",
]


@pytest.mark.parametrize(("text", "taken"), [*((t, True) for t in BOTH_TAKE), *((t, False) for t in BOTH_REFUSE)])
def test_what_is_taken_and_what_is_refused(folder: Path, text: str, taken: bool) -> None:
    (folder / "acl").write_text("topic read #\n")
    (folder / "conf.d/a.conf").write_text("max_queued_messages 7\n")
    text = text.format(port=free_port(), folder=folder)
    assert takes(folder, text) is taken, said(folder)
    assert understood(folder) is taken


def understood(folder: Path) -> bool:
    """Whether it is read here, with what its values mean."""
    if not reads(folder):
        return False
    try:
        found = read_directives(folder / "mosquitto.conf", folder)
        for listener in found.listeners:
            listener_address(listener)
            allows_anonymous(listener, found)
    except ConfigurationError:
        return False
    return True


def some(chosen: random.Random, letters: str, most: int) -> str:
    return "".join(chosen.choices(letters, k=chosen.randint(0, most)))


@pytest.mark.parametrize("seed", range(3))
def test_both_find_the_same_first_word(folder: Path, seed: int) -> None:
    """Lines of blanks, comments and nonsense: the first unknown directive is the same.

    Mosquitto passes over a line that begins with a carriage return; here it is refused.
    """
    chosen = random.Random(seed)
    for _ in range(25):
        lines = [some(chosen, " \t\v\f\r#zy1", 6).lstrip("\r") for _ in range(4)]
        text = "\n".join([*lines, "zzz end"])
        assert not takes(folder, text)
        theirs = re.search(r'Unknown configuration variable "([^"]*)"', said(folder))
        with pytest.raises(ConfigurationError) as caught:
            decode_directives("f", text.encode())
        ours = re.match(r"`([^`]*)`", caught.value.reason)
        assert theirs and ours
        assert ours[1] == theirs[1], repr(text)


@pytest.mark.parametrize(
    ("name", "error"),
    [("include_dir", r"Unable to open include_dir '(.*?)'"), ("password_file", r'Unable to open pwfile "(.*?)"')],
)
def test_both_find_the_same_value(folder: Path, name: str, error: str) -> None:
    """Or it is refused here: nothing is read that Mosquitto reads as something else."""
    chosen = random.Random(name)
    compared = 0
    for _ in range(60):
        line = f"{name} " + some(chosen, "  \t\v\f\r#zy1\u00a0é", 7) + "\n"
        read: list[str] = []
        try:
            found = decode_directives("f", line.encode(), lambda line, read=read: read.append(line.value) or ())
        except ConfigurationError:
            continue
        read += [line.value for line in found.broker.lines]
        assert not takes(folder, f"{line}listener {free_port()} 127.0.0.1\n")
        if "Malformed UTF-8" in said(folder):  # what it says of control characters
            continue
        theirs = re.search(error, said(folder), re.DOTALL)
        assert theirs, said(folder)
        assert read == [theirs[1]], repr(line)
        compared += 1
    assert compared > 10


def test_included_files_come_in_the_same_order(folder: Path) -> None:
    """Each has a listener: Mosquitto opens them in the order in which it reads them."""
    (folder / "conf.d/.conf").write_text("not read\n")
    (folder / "conf.d/z.conf.old").write_text("not read\n")
    for name in ("B", "_x", "a", "A", "10", "9", "é", "ab"):
        (folder / f"conf.d/{name}.conf").write_text(f"listener {free_port()} 127.0.0.1\n")
    text = f"listener {free_port()} 127.0.0.1\ninclude_dir {folder}/conf.d\nmax_connections 7\n"
    assert takes(folder, text), said(folder)
    theirs = [int(port) for port in re.findall(r"Opening ipv4 listen socket on port (\d+)", said(folder))]
    found = read_directives(folder / "mosquitto.conf", folder)
    assert [listener_address(listener)[0] for listener in found.listeners] == theirs
    assert len(theirs) == 9


@pytest.mark.parametrize(
    "lines",
    [
        "",
        "allow_anonymous true",
        "allow_anonymous 1 ",
        "allow_anonymous true\nallow_anonymous false",
        "allow_anonymous false\nallow_anonymous true",
        "allow_anonymous false\n#allow_anonymous true",
        "allow_anonymous true\n#\x0ballow_anonymous false",
    ],
)
def test_whom_it_lets_in(folder: Path, lines: str) -> None:
    port = free_port()
    text = f"listener {port} 127.0.0.1\n{lines}\n"
    with started(folder, text), socket.create_connection(("127.0.0.1", port), PATIENCE_S) as client:
        client.sendall(CONNECT)
        accepted = client.recv(4)[3] == 0
    found = decode_directives("f", text.encode())
    assert allows_anonymous(found.listeners[0], found) is accepted


@pytest.mark.parametrize(
    "text",
    [
        "topic #\n",
        "topic read a b\n",
        "topic   write   a/#  \n",
        "pattern deny a/%u\nuser x y\ntopic readwrite b\n",
        "# comment\n\n\r\nuser a\ntopic a\n",
        "topic write\n",
        "topic rite a\n",
        "group x\n",
        "user\n",
        "topic\n",
        " # comment\n",
        "topic\tread a\n",
    ],
)
def test_access_lists_that_are_taken_and_refused(folder: Path, text: str) -> None:
    (folder / "acl").write_bytes(text.encode())
    theirs = takes(folder, f"listener {free_port()} 127.0.0.1\nacl_file {folder}/acl\n")
    try:
        ours = bool(list(decode_access_list("acl", text)))
    except ConfigurationError:
        ours = False
    assert ours is theirs, said(folder)


def test_shared_keys_over_websockets_are_in_the_clear(folder: Path) -> None:
    """The reason why `psk_hint` is no TLS there: the broker answers a request that was never encrypted."""
    port = free_port()
    (folder / "psk").write_text("a:1234\n")
    plain = f"listener {free_port()} 127.0.0.1\n"  # Mosquitto 2.0.11 does not start on WebSockets alone
    text = f"{plain}psk_file {folder}/psk\nlistener {port}\nprotocol websockets\npsk_hint x\n"
    with started(folder, text) as process:
        if process.poll() is not None or "Opening websockets" not in said(folder):
            pytest.skip("this Mosquitto has no WebSockets")
        with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as client:
            client.sendall(
                b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                b"Sec-WebSocket-Protocol: mqtt\r\n\r\n"
            )
            answered = client.recv(12)
    assert answered.startswith(b"HTTP/1.1 101")
    assert not has_tls(decode_directives("f", text.encode()).listeners[1])


def test_as_root_it_gives_its_rights_up_but_for_user_root(folder: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    for lines, is_root in (("", False), ("user root\n", True)):
        with started(folder, f"listener {free_port()} 127.0.0.1\n{lines}") as process:
            status = Path(f"/proc/{process.pid}/status").read_text()
        uid = re.search(r"^Uid:\s+(\d+)\s+(\d+)", status, re.MULTILINE)
        assert uid
        assert (uid[2] == "0") is is_root
