"""MQTT topic filters (MQTT 5 section 4.7): which filter of the epoch statement a topic falls under."""

from functools import lru_cache

from sigillo.core.errors import DecodeError
from sigillo.core.field import text


def check_filter(value: object, field: str) -> str:
    """A valid topic filter, 1…65,535 bytes: `+` only as a whole level, `#` only as the last. Raises DecodeError."""
    checked = text(value, field, 1, allow_nul=False)
    levels = checked.split("/")
    for number, level in enumerate(levels, start=1):
        if "#" in level and (level != "#" or number != len(levels)):
            raise DecodeError(field, "has a # that is not the whole last level")
        if "+" in level and level != "+":
            raise DecodeError(field, "has a + that is not a whole level")
    return checked


def filter_matches(topic_filter: str, topic: str) -> bool:
    """Whether the filter matches the topic; a leading wildcard does not match topics that begin with `$`."""
    filter_levels, levels = _levels(topic_filter), _levels(topic)
    if topic.startswith("$") and filter_levels[0] in ("+", "#"):
        return False
    for number, level in enumerate(filter_levels):
        if level == "#":
            return True
        if number == len(levels) or level not in ("+", levels[number]):
            return False
    return len(filter_levels) == len(levels)


@lru_cache(maxsize=128)  # the filters of an epoch come again with every mark, and a mark's topic with every filter
def _levels(name: str) -> tuple[str, ...]:
    return tuple(name.split("/"))
