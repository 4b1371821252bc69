"""The error of the operator's side."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sigillo.core.errors import ConfigurationError, SigilloError


class BrokerError(SigilloError):
    """The operator folder, its settings, or what they start is not as it must be; the text says what to do."""


@contextmanager
def configuration_refused() -> Iterator[None]:
    """As a decorator: what a function says of a configuration by ConfigurationError, it says by BrokerError."""
    try:
        yield
    except ConfigurationError as error:
        raise BrokerError(str(error)) from None
