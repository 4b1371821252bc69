"""One software TPM for all tests of a file; each test starts it, which is a reset."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import rig


@pytest.fixture(scope="module")
def tpm_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rig.made(tmp_path_factory.mktemp("tpm") / "tpm")
