"""Hashes of files, and lists of them as sha256sum reads them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path


def sha256_of(path: Path) -> str:
    """SHA-256 of a file in hex. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checksums(folder: Path, paths: Iterable[Path]) -> str:
    """Lines for `sha256sum -c` in *folder*, sorted by name. Raises OSError."""
    names = sorted(str(path.relative_to(folder)) for path in paths)
    return "".join(f"{sha256_of(folder / name)}  {name}\n" for name in names)
