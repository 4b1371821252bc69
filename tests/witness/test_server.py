"""`sigillo witness` over HTTP, as a process: every status, and nobody who holds it up."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit

from sigillo.core.cosignature import verify_cosignature
from sigillo.core.note import LogKey, Note
from sigillo.core.witness import MAX_REQUEST, AddCheckpoint, Answer, encode_add_checkpoint, read_lines
from tests.vector.key import EPOCH

from .rig import KEY, PATIENCE_S, WitnessProcess, checkpoint, post, request


def address(witness: WitnessProcess) -> tuple[str, int]:
    parts = urlsplit(witness.url)
    assert parts.hostname
    assert parts.port
    return parts.hostname, parts.port


def raw(witness: WitnessProcess, data: bytes) -> bytes:
    """Bytes as they are; all that comes back until the connection ends."""
    with socket.create_connection(address(witness), PATIENCE_S) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def test_every_status(witness: WitnessProcess) -> None:
    answer = post(witness.url, request(0, 50))
    assert (answer.status, answer.content_type) == (200, "text/plain; charset=utf-8")
    line = read_lines(answer.body, checkpoint(50).note, witness.key)
    assert answer.body.count(b"\n") == 1
    assert line.name == witness.key.name
    assert post(witness.url, request(50, 60)).status == 200
    assert post(witness.url, b"old x\n").status == 400
    assert post(witness.url, request(0, 60)) == Answer(409, b"60\n", "text/x.tlog.size")
    assert post(witness.url, request(60, 60, "b")) == Answer(409, b"60\n", "text/x.tlog.size")
    assert post(witness.url, request(60, 90, "b")).status == 422
    assert post(witness.url, request(60, 90).replace(b"broker.example", b"broken.example")).status == 404
    assert post(witness.url, request(60, 90).replace(b"\n90\n", b"\n91\n")).status == 403
    assert post(witness.url, request(60, 90), "/add-checkpoints").status == 404
    assert post(witness.url, request(60, 90)).status == 200


def test_64_hashes_and_two_signatures_of_one_key_are_bad_requests(witness: WitnessProcess) -> None:
    good = request(20, 50)
    old, proof_and_rest = good.split(b"\n", 1)
    line = proof_and_rest.split(b"\n", 1)[0]
    assert post(witness.url, old + (b"\n" + line) * 64 + b"\n\n" + good.partition(b"\n\n")[2]).status == 400
    own = good.splitlines(keepends=True)[-1]
    assert post(witness.url, good + own).status == 400
    assert b"second one of its key" in post(witness.url, good + own).body


def test_extension_lines_are_cosigned_and_not_compared(witness: WitnessProcess) -> None:
    plain, extended = checkpoint(50), checkpoint(50, "a", "an extension")
    for old, signed in ((0, plain), (50, extended)):
        answer = post(witness.url, encode_add_checkpoint(AddCheckpoint(old, (), signed)))
        assert answer.status == 200
        read_lines(answer.body, signed.note, witness.key)


BROKEN = [
    (b"POST /add-checkpoint HTTP/1.1\r\n\r\n", b"411"),
    (b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"411"),
    (b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"411"),
    (b"POST /add-checkpoint HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"411"),
    (b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (MAX_REQUEST + 1), b"413"),
    (b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n", b"413"),
    (b"POST /add-checkpoint HTTP/1.1\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", b"431"),
    (b"PUT /add-checkpoint HTTP/1.1\r\nContent-Length: 0\r\n\r\n", b"501"),
    (b"GET /add-checkpoint HTTP/1.1\r\n\r\n", b"404"),
    (b"GET / HTTP/1.1\r\n\r\n", b"200"),
    (b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: 9\r\n\r\nold 0\n", b""),
]


def test_what_has_no_whole_body_is_not_read(witness: WitnessProcess) -> None:
    for head, status in BROKEN:
        answer = raw(witness, head)
        assert answer.split(b" ", 2)[1:2] == ([status] if status else []), head
    assert post(witness.url, request(0, 50)).status == 200


def test_one_connection_for_many_requests(witness: WitnessProcess) -> None:
    connection = http.client.HTTPConnection(*address(witness), timeout=PATIENCE_S)
    for old, size in ((0, 1), (1, 30), (30, 50)):
        connection.request("POST", "/add-checkpoint", request(old, size))
        answer = connection.getresponse()
        assert (answer.status, answer.version) == (200, 11)
        answer.read()
    connection.close()


def test_those_who_say_nothing_do_not_hold_it_up(witness: WitnessProcess) -> None:
    """As many as fit, less one; each in the middle of something."""
    halves = [b"", b"POST /add-", b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: 500\r\n\r\nold "]
    held = [socket.create_connection(address(witness), PATIENCE_S) for _ in range(60)]
    try:
        for number, connection in enumerate(held):
            connection.sendall(halves[number % 3])
        assert post(witness.url, request(0, 50)).status == 200
    finally:
        for connection in held:
            connection.close()


def test_many_at_once_get_one_history(witness: WitnessProcess) -> None:
    """Two histories from many threads: the request that comes first decides, and none gets past it."""
    sizes = range(30, 62)
    answers: list[tuple[str, int, Answer]] = []

    def ask(name: str, size: int) -> None:
        answers.append((name, size, post(witness.url, request(0, size, name))))

    threads = [threading.Thread(target=ask, args=("ab"[size % 2], size)) for size in sizes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    [size] = [size for _, size, answer in answers if answer.status == 200]
    assert {answer.body for _, _, answer in answers if answer.status == 409} == {b"%d\n" % size}
    assert len(answers) == len(sizes)


def test_a_restart_goes_on_without_options(witness: WitnessProcess) -> None:
    post(witness.url, request(0, 50))
    key = witness.key
    witness.stop()
    witness.options = ()
    witness.start()
    assert witness.key == key
    assert post(witness.url, request(0, 60)) == Answer(409, b"50\n", "text/x.tlog.size")
    assert post(witness.url, request(50, 60)).status == 200


def test_a_post_quantum_witness(tmp_path: Path) -> None:
    witness = WitnessProcess(tmp_path / "witness", ("--log", KEY.vkey, "--key-type", "ml-dsa-44")).start()
    try:
        answer = post(witness.url, request(0, 50))
        line = read_lines(answer.body, checkpoint(50).note, witness.key)
        assert len(line.signature) == 8 + 2420
    finally:
        witness.kill()


def test_who_it_is_and_whom_it_follows(witness: WitnessProcess) -> None:
    page = raw(witness, b"GET / HTTP/1.0\r\n\r\n")
    assert witness.key.vkey.encode() in page
    assert KEY.name.encode() in page


def test_what_it_says(witness: WitnessProcess) -> None:
    post(witness.url, request(0, 50))
    for _ in range(3):
        post(witness.url, request(50, 50, "b"))
        post(witness.url, request(0, 50))
    witness.stop()
    said = [(event["event"], event.get("size")) for event in witness.events()]
    assert said == [("serving", None), ("cosigned", 50), ("forked", 50), ("stopped", None)]


def refused(*options: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "sigillo.cli.main", "witness", *options],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    return done.stderr


def test_bad_options_are_named(tmp_path: Path) -> None:
    folder = str(tmp_path / "witness")
    assert "say --name" in refused(folder)
    assert "--log" in refused(folder, "--name", "w", "--log", "no vkey")
    cosigner = LogKey("w", EPOCH.public).vkey.replace("+A", "+B")
    assert "--log" in refused(folder, "--name", "w", "--log", cosigner)
    for listen in ("0.0.0.0:0", "8390", "127.0.0.1:x", "localhost:8390"):
        assert "loopback" in refused(folder, "--name", "w", "--listen", listen)


def test_one_process_for_each_folder(witness: WitnessProcess) -> None:
    assert "another `sigillo witness` runs" in refused(str(witness.folder))
    taken = refused(str(witness.folder.with_name("other")), "--name", "w", "--listen", urlsplit(witness.url).netloc)
    assert "nothing can listen there" in taken


def test_its_cosignatures_verify(witness: WitnessProcess) -> None:
    answer = post(witness.url, request(0, 50))
    note = checkpoint(50).note
    line = read_lines(answer.body, note, witness.key)
    assert verify_cosignature(Note(note.text, (*note.signatures, line)), witness.key).time_s > 0
