"""`make bench`: ratios, measured in one interleaved run, because seconds of another machine say nothing about yours.

Everything is run in turn, many short rounds, so that whatever else the machine does meets all alike. Prints tables and
writes the same as JSON to build/bench/. docs/benchmark.md says how to read them.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CHECKOUT))

from bench import mark, verify  # noqa: E402 - found only once the checkout is on the path
from bench.broker import Broker  # noqa: E402
from bench.load import PUBLISHERS, Block, Load  # noqa: E402
from bench.result import Result, Work, machine, measure  # noqa: E402
from sigillo.core.statement import Carrier, MarkedFilter  # noqa: E402

REPEATED = "carrier property, messages seen before"
SIGNATURE = "libsodium's signature alone (not in a broker)"
BROKERS: dict[str, tuple[MarkedFilter | None, bool]] = {
    "Mosquitto, no plugin": (None, False),
    "plugin, other topics marked": (MarkedFilter("other/#"), False),
    "carrier property": (MarkedFilter("braid/#"), False),
    "carrier datagram": (MarkedFilter("braid/#", carrier=Carrier.DATAGRAM), False),
    "carrier datagram, raw tokens": (MarkedFilter("braid/#", carrier=Carrier.DATAGRAM), True),
    "carrier topic": (MarkedFilter("braid/#", carrier=Carrier.TOPIC), False),
}
"""By name the rule and whether tokens are raw; the bare one first."""


class Brokers:
    """All brokers, the load on each, and a block of messages for each QoS."""

    def __init__(self, plugin: Path, messages: int, stack: contextlib.ExitStack) -> None:
        """Start them; *stack* ends them. *messages*: in a block."""
        self._brokers: dict[str, Broker] = {}
        self._loads: dict[str, Load] = {}
        for name, (rule, raw_tokens) in BROKERS.items():
            self._brokers[name] = Broker(plugin, rule, raw_tokens=raw_tokens)
            stack.callback(self._brokers[name].close)
            self._loads[name] = Load(self._brokers[name])
            stack.callback(self._loads[name].close)
        self._blocks = {qos: Block.make(messages // PUBLISHERS, qos) for qos in (0, 1)}

    def works(self, qos: int) -> Iterator[tuple[str, Work]]:
        """By name; the carrier `property` twice, the second time with the same messages."""
        for name, load in self._loads.items():
            yield name, partial(load.seconds, self._blocks[qos])
            if name == "carrier property":
                yield REPEATED, partial(load.seconds, self._blocks[qos])

    def new_round(self, number: int) -> None:
        """Messages that no broker has seen yet, and room on the disk."""
        for block in self._blocks.values():
            block.freshen(number)
        for broker in self._brokers.values():
            broker.drop_spool()


def verification() -> dict[str, Work]:
    """A message in an evidence file, beside the two signatures that nobody can do without."""

    def each(work: Callable[[], None]) -> float:
        return verify.seconds(work) / verify.MESSAGES

    return {
        "bare Ed25519 and ECDSA P-256": partial(each, verify.bare_signatures()),
        "verifier: a message, all steps": partial(each, verify.whole_verification()),
    }


def run(rounds: int, messages: int) -> Result:
    """Measure everything. *messages*: in each block that a broker gets."""
    with contextlib.ExitStack() as stack:
        brokers = Brokers(CHECKOUT / "build/plugin/sigillo.so", messages, stack)
        program = mark.Program(CHECKOUT)
        stack.callback(program.close)
        groups = {f"QoS {qos}": {**dict(brokers.works(qos)), SIGNATURE: program.work("sign")} for qos in (0, 1)}
        groups["In the plugin, for one message"] = {name: program.work(part) for name, part in mark.PARTS.items()}
        groups["In the verifier"] = verification()
        found = measure(groups, rounds, brokers.new_round)
        return Result(f"{datetime.now(UTC):%Y-%m-%d}", machine(program.libsodium), rounds, found)


def main() -> None:
    options = argparse.ArgumentParser(description="What a mark and its verification cost: docs/benchmark.md")
    options.add_argument("--rounds", type=int, default=60, help="at least 2 (default: %(default)s, about 2 minutes)")
    options.add_argument("--messages", type=int, default=2000, help="in each block (default: %(default)s)")
    options.add_argument("--folder", type=Path, default=CHECKOUT / "build/bench", help="where the JSON goes")
    chosen = options.parse_args()
    if chosen.rounds < 2 or not PUBLISHERS <= chosen.messages <= 65_535:
        options.error("--rounds: at least 2; --messages: 4 to 65535")
    result = run(chosen.rounds, chosen.messages)
    chosen.folder.mkdir(parents=True, exist_ok=True)
    path = chosen.folder / result.file_name()
    path.write_text(result.json(), encoding="utf-8")
    print(result.markdown())
    print(path)


if __name__ == "__main__":
    main()
