"""Errors of the witness."""

from __future__ import annotations

from sigillo.core.errors import SigilloError


class WitnessFolderError(SigilloError):
    """The witness cannot start, or must not go on; the text names the file and says what to do."""
