"""`sigillo evidence` as a person types it, on an archive that was filled without a broker."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from sigillo.archive.store import Message, Store
from sigillo.archive.subscriber import read_marked
from sigillo.broker.account import find_account
from sigillo.broker.folder import OperatorFolder
from sigillo.broker.process import FAILED, start_child
from sigillo.cli.evidence import _open_archive
from sigillo.core.bytes import base64url_encode
from sigillo.core.epoch import EndReason, EpochEnd, encode_epoch_end
from sigillo.core.line import split_lines
from sigillo.core.verify import verify

from ..adversary.broker import NOW_NS, Broker
from ..adversary.device import Device, ed25519_key
from ..adversary.maker import Maker
from ..broker.operator import installed, keep, segment

SIGILLO = [sys.executable, "-m", "sigillo.cli.main"]
DEVICES = (Device("crate-1"), Device("crate-2"))


def run(*arguments: object, expect: int = 0) -> str:
    done = subprocess.run([*SIGILLO, "evidence", *map(str, arguments)], capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr
    assert done.returncode == expect, (done.stdout, done.stderr)
    if expect:
        assert done.stderr.startswith("sigillo: error: ")
        return done.stderr
    return done.stdout


class Scene:
    """Two epochs: the first ended cleanly, the second runs."""

    def __init__(self, folder: OperatorFolder, store: Store) -> None:
        self.folder, self.store, self.broker = folder, store, Broker()
        for clean in (True, False):
            epoch = self.broker.start()
            marks = [self.broker.publish(device) for device in DEVICES for _ in range(2)]
            for line in marks:
                self.deliver(line.topic, line.payload, line.mark)
            keep(folder, self.broker, segment(self.broker, marks))
            if clean:
                end = EpochEnd(
                    epoch.sequence, self.broker.clock_ns + 10**9, self.broker.clock, EndReason.STOP, epoch.last
                )
                self.broker.stop()
                encoded = encode_epoch_end(end, epoch.epoch_id, epoch.key.sign)
                (folder.epochs / f"{epoch.number:010}.end.cose").write_bytes(encoded)

    def deliver(self, topic: str, payload: bytes, mark: bytes) -> None:
        kept = read_marked(topic.encode(), payload, [base64url_encode(mark)])
        assert isinstance(kept, Message)
        self.store.add([kept], [])


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    folder = installed(tmp_path)
    with Store.open(folder.archive / "messages.sqlite") as store:
        yield Scene(folder, store)


def kinds(path: Path) -> list[str]:
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line)["type"] for line in data.splitlines()]


def test_a_file_of_two_devices_verifies(scene: Scene, tmp_path: Path) -> None:
    target = tmp_path / "evidence.jsonl"
    said = run("--store", scene.folder.path, "--device", "crate-1", "--device", "crate-2", "-o", target)
    assert said == f"{target}: 8 messages, 2 epochs\n"
    verify(split_lines([target.read_bytes()]), scene.broker.policy(*DEVICES), NOW_NS)
    around = [kind for kind in kinds(target) if kind in ("epoch", "end")]
    assert around == ["epoch", "end", "epoch"], "an end is there where it is known"


def test_certificates_of_the_devices_are_brought_along(scene: Scene, tmp_path: Path) -> None:
    """Of the devices of the file, and no others; in the order of the format, whatever the folder's."""
    maker, target = Maker(), tmp_path / "evidence.jsonl"
    chains = [maker.certify(device, serial=serial) for device in DEVICES for serial in (9, 2)]
    for device, chain in zip((DEVICES[0], DEVICES[0], DEVICES[1], DEVICES[1]), chains, strict=True):
        folder = scene.folder.path / "devices" / device.id / "certificates"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{chain[0].serial_number}.pem").write_bytes(chain[0].public_bytes(Encoding.PEM))
    said = run("--store", scene.folder.path, "--device", "crate-2", "--device", "crate-1", "-o", target)
    assert said == f"{target}: 8 messages, 2 epochs\n  4 certificates of signing keys\n"
    assert kinds(target)[:6] == ["header", *["certificate"] * 4, "epoch"]
    policy = scene.broker.policy(devices=tuple(map(maker.device, DEVICES)), makers=(maker.trust(),))
    verify(split_lines([target.read_bytes()]), policy, NOW_NS)
    fields = json.loads(run("--store", scene.folder.path, "--device", "crate-1", "-o", target, "--force", "--json"))
    assert fields["certificates"] == 2
    (folder / "9.pem").write_text("not one")
    refusal = run("--store", scene.folder.path, "--device", "crate-2", "-o", target, "--force", expect=2)
    assert "9.pem: is not a list of certificates" in refusal


def test_packed_files_have_the_same_lines(scene: Scene, tmp_path: Path) -> None:
    plain, packed = tmp_path / "a.jsonl", tmp_path / "a.jsonl.gz"
    for target in (plain, packed):
        run("--store", scene.folder.path, "--device", "crate-1", "-o", target)
    assert gzip.decompress(packed.read_bytes()) == plain.read_bytes()
    again = tmp_path / "b.jsonl.gz"
    run("--store", scene.folder.path, "--device", "crate-1", "-o", again)
    assert again.read_bytes() == packed.read_bytes()


def test_the_last_ones(scene: Scene, tmp_path: Path) -> None:
    target = tmp_path / "evidence.jsonl"
    assert "3 messages, 2 epochs" in run("--store", scene.folder.path, "--device", "crate-1", "--last", 3, "-o", target)
    said = json.loads(
        run("--store", scene.folder.path, "--device", "crate-1", "--last", 1, "-o", target, "--force", "--json")
    )
    assert (said["messages"], said["epochs"]) == (1, 1)


def test_a_range_of_time(scene: Scene, tmp_path: Path) -> None:
    target = tmp_path / "evidence.jsonl"
    common = ("--store", scene.folder.path, "--device", "crate-1", "-o", target)
    assert "4 messages" in run(*common, "--from", "2020-01-01", "--to", "2100-01-01T00:00:00+02:00")
    assert "nothing to export" in run(*common, "--to", "2020-01-01T00:00:00Z", "--force", expect=2)
    assert "no time zone" in run(*common, "--to", "2020-01-01T00:00:00", "--force", expect=2)
    assert "is not like" in run(*common, "--to", "yesterday", "--force", expect=2)
    assert "one of them" in run(*common, "--to", "2020-01-01", "--last", 1, "--force", expect=2)
    assert kinds(target).count("message") == 4, "a refused command changes nothing"


def test_forged_marks_are_left_out_and_counted(scene: Scene, tmp_path: Path) -> None:
    forged = scene.broker.mark(DEVICES[0].topic, b"forged", "crate-1", signed_by=ed25519_key("forger"))
    scene.deliver(forged.topic, forged.payload, forged.mark)
    said = run("--store", scene.folder.path, "--device", "crate-1", "-o", tmp_path / "e.jsonl")
    assert "4 messages" in said
    assert "left out: 1 with a mark that no epoch of this operator signed" in said


def test_what_cannot_be_done_is_said(scene: Scene, tmp_path: Path) -> None:
    target = tmp_path / "evidence.jsonl"
    store = ("--store", scene.folder.path)
    assert "it has crate-1, crate-2" in run(*store, "--device", "crate-9", "-o", target, expect=2)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "is no operator folder" in run("--store", empty, "--device", "x", "-o", target, expect=2)
    assert "choose a folder that exists" in run(*store, "--device", "crate-1", "-o", tmp_path / "no" / "e", expect=2)
    target.write_text("mine")
    assert "--force" in run(*store, "--device", "crate-1", "-o", target, expect=2)
    assert target.read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == [], "nothing half-written is left"


def test_a_missing_or_broken_epoch_is_named(scene: Scene, tmp_path: Path) -> None:
    arguments = ("--store", scene.folder.path, "--device", "crate-1", "-o", tmp_path / "e.jsonl")
    path = scene.folder.epochs / "0000000001.cose"
    path.write_bytes(b"nonsense")
    assert str(path) in run(*arguments, expect=2)
    path.unlink()
    assert "0000000001.cose: is missing" in run(*arguments, expect=2)


def test_an_archive_without_messages_is_named(tmp_path: Path) -> None:
    folder = installed(tmp_path)
    said = run("--store", folder.path, "--device", "x", "-o", tmp_path / "e", expect=2)
    assert "no message was archived yet" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
def test_who_may_not_read_the_archive_is_told_so(scene: Scene, capfd: pytest.CaptureFixture[str]) -> None:
    nobody = find_account("nobody")
    assert nobody is not None
    child = start_child("reader", nobody, [], lambda: _open_archive(scene.folder).close())
    assert os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1]) == FAILED
    assert "may not be read; run this as root" in capfd.readouterr().err
