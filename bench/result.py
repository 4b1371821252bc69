"""What a run of the bench found: measuring side by side, the JSON file, the tables."""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.broker import MOSQUITTO

Work = Callable[[], float]
"""Does something many times and returns the CPU seconds of one."""


@dataclass(frozen=True)
class Row:
    """Median CPU microseconds, and of the ratios to the group's first row in the same round median, 10 % and 90 %."""

    name: str
    us: float
    ratio: float
    low: float
    high: float


@dataclass(frozen=True)
class Group:
    """Rows that are compared; the first is the bare work."""

    name: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Result:
    """A whole run. *machine*: what it ran on, no names of hosts."""

    date: str
    machine: dict[str, str | int]
    rounds: int
    groups: tuple[Group, ...]

    def json(self) -> str:
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def read(cls, path: Path) -> Result:
        value = json.loads(path.read_text(encoding="utf-8"))
        groups = (Group(group["name"], tuple(Row(**row) for row in group["rows"])) for group in value["groups"])
        return cls(value["date"], value["machine"], value["rounds"], tuple(groups))

    def file_name(self) -> str:
        """Date and processor."""
        processor = re.sub(r"[^a-z0-9]+", "-", str(self.machine["processor"]).lower()).strip("-")
        return f"{self.date}-{processor}.json"

    def markdown(self) -> str:
        """A table for each group, and below them what they are from."""
        on = ", ".join(f"{name} {value}" for name, value in self.machine.items())
        tables = [_table(group) for group in self.groups]
        return "\n\n".join([*tables, f"{self.date}, {self.rounds} rounds; {on}."]) + "\n"


def measure(groups: Mapping[str, Mapping[str, Work]], rounds: int, between: Callable[[int], None]) -> tuple[Group, ...]:
    """Run everything in turn, *rounds* times after one round that does not count; *between* is called before each.

    *groups*: by name the works by name, the bare one first. At least two rounds.
    """
    seconds: dict[tuple[str, str], list[float]] = {}
    for number in range(rounds + 1):
        between(number)
        for group, works in groups.items():
            for name, work in works.items():
                seconds.setdefault((group, name), []).append(work())
    return tuple(
        Group(group, tuple(_row(name, seconds[group, name], seconds[group, next(iter(works))]) for name in works))
        for group, works in groups.items()
    )


def _row(name: str, ours: Sequence[float], bare: Sequence[float]) -> Row:
    """Of one work's seconds and the bare one's, round by round; the first round does not count."""
    ratios = [mine / theirs for mine, theirs in zip(ours, bare, strict=True)][1:]
    tenths = statistics.quantiles(ratios, n=10, method="inclusive")
    numbers = statistics.median(ours[1:]) * 1e6, statistics.median(ratios), tenths[0], tenths[-1]
    return Row(name, *(round(number, 2) for number in numbers))


def _table(group: Group) -> str:
    width = max(len(text) for text in (group.name, *(row.name for row in group.rows)))
    lines = [f"| {group.name:<{width}} |     µs | ratio | 8 of 10 rounds |"]
    lines.append(f"|{'-' * (width + 2)}|-------:|------:|---------------:|")
    for row in group.rows:
        spread = f"{row.low:.2f}–{row.high:.2f}"
        lines.append(f"| {row.name:<{width}} | {row.us:>6.2f} | {row.ratio:>5.2f} | {spread:>14} |")
    return "\n".join(lines)


def machine(libsodium: str) -> dict[str, str | int]:
    """What the numbers are from."""
    cpu = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*: (.*)$", cpu.read_text(encoding="utf-8") if cpu.exists() else "", re.MULTILINE)
    debian = Path("/etc/debian_version")
    version = subprocess.run([MOSQUITTO, "-h"], capture_output=True, text=True).stdout.split("\n", 1)[0]
    return {
        "processor": names[0].strip() if names else platform.processor() or platform.machine(),
        "cores": os.cpu_count() or 0,
        "kernel": platform.release(),
        "debian": debian.read_text(encoding="utf-8").strip() if debian.exists() else "none",
        "mosquitto": version.removeprefix("mosquitto version "),
        "libsodium": libsodium,
        "python": platform.python_version(),
    }
