"""The error of the archive."""

from __future__ import annotations

from sigillo.core.errors import SigilloError


class ArchiveError(SigilloError):
    """The archive cannot be read or written, or the broker refuses its subscriber; the text says what to do."""
