"""Errors of the local time-stamp authority."""

from __future__ import annotations

from sigillo.core.errors import SigilloError


class TsaError(SigilloError):
    """The authority's folder cannot be used, or OpenSSL makes no token; the text says what to do."""
