from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from sigillo.build.journal import Journal

from .gnupg import GnuPG


@pytest.fixture(scope="session")
def gnupg() -> Iterator[GnuPG]:
    """Keys: `good`; `other`, which nobody pinned; `short`, expired after 30 days; `gone`, revoked."""
    missing = [name for name in ("gpg", "gpgv") if not shutil.which(name)]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    made = GnuPG()
    try:
        for name in ("good", "other", "gone"):
            made.key(name)
        made.key("short", days=30)
        yield made
    finally:
        made.close()


@pytest.fixture
def said() -> list[str]:
    """What a person was told."""
    return []


@pytest.fixture
def journal(tmp_path: Path, said: list[str]) -> Iterator[Journal]:
    made = Journal(tmp_path / "build.log", said.append)
    yield made
    made.close()
