"""docs/anchor.md, "By hand": what the page types, on a file as the log keeps it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sigillo.log.anchor import Anchor, encode_anchor
from sigillo.log.timestamper import TsaAddress, obtain
from sigillo.tsa.folder import LocalTsa
from sigillo.tsa.server import TsaServer
from tests.house.checkout import CHECKOUT

from ..core.timestamp_case import NOTE
from ..core.timestamp_case import TSA as FOREIGN
from .local import running

PAGE = (CHECKOUT / "docs/anchor.md").read_text()


def by_hand(folder: Path) -> str:
    """What the page's commands say in a folder with anchor.json and root.pem."""
    block = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)[-1]
    commands = "\n".join(line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ "))
    done = subprocess.run(["bash", "-c", commands], cwd=folder, capture_output=True, text=True, timeout=60)
    assert "\nVerification: OK\n" in block
    return done.stdout


def test_the_page_verifies_an_anchor_and_refuses_another(tmp_path: Path) -> None:
    tsa = LocalTsa.open(tmp_path / "tsa")
    with running(TsaServer("127.0.0.1:0", tsa)) as url:
        token, _ = obtain(TsaAddress("local", url, tsa.trust.roots), NOTE)
    root = x509.load_der_x509_certificate(tsa.root).public_bytes(Encoding.PEM)
    (tmp_path / "root.pem").write_bytes(root)
    (tmp_path / "anchor.json").write_bytes(encode_anchor(Anchor("local", url, NOTE, token)))
    assert by_hand(tmp_path) == "Verification: OK\n"
    (tmp_path / "anchor.json").write_bytes(encode_anchor(Anchor("local", url, NOTE, FOREIGN.stamp(NOTE))))
    assert by_hand(tmp_path) == "Verification: FAILED\n"
