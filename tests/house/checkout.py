"""What the tests of the house share: where the checkout is, and which of its files are ours."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


def our_files() -> list[Path]:
    """All files of the checkout that git has or would take; without git (an unpacked archive) none is missed."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        answer = subprocess.run(command, cwd=CHECKOUT, capture_output=True, check=True).stdout.decode()
        names = [name for name in answer.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        skipped = {".git", ".venv", ".venv-oracle", "build", "__pycache__"}
        found = (path.relative_to(CHECKOUT) for path in CHECKOUT.rglob("*") if path.is_file())
        names = [str(path) for path in found if not skipped & set(path.parts)]
    return [CHECKOUT / name for name in sorted(names) if (CHECKOUT / name).is_file()]


def documents() -> list[Path]:
    return [path for path in our_files() if path.suffix == ".md"]


def console_commands(document: str) -> list[str]:
    """The commands (lines starting with `$ `, comments cut) in the ```console blocks of a document."""
    text = (CHECKOUT / document).read_text(encoding="utf-8")
    blocks = re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = (line for block in blocks for line in block.splitlines())
    return [line[2:].split("  #")[0].strip() for line in lines if line.startswith("$ ")]
