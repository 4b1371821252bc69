"""Debian's control files and signed indexes; packages that the mirror has no more."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigillo.build.apt import Index, Listed, read_packages
from sigillo.build.deb822 import installed_depends, listed_files, paragraph, paragraphs
from sigillo.build.error import BuildError
from sigillo.build.journal import Journal
from sigillo.build.package import Shelf
from sigillo.build.recipe import Pin
from sigillo.build.root import read_root
from sigillo.core.errors import DecodeError

NAME = "main/binary-amd64/Packages"
PACKAGES = f"Package: small\nVersion: 1:1.0-1\nArchitecture: amd64\nFilename: pool/small.deb\nSHA256: {'1' * 64}\n"


def test_paragraphs() -> None:
    found = list(paragraphs("A: 1\nB:\n 2\n 3\n\n\n# said\nA: 4\n"))
    assert found == [{"A": "1", "B": "\n2\n3"}, {"A": "4"}]


@pytest.mark.parametrize("text", ["A: 1\nA: 2\n", " continued\n", "no field\n", ": 1\n"])
def test_paragraph_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        list(paragraphs(text))


def test_two_paragraphs_where_one_is_meant() -> None:
    """Whoever reads the first and whoever reads the last must not read two things."""
    with pytest.raises(DecodeError, match="2 paragraphs"):
        paragraph("Version: 1\n\nVersion: 2\n", "Version")


@pytest.mark.parametrize("line", ["x 1 name", f"{'0' * 64} -1 name", f"{'0' * 64} 1", f"{'0' * 64} 1 a b"])
def test_listed_file_refused(line: str) -> None:
    with pytest.raises(DecodeError):
        listed_files(line, "SHA256")


def test_listed_file_twice() -> None:
    with pytest.raises(DecodeError, match="twice"):
        listed_files(f"{'0' * 64} 1 name\n{'1' * 64} 1 name", "SHA256")


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (lambda: list(paragraphs(text)), lambda: installed_depends(text), lambda: listed_files(text, "f")):
        try:
            read()
        except DecodeError:
            continue


def test_installed_depends() -> None:
    text = "Format: 1.0\nInstalled-Build-Depends:\n a (= 1:2.0-3),\n lib-b:amd64 (= 4+b1)\n"
    assert installed_depends(text) == {"a": "1:2.0-3", "lib-b": "4+b1"}
    with pytest.raises(DecodeError):
        installed_depends("Installed-Build-Depends: a (>= 1)\n")


def release(packages: str) -> str:
    data = packages.encode()
    return f"Origin: Debian\nSHA256:\n {hashlib.sha256(data).hexdigest()} {len(data)} {NAME}\n"


def test_index(tmp_path: Path) -> None:
    path = tmp_path / "Packages"
    path.write_text(PACKAGES)
    assert list(read_packages(release(PACKAGES), NAME, path)) == [
        Listed("small", "1:1.0-1", "amd64", "1" * 64, "pool/small.deb")
    ]


@pytest.mark.parametrize("content", [PACKAGES.replace("1" * 64, "2" * 64), None])
def test_index_that_the_signed_release_does_not_list(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "Packages"
    if content is not None:
        path.write_text(content)
    with pytest.raises(BuildError, match="Packages: is not the index"):
        list(read_packages(release(PACKAGES), NAME, path))


def test_release_without_this_index(tmp_path: Path) -> None:
    path = tmp_path / "Packages"
    path.write_text(PACKAGES)
    with pytest.raises(BuildError, match="is not the index"):
        list(read_packages(release(PACKAGES).replace("amd64", "arm64"), NAME, path))


def test_entry_without_a_hash(tmp_path: Path) -> None:
    text = "\n".join(PACKAGES.split("\n")[:-2]) + "\n"
    (tmp_path / "Packages").write_text(text)
    with pytest.raises(BuildError, match="SHA256"):
        list(read_packages(release(text), NAME, tmp_path / "Packages"))


CONTENT = b"a package"
PIN = Pin("small", "1:1.0-1", hashlib.sha256(CONTENT).hexdigest())
NOTHING = Index({}, ())


def test_pin_that_the_mirror_has(journal: Journal) -> None:
    index = Index({("small", "1:1.0-1"): Listed("small", "1:1.0-1", "amd64", PIN.sha256, "f")}, ())
    assert Shelf((), "", journal).missing([PIN], index) == []
    assert Shelf((), "", journal).missing([PIN], NOTHING) == [PIN]


def test_pin_that_the_mirror_has_with_other_bytes(journal: Journal) -> None:
    index = Index({("small", "1:1.0-1"): Listed("small", "1:1.0-1", "amd64", "2" * 64, "f")}, ())
    with pytest.raises(BuildError, match=r"small 1:1\.0-1: the mirror's has the hash 2222"):
        Shelf((), "", journal).missing([PIN], index)


def test_pin_that_nobody_has_is_named(journal: Journal, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"small 1:1\.0-1: .*--cache .*--snapshot"):
        Shelf((tmp_path,), "", journal).fetch(PIN, tmp_path)


@pytest.mark.parametrize("name", ["small_1.0-1_amd64.deb", "small_1%3a1.0-1_amd64.deb"])
def test_pin_from_the_cache(name: str, journal: Journal, tmp_path: Path) -> None:
    cache, target = tmp_path / "cache", tmp_path / "target"
    cache.mkdir()
    target.mkdir()
    (cache / "small_0.9-1_amd64.deb").write_bytes(b"another")
    (cache / name).write_bytes(CONTENT)
    assert Shelf((cache,), "", journal).fetch(PIN, target).read_bytes() == CONTENT


def test_pin_altered_in_the_cache(journal: Journal, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "small_1.0-1_amd64.deb").write_bytes(b"altered")
    with pytest.raises(BuildError, match=r"small_1%3a1\.0-1\.deb: its SHA-256"):
        Shelf((cache,), "", journal).fetch(PIN, tmp_path)


@contextmanager
def snapshot(content: bytes) -> Iterator[str]:
    """A snapshot archive on this machine with one file."""
    sha1 = hashlib.sha1(content).hexdigest()
    answers = {
        "/mr/binary/small/1%3A1.0-1/binfiles": json.dumps(
            {"result": [{"hash": sha1, "architecture": "amd64"}]}
        ).encode(),
        f"/file/{sha1}": content,
    }

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = answers.get(self.path)
            self.send_response(200 if answer else 404)
            self.end_headers()
            self.wfile.write(answer or b"")

        def log_message(self, *_: object) -> None:
            return

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_pin_from_the_snapshot_archive(journal: Journal, tmp_path: Path) -> None:
    with snapshot(CONTENT) as url:
        assert Shelf((), url, journal).fetch(PIN, tmp_path).read_bytes() == CONTENT


def test_snapshot_archive_with_other_bytes(journal: Journal, tmp_path: Path) -> None:
    with (
        snapshot(b"other") as url,
        pytest.raises(BuildError, match=r"small 1:1\.0-1: the snapshot archive has no file"),
    ):
        Shelf((), url, journal).fetch(PIN, tmp_path)


def test_snapshot_archive_that_lacks_it(journal: Journal, tmp_path: Path) -> None:
    pin = Pin("other", "1", PIN.sha256)
    with snapshot(CONTENT) as url, pytest.raises(BuildError, match=r"other 1: .*404.*--cache"):
        Shelf((), url, journal).fetch(pin, tmp_path)


def test_snapshot_archive_that_is_away(journal: Journal, tmp_path: Path) -> None:
    with snapshot(CONTENT) as url:
        pass
    with pytest.raises(BuildError, match=r"small 1:1\.0-1: .*does not give it"):
        Shelf((), url, journal).fetch(PIN, tmp_path)


def test_root_list() -> None:
    plan = read_root(f"a amd64 1:1 {'0' * 64}\nb all 2 {'1' * 64}\n", "bookworm", "amd64")
    assert plan.exact
    assert plan.pins == (Pin("a", "1:1", "0" * 64), Pin("b", "2", "1" * 64))


@pytest.mark.parametrize("text", ["", "a amd64 1\n", f"a amd64 1 {'0' * 64}\na i386 1 {'0' * 64}\n"])
def test_root_list_refused(text: str) -> None:
    with pytest.raises(BuildError, match=r"root\.txt"):
        read_root(text, "bookworm", "amd64")
