"""Reading the files that a command names, so that every failure says which file and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sigillo.core.errors import DecodeError, PolicyError, SigilloError
from sigillo.core.policy import MAX_BYTES, Policy, decode_policy

_CHUNK = 64 * 1024


class FileError(SigilloError):
    """A file that cannot be used; the text names it and the reason (exit code 2)."""


@contextmanager
def naming(path: Path, remedy: str = "") -> Iterator[None]:
    """Turn what fails inside into a FileError that names *path* and, where there is one, the remedy."""
    after = f"; {remedy}" if remedy else ""
    try:
        yield
    except IsADirectoryError as error:
        raise FileError(f"{path}: is a directory, not a file{after}") from error
    except FileNotFoundError as error:
        raise FileError(f"{path}: no such file{after}") from error
    except PermissionError as error:
        raise FileError(f"{path}: may not be read; check its permissions") from error
    except (DecodeError, PolicyError) as error:
        raise FileError(f"{path}: {error}{after}") from error


def chunks(path: Path) -> Iterator[bytes]:
    """The bytes of a file, in parts of at most 64 KiB. Raises OSError."""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def read_at_most(path: Path, limit: int) -> bytes:
    """A whole file, but one byte over *limit* at most, so that the reader can refuse it. Raises OSError."""
    with path.open("rb") as file:
        return file.read(limit + 1)


def read_policy(path: Path) -> Policy:
    """The policy in a file. Raises FileError."""
    with naming(path, "see spec/policy.md, or make one with `sigillo policy new`"):
        return decode_policy(read_at_most(path, MAX_BYTES))
