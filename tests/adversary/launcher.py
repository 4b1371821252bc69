"""A launcher that lies: it measures the honest launch, and starts another broker. Runs in the place of `sigillo`.

`launcher.py FOREIGN CLOSURE up …`: as `sigillo up …`, but it measures the closure of the file CLOSURE, whatever this
program is made of, starts FOREIGN, and does not look at what that has mapped.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sigillo.broker import measured, supervise
from sigillo.broker.process import Child, start_program
from sigillo.cli import main, up
from sigillo.core.launch import decode_closure


def lie(foreign: str, closure: Path) -> None:
    """From here on `sigillo up` lies."""

    def start(name: str, account: Any, command: Sequence[str], **rest: Any) -> Child:
        return start_program(name, account, [foreign, *command[1:]], **rest)

    honest = decode_closure(closure.read_bytes())
    supervise.start_program = start
    up.measure_closure = lambda *_: honest  # type: ignore[attr-defined]
    measured.check_mapped = lambda *_: None


if __name__ == "__main__":
    lie(sys.argv[1], Path(sys.argv[2]))
    sys.argv[1:] = sys.argv[3:]
    main.main()
