"""Reads the files of a mosquitto.conf; what they say is `core/directive.py`'s."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sigillo.broker.error import BrokerError, configuration_refused
from sigillo.core.directive import MAX_SIZE, Directives, Line, decode_directives, included


@configuration_refused()
def read_directives(path: Path, include_folder: Path | None = None) -> Directives:
    """The configuration in the file *path*, with what its `include_dir` lines bring in.

    *include_folder*: where a relative `include_dir` starts; None: there must be none. Raises BrokerError.
    """

    def include(line: Line) -> Iterator[tuple[str, bytes]]:
        assert include_folder is not None  # else there is no include
        folder = include_folder / line.value
        try:
            names = [file.name for file in folder.iterdir()]
        except OSError as error:
            raise line.refuse(f"{folder}: {error.strerror}") from None
        return ((str(folder / name), _content(folder / name)) for name in included(names))

    return decode_directives(str(path), _content(path), None if include_folder is None else include)


def _content(path: Path) -> bytes:
    """As much of it as a configuration may have, and one byte."""
    if path.exists() and not path.is_file():
        raise BrokerError(f"{path}: is a folder or a device, not the file of a configuration")
    try:
        with path.open("rb") as file:
            return file.read(MAX_SIZE + 1)
    except OSError as error:
        raise BrokerError(f"{path}: {error.strerror}; put it back, or name the right one") from None
