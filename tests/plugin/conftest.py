"""The plugin, built once; a running broker."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .launcher import CHECKOUT, MOSQUITTO, Broker, broker

NEEDED = (MOSQUITTO, "/usr/include/sodium.h", "/usr/include/mosquitto.h")


@pytest.fixture(scope="session", autouse=True)
def plugin() -> None:
    """Build it; several test processes may come here at once."""
    missing = [path for path in NEEDED if not Path(path).exists()]
    missing += [name for name in ("make", "mosquitto_passwd") if not shutil.which(name)]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    (CHECKOUT / "build").mkdir(exist_ok=True)
    with (CHECKOUT / "build" / "plugin.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run(["make", "-C", str(CHECKOUT / "plugin")], check=True, capture_output=True)


@pytest.fixture
def running(plugin: None) -> Iterator[Broker]:
    """A broker that marks `m/#`, after a whole handshake."""
    with broker() as made:
        yield made.start()
