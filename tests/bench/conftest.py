"""The plugin, built once."""

from tests.plugin.conftest import plugin  # noqa: F401 - used by itself
