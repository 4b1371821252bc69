"""`make bench`: ratios, measured in one interleaved run, because seconds of another machine say nothing about yours.

Prints a table and, as its last line, the same as JSON. Each pair is run alternately, several rounds; the ratio of a
pair is the median over the rounds of (cost of ours / cost of the bare work next to it), with the extremes beside.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CHECKOUT))

from bench import mark, verify  # noqa: E402 - found only once the checkout is on the path

ROUNDS = 15


@dataclass(frozen=True)
class Result:
    """One pair. *ours_us* and *bare_us*: median CPU microseconds for one message, on this machine."""

    name: str
    ours_us: float
    bare_us: float
    ratio: float
    lowest: float
    highest: float


def compare(name: str, ours: Callable[[], float], bare: Callable[[], float]) -> Result:
    """Run both alternately, ROUNDS times, after one round that does not count; each returns seconds for one message."""
    ours(), bare()
    pairs = [(ours(), bare()) for _ in range(ROUNDS)]
    ratios = [mine / theirs for mine, theirs in pairs]
    return Result(
        name,
        round(statistics.median(mine for mine, _ in pairs) * 1e6, 2),
        round(statistics.median(theirs for _, theirs in pairs) * 1e6, 2),
        round(statistics.median(ratios), 3),
        round(min(ratios), 3),
        round(max(ratios), 3),
    )


def machine() -> dict[str, str | int | None]:
    """What the numbers are from."""
    names = [line.split(":", 1)[1].strip() for line in _cpu_lines() if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def _cpu_lines() -> Iterator[str]:
    path = Path("/proc/cpuinfo")
    if path.exists():
        yield from path.read_text(encoding="utf-8").splitlines()


def main() -> None:
    whole, signatures = verify.whole_verification(), verify.bare_signatures()
    marks = mark.Program(CHECKOUT)
    results = [
        compare("plugin: a time mark / crypto_sign_detached", marks.mark, marks.signature),
        compare(
            "verifier: a message / bare Ed25519 + ECDSA P-256",
            lambda: verify.seconds(whole) / verify.MESSAGES,
            lambda: verify.seconds(signatures) / verify.MESSAGES,
        ),
    ]
    marks.close()
    print(f"{'':<50} {'ours µs':>9} {'bare µs':>9} {'ratio':>7}   (lowest–highest of {ROUNDS})")
    for result in results:
        spread = f"({result.lowest:.2f}–{result.highest:.2f})"
        print(f"{result.name:<50} {result.ours_us:>9.2f} {result.bare_us:>9.2f} {result.ratio:>7.2f}   {spread}")
    on = machine()
    print(", ".join(f"{key} {value}" for key, value in on.items()))
    print(json.dumps({"machine": on, "rounds": ROUNDS, "results": [asdict(result) for result in results]}))


if __name__ == "__main__":
    main()
