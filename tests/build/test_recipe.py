"""Recipes: what is shipped is read, and everything that the specification does not list is refused."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigillo.build.builder import read_order
from sigillo.build.error import BuildError
from sigillo.build.openpgp import primary_keys
from sigillo.build.recipe import MAX_BYTES, decode_recipe
from sigillo.core.errors import PolicyError
from tests.house.checkout import CHECKOUT, our_files

from .gnupg import GnuPG
from .small import SOURCES, recipe

SHIPPED = sorted((CHECKOUT / "recipes").glob("*.toml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_recipe(path: Path, gnupg: GnuPG, tmp_path: Path) -> None:
    """Each key that may sign is in the keyring beside it, whose bytes go with every build; or left to who builds."""
    open_keys = path.stem.startswith("plugin-")
    order = read_order(path, gnupg.keyring(tmp_path / "own.gpg", "good") if open_keys else None)
    source = order.recipe.source
    assert order.recipe.name == path.stem
    assert set(order.files) == {"recipe.toml", source.keys}
    (tmp_path / "keys.gpg").write_bytes(order.files[source.keys])
    assert list(source.fingerprints) == primary_keys(tmp_path / "keys.gpg")
    assert decode_recipe(order.files["recipe.toml"]) == order.recipe


def test_keys_are_not_replaced_in_a_recipe_that_pins_its_own(gnupg: GnuPG, tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(recipe())
    with pytest.raises(BuildError, match="names its keys itself"):
        read_order(tmp_path / "small.toml", gnupg.keyring(tmp_path / "own.gpg", "good"))


def test_recipe_that_leaves_its_keys_open_is_not_built_without_any() -> None:
    with pytest.raises(BuildError, match=r"source\.keys: is missing"):
        read_order(CHECKOUT / "recipes" / "plugin-bookworm.toml")


def test_keyring_without_a_key(tmp_path: Path, gnupg: GnuPG) -> None:
    (tmp_path / "own.gpg").write_bytes(b"no key")
    with pytest.raises(BuildError, match=r"own\.gpg: holds no OpenPGP key"):
        read_order(CHECKOUT / "recipes" / "plugin-bookworm.toml", tmp_path / "own.gpg")


def test_no_host_of_a_mirror_is_written_down() -> None:
    sources = [path for path in our_files() if path.is_relative_to(CHECKOUT / "src/sigillo/build")]
    for path in [*sources, *SHIPPED]:
        assert "debian.org" not in path.read_text(encoding="utf-8"), path


@pytest.mark.parametrize("kind", SOURCES)
def test_each_kind(kind: str) -> None:
    made = decode_recipe(recipe(kind).encode())
    assert made.source.kind == kind
    assert made.build_date == "2020-01-01T00:00:00Z"


def test_file_name_of_a_dsc_has_no_epoch() -> None:
    source = SOURCES["debian"].replace("1.0-1", "2:1.0-1")
    assert decode_recipe(recipe(source=source).encode()).source.dsc == "small_1.0-1.dsc"


CHANGES = {
    "version": ("version = 1", "version = 2"),
    "date": ("2020-01-01T00:00:00Z", "2020-01-01T00:00:00"),
    "date ": ("2020-01-01T00:00:00Z", '"2020-01-01"'),
    "extra": ("[root]", "[root]\nextra = 1"),
    "name": ('name = "small"', 'name = "../small"'),
    "source.kind": ('"debian"', '"svn"'),
    "source.keys": ('"keys.gpg"', '"../keys.gpg"'),
    "source.keys ": ('"keys.gpg"', '"/keys.gpg"'),
    "source.keys  ": ('"keys.gpg"', '"keys.signers"'),
    "source.keys   ": ('"keys.gpg"', '"binary/keys.gpg"'),
    "source.fingerprints": ("0" * 40, "0" * 16),
    "source.fingerprints ": (f'["{"0" * 40}"]', "[]"),
    "source.sha256": (f'sha256 = "{"0" * 64}"\n[root]', 'sha256 = ""\n[root]'),
    "source.package": ('package = "small"', 'package = "small --allow"'),
    "root.pin": ("[build]", f'[[root.pin]]\npackage = "libssl3"\nversion = "1"\nsha256 = "{"0" * 64}"\n[build]'),
    "root.packages": ('["cmake"]', '["cmake", "cmake"]'),
    "root.suite": ('"bookworm"', '"bookworm main"'),
    "build.path": ('"/build/small"', '"/build/../etc"'),
    "build.path ": ('"/build/small"', '"/usr"'),
    "build.steps": ('["make"]', "[]"),
    "build.outputs": ('["small"]', '["../../etc/shadow"]'),
    "build.outputs ": ('["small"]', '["/etc/shadow"]'),
    "build.binary.role": ('"executable"', '"package"'),
    "build.environment.SOURCE_DATE_EPOCH": ("steps", 'environment = { SOURCE_DATE_EPOCH = "1" }\nsteps'),
    "build.environment.lower": ("steps", 'environment = { lower = "1" }\nsteps'),
}


@pytest.mark.parametrize("key", CHANGES)
def test_refused_and_the_key_is_named(key: str) -> None:
    before, after = CHANGES[key]
    text = recipe()
    assert before in text
    with pytest.raises(PolicyError) as caught:
        decode_recipe(text.replace(before, after).encode())
    assert key.strip().split(".")[-1] in str(caught.value)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"v1.0"', '"-v"'),
        ('"v1.0"', '"a..b"'),
        ("https://example.org/small", "ext::sh -c evil"),
        ("https://example.org/small", "--upload-pack=evil"),
        ('tag = "v1.0"', 'tag = "v1.0"\ncommit = "abc"'),
    ],
)
def test_what_git_could_take_for_something_else(before: str, after: str) -> None:
    with pytest.raises(PolicyError):
        decode_recipe(recipe("git").replace(before, after).encode())


def test_any_key_left_out_is_named() -> None:
    for line in recipe().splitlines():
        key = line.split(" =")[0]
        if " = " in line and key in {"version", "name", "date", "kind", "keys", "suite", "packages", "path", "steps"}:
            with pytest.raises(PolicyError, match=key):
                decode_recipe(recipe().replace(line + "\n", "", 1).encode())


def test_too_long() -> None:
    with pytest.raises(PolicyError, match="longer"):
        decode_recipe(recipe().encode() + b"#" * MAX_BYTES)


def test_keys_that_a_link_leads_out(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "keys.gpg").touch()
    (tmp_path / "folder" / "keys.gpg").symlink_to("../keys.gpg")
    (tmp_path / "folder" / "small.toml").write_text(recipe())
    with pytest.raises(BuildError, match="leads out"):
        read_order(tmp_path / "folder" / "small.toml")


@given(st.data())
def test_any_value_anywhere_is_read_or_refused(data: st.DataObject) -> None:
    lines = recipe(data.draw(st.sampled_from(sorted(SOURCES)))).splitlines()
    number = data.draw(st.sampled_from([n for n, line in enumerate(lines) if " = " in line]))
    junk = data.draw(st.one_of(st.text(max_size=20), st.sampled_from(["[]", "{}", "1", '""', "1979-05-27", "nan"])))
    lines[number] = f"{lines[number].split(' = ')[0]} = {junk}"
    try:
        decode_recipe("\n".join(lines).encode("utf-8", "replace"))
    except PolicyError:
        return


def test_recipes_are_toml_that_others_read() -> None:
    for path in SHIPPED:
        tomllib.loads(path.read_text(encoding="utf-8"))
