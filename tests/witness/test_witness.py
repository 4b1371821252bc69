"""The witness without HTTP: what it remembers, what a crash leaves, what it refuses to start on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sigillo import disk
from sigillo.core.checkpoint import SignedCheckpoint, decode_checkpoint, encode_checkpoint
from sigillo.core.cosignature import WitnessKeyType, verify_cosignature
from sigillo.core.errors import DecodeError
from sigillo.core.mark import Checkpoint
from sigillo.core.note import LogKey, Note
from sigillo.core.witness import read_lines, read_size
from sigillo.witness.error import WitnessFolderError
from sigillo.witness.key import SigningWitnessKey
from sigillo.witness.memory import Memory
from sigillo.witness.witness import Said, Witness
from tests.vector.key import EPOCH

from .rig import KEY, NAME, checkpoint, request

NOW = 1_795_536_000.7


class Rig:
    """A witness in *folder* with a clock of ours."""

    def __init__(self, folder: Path, kind: WitnessKeyType | None = None) -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self.now = folder, NOW
        self.said: list[Said] = []
        key = SigningWitnessKey.open(folder, NAME, kind)
        memory = Memory(folder, key.public)
        memory.follow(KEY)
        self.key = key.public
        self.witness = Witness(key, memory, lambda: self.now, self.said.append)

    def add(self, old: int, size: int, name: str = "a") -> tuple[int, int]:
        """Status, and the time of the cosignature or the size."""
        answer = self.witness.add_checkpoint(request(old, size, name))
        if answer.status == 409:
            return 409, read_size(answer)
        if answer.status != 200:
            return answer.status, 0
        line = read_lines(answer.body, checkpoint(size, name).note, self.key)
        return 200, verify_cosignature(Note(checkpoint(size, name).note.text, (line,)), self.key).time_s

    def newest(self) -> Checkpoint:
        kept = self.witness.memory.newest(KEY.name)
        return kept[0].head.checkpoint if kept else Checkpoint()


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path / "witness")


@pytest.mark.parametrize("kind", list(WitnessKeyType))
def test_it_follows_a_log(tmp_path: Path, kind: WitnessKeyType) -> None:
    rig = Rig(tmp_path / "witness", kind)
    assert rig.key.type is kind
    assert rig.add(0, 5) == (200, int(NOW))
    assert rig.add(5, 100) == (200, int(NOW))
    assert rig.add(100, 100) == (200, int(NOW)), "once more: it is still the largest"
    assert rig.add(5, 100) == (409, 100)
    again = Rig(tmp_path / "witness")
    assert again.key == rig.key
    assert again.newest() == checkpoint(100).head.checkpoint
    assert again.add(100, 101) == (200, int(NOW))


def test_a_second_history_gets_no_cosignature(rig: Rig) -> None:
    """Attack 18: behind the leaves that both have in common, one of the two is never cosigned."""
    assert rig.add(0, 100) == (200, int(NOW))
    for old in (0, 20, 50):
        assert rig.add(old, 150, "b") == (409, 100)
    assert rig.add(100, 150, "b")[0] == 422
    assert rig.add(100, 100, "b") == (409, 100)
    assert rig.newest() == checkpoint(100).head.checkpoint
    assert [(said.name, said.status) for said in rig.said] == [("cosigned", 200), ("refused", 422), ("forked", 409)]


def test_an_accusation_is_written_once(rig: Rig) -> None:
    rig.add(0, 100)
    rig.add(100, 100, "b")
    [path] = (rig.folder / "accusations").iterdir()
    before = path.stat()
    rig.add(100, 100, "b")
    assert path.stat() == before


def test_a_rolled_back_log_is_refused_and_told(rig: Rig) -> None:
    """Attack 31."""
    rig.add(0, 100)
    assert rig.add(30, 40) == (409, 100)
    assert rig.add(100, 100) == (200, int(NOW))


def test_a_clock_that_goes_back_cosigns_nothing(rig: Rig) -> None:
    """Else it would say that at a time before the last one a larger tree was the largest."""
    rig.add(0, 5)
    rig.now -= 1
    assert rig.add(5, 6) == (503, 0)
    assert rig.newest().size == 5
    rig.now += 1
    assert rig.add(5, 6)[0] == 200


def test_a_crash_after_writing_down_and_before_the_answer(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log never got the cosignature; it asks again, and is told the size that was written."""
    rig.add(0, 5)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sigillo.witness.witness.encode_lines", die)
    with pytest.raises(KeyboardInterrupt):
        rig.witness.add_checkpoint(request(5, 30))
    monkeypatch.undo()
    again = Rig(rig.folder)
    assert again.add(5, 30) == (409, 30)
    assert again.add(30, 30) == (200, int(NOW))
    assert again.add(5, 31, "b") == (409, 30)


@pytest.mark.parametrize("at", ["_write", "sync_folder"])
def test_a_crash_while_writing_down_signs_nothing(rig: Rig, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    rig.add(0, 5)

    def fail(*_: Any) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(disk, at, fail)
    with pytest.raises(OSError, match="Input/output"):
        rig.witness.add_checkpoint(request(5, 30))
    monkeypatch.undo()
    assert rig.add(5, 30) == (503, 0), "what the disk has nobody knows: it answers nothing more"
    found = Rig(rig.folder).newest().size
    assert found == (5 if at == "_write" else 30)


def test_followed_logs_are_remembered(rig: Rig) -> None:
    other = LogKey("other.example/log", EPOCH.public)
    assert rig.witness.memory.follow(other)
    assert not rig.witness.memory.follow(other)
    assert Memory(rig.folder, rig.key).logs == {KEY.name: (KEY,), other.name: (other,)}


def test_two_keys_of_one_origin(rig: Rig) -> None:
    second = LogKey(KEY.name, EPOCH.public)
    rig.add(0, 5)
    rig.witness.memory.follow(second)
    assert rig.witness.memory.logs == {KEY.name: (KEY, second)}
    assert rig.add(5, 6)[0] == 200


def seen_file(rig: Rig) -> Path:
    [path] = (rig.folder / "seen").iterdir()
    return path


def test_a_memory_that_is_gone_is_no_new_memory(rig: Rig) -> None:
    """Attack 31, on the witness: size 0 would let a second history in."""
    rig.add(0, 5)
    seen_file(rig).unlink()
    with pytest.raises(WitnessFolderError, match=r"is missing, though broker\.example/log is followed.*new key"):
        Rig(rig.folder)


@pytest.mark.parametrize("change", ["cut", "bit", "other-log", "not-cosigned", "text"])
def test_a_memory_that_was_changed_is_refused(rig: Rig, change: str) -> None:
    rig.add(0, 5)
    path = seen_file(rig)
    data = path.read_bytes()
    kept = decode_checkpoint(data)
    bare = SignedCheckpoint(Note(kept.note.text, kept.note.signatures[:1]), kept.head)
    path.write_bytes(
        {
            "cut": data[:-1],
            "bit": data.replace(b"\n5\n", b"\n4\n"),
            "other-log": data.replace(b"broker.example/log\n", b"broker.example/other\n", 1),
            "not-cosigned": encode_checkpoint(bare),
            "text": b"nothing",
        }[change]
    )
    with pytest.raises(WitnessFolderError, match=path.name):
        Rig(rig.folder)


def test_a_list_of_logs_that_cannot_be_read_is_refused(rig: Rig) -> None:
    (rig.folder / "logs").write_text("no vkey\n")
    with pytest.raises(WitnessFolderError, match=r"logs: line 1: "):
        Rig(rig.folder)


def test_a_crash_while_following_leaves_no_log_half_followed(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    other = LogKey("other.example/log", EPOCH.public)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(disk, "replace", die)
    with pytest.raises(KeyboardInterrupt):
        rig.witness.memory.follow(other)
    monkeypatch.undo()
    again = Rig(rig.folder)
    assert set(again.witness.memory.logs) == {KEY.name}
    assert again.witness.memory.follow(other)


# the key


def test_the_key_is_private_and_stays(rig: Rig) -> None:
    path = rig.folder / "witness.key.pem"
    assert path.stat().st_mode & 0o777 == 0o600
    assert (rig.folder / "witness.vkey").read_text() == f"{rig.key.vkey}\n"
    assert SigningWitnessKey.open(rig.folder, None, None).public == rig.key
    path.chmod(0o640)
    with pytest.raises(WitnessFolderError, match="chmod 600"):
        SigningWitnessKey.open(rig.folder, None, None)


def test_keys_that_are_refused(rig: Rig, tmp_path: Path) -> None:
    with pytest.raises(WitnessFolderError, match="of another key or name"):
        SigningWitnessKey.open(rig.folder, "witness.example/w2", None)
    with pytest.raises(WitnessFolderError, match="another type"):
        SigningWitnessKey.open(rig.folder, None, WitnessKeyType.ML_DSA_44)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(WitnessFolderError, match="say --name"):
        SigningWitnessKey.open(empty, None, None)
    with pytest.raises(DecodeError, match="--name"):
        SigningWitnessKey.open(empty, "a name", None)
    assert list(empty.iterdir()) == []
    (rig.folder / "witness.key.pem").write_bytes(b"no key")
    with pytest.raises(WitnessFolderError, match="cannot be read"):
        SigningWitnessKey.open(rig.folder, None, None)
    (rig.folder / "witness.key.pem").unlink()
    with pytest.raises(WitnessFolderError, match="is gone"):
        SigningWitnessKey.open(rig.folder, NAME, None)
