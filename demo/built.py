"""Whether the programs of this machine are those of the demo's build manifest; and what a forger makes of both.

`demo/release/` is what a builder and a rebuilder signed (`tools/release.sh`), without the programs themselves. As in
`forgery.py` no Sigillo code is used: `sigillo up` and `sigillo verify` compare for themselves.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

RELEASE = Path(__file__).resolve().parent / "release"
MANIFEST, REBUILD = RELEASE / "manifest.json", RELEASE / "rebuild.json"


def differences(programs: Mapping[str, Path]) -> Iterator[str]:
    """Which of the programs (role → file) are not those of the manifest."""
    payload = json.loads(base64.b64decode(json.loads(MANIFEST.read_text())["payload"]))
    made = {output["role"]: (build, output) for build in payload["builds"] for output in build["outputs"]}
    for role, path in programs.items():
        build, output = made[role]
        here = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "(no such file)"
        if here != output["sha256"]:
            yield f"{role} {path}: sha256 {here}; of {build['name']} {build['version']}: {output['sha256']}"


def altered(text: str) -> str:
    """A manifest or rebuild statement with the name of who signed it changed, under the old signature."""
    envelope: dict[str, Any] = json.loads(text)
    payload = base64.b64decode(envelope["payload"]).replace(b'"Example ', b'"Honest! ', 1)
    envelope["payload"] = base64.b64encode(payload).decode()
    return json.dumps(envelope, sort_keys=True, separators=(",", ":")) + "\n"


def another_plugin(plugin: Path, target: Path) -> Path:
    """The plugin with one byte more in *target*: the broker would load it as well."""
    target.write_bytes(plugin.read_bytes() + b"\0")
    return target
