"""`sigillo rebuild`: manifests that contradict themselves, lead out, or are another's; grades that are honest."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sigillo.build.builder import with_root
from sigillo.build.chamber import environment_of
from sigillo.build.compare import Comparison, Grade
from sigillo.build.error import BuildError
from sigillo.build.facts import Compared, Facts, Varied, decode_facts, encode_facts
from sigillo.build.rebuild import compare_output, order_of
from sigillo.build.recipe import Pin, decode_recipe
from sigillo.core.dsse import DsseKey
from sigillo.core.errors import DecodeError
from sigillo.core.manifest import Build, Manifest, Output, Package, Role, Root, Source, SourceFile, encode_manifest
from sigillo.core.rebuild import Equality
from sigillo.x509 import private_pem, spki_of

from ..adversary.vector import VECTORS
from ..cli.command import refused, sigillo
from .small import FINGERPRINT, SHA256, recipe


def small_build(**changes: Any) -> Build:
    """A build as a manifest has it, of the small recipe."""
    made = decode_recipe(recipe().encode())
    build = Build(
        name=made.name,
        version=made.source.release,
        recipe=recipe(),
        recipe_files={"keys.gpg": b"keys"},
        source=Source("debian", FINGERPRINT, (SourceFile("small_1.0-1.dsc", 1, bytes(32)),)),
        source_commit=f"dsc:sha256:{SHA256}",
        build_date=made.date,
        root=Root("debian", "bookworm", "amd64", (Package("libssl3", "3.0.17-1~deb12u2", "amd64", bytes(32)),)),
        path=made.path,
        environment=environment_of(made),
        steps=made.steps,
        outputs=(Output("small", Role.EXECUTABLE, 3, hashlib.sha256(b"abc").digest()),),
    )
    return replace(build, **changes)


def test_order_is_the_manifests_alone(tmp_path: Path) -> None:
    order = order_of(small_build(), tmp_path)
    assert order.plan.exact
    assert order.plan.pins == (Pin("libssl3", "3.0.17-1~deb12u2", SHA256),)
    assert dict(order.files) == {"recipe.toml": recipe().encode(), "keys.gpg": b"keys"}


LATER = {"build_date": 1_577_836_801}
ALTERED = {
    "a flag": ({"steps": ("make CFLAGS=-DEVIL",)}, "steps"),
    "a variable": (
        {"environment": MappingProxyType({**environment_of(decode_recipe(recipe().encode())), "CC": "x"})},
        "environment",
    ),
    "the timestamp": (LATER, "the date"),
    "the source": ({"source_commit": f"dsc:sha256:{'1' * 64}"}, "the source"),
    "the signer": ({"source": Source("debian", "1" * 40, ())}, "the signer of the source"),
    "the release": ({"version": "2.0-1"}, "version"),
    "the path": ({"path": "/build/elsewhere"}, "path"),
    "the suite": ({"root": Root("debian", "trixie", "amd64", ())}, "release"),
    "the name": ({"name": "other"}, "name"),
}


@pytest.mark.parametrize("what", ALTERED)
def test_what_only_the_manifest_or_only_its_recipe_says_is_named(what: str, tmp_path: Path) -> None:
    changes, named = ALTERED[what]
    with pytest.raises(BuildError, match=f"build \\w+: {named} is .* in the manifest and .* in the recipe"):
        order_of(small_build(**changes), tmp_path)


def test_manifest_without_the_keys(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"keys\.gpg, are not in the manifest"):
        order_of(small_build(recipe_files={}), tmp_path)


def test_manifest_with_a_file_that_the_recipe_does_not_name(tmp_path: Path) -> None:
    """It would be written into the build folder: over the log, for instance."""
    with pytest.raises(BuildError, match=r"holds the file build\.log, which its recipe does not name"):
        order_of(small_build(recipe_files={"build.log": b"", "keys.gpg": b"keys"}), tmp_path)


def test_manifest_with_a_recipe_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="build small: its recipe: version"):
        order_of(small_build(recipe="name = 1"), tmp_path)


def test_root_of_an_earlier_build_by_its_buildinfo(tmp_path: Path) -> None:
    """Versions from there, hashes from the recipe where it has them, else from the signed index."""
    order = order_of(small_build(), tmp_path)
    path = tmp_path / "small.buildinfo"
    path.write_text("Installed-Build-Depends:\n libssl3 (= 3.0.17-1~deb12u2),\n make (= 4.3-4.1)\n")
    plan = with_root(order, path).plan
    assert plan.pins == (Pin("libssl3", "3.0.17-1~deb12u2", SHA256), Pin("make", "4.3-4.1", ""))
    assert (plan.exact, plan.packages) == (False, order.recipe.root.packages)
    path.write_text("Format: 1.0\n")
    with pytest.raises(BuildError, match=r"small\.buildinfo: Installed-Build-Depends"):
        with_root(order, path)


def test_root_of_an_earlier_build_by_its_list(tmp_path: Path) -> None:
    path = tmp_path / "root.txt"
    path.write_text(f"make amd64 4.3-4.1 {SHA256}\n")
    plan = with_root(order_of(small_build(), tmp_path), path).plan
    assert (plan.exact, plan.pins) == (True, (Pin("make", "4.3-4.1", SHA256),))


@pytest.fixture
def output() -> Output:
    return small_build().outputs[0]


def rebuilt(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "ours" / "small"
    path.parent.mkdir()
    path.write_bytes(content)
    return path


def test_identical(output: Output, tmp_path: Path) -> None:
    found, difference = compare_output(output, rebuilt(tmp_path, b"abc"), tmp_path, "small")
    assert (found.equality, difference) == (Equality.IDENTICAL, "")


def test_different_and_explained_where_the_original_lies_beside_the_manifest(output: Output, tmp_path: Path) -> None:
    (tmp_path / "binary").mkdir()
    (tmp_path / "binary" / "small").write_bytes(b"abc")
    found, difference = compare_output(output, rebuilt(tmp_path, b"abd"), tmp_path, "small")
    assert found.equality is Equality.DIFFERENT
    assert "from byte 2 on" in difference or "abd" in difference  # as diffoscope shows it


def test_different_where_there_is_no_original(output: Output, tmp_path: Path) -> None:
    found, difference = compare_output(output, rebuilt(tmp_path, b"abd"), tmp_path, "small")
    assert found.equality is Equality.DIFFERENT
    assert hashlib.sha256(b"abd").hexdigest() in difference


def test_file_that_is_not_the_manifests_is_no_original(output: Output, tmp_path: Path) -> None:
    """Neither another file under its name, nor a link out of the folder."""
    folder = tmp_path / "folder"
    (folder / "binary").mkdir(parents=True)
    (tmp_path / "secret").write_bytes(b"abc")
    (folder / "small").write_bytes(b"other")
    (folder / "binary" / "small").symlink_to(tmp_path / "secret")
    _found, difference = compare_output(output, rebuilt(tmp_path, b"abd"), folder, "small")
    assert "the manifest's" in difference


def test_missing(output: Output, tmp_path: Path) -> None:
    found, _ = compare_output(output, tmp_path / "none", tmp_path, "small")
    assert found.equality is Equality.MISSING


def facts() -> Facts:
    comparison = Comparison(Grade.STRIPPED, "p: .note.gnu.build-id")
    return Facts(
        small_build(),
        (),
        "a note",
        False,
        (Compared("small", comparison, bytes(32)),),
        (Varied("user", ("small",), ()),),
    )


def test_facts_round_trip() -> None:
    assert encode_facts(decode_facts(encode_facts(facts()))) == encode_facts(facts())


def test_any_byte_of_facts_changed_is_refused_or_other_facts() -> None:
    data = encode_facts(facts())
    for at in range(len(data)):
        altered = bytearray(data)
        altered[at] ^= 1
        try:
            assert encode_facts(decode_facts(bytes(altered))) == bytes(altered)
        except DecodeError:
            continue


class Signed:
    """A manifest on disk, and its builder's key."""

    def __init__(self, folder: Path, build: Build) -> None:
        self.key = Ed25519PrivateKey.generate()
        self.path, self.builder = folder / "manifest.json", folder / "builder.pub.pem"
        public = DsseKey.from_spki(spki_of(self.key.public_key()))
        self.path.write_bytes(encode_manifest(Manifest("Builder", (build,)), public, self.key.sign))
        pem = self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        self.builder.write_bytes(pem)


def private_key(path: Path) -> Path:
    path.write_bytes(private_pem(Ed25519PrivateKey.generate()))
    path.chmod(0o600)
    return path


def test_manifest_of_another_builder(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    signed, other = Signed(tmp_path, small_build()), Signed(tmp_path / "other", small_build())
    out = tmp_path / "out"
    refused("rebuild", signed.path, "--builder", other.builder, "-o", out, says="which is not the key in")
    assert not out.exists()


def test_manifest_altered(tmp_path: Path) -> None:
    signed = Signed(tmp_path, small_build())
    data = signed.path.read_bytes()
    at = data.index(b'"sig":"') + 10
    signed.path.write_bytes(data[:at] + (b"A" if data[at : at + 1] != b"A" else b"B") + data[at + 1 :])
    out = tmp_path / "out"
    refused("rebuild", signed.path, "--builder", signed.builder, "-o", out, says=f"{signed.path}:")


def test_manifest_that_points_outside_its_folder(tmp_path: Path) -> None:
    signed = Signed(tmp_path, small_build())
    for path in sorted((VECTORS / "manifest" / "reject").glob("*-parent.json")):
        out = tmp_path / "out"
        refused("rebuild", path, "--builder", signed.builder, "-o", out, says="stays in its folder")


def test_manifest_that_contradicts_itself_is_not_built(tmp_path: Path) -> None:
    signed = Signed(tmp_path, small_build(steps=("make CFLAGS=-DEVIL",)))
    refused("rebuild", signed.path, "--builder", signed.builder, "-o", tmp_path / "out", says="steps is")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["builder.pub.pem", "manifest.json"]


def test_key_and_name_go_together(tmp_path: Path) -> None:
    signed, key = Signed(tmp_path, small_build()), private_key(tmp_path / "key.pem")
    refused("rebuild", signed.path, "--builder", signed.builder, "-o", "out", "--key", key, says="go together")


def test_build_says_which_recipe_and_which_key(tmp_path: Path) -> None:
    path = tmp_path / "small.toml"
    refused("build", path, "-o", tmp_path / "out", says=f"{path}: no such file")
    path.write_text(recipe().replace("version = 1", "version = 2"))
    refused("build", path, "-o", tmp_path / "out", says=f"{path}: version: must be 1")
    path.write_text(recipe())
    refused("build", path, "-o", tmp_path / "out", says="keys.gpg: no such file")


def test_folder_that_is_there_is_not_written_into(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(recipe())
    (tmp_path / "keys.gpg").touch()
    refused("build", tmp_path / "small.toml", "-o", tmp_path, says="is there already")
    assert sigillo("build", "--help").code == 0
