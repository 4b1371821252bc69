"""What setup installs: locks, Debian packages, stamps."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.house.checkout import CHECKOUT

LOCKS = sorted((CHECKOUT / "locks").glob("*.txt"))
RELEASES = sorted(path for path in (CHECKOUT / "packages").iterdir() if path.is_dir())


def pinned(path: Path) -> dict[str, str]:
    """Package → version of a lock."""
    return dict(re.findall(r"^([\w.-]+)==(\S+)", path.read_text(encoding="utf-8"), re.MULTILINE))


def wanted(path: Path) -> set[str]:
    lines = (line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return {line for line in lines if line}


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_lock_has_a_hash_for_each_package_and_names_no_index(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    requirements = [part for part in re.split(r"^(?=[\w.-]+==)", text, flags=re.MULTILINE) if "==" in part]
    assert requirements
    assert all("--hash=sha256:" in part for part in requirements)
    assert "://" not in text
    assert not re.search(r"^--", text, re.MULTILINE)


def test_locks_hold_what_the_project_asks_for() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [name for extra in project["optional-dependencies"].values() for name in extra]
    runtime = pinned(CHECKOUT / "locks/runtime.txt")
    for requirement in [*project["dependencies"], *extras]:
        name = re.match(r"[\w.-]+", requirement)
        assert name is not None
        assert name[0] in runtime


def test_locks_of_one_environment_agree() -> None:
    runtime, dev = pinned(CHECKOUT / "locks/runtime.txt"), pinned(CHECKOUT / "locks/dev.txt")
    for name in runtime.keys() & dev.keys():
        assert runtime[name] == dev[name], name


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.name)
def test_every_release_has_the_same_groups(release: Path) -> None:
    assert {path.name for path in release.iterdir()} == {"demo.txt", "test.txt", "slow.txt"}
    for path in release.iterdir():
        for line in path.read_text(encoding="utf-8").splitlines():
            assert re.fullmatch(r"#.*|[a-z0-9][a-z0-9.+-]+( +# .+)?", line), line
    names = [name for path in release.iterdir() for name in wanted(path)]
    assert len(names) == len(set(names))


def test_a_second_setup_fetches_nothing() -> None:
    if (CHECKOUT / ".venv").is_symlink():
        pytest.skip(".venv belongs to another checkout, which this setup would take it from")
    """With an index that does not exist and no packages to install, setup is ready all the same."""
    environment = {**os.environ, "SIGILLO_PACKAGES": "installed", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""}
    environment.pop("PYTHON", None)
    done = subprocess.run(
        ["bash", "tools/setup.sh", "test"], cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("setup: ready")


def test_wrapper_without_setup_says_what_to_do(tmp_path: Path) -> None:
    wrapper = tmp_path / "sigillo"
    wrapper.write_bytes((CHECKOUT / "sigillo").read_bytes())
    wrapper.chmod(0o755)
    done = subprocess.run([wrapper], capture_output=True, text=True)
    assert done.returncode == 2
    assert "make setup" in done.stderr


SCRIPTS = ("setup", "packages", "lock", "source", "release")


@pytest.mark.parametrize("path", ["sigillo", ".ci/run", *(f"tools/{name}.sh" for name in SCRIPTS)])
def test_script_is_valid_and_executable(path: str) -> None:
    assert os.access(CHECKOUT / path, os.X_OK)
    assert subprocess.run(["bash", "-n", path], cwd=CHECKOUT).returncode == 0
