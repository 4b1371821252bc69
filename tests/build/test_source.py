"""Debian source packages and tarballs: nothing is unpacked before signature and hashes hold."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sigillo.build.error import BuildError
from sigillo.build.journal import Journal
from sigillo.build.recipe import Recipe, decode_recipe
from sigillo.build.source import Origins, VerifiedSource, verified_source

from .gnupg import DAY, MADE, GnuPG
from .small import SOURCES, recipe, source_package

Fetch = Callable[..., VerifiedSource]


def no_mirror(package: str, release: str, _folder: Path) -> None:
    raise BuildError(f"the mirror lacks the source {package} {release}")


@pytest.fixture
def given(tmp_path: Path) -> Path:
    folder = tmp_path / "given"
    folder.mkdir()
    return folder


@pytest.fixture
def keys(tmp_path: Path, gnupg: GnuPG) -> Path:
    return gnupg.keyring(tmp_path / "keys.gpg", "good", "short")


@pytest.fixture
def fetch(tmp_path: Path, given: Path, keys: Path, journal: Journal) -> Fetch:
    def call(made: Recipe, source: Path | None = given, caches: tuple[Path, ...] = ()) -> VerifiedSource:
        target = tmp_path / "source"
        target.mkdir()
        return verified_source(made, keys, target, Origins(source, caches, given, no_mirror), journal)

    return call


def of_dsc(path: Path, gnupg: GnuPG, **changes: str) -> Recipe:
    """A recipe that pins this very `.dsc`."""
    made = decode_recipe(recipe().encode())
    fields = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), **changes}
    fingerprints = (gnupg.fingerprint("good"), gnupg.fingerprint("short"))
    return replace(made, source=replace(made.source, fingerprints=fingerprints, **fields))  # type: ignore[arg-type]


def test_source_package(given: Path, gnupg: GnuPG, fetch: Fetch) -> None:
    path = source_package(given, gnupg)
    (given / "small_1.0.evil").write_text("beside it, but not listed")
    found = fetch(of_dsc(path, gnupg))
    assert found.commit == f"dsc:sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    assert {one.name for one in found.folder.iterdir()} == {"small_1.0-1.dsc", "small_1.0.orig.tar.gz"}


def test_source_package_from_the_cache_where_the_mirror_lacks_it(given: Path, gnupg: GnuPG, fetch: Fetch) -> None:
    path = source_package(given, gnupg)
    assert fetch(of_dsc(path, gnupg), None, (given,)).main == path.name


def test_source_package_that_nobody_has(given: Path, gnupg: GnuPG, fetch: Fetch) -> None:
    path = source_package(given, gnupg)
    made = of_dsc(path, gnupg)
    path.unlink()
    with pytest.raises(BuildError, match=r"mirror lacks the source small 1\.0-1, and no folder .* small_1\.0-1\.dsc"):
        fetch(made, None, (given,))


def test_listed_file_altered(given: Path, gnupg: GnuPG, fetch: Fetch) -> None:
    path = source_package(given, gnupg)
    (given / "small_1.0.orig.tar.gz").write_bytes(b"the sourcf")
    with pytest.raises(BuildError, match=r"small_1\.0\.orig\.tar\.gz: is not the file that small_1\.0-1\.dsc lists"):
        fetch(of_dsc(path, gnupg))


def test_listed_file_missing(given: Path, gnupg: GnuPG, fetch: Fetch) -> None:
    path = source_package(given, gnupg)
    (given / "small_1.0.orig.tar.gz").unlink()
    with pytest.raises(BuildError, match=r"small_1\.0\.orig\.tar\.gz: no such file"):
        fetch(of_dsc(path, gnupg))


def test_listed_file_that_is_a_link(given: Path, gnupg: GnuPG, fetch: Fetch) -> None:
    path = source_package(given, gnupg)
    (given / "small_1.0.orig.tar.gz").rename(given / "elsewhere")
    (given / "small_1.0.orig.tar.gz").symlink_to("elsewhere")
    with pytest.raises(BuildError, match="is no plain file"):
        fetch(of_dsc(path, gnupg))


@pytest.mark.parametrize("name", ["../small_1.0.orig.tar.gz", "/etc/passwd", ".hidden"])
def test_list_that_leads_out_of_the_folder(name: str, given: Path, gnupg: GnuPG, fetch: Fetch) -> None:
    path = source_package(given, gnupg, **{"Checksums-Sha256": f"\n {'0' * 64} 1 {name}"})
    with pytest.raises(BuildError, match="leads out of its folder"):
        fetch(of_dsc(path, gnupg))


def test_another_release_under_this_name(given: Path, gnupg: GnuPG, fetch: Fetch) -> None:
    path = source_package(given, gnupg, Version="0.9-1")
    with pytest.raises(BuildError, match=r"is small 0\.9-1, the recipe names small 1\.0-1"):
        fetch(of_dsc(path, gnupg))


def test_another_dsc_of_the_same_signer(given: Path, gnupg: GnuPG, fetch: Fetch) -> None:
    """A good signature is not enough where the recipe says which bytes it means."""
    path = source_package(given, gnupg)
    with pytest.raises(BuildError, match="the recipe's is 0000"):
        fetch(of_dsc(path, gnupg, sha256="0" * 64))


def test_dsc_signed_by_another_key(given: Path, gnupg: GnuPG, fetch: Fetch) -> None:
    path = source_package(given, gnupg, signer="other")
    with pytest.raises(BuildError, match="not among the pinned ones"):
        fetch(of_dsc(path, gnupg))


def test_dsc_without_a_signature(given: Path, gnupg: GnuPG, fetch: Fetch) -> None:
    """dpkg-source would say a warning and go on."""
    path = source_package(given, gnupg)
    text = path.read_text().split("\n\n", 1)[1].split("-----BEGIN PGP SIGNATURE")[0]
    path.write_text(text)
    with pytest.raises(BuildError, match="not signed"):
        fetch(of_dsc(path, gnupg))


def test_dsc_of_a_key_that_expired_later_is_said(given: Path, gnupg: GnuPG, fetch: Fetch, said: list[str]) -> None:
    path = source_package(given, gnupg, signer="short", at=MADE + DAY)
    fetch(of_dsc(path, gnupg))
    assert any("expired on 2020-01-31" in line for line in said)


def tarball(given: Path, gnupg: GnuPG, signer: str = "good") -> Recipe:
    path = given / "small.tar"
    path.write_bytes(b"the source")
    gnupg.detach(path, signer).rename(given / "small.tar.sig")
    text = recipe("tarball", SOURCES["tarball"], fingerprint=gnupg.fingerprint("good"))
    return decode_recipe(text.encode())


def test_tarball(given: Path, gnupg: GnuPG, fetch: Fetch) -> None:
    found = fetch(tarball(given, gnupg))
    assert found.commit == f"tar:sha256:{hashlib.sha256(b'the source').hexdigest()}"


def test_tarball_beside_the_recipe(given: Path, gnupg: GnuPG, fetch: Fetch) -> None:
    assert fetch(tarball(given, gnupg), None).main == "small.tar"


def test_tarball_altered(given: Path, gnupg: GnuPG, fetch: Fetch) -> None:
    made = tarball(given, gnupg)
    (given / "small.tar").write_bytes(b"the sourcf")
    with pytest.raises(BuildError, match=r"small\.tar .*was altered"):
        fetch(made)


def test_tarball_of_another_key(given: Path, gnupg: GnuPG, fetch: Fetch) -> None:
    with pytest.raises(BuildError, match="not among the pinned ones"):
        fetch(tarball(given, gnupg, "other"))


def test_tarball_without_its_signature(given: Path, gnupg: GnuPG, fetch: Fetch) -> None:
    made = tarball(given, gnupg)
    (given / "small.tar.sig").unlink()
    with pytest.raises(BuildError, match=r"small\.tar\.sig: no such file"):
        fetch(made)


def test_tarball_with_another_hash_than_pinned(given: Path, gnupg: GnuPG, fetch: Fetch) -> None:
    made = tarball(given, gnupg)
    with pytest.raises(BuildError, match=r"small\.tar: its SHA-256 is"):
        fetch(replace(made, source=replace(made.source, sha256="0" * 64)))
