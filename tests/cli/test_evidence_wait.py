"""`sigillo evidence` waits for the log, and says what to do where waiting is of no use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from sigillo import disk
from sigillo.archive.error import ArchiveError
from sigillo.archive.store import Store
from sigillo.broker.folder import OperatorFolder
from sigillo.broker.settings import TsaSetting
from sigillo.cli.evidence_wait import best_log, wait
from sigillo.log.submission import WitnessAddress

from ..broker.operator import SETTINGS
from .test_evidence_log import Scene
from .test_evidence_third import ONE, TWO
from .test_evidence_third import Scene as ThirdScene

SIGILLO = [sys.executable, "-m", "sigillo.cli.main", "evidence"]
LAST = (1, 7)


@pytest.fixture
def folder(tmp_path: Path) -> OperatorFolder:
    return OperatorFolder.at(tmp_path / "operator")


@pytest.fixture
def scene(folder: OperatorFolder) -> Iterator[Scene]:
    """Six messages that are logged and one that is not, in a folder as `sigillo up` has it."""
    folder.archive.mkdir(parents=True)
    folder.settings.write_bytes(SETTINGS.encode())
    with Store.open(folder.messages) as store:
        made = Scene(folder.path, store)
        made.start()
        for _ in range(3):
            for device in made.devices:
                made.publish(device)
        made.log()
        made.publish(made.devices[0])
        yield made


@contextmanager
def running(folder: OperatorFolder) -> Iterator[None]:
    """As long as a `sigillo up` lives it holds this lock."""
    descriptor = disk.open_folder(folder.path)
    try:
        disk.lock(descriptor, 0)
        yield
    finally:
        os.close(descriptor)


def export(folder: OperatorFolder, *options: str, expect: int = 0) -> str:
    target = folder.path.parent / "evidence.jsonl"
    command = [*SIGILLO, "--store", folder.path, "--device", "crate-1", "-o", target, "--force", *options]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=60)
    assert done.returncode == expect, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done.stderr if expect else done.stdout


def test_it_waits_until_the_checkpoint_covers_the_newest_message(scene: Scene, folder: OperatorFolder) -> None:
    paused = 0

    def pause(_seconds: float) -> None:
        nonlocal paused
        paused += 1
        if paused == 3:
            scene.log()

    with running(folder):
        log = wait(folder, SETTINGS, LAST, 60, pause)
    assert log and log.view().last == LAST
    assert paused == 3


def test_what_a_broker_logged_before_it_ended_is_enough(scene: Scene, folder: OperatorFolder) -> None:
    scene.log()
    assert json.loads(export(folder, "--json"))["messages"] == 4


def test_without_a_broker_waiting_is_of_no_use(scene: Scene, folder: OperatorFolder) -> None:
    said = export(folder, expect=2)
    assert f"no broker runs on {folder.path}; start `sigillo up {folder.path}`" in said
    assert "--no-wait" in said
    assert not (folder.path.parent / "evidence.jsonl").exists()


def test_a_broker_that_ends_meanwhile_is_not_waited_for(scene: Scene, folder: OperatorFolder) -> None:
    with ExitStack() as up:
        up.enter_context(running(folder))
        with pytest.raises(ArchiveError, match="no broker runs"):
            wait(folder, SETTINGS, LAST, 60, lambda _seconds: up.close())


def test_a_log_that_does_not_get_there_ends_the_wait(scene: Scene, folder: OperatorFolder) -> None:
    with running(folder):
        assert "is not there after 0.5 s" in export(folder, "--timeout", "0.5", expect=2)


def test_no_wait_takes_what_there_is_and_says_what_is_pending(scene: Scene, folder: OperatorFolder) -> None:
    assert "pending: 1 message" in export(folder, "--no-wait")
    fields = json.loads(export(folder, "--no-wait", "--json"))
    assert (fields["messages"], fields["pending"], fields["unlogged"]) == (3, 1, 0)


def test_a_mark_that_the_log_passed_over_is_named_and_not_waited_for(scene: Scene, folder: OperatorFolder) -> None:
    scene.log()
    scene.publish(scene.devices[0], spooled=False)
    scene.operator.die()
    scene.operator.lose_marks(7, scene.operator.broker.clock_ns)
    scene.start()
    scene.log()
    fields = json.loads(export(folder, "--json"))
    assert (fields["messages"], fields["pending"], fields["unlogged"]) == (4, 0, 1)


def test_each_third_party_of_the_settings_is_awaited_in_turn(folder: OperatorFolder, tmp_path: Path) -> None:
    """A checkpoint over the message, a token of each TSA over that, in the log, and cosignatures over all of it."""
    folder.archive.mkdir(parents=True)
    with Store.open(folder.messages) as store:
        scene = ThirdScene(folder.path, store, tmp_path / "witness")
        tsas = tuple(TsaSetting("http://tsa.example/", tsa.name) for tsa in (ONE, TWO))
        witness = WitnessAddress("http://witness.example", scene.witness.public)
        settings = replace(SETTINGS, tsa=tsas, witness=(witness,))

        def missing() -> str:
            return best_log(folder, settings, (1, 1))[1]

        scene.start()
        scene.log()
        scene.publish(scene.devices[0])
        assert missing() == "the log's checkpoint over the newest message"
        signed = scene.log()
        assert missing() == "the log's heads over the newest message"
        scene.heads()
        assert missing() == "a time-stamp token over the newest message from One Time"
        scene.anchor(signed, ONE)
        assert missing() == "a time-stamp token over the newest message from Two Time"
        scene.cosign(scene.log())
        scene.anchor(signed, TWO)
        assert missing() == "a checkpoint over it that witnesses have cosigned"
        cosigned = scene.cosign(scene.log())
        scene.publish(scene.devices[0])
        scene.log()
        log, lacks = best_log(folder, settings, (1, 1))
        assert log and (log.size, lacks) == (cosigned.head.size, "")
        two = replace(settings, witness=(witness, witness), cosign_quorum=3)
        assert best_log(folder, two, (1, 1))[1] == "the cosignatures of 3 witnesses (there are 2)"


def test_an_anchor_from_before_the_message_is_not_enough(folder: OperatorFolder, tmp_path: Path) -> None:
    folder.archive.mkdir(parents=True)
    with Store.open(folder.messages) as store:
        scene = ThirdScene(folder.path, store, tmp_path / "witness")
        settings = replace(SETTINGS, tsa=(TsaSetting("http://tsa.example/", ONE.name),))
        scene.start()
        before = scene.log()
        scene.send()
        scene.heads()
        scene.anchor(before, ONE)
        assert best_log(folder, settings, (1, 1))[1] == "a time-stamp token over the newest message from One Time"
