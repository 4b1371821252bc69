"""The error of the operator's side."""

from __future__ import annotations

from sigillo.core.errors import SigilloError


class BrokerError(SigilloError):
    """The operator folder, its settings, or what they start is not as it must be; the text says what to do."""
