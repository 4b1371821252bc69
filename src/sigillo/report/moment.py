"""Times and durations for people."""

from __future__ import annotations

from datetime import UTC, datetime

_NS = 10**9


def utc(time_ns: int) -> str:
    """Unix time in ns as UTC, to the millisecond (cut, not rounded)."""
    moment = datetime.fromtimestamp(time_ns // _NS, UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{time_ns % _NS // 10**6:03d} UTC"


def span(first_ns: int, last_ns: int) -> str:
    """Both ends of a span of time; one where they are shown alike, the date once where it is the same."""
    first, last = utc(first_ns), utc(last_ns)
    if first == last:
        return first
    same_day = first[:10] == last[:10]
    return f"{first.removesuffix(' UTC')} – {last[11:] if same_day else last}"


def duration(duration_ns: int) -> str:
    """A duration in the unit that shows it best, rounded up to three digits, so that a bound stays one."""
    if duration_ns == 0:
        return "0 s"
    for unit, size in (("s", _NS), ("ms", 10**6), ("µs", 10**3)):
        if duration_ns >= size:
            thousandths = -(-duration_ns * 1000 // size)
            return f"{thousandths // 1000}.{thousandths % 1000:03d}".rstrip("0").rstrip(".") + f" {unit}"
    return f"{duration_ns} ns"
