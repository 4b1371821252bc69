"""The error of building."""

from __future__ import annotations

from sigillo.core.errors import SigilloError


class BuildError(SigilloError):
    """A source, a root or a build is not as it must be; the text names the file and says what to do (exit code 2)."""
