"""The error of publishing."""

from __future__ import annotations

from sigillo.core.errors import SigilloError


class ReleaseError(SigilloError):
    """A release cannot be signed as it is; the text names the file and says what to do (exit code 2)."""
