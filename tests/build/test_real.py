"""Real builds in real roots, the slow ones: Debian's own bytes again, and what is caught when something was altered.

Roots are kept in build/root by their inputs, so that the tests of a run make each once.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sigillo.build.apt import Apt
from sigillo.build.builder import Options, Order, build, read_order
from sigillo.build.compare import Grade
from sigillo.build.deb822 import installed_depends
from sigillo.build.error import BuildError
from sigillo.build.facts import Facts, decode_facts
from sigillo.build.journal import Journal
from sigillo.build.package import Shelf
from sigillo.build.rebuild import order_of
from sigillo.build.root import kept_root, make_root
from sigillo.core.dsse import verify_envelope
from sigillo.core.manifest import Build, Role, decode_manifest
from sigillo.core.rebuild import Equality, check_about, decode_rebuild
from tests.debian import mirror
from tests.house.checkout import CHECKOUT
from tests.plugin.launcher import PATIENCE_S

from ..cli.command import SIGILLO, sigillo
from .gnupg import DAY, MADE, GnuPG
from .small import git
from .test_rebuild import Signed, private_key

pytestmark = pytest.mark.slow

KEEP = CHECKOUT / "build" / "root"
RECIPE = CHECKOUT / "recipes" / "mosquitto-bookworm.toml"
DEBS = CHECKOUT.parent / "shared" / "data" / "debs"
"""Where somebody kept Debian's packages that the mirror may lack; not needed where it has them."""
BROKER = "b46c0e24a23a6aec1aaa3edbb5a64d712f6d7fb64d4787405cc23450a1053d12"


@pytest.fixture(scope="module", autouse=True)
def _able() -> None:
    missing = [name for name in ("mmdebstrap", "gpgv", "apt-get", "unshare", "dpkg-deb") if not shutil.which(name)]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    if os.geteuid() != 0:
        pytest.skip("only root may make a root and go into it")
    mirror()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("real")


def options(**changes: object) -> Options:
    return replace(Options(caches=(DEBS,), keep=KEEP), **changes)  # type: ignore[arg-type]


def quiet(_line: str) -> None:
    return


@pytest.fixture(scope="module")
def debian(place: Path) -> Path:
    """Debian's mosquitto, built from nothing but a recipe; apt's own configuration and lists stay as they were."""
    before = apt_of_this_machine()
    build(read_order(RECIPE), place / "debian", options(), quiet)
    assert apt_of_this_machine() == before
    return place / "debian"


def apt_of_this_machine() -> dict[str, float]:
    paths = [path for folder in ("/etc/apt", "/var/lib/apt/lists") for path in Path(folder).rglob("*")]
    return {str(path): path.lstat().st_mtime for path in paths if path.is_file()}


def facts_of(folder: Path) -> Facts:
    return decode_facts((folder / "build.json").read_bytes())


def test_seven_of_seven_packages_are_debians_own(debian: Path) -> None:
    facts = facts_of(debian)
    assert len(facts.compared) == 7
    for one in facts.compared:
        assert one.comparison.grade is Grade.PACKAGE, one
        assert hashlib.sha256((debian / "binary" / one.name).read_bytes()).digest() == one.reference
    program = next(output for output in facts.build.outputs if output.role is Role.EXECUTABLE)
    assert program.sha256.hex() == BROKER
    assert any(file.package == "libssl3" for file in facts.closure)


def test_what_is_left_checks_with_sha256sum_and_gpgv(debian: Path) -> None:
    done = subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=debian, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (dsc,) = (debian / "source").glob("*.dsc")
    (keys,) = facts_of(debian).build.recipe_files
    assert subprocess.run(["gpgv", "--keyring", debian / keys, dsc], capture_output=True).returncode == 0


def test_log_has_every_step(debian: Path) -> None:
    log = (debian / "build.log").read_text(errors="replace")
    for words in ("apt-get", "mmdebstrap", "dpkg-source", "dpkg-buildpackage", "expired on 2026-05-14"):
        assert words in log


def test_root_whose_pinned_packages_the_mirror_lacks(debian: Path, place: Path) -> None:
    """Bookworm without its updates has a newer libssl; the pinned one comes from --cache, and without it is named."""
    if not DEBS.is_dir():
        pytest.skip(f"{DEBS}: nobody kept the pinned packages there")
    plan = order_of(facts_of(debian).build, debian).plan
    folder = place / "lacking"
    folder.mkdir()
    with contextlib.closing(Journal(folder / "build.log", quiet)) as journal:
        apt = Apt(folder / "apt", mirror(), ["bookworm"], "amd64", journal)
        apt.update()
        (folder / "none").mkdir()
        with pytest.raises(BuildError, match=r"libssl\S* 3\.0\.17-1~deb12u2: the mirror has it no more"):
            make_root(plan, apt, Shelf((), "", journal), folder / "none", journal)
        (folder / "root").mkdir()
        tar = kept_root(plan, apt, Shelf((DEBS,), "", journal), KEEP, folder / "root", journal=journal)
    assert tar.with_name("root.txt").read_bytes() == (debian / "root.txt").read_bytes()


def test_rebuilt_from_the_manifest_alone(debian: Path, place: Path) -> None:
    """The manifest's very root, also the packages that the recipe leaves open; and a statement that says so."""
    (place / "alone").mkdir()
    signed = Signed(place / "alone", facts_of(debian).build)
    key = private_key(place / "alone" / "key.pem")
    again = place / "again"
    words = ["--builder", signed.builder, "--key", key, "--name", "Somebody", "--cache", DEBS, "-o", again]
    answer = sigillo("rebuild", signed.path, *words, "--keep-roots", KEEP, timeout=1200)
    assert answer.code == 0, answer
    assert "8 of 8 outputs are the manifest's, bit for bit" in answer.out
    found = decode_rebuild((again / "rebuild.json").read_bytes())
    verify_envelope(found.envelope)
    check_about(found.statement, decode_manifest(signed.path.read_bytes()))
    (rebuilt,) = found.statement.builds
    assert rebuilt.root is None
    assert {output.equality for output in rebuilt.outputs} == {Equality.IDENTICAL}
    first, second = (
        installed_depends(next(folder.glob("*.buildinfo")).read_text()) for folder in (debian, again / rebuilt.name)
    )
    assert first == second


def small(place: Path, gnupg: GnuPG, name: str, files: dict[str, str], steps: list[str], outputs: list[str]) -> Order:
    """An order to build a small tarball in the root of the shipped recipe."""
    folder = place / name
    folder.mkdir()
    with tarfile.open(folder / "small.tar", "w") as tar:
        tree = folder / "tree"
        tree.mkdir()
        for file, content in files.items():
            (tree / file).write_text(content)
        tar.add(tree, "small", filter=lambda entry: entry.replace(uid=0, gid=0, mtime=0, deep=False))
    gnupg.detach(folder / "small.tar", "good").rename(folder / "small.tar.sig")
    gnupg.keyring(folder / "keys.gpg", "good")
    head, root = RECIPE.read_text().split("[source]")
    root = "[root]" + root.split("[root]")[1].split("[build]")[0]
    source = 'kind = "tarball"\nfile = "small.tar"\nsignature = "small.tar.sig"\nrelease = "1"\nkeys = "keys.gpg"\n'
    source += f'fingerprints = ["{gnupg.fingerprint("good")}"]\n'
    what = f'path = "/build/small"\nsteps = {json.dumps(steps)}\noutputs = {json.dumps(outputs)}\n'
    what += f'binary = {{ file = "{outputs[0]}", role = "executable" }}\n'
    text = f"{head.replace('mosquitto-bookworm', name)}[source]\n{source}{root}[build]\n{what}"
    (folder / "recipe.toml").write_text(text)
    return read_order(folder / "recipe.toml")


PROGRAM = "int main(void) { return 0; }\n"
COMPILE = "gcc -O2 -o clean small.c"
LEAK = (
    "{ id -u; umask; date +%Y; date +%Z; hostname; pwd; locale | grep LC_ALL; echo ${DEB_BUILD_OPTIONS-} $MAKEFLAGS; } "
    "> leaky"
)


@pytest.fixture(scope="module")
def cheap(place: Path, gnupg: GnuPG) -> Iterator[Path]:
    """A program that takes a second to compile, built with variations."""
    order = small(place, gnupg, "cheap", {"small.c": PROGRAM}, [COMPILE, LEAK], ["clean", "leaky"])
    build(order, place / "cheap-built", options(vary=True), quiet)
    yield place / "cheap-built"


def test_variations_are_seen_where_they_matter_and_only_there(cheap: Path) -> None:
    """A file that writes down each condition differs under each; a program that depends on none is equal under all."""
    rows = facts_of(cheap).variations
    assert len(rows) == 8
    for row in rows:
        assert row.equal == ("clean",), row
        assert row.differing == ("leaky",), row


Change = Callable[[Build], Build]


def said(before: str, after: str) -> Change:
    """The builder says another thing, in the recipe and in the manifest alike."""

    def change(made: Build) -> Build:
        assert before in made.recipe
        steps = tuple(step.replace(before, after) for step in made.steps)
        return replace(made, recipe=made.recipe.replace(before, after), steps=steps)

    return change


def later(made: Build) -> Build:
    text = made.recipe.replace("2025-05-11T19:31:01Z", "2025-05-11T19:31:02Z")
    date = made.build_date + 1
    return replace(made, recipe=text, build_date=date, environment={**made.environment, "SOURCE_DATE_EPOCH": str(date)})


def another_package(made: Build) -> Build:
    packages = [replace(one, version="1:0.1-1") if one.name == "make" else one for one in made.root.packages]
    return replace(made, root=replace(made.root, packages=tuple(packages)))


def another_hash(made: Build) -> Build:
    packages = [replace(one, sha256=bytes(32)) if one.name == "make" else one for one in made.root.packages]
    return replace(made, root=replace(made.root, packages=tuple(packages)))


@pytest.fixture(scope="module")
def dated(place: Path, gnupg: GnuPG) -> Path:
    """A program that holds the date of its build, and where it was compiled."""
    code = "char *date = __DATE__ __TIME__; int main(int c, char **v) { while (c > 3) c -= 2; return c; }\n"
    order = small(place, gnupg, "dated", {"small.c": code}, ["gcc -O2 -o dated small.c"], ["dated"])
    build(order, place / "dated-built", options(), quiet)
    return place / "dated-built"


@pytest.mark.parametrize(
    ("change", "named"), [(said("-O2", "-O1"), "section .text"), (later, "section .rodata")], ids=["a flag", "the date"]
)
def test_what_was_built_otherwise_than_it_says_is_named(change: Change, named: str, dated: Path, place: Path) -> None:
    """The original lies beside the manifest; the statement says that it is another."""
    signed = Signed(dated, change(facts_of(dated).build))
    out = place / f"other{named.removeprefix('section ')}"
    words = ["--builder", signed.builder, "-o", out, "--keep-roots", KEEP, "--cache", DEBS, "--source", place / "dated"]
    answer = sigillo("rebuild", signed.path, *words, timeout=1200)
    assert answer.code == 1, answer
    assert "different          dated  dated" in answer.out
    assert named in answer.out or shutil.which("diffoscope")


@pytest.mark.parametrize("change", [another_package, another_hash], ids=["version", "hash"])
def test_package_that_is_not_debians_is_named(change: Change, dated: Path, place: Path) -> None:
    signed = Signed(dated, change(facts_of(dated).build))
    words = ["--builder", signed.builder, "-o", place / "none", "--source", place / "dated"]
    answer = sigillo("rebuild", signed.path, *words, timeout=1200)
    assert answer.code == 2
    assert "make " in answer.err
    assert not (place / "none").exists()


def test_altered_source_is_named(dated: Path, place: Path) -> None:
    signed = Signed(dated, facts_of(dated).build)
    altered = place / "altered"
    shutil.copytree(place / "dated", altered)
    with (altered / "small.tar").open("ab") as file:
        file.write(b"\0")
    words = ["--builder", signed.builder, "-o", place / "none", "--source", altered]
    answer = sigillo("rebuild", signed.path, *words, timeout=1200)
    assert answer.code == 2
    assert "small.tar" in answer.err
    assert "was altered" in answer.err


def test_build_has_no_network_and_is_nobody(place: Path, gnupg: GnuPG) -> None:
    steps = ["test $(id -u) = 1000", "! touch /usr/x", "tail -n +3 /proc/net/dev | cut -d: -f1 > net"]
    order = small(place, gnupg, "alone-in", {"small.c": PROGRAM}, steps, ["net"])
    build(order, place / "alone-built", options(), quiet)
    assert (place / "alone-built" / "binary" / "net").read_text().split() == ["lo"]


def test_failing_step_leaves_its_log_only(place: Path, gnupg: GnuPG) -> None:
    order = small(place, gnupg, "failing", {"small.c": "no program"}, [COMPILE], ["clean"])
    with pytest.raises(BuildError, match=r"the whole log: .*failing-built\.failed\.log"):
        build(order, place / "failing-built", options(), quiet)
    assert not (place / "failing-built").exists()
    assert "small.c:1" in (place / "failing-built.failed.log").read_text()


def test_interrupted_build_leaves_nothing(place: Path, gnupg: GnuPG) -> None:
    """Ctrl-C in the middle of a step: no folder, no process, no mount."""
    small(place, gnupg, "sleeping", {"small.c": PROGRAM}, ["exec sleep 987654"], ["none"])
    folder = place / "sleeping-out"
    folder.mkdir()
    command = [*SIGILLO, "build", place / "sleeping" / "recipe.toml", "-o", folder / "out"]
    options_ = ["--cache", str(DEBS), "--keep-roots", str(KEEP)]
    with subprocess.Popen([*command, *options_], stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        for line in child.stderr:
            if "building sleeping" in line:
                child.send_signal(signal.SIGINT)
        assert child.wait(3 * PATIENCE_S) == 130
    assert list(folder.iterdir()) == []
    assert str(folder) not in Path("/proc/mounts").read_text()
    words = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not any(b"987654" in line and b"sleep\0" in line for line in words)


def test_plugin_from_a_signed_archive_of_this_repository(debian: Path, place: Path, gnupg: GnuPG) -> None:
    """The shipped recipe; whose source it is, says --keys. With the broker it makes one release."""
    folder = place / "release"
    folder.mkdir()
    subprocess.run([CHECKOUT / "tools" / "source.sh", folder / "sigillo.tar"], check=True)
    gnupg.detach(folder / "sigillo.tar", "good").rename(folder / "sigillo.tar.sig")
    keys = gnupg.keyring(folder / "own.gpg", "good")
    order = read_order(CHECKOUT / "recipes" / "plugin-bookworm.toml", keys)
    facts = build(order, place / "plugin", options(source=folder), quiet)
    (output,) = facts.build.outputs
    assert (output.name, output.role) == ("sigillo.so", Role.PLUGIN)
    assert facts.build.source.signer == gnupg.fingerprint("good")
    assert any(file.package == "libsodium23" for file in facts.closure)
    private_key(place / "builder.key.pem")
    words = ["--name", "Example Builder", "--builder", place / "builder.key.pem", "-o", place / "published"]
    answer = sigillo("release", "new", debian, place / "plugin", *words)
    assert answer.code == 0, answer
    roles = {
        output.role
        for _, output in decode_manifest((place / "published" / "manifest.json").read_bytes()).manifest.outputs()
    }
    assert {Role.EXECUTABLE, Role.PLUGIN} <= roles


def test_git_tag_built_twice_as_the_founding_document_says(debian: Path, place: Path, gnupg: GnuPG) -> None:
    """Upstream's own source, in a repository made here: tag, `cmake .`, `make`; two builds, one `mosquitto`."""
    work = place / "upstream"
    work.mkdir()
    (orig,) = (debian / "source").glob("*.orig.tar.gz")
    subprocess.run(["tar", "-C", work, "--strip-components=1", "-xf", orig], check=True)
    git(work, "init", "-q")
    git(work, "add", "-A", "-f")
    git(work, "commit", "-q", "-m", "2.0.11")
    program = gnupg.program(MADE + DAY)
    git(work, "-c", f"gpg.program={program}", "tag", "-u", gnupg.fingerprint("good"), "-m", "2.0.11", "v2.0.11")
    shipped = (CHECKOUT / "recipes" / "mosquitto-upstream.toml").read_text()
    root = "[root]" + RECIPE.read_text().split("[root]")[1].split("[build]")[0]
    text = shipped.replace("A0D6EEA1DCAE49A635A3B2F0779B22DFB3E717B7", gnupg.fingerprint("good"))
    text = text.replace("v2.0.20", "v2.0.11").replace("keys/mosquitto-upstream.gpg", "keys.gpg")
    text = text.split("[root]")[0] + root + "[build]" + text.split("[build]")[1]
    (place / "git").mkdir()
    gnupg.keyring(place / "git" / "keys.gpg", "good")
    (place / "git" / "recipe.toml").write_text(text)
    order = read_order(place / "git" / "recipe.toml")
    hashes = []
    for name in ("git-1", "git-2"):
        facts = build(order, place / name, options(source=work), quiet)
        assert facts.build.source_commit == git(work, "rev-parse", "HEAD")
        hashes.append({output.name: output.sha256 for output in facts.build.outputs})
    assert "mosquitto" in hashes[0]
    assert hashes[0] == hashes[1]
