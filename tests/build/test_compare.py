"""Grades of equality, on packages and programs made for it: a weaker one is never called by a stronger name."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigillo.build.compare import Grade, compare_files, explain, member_of
from sigillo.build.elf import sections
from sigillo.build.error import BuildError
from sigillo.core.errors import DecodeError

CONTROL = "Package: small\nVersion: 1\nArchitecture: all\nMaintainer: Somebody <s@example.org>\nDescription: small\n"


@pytest.fixture(scope="module", autouse=True)
def _tools() -> None:
    missing = [name for name in ("dpkg-deb", "gcc", "objcopy") if not shutil.which(name)]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


def package(path: Path, files: dict[str, bytes], *, date: int = 1, control: str = CONTROL) -> Path:
    """A `.deb` with these files."""
    tree = path.with_suffix("")
    for name, content in {"DEBIAN/control": control.encode(), **files}.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(content)
    environment = {"SOURCE_DATE_EPOCH": str(date), "PATH": "/usr/bin:/bin"}
    command = ["dpkg-deb", "--root-owner-group", "-b", tree, path]
    subprocess.run(command, check=True, capture_output=True, env=environment)
    shutil.rmtree(tree)
    return path


def program(path: Path, *, value: int = 0, build_id: str = "none") -> bytes:
    source = path.with_name("program.c")
    source.write_text(f"int main(void) {{ return {value}; }}\n")
    command = ["gcc", "-O2", f"-Wl,--build-id={build_id}", "-o", path, source]
    subprocess.run(command, check=True, capture_output=True)
    return path.read_bytes()


def test_the_same_package(tmp_path: Path) -> None:
    a, b = (package(tmp_path / name / "small.deb", {"f": b"1"}) for name in "ab")
    found = compare_files(a, b)
    assert (found.grade, found.difference) == (Grade.PACKAGE, "")


def test_the_same_files_at_another_time(tmp_path: Path) -> None:
    a, b = (package(tmp_path / str(date) / "small.deb", {"f": b"1"}, date=date) for date in (1, 2))
    assert compare_files(a, b).grade is Grade.FILE


def test_another_file(tmp_path: Path) -> None:
    a, b = (package(tmp_path / str(x) / "small.deb", {"a": b"0", "f": b"1%d" % x}) for x in (1, 2))
    found = compare_files(a, b)
    assert (found.grade, found.difference) == (Grade.DIFFERENT, "f: from byte 1 on")


def test_a_file_more(tmp_path: Path) -> None:
    a = package(tmp_path / "a" / "small.deb", {"f": b"1", "g": b""})
    b = package(tmp_path / "b" / "small.deb", {"f": b"1"})
    assert compare_files(a, b).difference == "g: only ours has it"


def test_another_script_of_the_package_is_another_package(tmp_path: Path) -> None:
    """What dpkg runs as root at installation counts as much as what it installs."""
    a = package(tmp_path / "a" / "small.deb", {"f": b"1"})
    b = package(tmp_path / "b" / "small.deb", {"f": b"1"}, control=CONTROL + " and more\n")
    found = compare_files(a, b)
    assert (found.grade, found.difference.split(":")[0]) == (Grade.DIFFERENT, "control")


def test_programs_that_differ_in_their_build_id_only(tmp_path: Path) -> None:
    one, other = (program(tmp_path / f"p{x}", build_id=f"0x{x * 40}") for x in "12")
    a, b = (package(tmp_path / f"{n}" / "small.deb", {"p": data}) for n, data in enumerate((one, other)))
    found = compare_files(a, b)
    assert (found.grade, found.difference) == (Grade.STRIPPED, "p: .note.gnu.build-id")
    assert compare_files(tmp_path / "p1", tmp_path / "p2").grade is Grade.STRIPPED


def test_programs_that_do_something_else(tmp_path: Path) -> None:
    """Also where the build id differs, too: it must not hide the rest."""
    program(tmp_path / "p1", value=1, build_id="0x11")
    program(tmp_path / "p2", value=2, build_id="0x22")
    found = compare_files(tmp_path / "p1", tmp_path / "p2")
    assert (found.grade, found.difference) == (Grade.DIFFERENT, "p1: section .text")


def test_stripped_beside_different_is_different(tmp_path: Path) -> None:
    one, other = (program(tmp_path / f"p{x}", build_id=f"0x{x * 40}") for x in "12")
    a = package(tmp_path / "a" / "small.deb", {"p": one, "z": b"1"})
    b = package(tmp_path / "b" / "small.deb", {"p": other, "z": b"2"})
    assert compare_files(a, b).grade is Grade.DIFFERENT


def test_explanation_names_the_difference(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_bytes(b"same, 1")
    b.write_bytes(b"same, 2")
    text = explain(a, b, compare_files(a, b))
    assert ("from byte 6 on" in text) or ("same, 2" in text)  # as diffoscope shows it, where it is installed


def test_member(tmp_path: Path) -> None:
    path = package(tmp_path / "small.deb", {"usr/p": b"1"})
    assert member_of(path, "usr/p") == b"1"
    with pytest.raises(BuildError, match=r"has no file usr/q"):
        member_of(path, "usr/q")


def test_no_package(tmp_path: Path) -> None:
    (tmp_path / "a.deb").write_bytes(b"1")
    (tmp_path / "b.deb").write_bytes(b"2")
    with pytest.raises(BuildError, match=r"a\.deb: is no Debian package"):
        compare_files(tmp_path / "a.deb", tmp_path / "b.deb")


def test_sections_of_a_program(tmp_path: Path) -> None:
    found = sections(program(tmp_path / "p"))
    assert found[".text"]
    assert found[".bss"] == b""


@given(st.data())
def test_any_bytes_are_sections_or_refused(data: st.DataObject) -> None:
    """Also a program with any of its header's bytes changed, or cut anywhere."""
    head = bytearray(b"\x7fELF\x02\x01\x01" + bytes(57) + bytes(256))
    head[0x28:0x30] = (64).to_bytes(8, "little")
    head[0x3A:0x40] = b"\x40\0\x04\0\0\0"
    for _ in range(data.draw(st.integers(0, 6))):
        head[data.draw(st.integers(0, len(head) - 1))] = data.draw(st.integers(0, 255))
    try:
        sections(bytes(head[: data.draw(st.integers(0, len(head)))]))
    except DecodeError:
        return


def test_a_section_table_beyond_any_file_is_refused(tmp_path: Path) -> None:
    data = bytearray(program(tmp_path / "p"))
    data[0x28:0x30] = (2**64 - 64).to_bytes(8, "little")
    with pytest.raises(DecodeError, match="section table leads out of the file"):
        sections(bytes(data))
