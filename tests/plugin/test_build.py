"""The plugin's bytes do not depend on where it is built."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from .launcher import CHECKOUT, PLUGIN


def test_another_folder_gives_the_same_bytes(plugin: None, tmp_path: Path) -> None:
    for name in ("here", "elsewhere/deeper"):
        folder = tmp_path / name
        shutil.copytree(CHECKOUT / "plugin", folder, ignore=shutil.ignore_patterns("fuzz", "tests"))
        subprocess.run(["make", "-C", folder, f"BUILD={folder}/build"], check=True, capture_output=True)
        assert (folder / "build" / "sigillo.so").read_bytes() == PLUGIN.read_bytes()
