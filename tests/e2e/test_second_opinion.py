"""Stock tools accept what the story's parties made, and refuse it altered."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from .conftest import Story, sigillo


@pytest.fixture(scope="module")
def exported(story: Story) -> Path:
    target = story.evidence.parent / "export"
    sigillo("inspect", story.evidence, "--policy", story.policy, "--export", target)
    return target


def openssl_accepts(key: Path, signed: Path, signature: Path) -> bool:
    algorithm = subprocess.run(
        ["openssl", "pkey", "-pubin", "-in", str(key), "-noout", "-text"], capture_output=True, text=True, check=True
    ).stdout
    digest = [] if "ED25519" in algorithm.upper() else ["-digest", "sha256"]
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", str(key), "-rawin", *digest]
    files = ["-in", str(signed), "-sigfile", str(signature)]
    return subprocess.run([*command, *files], capture_output=True).returncode == 0


def test_openssl_verifies_every_signature_of_the_export(exported: Path, tmp_path: Path) -> None:
    """Marks, statements, countersignatures, device messages of both key types and forms; none of them altered."""
    signed = sorted(exported.rglob("*.tbs"))
    assert len(signed) >= 12 * 2 + 2  # a mark and a device signature each; a statement and its countersignature
    for path in signed:
        key, signature = path.with_suffix(".pub.pem"), path.with_suffix(".sig")
        assert openssl_accepts(key, path, signature), path
        altered = tmp_path / "altered"
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        altered.write_bytes(data)
        assert not openssl_accepts(key, altered, signature), path
