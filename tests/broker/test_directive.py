"""The files of a mosquitto.conf: those that an `include_dir` brings in, and those that are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from sigillo.broker.directive import read_directives
from sigillo.broker.error import BrokerError
from sigillo.core.directive import Directives


def read(folder: Path, text: str | bytes, **files: str) -> Directives:
    conf = folder / "mosquitto.conf"
    conf.write_bytes(text if isinstance(text, bytes) else text.encode())
    (folder / "conf.d").mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / "conf.d" / f"{name}.conf").write_text(content)
    return read_directives(conf, folder)


def test_included_files_come_in_mosquittos_order(tmp_path: Path) -> None:
    files = {name: f"log_type {at}\n" for at, name in enumerate(["B", "_x", "a", "A", "10", "9", "é", "ab"])}
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d/.conf").write_text("not read")
    (tmp_path / "conf.d/z.conf.dpkg-old").write_text("not read")
    found = read(tmp_path, "include_dir conf.d\n", **files)
    assert [Path(line.file).stem for line in found.broker.lines] == ["10", "9", "A", "a", "ab", "B", "_x", "é"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("\n\nallow_anonymos true", "line 3: `allow_anonymos` is not known"),
        ("include_dir nowhere", "No such file or directory"),
        ("include_dir mosquitto.conf", "Not a directory"),
        (b"\xff\xfe", "is not UTF-8"),
        ("#" * (2**20 + 1), "is larger than"),
    ],
)
def test_what_is_wrong_is_named_with_its_file(tmp_path: Path, text: str | bytes, reason: str) -> None:
    with pytest.raises(BrokerError) as caught:
        read(tmp_path, text)
    assert reason in str(caught.value)
    assert str(tmp_path / "mosquitto.conf") in str(caught.value)


def test_an_include_inside_an_included_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match=r"a\.conf: line 1: `include_dir`"):
        read(tmp_path, "include_dir conf.d\n", a="include_dir conf.d\n")


def test_without_a_folder_there_is_no_include(tmp_path: Path) -> None:
    (tmp_path / "mosquitto.conf").write_text("include_dir .\n")
    with pytest.raises(BrokerError, match=r"line 1: `include_dir` has no place here"):
        read_directives(tmp_path / "mosquitto.conf")


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    for path, reason in ((tmp_path, "is a folder"), (tmp_path / "x", "No such file"), (Path("/dev/zero"), "a device")):
        with pytest.raises(BrokerError, match=reason):
            read_directives(path, tmp_path)
