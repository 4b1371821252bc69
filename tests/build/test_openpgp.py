"""Signatures under pinned keys: every way in which one does not count is refused, and the file is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from sigillo.build.error import BuildError
from sigillo.build.openpgp import Signature, judge, verify_clear, verify_detached

from .gnupg import DAY, MADE, GnuPG


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "source.tar"
    path.write_bytes(b"some bytes")
    return path


@pytest.fixture
def ring(tmp_path: Path, gnupg: GnuPG) -> Path:
    return gnupg.keyring(tmp_path / "keys.gpg", "good", "short")


def pinned(gnupg: GnuPG) -> list[str]:
    return [gnupg.fingerprint("good"), gnupg.fingerprint("short")]


def refused(says: str, *arguments: object) -> None:
    with pytest.raises(BuildError, match=says) as caught:
        verify_detached(*arguments)  # type: ignore[arg-type]
    assert "source.tar" in str(caught.value)


def test_good_signature_counts(file: Path, ring: Path, gnupg: GnuPG) -> None:
    found = verify_detached(file, gnupg.detach(file, "good"), ring, pinned(gnupg))
    assert found == Signature(gnupg.fingerprint("good"), MADE + DAY)


def test_altered_file(file: Path, ring: Path, gnupg: GnuPG) -> None:
    signature = gnupg.detach(file, "good")
    file.write_bytes(b"some bytez")
    refused("was altered", file, signature, ring, pinned(gnupg))


def test_altered_signature(file: Path, ring: Path, gnupg: GnuPG) -> None:
    signature = gnupg.detach(file, "good")
    data = bytearray(signature.read_bytes())
    data[-1] ^= 1
    signature.write_bytes(data)
    refused("source.tar", file, signature, ring, pinned(gnupg))


def test_missing_signature(file: Path, ring: Path, gnupg: GnuPG) -> None:
    with pytest.raises(BuildError, match=r"source\.tar\.asc: no such file"):
        verify_detached(file, file.with_name("source.tar.asc"), ring, pinned(gnupg))


def test_empty_signature(file: Path, ring: Path, gnupg: GnuPG) -> None:
    empty = file.with_name("empty.sig")
    empty.touch()
    refused("not signed", file, empty, ring, pinned(gnupg))


def test_key_that_nobody_pinned(file: Path, ring: Path, gnupg: GnuPG) -> None:
    refused(gnupg.fingerprint("other"), file, gnupg.detach(file, "other"), ring, pinned(gnupg))


def test_key_in_the_keyring_that_the_recipe_does_not_name(file: Path, ring: Path, gnupg: GnuPG) -> None:
    refused("fingerprints", file, gnupg.detach(file, "short"), ring, [gnupg.fingerprint("good")])


def test_revoked_key(file: Path, tmp_path: Path, gnupg: GnuPG) -> None:
    """gpgv's exit code is 0 here: whoever looks at that accepts it."""
    signature = gnupg.detach(file, "gone")
    gnupg.revoke("gone")
    ring = gnupg.keyring(tmp_path / "revoked.gpg", "gone", now=True)
    refused("is revoked", file, signature, ring, [gnupg.fingerprint("gone")])


def test_key_that_expired_after_it_signed_counts_with_a_note(file: Path, ring: Path, gnupg: GnuPG) -> None:
    found = verify_detached(file, gnupg.detach(file, "short"), ring, pinned(gnupg))
    assert found.made == MADE + DAY
    assert "expired on 2020-01-31" in found.note
    assert "2020-01-02" in found.note


def test_key_that_had_expired_when_it_signed(file: Path, ring: Path, gnupg: GnuPG) -> None:
    """The holder has a longer-lived copy of the key; who pinned the short one does not."""
    gnupg.unlimited("short")
    late = gnupg.detach(file, "short", at=MADE + 40 * DAY)
    refused("which is later", file, late, ring, pinned(gnupg))


def test_signature_that_has_expired(file: Path, ring: Path, gnupg: GnuPG) -> None:
    signature = gnupg.detach(file, "good", "--default-sig-expire", "2d")
    refused("has expired", file, signature, ring, pinned(gnupg))


def test_weak_hash(file: Path, ring: Path, gnupg: GnuPG, tmp_path: Path) -> None:
    gnupg.key("old", kind="rsa")
    ring = gnupg.keyring(tmp_path / "old.gpg", "old")
    signature = gnupg.detach(file, "old", "--digest-algo", "SHA1", "--weak-digest", "MD5")
    refused("SHA-1", file, signature, ring, [gnupg.fingerprint("old")])


def test_bad_signature_beside_a_good_one() -> None:
    good = "[GNUPG:] NEWSIG\n[GNUPG:] GOODSIG K n\n[GNUPG:] VALIDSIG A 2020-01-02 1577923200 0 4 0 22 8 00 A\n"
    assert judge(good, ["A"], "f").signer == "A"
    with pytest.raises(BuildError, match="was altered"):
        judge(good + "[GNUPG:] NEWSIG\n[GNUPG:] BADSIG K n\n", ["A"], "f")


def test_valid_but_not_good() -> None:
    """A status that we do not know is none that counts."""
    text = "[GNUPG:] NEWSIG\n[GNUPG:] VALIDSIG A 2020-01-02 1577923200 0 4 0 22 8 00 A\n"
    with pytest.raises(BuildError, match="does not call the signature good"):
        judge(text, ["A"], "f")


def test_what_is_read_of_a_clear_signed_file_is_what_was_signed(ring: Path, tmp_path: Path, gnupg: GnuPG) -> None:
    path = tmp_path / "source.dsc"
    path.write_text("Version: 2\n\n" + gnupg.clear("Version: 1\n", "good") + "\nVersion: 3\n")
    _signature, text = verify_clear(path, ring, pinned(gnupg))
    assert text.strip() == "Version: 1"


def test_clear_signed_text_altered(ring: Path, tmp_path: Path, gnupg: GnuPG) -> None:
    path = tmp_path / "source.dsc"
    path.write_text(gnupg.clear("Version: 1\n", "good").replace("Version: 1", "Version: 2"))
    with pytest.raises(BuildError, match=r"source\.dsc: .* was altered"):
        verify_clear(path, ring, pinned(gnupg))


def test_unsigned_text(ring: Path, tmp_path: Path, gnupg: GnuPG) -> None:
    path = tmp_path / "source.dsc"
    path.write_text("Version: 1\n")
    with pytest.raises(BuildError, match="not signed"):
        verify_clear(path, ring, pinned(gnupg))


def test_missing_keyring(file: Path, gnupg: GnuPG, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"none\.gpg: no such file"):
        verify_detached(file, gnupg.detach(file, "good"), tmp_path / "none.gpg", pinned(gnupg))
