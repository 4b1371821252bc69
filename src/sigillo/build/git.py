"""A signed git tag: cloned, verified by `git verify-tag` under pinned keys, and archived (spec/recipe.md, step 5).

git asks a program about the signature. For OpenPGP that is gpgv with the pinned keyring, for SSH ssh-keygen with the
pinned allowed signers; nobody's own configuration, keys or hooks are read.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import subprocess
import tempfile
from pathlib import Path

from sigillo.build.error import BuildError
from sigillo.build.journal import Journal
from sigillo.build.openpgp import REMEDY, Signature, judge
from sigillo.build.recipe import Recipe, Source

_GPGV = """#!/bin/sh
# git says: --keyid-format=long --status-fd=1 --verify SIGNATURE -
while [ "$1" != --verify ]; do shift; done
shift
exec gpgv --status-fd=1 --keyring '{keyring}' "$@"
"""
_SSH_GOOD = re.compile(r'^Good "git" signature for \S.* with \S+ key (SHA256:[A-Za-z0-9+/]{43})$', re.MULTILINE)
_NO_PROGRAM = "/bin/false"


def fetch_tag(recipe: Recipe, url: str, keys: Path, folder: Path, journal: Journal) -> tuple[str, Signature]:
    """Clone *url*, verify the tag, write `NAME.tar` (git archive) and `NAME.bundle` into *folder*.

    Returns commit and signature. Raises BuildError, OSError.
    """
    source = recipe.source
    with tempfile.TemporaryDirectory(prefix="sigillo-git-") as name:
        scratch = Path(name)
        git = _Git(scratch, journal)
        remedy = f"cannot clone the tag {source.tag} of {url}; where there is no network, name a clone with --source"
        options = ["--quiet", "--bare", "--single-branch", "--branch", source.tag]
        git.run(remedy, "clone", *options, "--", url, str(git.repository))
        signature = verify_tag(git.repository, source, keys, scratch)
        commit = git.ask("rev-parse", f"refs/tags/{source.tag}^{{commit}}")
        if source.commit and commit != source.commit:
            raise BuildError(f"{url}: tag {source.tag} leads to {commit}, the recipe's commit is {source.commit}")
        tar = folder / f"{recipe.name}.tar"
        git.run("cannot archive the commit", "archive", "--format=tar", f"--output={tar}", commit)
        git.run("cannot bundle", "bundle", "create", "-q", f"{folder / recipe.name}.bundle", f"refs/tags/{source.tag}")
    return commit, signature


def verify_tag(repository: Path, source: Source, keys: Path, scratch: Path) -> Signature:
    """Verify the annotated tag `source.tag` under *keys*. Raises BuildError naming the tag."""
    git, tag = _Git(scratch, None, repository), source.tag
    name = f"tag {tag} of {source.url}"
    if git.ask("cat-file", "-t", f"refs/tags/{tag}") != "tag":
        raise BuildError(f"{name}: is no annotated tag, so nobody signed it; {REMEDY}")
    head = git.ask("cat-file", "tag", f"refs/tags/{tag}").partition("\n\n")[0].splitlines()
    if f"tag {tag}" not in head or "type commit" not in head:
        raise BuildError(f"{name}: the signed tag object is another one's (tag and type must be its own); {REMEDY}")
    if keys.suffix == ".signers":
        return _ssh(git, source, keys, name, head)
    program = scratch / "gpgv"
    keyring = scratch / "keys.gpg"
    keyring.write_bytes(keys.read_bytes())
    program.write_text(_GPGV.format(keyring=keyring))
    program.chmod(0o700)
    said = git.verify(tag, {"gpg.program": str(program)})
    return judge(said, source.fingerprints, name)


def _ssh(git: _Git, source: Source, keys: Path, name: str, head: list[str]) -> Signature:
    """git gives ssh-keygen the time of the tag, so a key's `valid-before` is judged by that."""
    settings = {"gpg.ssh.allowedSignersFile": str(keys.resolve()), "gpg.program": _NO_PROGRAM}
    revoked = keys.with_suffix(".revoked")
    if revoked.is_file():
        settings["gpg.ssh.revocationFile"] = str(revoked.resolve())
    said = git.verify(source.tag, settings)
    good = _SSH_GOOD.search(said)
    if not good:
        lines = [line for line in said.splitlines() if line.strip()]
        raise BuildError(f"{name}: {lines[0][:200] if lines else 'no SSH signature'}; {REMEDY}")
    if good[1] not in source.fingerprints:
        raise BuildError(f"{name}: is signed by {good[1]}, which is not among the recipe's fingerprints; {REMEDY}")
    made = next((int(line.split()[-2]) for line in head if line.startswith("tagger ")), 0)
    return Signature(good[1], made, _ssh_note(keys.read_text(encoding="utf-8"), good[1]))


def _ssh_note(signers: str, fingerprint: str) -> str:
    for line in signers.splitlines():
        until = re.search(r'valid-before="?([0-9]+Z?)', line)
        key = re.search(r"(?:ssh|ecdsa|sk)\S* ([A-Za-z0-9+/=]{40,})", line)
        if until and key:
            digest = base64.b64encode(hashlib.sha256(base64.b64decode(key[1])).digest()).decode().rstrip("=")
            if f"SHA256:{digest}" == fingerprint:
                return f"key {fingerprint} counts before {until[1]} only, by the time that the signed tag itself says"
    return ""


class _Git:
    """git without anybody's configuration."""

    def __init__(self, scratch: Path, journal: Journal | None, repository: Path | None = None) -> None:
        self.repository = repository or scratch / "repository.git"
        self._journal = journal
        self._environment = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "HOME": str(scratch),
            "LC_ALL": "C.UTF-8",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ALLOW_PROTOCOL": "file:git:https:ssh",
        }

    def run(self, remedy: str, *words: str) -> None:
        assert self._journal is not None
        place = [] if words[0] == "clone" else ["--git-dir", str(self.repository)]
        self._journal.run(["git", *place, *words], remedy, environment=self._environment)

    def ask(self, *words: str) -> str:
        """What git answers, without the last newline; empty where it fails."""
        return self._call(*words).stdout.decode("utf-8", "replace").removesuffix("\n")

    def verify(self, tag: str, settings: dict[str, str]) -> str:
        """All that `git verify-tag --raw` says."""
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        done = self._call(*options, "verify-tag", "--raw", tag)
        return (done.stdout + done.stderr).decode("utf-8", "replace")

    def _call(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        command = ["git", "--git-dir", str(self.repository), *words]
        return subprocess.run(command, env=self._environment, stdin=subprocess.DEVNULL, capture_output=True)
