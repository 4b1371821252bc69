"""`sigillo release new`: build folders become one release, whole or not at all."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sigillo.build.facts import Facts, decode_facts, encode_facts
from sigillo.core.dsse import verify_envelope
from sigillo.core.manifest import Build, ClosureFile, SourceFile, decode_manifest

from ..adversary.builder import CLOSURE, MANIFEST, dsse_key, sha256
from ..cli.command import Answer, refused, sigillo
from .folder import builder_key, write_release

MOSQUITTO, PLUGIN = "mosquitto", "sigillo-plugin"


def built(folder: Path, build: Build, **facts: object) -> Path:
    """A build folder as `sigillo build` leaves it, of files that a release has."""
    release = write_release(folder.parent / f"{folder.name}.files")
    made = decode_manifest((release / "manifest.json").read_bytes()).manifest.build(build.name)
    assert made
    for file in made.source.files:
        _move(release / "source" / file.name, folder / "source" / file.name)
    for output in made.outputs:
        _move(release / "binary" / output.name, folder / "binary" / output.name)
    for name in ("recipe.toml", "root.txt", "SHA256SUMS", "build.log"):
        (folder / name).write_text(f"{name} of {build.name}\n")
    (folder / "build.json").write_bytes(encode_facts(Facts(made, **{"closure": CLOSURE, **facts})))
    shutil.rmtree(release)
    return folder


def _move(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    source.rename(target)


@pytest.fixture
def builds(tmp_path: Path) -> list[Path]:
    return [built(tmp_path / build.name, build) for build in reversed(MANIFEST.builds)]


def arguments(tmp_path: Path, builds: list[Path]) -> list[object]:
    key = builder_key(tmp_path / "builder.key.pem")
    return ["release", "new", *builds, "--name", "Example Builder", "--builder", key, "-o", tmp_path / "release"]


def test_two_builds_become_one_release(tmp_path: Path, builds: list[Path]) -> None:
    answer: Answer = sigillo(*arguments(tmp_path, builds))
    assert (answer.code, answer.err) == (0, "")
    signed = decode_manifest((tmp_path / "release" / "manifest.json").read_bytes())
    verify_envelope(signed.envelope)
    assert signed.envelope.key == dsse_key("builder")
    assert signed.sha256.hex() in answer.out
    assert [build.name for build in signed.manifest.builds] == [MOSQUITTO, PLUGIN]
    assert signed.manifest.closure == CLOSURE
    names = {path.relative_to(tmp_path / "release").as_posix() for path in (tmp_path / "release").rglob("*")}
    assert {"binary/sigillo.so", "binary/usr/sbin/mosquitto", "source/sigillo-0.1.0.tar"} <= names
    assert {"mosquitto/recipe.toml", "sigillo-plugin/recipe.toml", "mosquitto/build.log"} <= names
    assert not {"SHA256SUMS", "mosquitto/SHA256SUMS"} & names


def another_loader(folder: Path) -> None:
    shutil.rmtree(folder)
    closure = (ClosureFile(CLOSURE[0].path, 1, sha256("another"), "libc6", "2.99"),)
    built(folder, MANIFEST.builds[0], closure=closure)


def networked(folder: Path) -> None:
    shutil.rmtree(folder)
    built(folder, MANIFEST.builds[0], network=True)


def grown(folder: Path) -> None:
    (folder / "binary" / "sigillo.so").write_text("another plugin\n")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda folder: (folder / "build.json").unlink(), "build.json: no such file"),
        (lambda folder: (folder / "build.json").write_text("{}"), "build.json: "),
        (
            lambda folder: (folder / "binary" / "usr/sbin/mosquitto").write_text("x"),
            "is another file than the manifest",
        ),
        (lambda folder: (folder / "binary" / "more").write_text("x"), "is no file of the manifest"),
        (lambda folder: (folder / "link").symlink_to("/etc/passwd"), "link: is no plain file"),
        (grown, "another build has a file of that name"),
        (another_loader, "loads another /lib64/ld-linux-x86-64.so.2 (libc6 2.36-9+deb12u13) than the build before it"),
        (networked, "was built with a network"),
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_nothing(
    tmp_path: Path, builds: list[Path], spoil: Callable[[Path], object], says: str
) -> None:
    spoil(builds[1])
    refused(*arguments(tmp_path, builds), says=says)
    assert not (tmp_path / "release").exists()
    assert not list(tmp_path.glob(".sigillo-*"))


def test_one_build_twice_is_refused(tmp_path: Path, builds: list[Path]) -> None:
    refused(*arguments(tmp_path, [builds[0], builds[0]]), says="builds: are not in ascending order, each once")


def test_a_bundle_of_git_may_lie_beside_its_source(tmp_path: Path, builds: list[Path]) -> None:
    path = builds[1] / "build.json"
    facts = decode_facts(path.read_bytes())
    tar = b"the tree\n"
    (builds[1] / "source" / "mosquitto.tar").write_bytes(tar)
    (builds[1] / "source" / "mosquitto.bundle").write_bytes(b"a bundle\n")
    files = (SourceFile("mosquitto.tar", len(tar), hashlib.sha256(tar).digest()),)
    source = dataclasses.replace(facts.build.source, kind="git", files=files)
    build = dataclasses.replace(facts.build, source=source, source_commit="0" * 40)
    for file in facts.build.source.files:
        (builds[1] / "source" / file.name).unlink()
    path.write_bytes(encode_facts(dataclasses.replace(facts, build=build)))
    assert sigillo(*arguments(tmp_path, builds)).code == 0
    assert (tmp_path / "release" / "source" / "mosquitto.bundle").exists()
