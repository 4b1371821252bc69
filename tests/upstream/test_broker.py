"""Mosquitto's own broker tests give the same results with the plugin, which marks topics that none of them uses."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sigillo.core.epoch import EndReason
from tests.plugin.conftest import plugin
from tests.plugin.launcher import MOSQUITTO, PLUGIN

from .launcher import launcher
from .suite import PYTHON, Suite, prepare

__all__ = ["plugin"]
pytestmark = pytest.mark.slow

RELOADS = {"04-retain-check-source.py", "08-ssl-hup-disconnect.py", "09-acl-change.py"}
"""They send SIGHUP and go on with the same broker: a reload ends the epoch, and with it the broker (spec/epoch.md)."""


@pytest.fixture
def folder(plugin: None) -> Iterator[Path]:
    """Where everything happens: not pytest's own folder, which the broker's user cannot reach."""
    missing = [name for name in ("apt-get", "dpkg-source", "make", "openssl") if not shutil.which(name)]
    if subprocess.run([PYTHON, "-c", "import psutil"], capture_output=True).returncode:
        missing.append("python3-psutil")
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    made = Path(tempfile.mkdtemp(prefix="sigillo-upstream-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def test_same_results_with_the_plugin(folder: Path) -> None:
    prepare(folder / "plain")
    shutil.copytree(folder / "plain", folder / "marked", symlinks=True)
    (folder / "plain" / "src" / "mosquitto").symlink_to(MOSQUITTO)
    src = folder / "marked" / "src"
    shutil.copy(PLUGIN, src / "sigillo.so")
    shutil.copy(Path(__file__).with_name("mosquitto.py"), src / "mosquitto")
    (src / "mosquitto").chmod(0o755)
    with launcher(src / "launcher") as ours, ThreadPoolExecutor(2) as pool:
        plain, marked = pool.map(Suite.results, [Suite(folder / "plain"), Suite(folder / "marked")])
    different = {name: (plain[name], marked[name]) for name in plain if plain[name] != marked[name]}
    counts = Counter(plain.values())
    print(f"without the plugin: {dict(counts)}; with it: {len(ours.ends)} brokers, {len(different)} scripts differ")
    assert set(different) == RELOADS, different
    assert counts["passes"] > 150
    assert ours.faults == []
    assert set(ours.ends) == {EndReason.STOP, EndReason.RELOAD}
