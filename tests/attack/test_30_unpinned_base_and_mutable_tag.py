"""Attack 30: a base that has moved, a tag that was moved, a binary that depends on where it was built.

The last is for a build to show: `--vary`, in tests/build/test_real.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from sigillo.build.apt import Index, Listed
from sigillo.build.error import BuildError
from sigillo.build.journal import Journal
from sigillo.build.package import Shelf
from sigillo.build.rebuild import order_of
from sigillo.core.errors import DecodeError
from sigillo.core.manifest import decode_manifest

from ..adversary.vector import VECTORS
from ..build.conftest import gnupg, journal, said
from ..build.gnupg import GnuPG
from ..build.small import git
from ..build.test_git import Fetch, fetch, of_tag, tag, work
from ..build.test_rebuild import small_build

__all__ = ["fetch", "gnupg", "journal", "said", "work"]


def test_rebuild_asks_for_every_package_by_version_and_hash(tmp_path: Path) -> None:
    """Names alone would be whatever the mirror has today."""
    plan = order_of(small_build(), tmp_path).plan
    assert plan.exact
    assert plan.packages == ()
    assert all(pin.version and pin.sha256 for pin in plan.pins)


def test_manifest_whose_base_has_no_hashes_is_refused() -> None:
    with pytest.raises(DecodeError):
        decode_manifest((VECTORS / "manifest" / "reject" / "package-without-hash.json").read_bytes())


def test_mirror_that_gives_other_bytes_under_the_same_version(tmp_path: Path, journal: Journal) -> None:
    (pin,) = order_of(small_build(), tmp_path).plan.pins
    other = Listed(pin.package, pin.version, "amd64", "1" * 64, "pool/other.deb")
    with pytest.raises(BuildError, match=f"{pin.package} {pin.version}"):
        Shelf((), "", journal).missing([pin], Index({(pin.package, pin.version): other}, ()))


def test_tag_moved_by_its_own_signer_leads_elsewhere(work: Path, gnupg: GnuPG, fetch: Fetch) -> None:
    """The signature is good; the recipe's commit says what was meant."""
    before = git(work, "rev-parse", "HEAD")
    (work / "small.c").write_text("int main(void) { return 1; }\n")
    git(work, "commit", "-q", "-a", "-m", "Go on")
    tag(work, gnupg)
    with pytest.raises(BuildError, match=f"the recipe's commit is {before}"):
        fetch(of_tag(gnupg, commit=before))


def test_tag_moved_by_somebody_else(work: Path, gnupg: GnuPG, fetch: Fetch) -> None:
    tag(work, gnupg, "other")
    with pytest.raises(BuildError, match="not among the pinned ones"):
        fetch()
