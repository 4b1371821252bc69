"""OpenPGP signatures under pinned keys, by gpgv: the steps 1 to 3 of spec/recipe.md.

gpgv's exit code says less than it seems: it is 0 for a signature of a revoked key, and of a key that had expired when
it signed. Its status lines say it all, so they decide. gpgv reads no configuration and no other keys.
"""

from __future__ import annotations

import datetime
import subprocess
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from sigillo.build.error import BuildError

_WEAK = {1: "MD5", 2: "SHA-1", 3: "RIPEMD-160"}
_PREFIX = "[GNUPG:] "
_REFUSED = {
    "BADSIG": "the signature does not match: the file or the signature was altered",
    "REVKEYSIG": "the key that signed it is revoked",
    "EXPSIG": "the signature has expired",
}
REMEDY = "fetch file and signature again; where that does not help, do not build it"


@dataclass(frozen=True)
class Signature:
    """A signature that holds. `signer`: fingerprint of the primary key; `made`: seconds since 1970, 0 where the kind
    has none; `note`: what a reader has to know about it, or empty."""

    signer: str
    made: int
    note: str = ""


def verify_detached(file: Path, signature: Path, keyring: Path, fingerprints: Collection[str]) -> Signature:
    """Verify *signature* over the whole of *file*. Raises BuildError naming the file."""
    for path in (file, signature):
        if not path.is_file():
            raise BuildError(f"{path}: no such file; a source is built only with its signature beside it")
    status = _gpgv(keyring, str(signature), str(file))
    return judge(status, fingerprints, f"{file} (signature {signature.name})")


def verify_clear(file: Path, keyring: Path, fingerprints: Collection[str] | None) -> tuple[Signature, str]:
    """Verify a clear-signed file; the text returned is what was signed, nothing before or after it.

    *fingerprints* None: any key of *keyring* may sign. Raises BuildError naming the file.
    """
    if not file.is_file():
        raise BuildError(f"{file}: no such file")
    with tempfile.TemporaryDirectory(prefix="sigillo-gpgv-") as folder:
        text = Path(folder) / "text"
        status = _gpgv(keyring, "--output", str(text), str(file))
        signature = judge(status, fingerprints, str(file))
        try:
            return signature, text.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            raise BuildError(f"{file}: holds no signed text in UTF-8; {REMEDY}") from None


def primary_keys(keyring: Path) -> list[str]:
    """Fingerprints of the primary keys in a keyring. Raises BuildError where it holds none."""
    with tempfile.TemporaryDirectory(prefix="sigillo-gpg-") as home:
        command = ["gpg", "--homedir", home, "--batch", "--with-colons", "--show-keys", "--", str(keyring)]
        try:
            said = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL).stdout.decode(
                "utf-8", "replace"
            )
        except FileNotFoundError:
            raise BuildError("gpg is not installed: apt-get install gpg") from None
    records = [line.split(":") for line in said.splitlines()]
    found = [fpr[9] for pub, fpr in pairwise(records) if (pub[0], fpr[0]) == ("pub", "fpr")]
    if not found:
        raise BuildError(f"{keyring}: holds no OpenPGP key; export one with `gpg --export KEY`")
    return found


def judge(status: str, fingerprints: Collection[str] | None, name: str) -> Signature:
    """The first signature that holds, by gpgv's status lines. Raises BuildError where none does, or one is bad."""
    found: list[Signature] = []
    reason = "it is not signed, or not by OpenPGP"
    for group in _groups(status):
        if "BADSIG" in group:
            raise BuildError(f"{name}: {_REFUSED['BADSIG']}; {REMEDY}")
        try:
            found.append(_one(group, fingerprints))
        except _Refusal as refusal:
            reason = str(refusal)
    if not found:
        raise BuildError(f"{name}: {reason}; {REMEDY}")
    return found[0]


class _Refusal(Exception):
    """Why a single signature does not count."""


def _one(group: dict[str, list[str]], fingerprints: Collection[str] | None) -> Signature:
    for word, reason in _REFUSED.items():
        if word in group:
            raise _Refusal(reason)
    if "VALIDSIG" not in group:
        signer = (group.get("ERRSIG") or group.get("NO_PUBKEY") or ["of unknown name"])[-1]
        raise _Refusal(f"it is signed by the key {signer}, which is not among the pinned ones")
    fields = group["VALIDSIG"]
    signer, made, digest = fields[-1], int(fields[2]), int(fields[7])
    if fingerprints is not None and signer not in fingerprints:
        raise _Refusal(f"it is signed by the key {signer}, which is not among the recipe's fingerprints")
    if digest in _WEAK:
        raise _Refusal(f"the signature is over {_WEAK[digest]}, which can be forged")
    if "EXPKEYSIG" not in group:
        if "GOODSIG" not in group:
            raise _Refusal("gpgv does not call the signature good")
        return Signature(signer, made)
    expired = min(map(int, group.get("KEYEXPIRED", ["0"])))
    if made > expired:
        raise _Refusal(f"its key expired on {_day(expired)}, the signature says {_day(made)}, which is later")
    note = (
        f"key {signer} expired on {_day(expired)}; the signature says {_day(made)}, which is before that. "
        "Whoever holds the key can write any time into it"
    )
    return Signature(signer, made, note)


def _groups(status: str) -> list[dict[str, list[str]]]:
    """Status lines, one dictionary a signature: keyword → its words (of KEYEXPIRED: of every such line)."""
    groups: list[dict[str, list[str]]] = []
    for line in status.splitlines():
        keyword, *words = line.removeprefix(_PREFIX).split(" ")
        if not line.startswith(_PREFIX):
            continue
        if keyword == "NEWSIG":
            groups.append({})
        elif not groups:
            continue
        if keyword == "KEYEXPIRED":
            groups[-1].setdefault(keyword, []).extend(words[:1])
        else:
            groups[-1][keyword] = words
    return groups


def _gpgv(keyring: Path, *arguments: str) -> str:
    if not keyring.is_file():
        raise BuildError(f"{keyring}: no such file; it holds the keys that may sign")
    command = ["gpgv", "--status-fd", "1", "--keyring", str(keyring.resolve()), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        raise BuildError("gpgv is not installed: apt-get install gpgv") from None
    return done.stdout.decode("utf-8", "replace")


def _day(seconds: int) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M:%SZ")
