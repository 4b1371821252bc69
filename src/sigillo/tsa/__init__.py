"""A local time-stamp authority for demo and tests, run by the operator itself: no third party (docs/commands.md)."""
