"""An operator whose log is new."""

from __future__ import annotations

from pathlib import Path

import pytest

from .operator import Operator


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path / "operator").create()
