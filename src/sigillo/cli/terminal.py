"""Whether to write in colour."""

from __future__ import annotations

import os
import sys


def wants_colour() -> bool:
    """Only on a terminal that can, and not where NO_COLOR (https://no-color.org) says no."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
