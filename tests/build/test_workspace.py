"""A build appears whole or not at all, and says what went wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sigillo.build.chamber import outputs_of
from sigillo.build.error import BuildError
from sigillo.build.journal import Journal
from sigillo.build.workspace import PREFIX, workspace
from tests.plugin.launcher import PATIENCE_S


def test_appears_when_all_is_done(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with workspace(out) as (made, scratch):
        (made / "file").write_text("1")
        (scratch / "waste").write_text("2")
        assert not out.exists()
    assert [path.name for path in out.iterdir()] == ["file"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_nothing_is_left_of_a_failure(tmp_path: Path) -> None:
    with pytest.raises(BuildError), workspace(tmp_path / "out") as (made, _):
        (made / "file").write_text("1")
        raise BuildError("no")
    assert list(tmp_path.iterdir()) == []


def test_folder_that_is_there_already(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="is there already"), workspace(tmp_path):
        pass


@pytest.mark.parametrize("name", ["with blank", "semi;colon", "per%cent"])
def test_folder_whose_name_apt_would_read_otherwise(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(BuildError, match="apt reads its path"), workspace(tmp_path / name / "out"):
        pass


def test_parent_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="no such folder"), workspace(tmp_path / "none" / "out"):
        pass


UNDER_WAY = """
import sys
from pathlib import Path
from sigillo.build.journal import Journal
from sigillo.build.workspace import workspace
with workspace(Path(sys.argv[1])) as (made, scratch):
    journal = Journal(made / "build.log", print)
    journal.run(["sh", "-c", "echo $$ > %s; echo started >&3; exec sleep 600" % sys.argv[2]], "none")
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_interrupted(number: signal.Signals, tmp_path: Path) -> None:
    """Nothing is left, and no process; of a kill a folder with a name that says what it is."""
    command = [
        sys.executable,
        "-c",
        UNDER_WAY.replace(">&3", f"> {tmp_path}/ready"),
        tmp_path / "out",
        tmp_path / "pid",
    ]
    os.mkfifo(tmp_path / "ready")
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as child:
        assert (tmp_path / "ready").read_text() == "started\n"
        inner = int((tmp_path / "pid").read_text())
        child.send_signal(number)
        child.wait(PATIENCE_S)
    left = {path.name for path in tmp_path.iterdir()} - {"ready", "pid"}
    if number == signal.SIGKILL:
        assert all(name.startswith(f"{PREFIX}out-") for name in left)
        os.kill(inner, signal.SIGKILL)
    else:
        assert left == set()
        with pytest.raises(ProcessLookupError):
            os.kill(inner, 0)


def test_failing_command_says_its_last_words_and_the_remedy(journal: Journal) -> None:
    with pytest.raises(BuildError, match=r"sh failed \(3\): it broke; mend it"):
        journal.run(["sh", "-c", "echo begin; echo it broke >&2; exit 3"], "mend it")
    assert "begin\nit broke\n" in journal.path.read_text()


def test_full_disk_is_called_so(journal: Journal) -> None:
    with pytest.raises(BuildError, match="no space left on the disk"):
        journal.run(["sh", "-c", "head -c 1 /dev/zero > /dev/full"], "none")


def test_program_that_is_not_installed(journal: Journal) -> None:
    with pytest.raises(BuildError, match="no-such-program is not installed"):
        journal.run(["no-such-program"], "none")


def test_steps_are_logged_and_said(journal: Journal, said: list[str]) -> None:
    journal.step("one")
    journal.note("two")
    assert said == ["one", "note: two"]
    assert "== one" in journal.path.read_text()


def test_outputs(tmp_path: Path) -> None:
    place = tmp_path / "build" / "small"
    place.mkdir(parents=True)
    (place.parent / "a.deb").touch()
    (place / "b").touch()
    assert [path.name for path in outputs_of(place, tmp_path, ("../*.deb", "b"))] == ["a.deb", "b"]
    with pytest.raises(BuildError, match="nothing that matches c"):
        outputs_of(place, tmp_path, ("c",))


def test_output_that_is_a_link(tmp_path: Path) -> None:
    """Else a build could have a file of this machine copied into what is published."""
    place = tmp_path / "build" / "small"
    place.mkdir(parents=True)
    (place / "b").symlink_to("/etc/hostname")
    with pytest.raises(BuildError, match="no plain file"):
        outputs_of(place, tmp_path, ("b",))
    (place / "c").symlink_to("/etc")
    with pytest.raises(BuildError, match="no plain file"):
        outputs_of(place, tmp_path, ("c/hostname",))


def test_outputs_of_one_name(tmp_path: Path) -> None:
    place = tmp_path / "build" / "small"
    (place / "x").mkdir(parents=True)
    (place / "b").touch()
    (place / "x" / "b").touch()
    with pytest.raises(BuildError, match="same name"):
        outputs_of(place, tmp_path, ("b", "x/b"))
