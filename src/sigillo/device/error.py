"""The error of the device side."""

from __future__ import annotations

from sigillo.core.errors import SigilloError


class DeviceError(SigilloError):
    """A device folder, key, certificate or broker is not as it must be; the text names it and says what to do."""
