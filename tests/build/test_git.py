"""Signed git tags: `git verify-tag` under the pinned keys and no others."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sigillo.build.error import BuildError
from sigillo.build.git import fetch_tag
from sigillo.build.journal import Journal
from sigillo.build.openpgp import Signature
from sigillo.build.recipe import Recipe, decode_recipe

from .gnupg import DAY, MADE, GnuPG
from .small import SOURCES, git, recipe, repository

Fetch = Callable[..., tuple[str, Signature]]


@pytest.fixture
def work(tmp_path: Path) -> Path:
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    return repository(tmp_path / "work")


@pytest.fixture
def fetch(tmp_path: Path, work: Path, gnupg: GnuPG, journal: Journal) -> Fetch:
    keys = gnupg.keyring(tmp_path / "keys.gpg", "good", "short")

    def call(made: Recipe | None = None, keys: Path = keys) -> tuple[str, Signature]:
        target = tmp_path / "source"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        return fetch_tag(made or of_tag(gnupg), str(work), keys, target, journal)

    return call


def of_tag(gnupg: GnuPG, **changes: str) -> Recipe:
    made = decode_recipe(recipe("git", SOURCES["git"]).encode())
    fingerprints = tuple(gnupg.fingerprint(name) for name in ("good", "short"))
    return replace(made, source=replace(made.source, fingerprints=fingerprints, **changes))  # type: ignore[arg-type]


def tag(work: Path, gnupg: GnuPG, signer: str = "good", *, name: str = "v1.0", at: int = MADE + DAY) -> None:
    program = gnupg.program(at)
    git(work, "-c", f"gpg.program={program}", "tag", "-u", gnupg.fingerprint(signer), "-m", "Release", name, at=at)


def test_signed_tag(work: Path, gnupg: GnuPG, fetch: Fetch, tmp_path: Path) -> None:
    tag(work, gnupg)
    commit, signature = fetch()
    assert commit == git(work, "rev-parse", "HEAD")
    assert signature.signer == gnupg.fingerprint("good")
    archive = (tmp_path / "source" / "small.tar").read_bytes()
    fetch()
    assert (tmp_path / "source" / "small.tar").read_bytes() == archive


def test_bundle_that_is_left_can_be_cloned(work: Path, gnupg: GnuPG, fetch: Fetch, tmp_path: Path) -> None:
    tag(work, gnupg)
    commit, _ = fetch()
    git(tmp_path, "clone", "-q", "--branch", "v1.0", str(tmp_path / "source" / "small.bundle"), str(tmp_path / "again"))
    assert git(tmp_path / "again", "rev-parse", "HEAD") == commit


def test_pinned_commit(work: Path, gnupg: GnuPG, fetch: Fetch) -> None:
    """A tag that was moved leads elsewhere, whoever signed it."""
    tag(work, gnupg)
    assert fetch(of_tag(gnupg, commit=git(work, "rev-parse", "HEAD")))
    with pytest.raises(BuildError, match="the recipe's commit is 0000"):
        fetch(of_tag(gnupg, commit="0" * 40))


def test_unsigned_tag(work: Path, fetch: Fetch) -> None:
    git(work, "tag", "-a", "-m", "Release", "v1.0")
    with pytest.raises(BuildError, match=r"tag v1\.0 .*not signed"):
        fetch()


def test_tag_that_is_no_object(work: Path, fetch: Fetch) -> None:
    git(work, "tag", "v1.0")
    with pytest.raises(BuildError, match="no annotated tag"):
        fetch()


def test_branch_of_that_name(work: Path, fetch: Fetch) -> None:
    git(work, "branch", "v1.0")
    with pytest.raises(BuildError, match="no annotated tag"):
        fetch()


def test_no_such_tag(fetch: Fetch) -> None:
    with pytest.raises(BuildError, match=r"cannot clone the tag v1\.0"):
        fetch()


def test_where_there_is_no_network(gnupg: GnuPG, journal: Journal, tmp_path: Path) -> None:
    """Up to the fetch: what cannot be cloned is named, and what to do."""
    with pytest.raises(BuildError, match=r"cannot clone the tag v1\.0 of git://127.* name a clone with --source"):
        fetch_tag(of_tag(gnupg), "git://127.0.0.1:1/none", tmp_path / "keys.gpg", tmp_path, journal)


def test_old_signed_tag_under_a_new_name(work: Path, gnupg: GnuPG, fetch: Fetch) -> None:
    """Its signature is good; it says that it is another release."""
    tag(work, gnupg, name="v0.9")
    git(work, "update-ref", "refs/tags/v1.0", git(work, "rev-parse", "refs/tags/v0.9"))
    with pytest.raises(BuildError, match="another one's"):
        fetch()


def test_tag_of_another_key(work: Path, gnupg: GnuPG, fetch: Fetch) -> None:
    tag(work, gnupg, "other")
    with pytest.raises(BuildError, match="not among the pinned ones"):
        fetch()


def test_tag_altered(work: Path, gnupg: GnuPG, fetch: Fetch) -> None:
    tag(work, gnupg)
    text = subprocess.run(["git", "cat-file", "tag", "v1.0"], cwd=work, capture_output=True, check=True).stdout
    (work / "tag").write_bytes(text.replace(b"Release", b"Evil one"))
    git(work, "update-ref", "refs/tags/v1.0", git(work, "hash-object", "-t", "tag", "-w", "tag"))
    with pytest.raises(BuildError, match="was altered"):
        fetch()


def test_tag_of_a_key_that_expired_later(work: Path, gnupg: GnuPG, fetch: Fetch) -> None:
    tag(work, gnupg, "short")
    assert "expired on 2020-01-31" in fetch()[1].note


def test_tag_of_a_key_that_had_expired(work: Path, gnupg: GnuPG, fetch: Fetch) -> None:
    gnupg.unlimited("short")
    tag(work, gnupg, "short", at=MADE + 40 * DAY)
    with pytest.raises(BuildError, match="which is later"):
        fetch()


def test_tag_of_a_revoked_key(work: Path, gnupg: GnuPG, fetch: Fetch, tmp_path: Path) -> None:
    gnupg.key("lost")
    tag(work, gnupg, "lost")
    gnupg.revoke("lost")
    keys = gnupg.keyring(tmp_path / "lost.gpg", "lost", now=True)
    made = of_tag(gnupg)
    made = replace(made, source=replace(made.source, fingerprints=(gnupg.fingerprint("lost"),)))
    with pytest.raises(BuildError, match="is revoked"):
        fetch(made, keys)


class Ssh:
    """An SSH key, and an allowed signers file that names it."""

    def __init__(self, folder: Path, name: str, options: str = "") -> None:
        self.key = folder / name
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", self.key]
        subprocess.run(command, check=True, capture_output=True)
        self.public = self.key.with_suffix(".pub")
        self.signers = folder / f"{name}.signers"
        self.signers.write_text(f"somebody@example.org {options} {self.public.read_text()}")
        listed = subprocess.run(["ssh-keygen", "-lf", self.public], capture_output=True, text=True, check=True).stdout
        self.fingerprint = listed.split()[1]

    def tag(self, work: Path, *, at: int = MADE + DAY) -> None:
        settings = ["-c", "gpg.format=ssh", "-c", f"user.signingKey={self.key}"]
        git(work, *settings, "tag", "-s", "-m", "Release", "v1.0", at=at)

    def recipe(self) -> Recipe:
        made = decode_recipe(recipe("git", fingerprint=self.fingerprint, keys="small.signers").encode())
        return replace(made, source=replace(made.source, fingerprints=(self.fingerprint,)))


@pytest.fixture
def ssh(tmp_path: Path) -> Ssh:
    if not shutil.which("ssh-keygen"):
        pytest.skip("ssh-keygen is not installed")
    return Ssh(tmp_path, "signer")


def test_ssh_tag(work: Path, ssh: Ssh, fetch: Fetch) -> None:
    ssh.tag(work)
    _, signature = fetch(ssh.recipe(), ssh.signers)
    assert signature == Signature(ssh.fingerprint, MADE + DAY)


def test_ssh_tag_of_another_key(work: Path, ssh: Ssh, fetch: Fetch, tmp_path: Path) -> None:
    Ssh(tmp_path, "another").tag(work)
    with pytest.raises(BuildError, match=r"tag v1\.0"):
        fetch(ssh.recipe(), ssh.signers)


def test_ssh_key_that_the_recipe_does_not_name(work: Path, ssh: Ssh, fetch: Fetch, tmp_path: Path) -> None:
    another = Ssh(tmp_path, "another")
    another.tag(work)
    ssh.signers.write_text(ssh.signers.read_text() + another.signers.read_text())
    with pytest.raises(BuildError, match="fingerprints"):
        fetch(ssh.recipe(), ssh.signers)


def test_ssh_key_that_expired_later_is_said(work: Path, fetch: Fetch, tmp_path: Path, ssh: Ssh) -> None:
    short = Ssh(tmp_path, "short", 'valid-before="20200131"')
    short.tag(work)
    assert "before 20200131" in fetch(short.recipe(), short.signers)[1].note


def test_ssh_key_that_had_expired(work: Path, fetch: Fetch, tmp_path: Path, ssh: Ssh) -> None:
    short = Ssh(tmp_path, "short", 'valid-before="20200131"')
    short.tag(work, at=MADE + 40 * DAY)
    with pytest.raises(BuildError, match=r"tag v1\.0"):
        fetch(short.recipe(), short.signers)


def test_revoked_ssh_key(work: Path, ssh: Ssh, fetch: Fetch) -> None:
    ssh.tag(work)
    ssh.signers.with_suffix(".revoked").write_bytes(ssh.public.read_bytes())
    with pytest.raises(BuildError, match=r"tag v1\.0"):
        fetch(ssh.recipe(), ssh.signers)


def test_openpgp_tag_where_ssh_keys_are_pinned(work: Path, gnupg: GnuPG, ssh: Ssh, fetch: Fetch) -> None:
    tag(work, gnupg)
    with pytest.raises(BuildError, match=r"tag v1\.0"):
        fetch(ssh.recipe(), ssh.signers)


def test_ssh_tag_where_openpgp_keys_are_pinned(work: Path, ssh: Ssh, fetch: Fetch) -> None:
    ssh.tag(work)
    with pytest.raises(BuildError, match="not signed"):
        fetch()
