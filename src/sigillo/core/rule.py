"""Configuration rules: what a broker's configuration and process must be for a policy to ask for it (spec/rule.md)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that does not hold, by its name in spec/rule.md, and why: where, and what would do."""

    rule: str
    reason: str
